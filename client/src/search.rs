//! Looking for images by a word: Docker Hub's index, registries that can search as that does, and
//! the catalogs of all others.

use reqwest::{Method, StatusCode, Url};
use serde::Deserialize;

use crate::Client;
use crate::auth::Scopes;
use crate::call::Call;
use crate::endpoint::Endpoint;
use crate::error::Error;
use crate::http::{classify, read_capped};

const HUB: &str = "docker.io";
const INDEX: &str = "index.docker.io";
const MAX_ANSWER: u64 = 8 << 20;

/// An image that was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Match {
    /// Its name, as it is pulled.
    pub name: String,
    /// What its owner says of it.
    pub description: String,
    /// How many like it.
    #[serde(rename = "star_count")]
    pub stars: u64,
    /// Docker looks after it.
    #[serde(rename = "is_official")]
    pub official: bool,
}

#[derive(Deserialize)]
struct Answer {
    results: Vec<Match>,
}

impl Client {
    /// Images of a registry that `term` finds, at most `limit`. Docker Hub and registries that can
    /// search look for it in their own way; of others it is names with `term` in them.
    ///
    /// # Errors
    /// Transport errors, and what the registry refuses.
    pub async fn search(
        &self,
        registry: &str,
        term: &str,
        limit: usize,
    ) -> Result<Vec<Match>, Error> {
        if registry == HUB {
            return self.search_hub(term, limit).await;
        }
        let endpoint = self.registry(registry).await?;
        let full = |name: &str| format!("{registry}/{name}");
        if let Some(mut found) = self.search_first_api(&endpoint, term, limit).await? {
            found.truncate(limit);
            for found in &mut found {
                found.name = full(&found.name);
            }
            return Ok(found);
        }
        let wanted = term.to_lowercase();
        let names = self.catalog(registry).await?.into_iter();
        let found = names.filter(|name| name.contains(&wanted)).take(limit);
        let found = found.map(|name| Match {
            name: full(&name),
            ..Match::default()
        });
        Ok(found.collect())
    }

    /// What `/v1/search` answers; `None` where there is no such thing.
    async fn search_first_api(
        &self,
        endpoint: &Endpoint,
        term: &str,
        limit: usize,
    ) -> Result<Option<Vec<Match>>, Error> {
        let what = "search";
        let mut url = endpoint.first_api("search")?;
        url.query_pairs_mut()
            .append_pair("q", term)
            .append_pair("n", &limit.to_string());
        let call = Call::new(Method::GET, url, Scopes::catalog());
        let (response, _) = self.send(endpoint, &call).await?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::TOO_MANY_REQUESTS => {
                return Err(self.refuse(endpoint, &call, response).await);
            }
            _ => return Ok(None),
        }
        let body = read_capped(response, MAX_ANSWER, self.config().idle_timeout, what).await?;
        // A page for people, which some have at every path, is no answer.
        let answer: Option<Answer> = serde_json::from_slice(&body).ok();
        Ok(answer.map(|answer| answer.results))
    }

    async fn search_hub(&self, term: &str, limit: usize) -> Result<Vec<Match>, Error> {
        let what = "search";
        let protocol = |reason: String| Error::Protocol {
            what: what.to_owned(),
            reason,
        };
        let number = limit.to_string();
        let query = [("q", term), ("n", number.as_str())];
        let url = Url::parse_with_params(&format!("https://{INDEX}/v1/search"), query);
        let url = url.map_err(|error| protocol(error.to_string()))?;
        let http = self.transports().for_home(HUB, INDEX).await?;
        let response = http.get(url.clone()).send().await;
        let response = response.map_err(|error| classify(&error, HUB, &url))?;
        if response.status() != StatusCode::OK {
            return Err(protocol(format!("{INDEX} answers {}", response.status())));
        }
        let body = read_capped(response, MAX_ANSWER, self.config().idle_timeout, what).await?;
        let answer: Answer = serde_json::from_slice(&body)
            .map_err(|e| protocol(format!("the answer is not the JSON expected: {e}")))?;
        Ok(answer.results)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_the_index_are_read() {
        let text = r#"{"num_results":1,"query":"httpd","results":[{"star_count":4000,
            "is_official":true,"name":"httpd","is_automated":false,"description":"A server"}]}"#;
        let answer: Answer = serde_json::from_str(text).unwrap();
        let found = Match {
            name: "httpd".to_owned(),
            description: "A server".to_owned(),
            stars: 4000,
            official: true,
        };
        assert_eq!(answer.results, [found]);
    }
}
