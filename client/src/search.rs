//! Looking for images by a word: Docker Hub's index, and the catalogs of other registries.

use reqwest::{StatusCode, Url};
use serde::Deserialize;

use crate::Client;
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
    #[serde(default)]
    results: Vec<Match>,
}

impl Client {
    /// Images of a registry whose names have `term` in them, at most `limit`; Docker Hub looks for
    /// it in its own way.
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
        let wanted = term.to_lowercase();
        let names = self.catalog(registry).await?.into_iter();
        let found = names.filter(|name| name.contains(&wanted)).take(limit);
        let full = |name: String| Match {
            name: format!("{registry}/{name}"),
            ..Match::default()
        };
        Ok(found.map(full).collect())
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
