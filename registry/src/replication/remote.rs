//! The other registry, and what its answers mean for what is left to do.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use client::config::{Config, Mirror as Place, RegistrySettings};
use client::upstream::{Answer, Outcome, Upstream, UpstreamSettings};
use client::{Client, Error, RegistryError};
use oci::reference::Repository;
use oci::{Descriptor, Digest, Reference};

use super::error::{ReplicationError, Trouble};
use super::settings::Replicate;
use crate::name::ManifestRef;
use crate::sync::lock;

/// Tries of one request before its job waits; the queue has the patience.
const ATTEMPTS: u32 = 3;
/// The longest pause in between.
const PAUSE: Duration = Duration::from_secs(5);
/// What we call ourselves.
const USER_AGENT: &str = concat!("rregistry/", env!("CARGO_PKG_VERSION"), " (replication)");

/// The other registry.
#[derive(Debug)]
pub(super) struct Remote {
    /// For lists, and for all that is sent there.
    pub(super) client: Client,
    /// For what is fetched from there.
    pub(super) upstream: Upstream,
    domain: String,
    prefix: String,
    fetching: Mutex<HashMap<Digest, Weak<tokio::sync::Mutex<()>>>>,
}

impl Remote {
    /// Prepares for a registry, without asking it anything.
    pub(super) async fn open(rule: &Replicate) -> Result<Self, ReplicationError> {
        let place = Place::parse(&rule.url).filter(|place| place.plain_http.is_some());
        let place = place.ok_or_else(|| ReplicationError::Url {
            rule: rule.name.clone(),
            url: rule.url.clone(),
        })?;
        let credentials = rule.remote().credentials();
        let credentials = credentials.map_err(|cause| ReplicationError::Read {
            rule: rule.name.clone(),
            path: rule.password_file.clone().unwrap_or_default(),
            cause,
        })?;
        let domain = domain(&place);
        let mut config = Config {
            user_agent: USER_AGENT.to_owned(),
            idle_timeout: rule.timeout,
            max_concurrent_uploads: rule.at_once.saturating_mul(2),
            ..Config::default()
        };
        config.retry.attempts = ATTEMPTS;
        config.retry.max = PAUSE;
        let settings = RegistrySettings {
            insecure: rule.insecure,
            ca: rule.ca.clone(),
            plain_http: place.plain_http,
            credentials: credentials.clone(),
            ..RegistrySettings::default()
        };
        config.registries.set(&domain, settings);
        let upstream = Upstream::new(UpstreamSettings {
            url: rule.url.clone(),
            credentials,
            ca: rule.ca.clone(),
            insecure: rule.insecure,
            user_agent: USER_AGENT.to_owned(),
            idle_timeout: rule.timeout,
        });
        let upstream = upstream.await.map_err(|cause| ReplicationError::Client {
            rule: rule.name.clone(),
            cause: Box::new(cause),
        })?;
        Ok(Self {
            client: Client::new(config),
            upstream,
            domain,
            prefix: place.prefix,
            fetching: Mutex::default(),
        })
    }

    /// The registry as the client names it.
    pub(super) fn domain(&self) -> &str {
        &self.domain
    }

    /// A repository's name without what the URL puts before it; `None` when it is another one.
    pub(super) fn within<'n>(&self, path: &'n str) -> Option<&'n str> {
        match self.prefix.as_str() {
            "" => Some(path),
            prefix => path.strip_prefix(prefix)?.strip_prefix('/'),
        }
    }

    /// A repository there.
    pub(super) fn repository(&self, path: &str) -> Result<Repository, Trouble> {
        let name = match self.prefix.as_str() {
            "" => format!("{}/{path}", self.domain),
            prefix => format!("{}/{prefix}/{path}", self.domain),
        };
        name.parse()
            .map_err(|e| Trouble::own(format!("{name} is no repository there: {e}")))
    }

    /// What a tag or digest of a repository there is called.
    pub(super) fn reference(&self, path: &str, what: &ManifestRef) -> Result<Reference, Trouble> {
        let repository = self.repository(path)?;
        let tag = match what {
            ManifestRef::Tag(tag) => Some(tag.as_str()),
            ManifestRef::Digest(_) => None,
        };
        let reference = Reference::new(repository, tag);
        let reference = reference.map_err(|e| Trouble::own(e.to_string()))?;
        Ok(match what {
            ManifestRef::Tag(_) => reference,
            ManifestRef::Digest(digest) => reference.with_digest(digest.clone()),
        })
    }

    /// What a tag or digest stands for there now.
    pub(super) async fn head(
        &self,
        path: &str,
        what: &ManifestRef,
    ) -> Result<Option<Digest>, Trouble> {
        let found = self.look(path, what).await?;
        Ok(found.map(|found| found.digest))
    }

    /// The same, with what kind of manifest it is.
    pub(super) async fn look(
        &self,
        path: &str,
        what: &ManifestRef,
    ) -> Result<Option<Descriptor>, Trouble> {
        let reference = self.reference(path, what)?;
        match self.client.head(&reference).await {
            Ok(found) => Ok(Some(found)),
            Err(Error::ManifestNotFound { .. } | Error::RepositoryNotFound { .. }) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    /// The tags of a repository there; none when there is no such repository.
    pub(super) async fn tags(&self, path: &str) -> Result<Vec<String>, Trouble> {
        match self.client.tags(&self.repository(path)?).await {
            Ok(tags) => Ok(tags),
            Err(Error::RepositoryNotFound { .. }) => Ok(Vec::new()),
            Err(e) => Err(e.into()),
        }
    }

    /// Held by whoever fetches a blob: others find it here then.
    pub(super) fn fetching(&self, digest: &Digest) -> Arc<tokio::sync::Mutex<()>> {
        let mut fetching = lock(&self.fetching);
        fetching.retain(|_, lock| lock.strong_count() > 0);
        if let Some(lock) = fetching.get(digest).and_then(Weak::upgrade) {
            return lock;
        }
        let lock = Arc::new(tokio::sync::Mutex::new(()));
        fetching.insert(digest.clone(), Arc::downgrade(&lock));
        lock
    }
}

/// A host as references have it: one without dot and port would be the name of a folder.
fn domain(place: &Place) -> String {
    let host = &place.host;
    if host.contains(['.', ':']) || host == "localhost" {
        return host.clone();
    }
    let port = match place.plain_http {
        Some(true) => 80,
        _ => 443,
    };
    format!("{host}:{port}")
}

/// What was asked for, if it is there.
pub(super) fn found<T>(answer: Result<Answer<T>, Error>) -> Result<Option<T>, Trouble> {
    let Answer { outcome, limits } = answer?;
    let cause = match outcome {
        Outcome::Found(found) => return Ok(Some(found)),
        Outcome::Missing => return Ok(None),
        Outcome::Denied(cause) | Outcome::Limited(cause) | Outcome::Failed(cause) => cause,
    };
    let cause = RegistryError {
        retry_after: limits.retry_after,
        ..cause
    };
    Err(Trouble::answered(&cause, cause.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_host_is_a_domain() {
        for (url, name) in [
            ("http://registry", "registry:80"),
            ("https://registry/prefix", "registry:443"),
            ("http://registry:5000", "registry:5000"),
            ("https://registry.example.com", "registry.example.com"),
            ("http://localhost", "localhost"),
        ] {
            assert_eq!(domain(&Place::parse(url).unwrap()), name, "{url}");
        }
    }
}
