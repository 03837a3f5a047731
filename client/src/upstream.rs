//! One registry at a URL, asked for what it has as it has it: what a mirror of it needs.
//!
//! Every call but that for tags sends one request (and what logging in takes); whether and when to
//! try again is for the mirror to say, which knows who is waiting. Answers that say no are answers.

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use oci::manifest::MAX_MANIFEST_SIZE;
use oci::{Digest, MediaType};
use reqwest::header::{HeaderMap, HeaderValue, RANGE, RETRY_AFTER};
use reqwest::{Method, Response, StatusCode, Url};

use crate::auth::{Scopes, Source};
use crate::call::{self, Call};
use crate::config::{Config, Credentials, DockerConfig, Mirror, RegistrySettings};
use crate::endpoint::{Endpoint, Spec};
use crate::error::{Error, RegistryError};
use crate::http::{Transports, next_chunk, read_capped};
use crate::origin::Origin;
use crate::pages::{Pages, TagPage};
use crate::pull::range_start;
use crate::resolve::{accept, media_type, stated_digest};

/// Tags that are asked for in one request.
const TAGS_AT_ONCE: &str = "1000";
/// Bytes of a list of referrers, or of tags, that are read at most.
const MAX_LIST: u64 = 8 << 20;

/// How one upstream is reached.
#[derive(Clone, Debug)]
pub struct UpstreamSettings {
    /// `http[s]://host[:port][/prefix]`; the prefix is put before the names of repositories.
    pub url: String,
    /// Sent to this upstream alone, and to the token server that it names over verified https.
    pub credentials: Option<Credentials>,
    /// PEM file of authorities to trust besides the system's.
    pub ca: Option<PathBuf>,
    /// Credentials may go over plain http, and certificates are not verified.
    pub insecure: bool,
    /// What is sent as `User-Agent`.
    pub user_agent: String,
    /// How long nothing may come.
    pub idle_timeout: Duration,
}

/// A registry at a URL. Safe to share: connections and tokens are kept for all calls.
pub struct Upstream {
    transports: Transports,
    endpoint: Endpoint,
    idle: Duration,
}

impl std::fmt::Debug for Upstream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Upstream")
            .field(&self.endpoint.name)
            .finish()
    }
}

/// What an answer's headers say of limits, as they came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RateLimits {
    /// Requests that may be sent in a time (`RateLimit-Limit`).
    pub limit: Option<u64>,
    /// Those that are left of them (`RateLimit-Remaining`).
    pub remaining: Option<u64>,
    /// When to come back (`Retry-After`): seconds, or a date.
    pub retry_after: Option<String>,
}

/// What an upstream said to a request.
#[derive(Debug)]
pub enum Outcome<T> {
    /// This.
    Found(T),
    /// It has none (404).
    Missing,
    /// It does not let us (401, 403).
    Denied(RegistryError),
    /// We ask too often (429).
    Limited(RegistryError),
    /// Something else, such as a 5xx.
    Failed(RegistryError),
}

/// What an upstream said, and how often it may be asked.
#[derive(Debug)]
pub struct Answer<T> {
    /// What it said.
    pub outcome: Outcome<T>,
    /// How often it may be asked, where it tells.
    pub limits: RateLimits,
}

/// A manifest as it came; its digest is verified.
#[derive(Clone, Debug)]
pub struct FetchedManifest {
    /// Its bytes.
    pub bytes: Bytes,
    /// What its sender says that it is.
    pub media_type: Option<MediaType>,
    /// The digest of its bytes.
    pub digest: Digest,
}

/// The bytes of a blob from some offset on, as they come.
#[derive(Debug)]
pub struct BlobBody {
    response: Response,
    /// Bytes to leave out: a server that knows no ranges begins anew.
    skip: u64,
    total: Option<u64>,
    idle: Duration,
    what: String,
}

impl BlobBody {
    /// The size of the whole blob, where it is told.
    pub fn total(&self) -> Option<u64> {
        self.total
    }

    /// The next piece; `None` at the end.
    ///
    /// # Errors
    /// [`Error::Transport`] when it breaks, or nothing comes for too long.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            let Some(mut chunk) = next_chunk(&mut self.response, self.idle, &self.what).await?
            else {
                return Ok(None);
            };
            let skipped = self.skip.min(chunk.len() as u64);
            self.skip -= skipped;
            // At most the chunk's length.
            let chunk = chunk.split_off(skipped as usize);
            if !chunk.is_empty() {
                return Ok(Some(chunk));
            }
        }
    }
}

impl Upstream {
    /// Prepares for requests to a registry; it is not asked anything yet.
    ///
    /// # Errors
    /// [`Error::Protocol`] for a URL that is none, [`Error::Config`] for certificates that cannot
    /// be used.
    pub async fn new(settings: UpstreamSettings) -> Result<Self, Error> {
        let place = Mirror::parse(&settings.url).filter(|place| place.plain_http.is_some());
        let place = place.ok_or_else(|| Error::Protocol {
            what: settings.url.clone(),
            reason: "an upstream is http[s]://host[:port][/prefix]".to_owned(),
        })?;
        let spec = Spec {
            plain_http: place.plain_http,
            prefix: place.prefix,
            ..Spec::registry(&place.host)
        };
        let mut config = Config {
            user_agent: settings.user_agent,
            idle_timeout: settings.idle_timeout,
            ..Config::default()
        };
        let own = RegistrySettings {
            insecure: settings.insecure,
            ca: settings.ca,
            ..RegistrySettings::default()
        };
        config.registries.set(&spec.name, own);
        let transports = Transports::new(std::sync::Arc::new(config.clone()));
        let source = match settings.credentials {
            Some(credentials) => Source::Given(credentials),
            None => Source::Stored(DockerConfig::none()),
        };
        let endpoint = Endpoint::reach(&spec, source, &config, &transports).await?;
        Ok(Self {
            transports,
            endpoint,
            idle: settings.idle_timeout,
        })
    }

    /// The manifest that a tag or digest names.
    ///
    /// # Errors
    /// [`Error::DigestMismatch`], [`Error::TooLarge`], and transport errors.
    pub async fn manifest(
        &self,
        path: &str,
        reference: &str,
    ) -> Result<Answer<FetchedManifest>, Error> {
        let call = self.manifest_call(Method::GET, path, reference)?;
        let (response, limits) = match self.ask(&call).await? {
            Ok(found) => found,
            Err(no) => return Ok(no),
        };
        let headers = response.headers().clone();
        let what = call.what();
        let bytes = read_capped(response, MAX_MANIFEST_SIZE as u64, self.idle, &what).await?;
        let promised = reference
            .parse::<Digest>()
            .ok()
            .or_else(|| stated_digest(&headers));
        let digest = match promised {
            None => Digest::sha256(&bytes),
            Some(expected) => {
                let actual = expected.algorithm().digest(&bytes);
                if actual != expected {
                    return Err(Error::DigestMismatch {
                        what,
                        expected,
                        actual,
                    });
                }
                actual
            }
        };
        let found = FetchedManifest {
            media_type: media_type(&headers),
            bytes,
            digest,
        };
        Ok(Answer {
            outcome: Outcome::Found(found),
            limits,
        })
    }

    /// What a tag stands for now, where the upstream says so without being asked for the content.
    /// Registries that limit pulls do not count this.
    ///
    /// # Errors
    /// Transport errors.
    pub async fn head(&self, path: &str, reference: &str) -> Result<Answer<Option<Digest>>, Error> {
        let call = self.manifest_call(Method::HEAD, path, reference)?;
        Ok(match self.ask(&call).await? {
            Err(no) => no,
            Ok((response, limits)) => Answer {
                outcome: Outcome::Found(stated_digest(response.headers())),
                limits,
            },
        })
    }

    /// A blob from byte `offset` on.
    ///
    /// # Errors
    /// [`Error::Protocol`] for another range than was asked for, and transport errors.
    pub async fn blob(
        &self,
        path: &str,
        digest: &Digest,
        offset: u64,
    ) -> Result<Answer<BlobBody>, Error> {
        let url = self.url(path, &format!("blobs/{digest}"))?;
        let mut call = self.call(Method::GET, path, url);
        if offset > 0 {
            let range = HeaderValue::try_from(format!("bytes={offset}-"));
            let range = range.map_err(|_| Error::Interrupted("a request"))?;
            call = call.header(RANGE, range);
        }
        let (response, limits) = match self.ask(&call).await? {
            Ok(found) => found,
            Err(no) => return Ok(no),
        };
        let what = call.what();
        let length = response.content_length();
        let (skip, total) = match response.status() {
            StatusCode::PARTIAL_CONTENT if range_start(response.headers()) == Some(offset) => {
                (0, length.map(|length| length + offset))
            }
            StatusCode::PARTIAL_CONTENT => {
                return Err(Error::Protocol {
                    what,
                    reason: format!("asked from byte {offset}, it answers with another range"),
                });
            }
            _ => (offset, length),
        };
        let body = BlobBody {
            response,
            skip,
            total,
            idle: self.idle,
            what,
        };
        Ok(Answer {
            outcome: Outcome::Found(body),
            limits,
        })
    }

    /// Whether a repository has a blob, and its size where that is told.
    ///
    /// # Errors
    /// Transport errors.
    pub async fn has_blob(
        &self,
        path: &str,
        digest: &Digest,
    ) -> Result<Answer<Option<u64>>, Error> {
        let url = self.url(path, &format!("blobs/{digest}"))?;
        let head = self.call(Method::HEAD, path, url);
        if let Ok((response, limits)) = self.ask::<()>(&head).await? {
            // An answer to HEAD has no body, so that its length is only in the header.
            let length = response.headers().get(reqwest::header::CONTENT_LENGTH);
            let length = length.and_then(|v| v.to_str().ok()?.parse().ok());
            return Ok(Answer {
                outcome: Outcome::Found(length),
                limits,
            });
        }
        // Storage that a registry points to may take nothing but GET.
        let answer = self.blob(path, digest, 0).await?;
        Ok(Answer {
            outcome: match answer.outcome {
                Outcome::Found(body) => Outcome::Found(body.total()),
                Outcome::Missing => Outcome::Missing,
                Outcome::Denied(e) => Outcome::Denied(e),
                Outcome::Limited(e) => Outcome::Limited(e),
                Outcome::Failed(e) => Outcome::Failed(e),
            },
            limits: answer.limits,
        })
    }

    /// The list of what refers to a manifest, as an index in JSON.
    ///
    /// # Errors
    /// [`Error::TooLarge`], and transport errors.
    pub async fn referrers(&self, path: &str, digest: &Digest) -> Result<Answer<Bytes>, Error> {
        let url = self.url(path, &format!("referrers/{digest}"))?;
        let call = self.call(Method::GET, path, url);
        let (response, limits) = match self.ask(&call).await? {
            Ok(found) => found,
            Err(no) => return Ok(no),
        };
        let bytes = read_capped(response, MAX_LIST, self.idle, &call.what()).await?;
        Ok(Answer {
            outcome: Outcome::Found(bytes),
            limits,
        })
    }

    /// The tags of a repository, all pages of them, in the upstream's order.
    ///
    /// # Errors
    /// [`Error::TooLarge`], [`Error::Protocol`] for pages without end or elsewhere, and transport
    /// errors.
    pub async fn tags(&self, path: &str) -> Result<Answer<Vec<String>>, Error> {
        let mut url = self.url(path, "tags/list")?;
        url.query_pairs_mut().append_pair("n", TAGS_AT_ONCE);
        let mut pages = Pages::new(&self.endpoint, url);
        let mut last = RateLimits::default();
        while let Some(url) = pages.next()? {
            let call = self.call(Method::GET, path, url.clone());
            let (response, limits) = match self.ask(&call).await? {
                Ok(found) => found,
                Err(no) => return Ok(no),
            };
            last = limits;
            pages.follow(&url, response.headers());
            let bytes = read_capped(response, MAX_LIST, self.idle, &call.what()).await?;
            pages.add::<TagPage>(&url, &bytes)?;
        }
        Ok(Answer {
            outcome: Outcome::Found(pages.whole()),
            limits: last,
        })
    }

    fn manifest_call(&self, method: Method, path: &str, reference: &str) -> Result<Call, Error> {
        let url = self.url(path, &format!("manifests/{reference}"))?;
        accept(self.call(method, path, url))
    }

    fn url(&self, path: &str, tail: &str) -> Result<Url, Error> {
        let url = self
            .endpoint
            .url(&format!("{}/{tail}", self.endpoint.at(path)))?;
        // Nothing in a name may lead elsewhere.
        if Origin::of(&url).as_ref() != Some(&self.endpoint.home) {
            return Err(Error::Protocol {
                what: path.to_owned(),
                reason: "makes no URL of this registry".to_owned(),
            });
        }
        Ok(url)
    }

    fn call(&self, method: Method, path: &str, url: Url) -> Call {
        Call::new(
            method,
            url,
            Scopes::repository(&self.endpoint.at(path), "pull"),
        )
    }

    /// Sends once. The inner error is an answer that says no.
    async fn ask<T>(
        &self,
        call: &Call,
    ) -> Result<Result<(Response, RateLimits), Answer<T>>, Error> {
        let sent = call::exchange(&self.transports, &self.endpoint, call).await;
        let (response, _) = match sent {
            Ok(sent) => sent,
            // The token server's no is the registry's.
            Err(Error::Unauthorized { cause, .. }) => {
                return Ok(Err(Answer {
                    outcome: Outcome::Denied(cause),
                    limits: RateLimits::default(),
                }));
            }
            Err(e) => return Err(e),
        };
        let limits = RateLimits::of(response.headers());
        let status = response.status();
        if matches!(status, StatusCode::OK | StatusCode::PARTIAL_CONTENT) {
            return Ok(Ok((response, limits)));
        }
        if status == StatusCode::NOT_FOUND {
            let outcome = Outcome::Missing;
            return Ok(Err(Answer { outcome, limits }));
        }
        let refused = call::refuse(&self.transports, &self.endpoint, call.what(), response).await;
        let cause = match refused {
            Error::Unauthorized { cause, .. }
            | Error::Denied { cause, .. }
            | Error::Registry { cause, .. } => cause,
            e => return Err(e),
        };
        let outcome = match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Outcome::Denied(cause),
            StatusCode::TOO_MANY_REQUESTS => Outcome::Limited(cause),
            _ => Outcome::Failed(cause),
        };
        Ok(Err(Answer { outcome, limits }))
    }
}

impl RateLimits {
    /// Docker Hub writes `100;w=21600`: a number, and the seconds that it is for.
    fn of(headers: &HeaderMap) -> Self {
        let text = |name: &str| headers.get(name).and_then(|v| v.to_str().ok());
        let number = |name| text(name)?.split(';').next()?.trim().parse().ok();
        Self {
            limit: number("ratelimit-limit"),
            remaining: number("ratelimit-remaining"),
            retry_after: text(RETRY_AFTER.as_str()).map(str::to_owned),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_as_docker_hub_writes_them() {
        let mut headers = HeaderMap::new();
        headers.insert("RateLimit-Limit", "100;w=21600".parse().unwrap());
        headers.insert("ratelimit-remaining", "76;w=21600".parse().unwrap());
        headers.insert("retry-after", "60".parse().unwrap());
        let limits = RateLimits::of(&headers);
        assert_eq!((limits.limit, limits.remaining), (Some(100), Some(76)));
        assert_eq!(limits.retry_after.as_deref(), Some("60"));
        assert_eq!(RateLimits::of(&HeaderMap::new()), RateLimits::default());
    }

    #[tokio::test]
    async fn urls_that_are_none_are_refused() {
        for url in [
            "registry.example.com",
            "ftp://x.example.com",
            "http://",
            "https://a/../b",
        ] {
            let settings = UpstreamSettings {
                url: url.to_owned(),
                credentials: None,
                ca: None,
                insecure: false,
                user_agent: "test".to_owned(),
                idle_timeout: Duration::from_secs(1),
            };
            assert!(Upstream::new(settings).await.is_err(), "{url}");
        }
    }
}
