//! A registry, or a mirror of one, and how it is reached.

use oci::reference::{DEFAULT_DOMAIN, Repository};
use reqwest::{StatusCode, Url};

use crate::auth::{Auth, Scopes, Source};
use crate::config::{Config, Mirror};
use crate::error::Error;
use crate::http::Transports;
use crate::origin::Origin;

/// Where Docker Hub's API is.
const HUB_HOST: &str = "registry-1.docker.io";

/// One server that speaks the distribution protocol.
pub(crate) struct Endpoint {
    /// `host[:port]` as the user knows it; credentials and settings go by it.
    pub(crate) name: String,
    /// Where its API is.
    pub(crate) home: Origin,
    /// The transport to its home.
    pub(crate) http: reqwest::Client,
    /// How it is authenticated to.
    pub(crate) auth: Auth,
    base: Url,
    prefix: String,
    /// For a mirror: the registry that it mirrors.
    mirror_of: Option<String>,
}

/// Which server is meant.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Spec {
    pub(crate) name: String,
    /// `Some(true)` for plain http, `Some(false)` for https, `None` to find out.
    pub(crate) plain_http: Option<bool>,
    pub(crate) prefix: String,
    pub(crate) mirror_of: Option<String>,
}

impl Spec {
    /// The registry of that name.
    pub(crate) fn registry(name: &str) -> Self {
        Self {
            name: crate::config::registries::canonical(name),
            plain_http: None,
            prefix: String::new(),
            mirror_of: None,
        }
    }

    /// A mirror of a registry.
    pub(crate) fn mirror(mirror: &Mirror, of: &str) -> Self {
        Self {
            name: mirror.host.clone(),
            plain_http: mirror.plain_http,
            prefix: mirror.prefix.clone(),
            mirror_of: Some(of.to_owned()),
        }
    }

    fn host(&self) -> &str {
        match self.name.as_str() {
            DEFAULT_DOMAIN => HUB_HOST,
            other => other,
        }
    }
}

impl Endpoint {
    /// Makes contact: https, and for this machine or a registry marked `insecure` plain http
    /// where https gets no answer, as docker does.
    pub(crate) async fn reach(
        spec: &Spec,
        source: Source,
        config: &Config,
        transports: &Transports,
    ) -> Result<Self, Error> {
        let host = spec.host();
        let url = |scheme: &str| {
            format!("{scheme}://{host}/")
                .parse::<Url>()
                .map_err(|_| Error::Protocol {
                    what: format!("registry {:?}", spec.name),
                    reason: "its name makes no URL".to_owned(),
                })
        };
        let http = transports.for_home(&spec.name, host).await?;
        let origin = |url: &Url| {
            Origin::of(url).ok_or_else(|| Error::Protocol {
                what: format!("registry {:?}", spec.name),
                reason: "its URL has no host".to_owned(),
            })
        };
        let secure = url("https")?;
        let lenient = origin(&secure)?.is_loopback() || config.registries.is_insecure(&spec.name);
        let base = match spec.plain_http {
            Some(true) => url("http")?,
            Some(false) => secure,
            None if !lenient => secure,
            None => {
                let plain = url("http")?;
                if answers(&http, &secure, transports, &spec.name)
                    .await
                    .is_ok()
                {
                    secure
                } else {
                    answers(&http, &plain, transports, &spec.name).await?;
                    plain
                }
            }
        };
        let home = origin(&base)?;
        Ok(Self {
            name: spec.name.clone(),
            auth: Auth::new(spec.name.clone(), home.clone(), source),
            home,
            http,
            base,
            prefix: spec.prefix.clone(),
            mirror_of: spec.mirror_of.clone(),
        })
    }

    /// `/v2/TAIL`.
    pub(crate) fn url(&self, tail: &str) -> Result<Url, Error> {
        let mut url = self
            .base
            .join(&format!("/v2/{tail}"))
            .map_err(|_| Error::Protocol {
                what: format!("{}v2/{tail}", self.base),
                reason: "is no URL".to_owned(),
            })?;
        // Tells a pull-through cache of several registries which one is meant.
        if let Some(of) = &self.mirror_of {
            url.query_pairs_mut().append_pair("ns", of);
        }
        Ok(url)
    }

    /// `/v1/TAIL`: what is left of Docker's first API.
    pub(crate) fn first_api(&self, tail: &str) -> Result<Url, Error> {
        let url = self.base.join(&format!("/v1/{tail}"));
        url.map_err(|_| Error::Protocol {
            what: format!("{}v1/{tail}", self.base),
            reason: "is no URL".to_owned(),
        })
    }

    /// The path of a repository on this server.
    pub(crate) fn path(&self, repository: &Repository) -> String {
        self.at(repository.path())
    }

    /// The same for a path that stands in no reference.
    pub(crate) fn at(&self, path: &str) -> String {
        if self.prefix.is_empty() {
            path.to_owned()
        } else {
            format!("{}/{path}", self.prefix)
        }
    }

    /// `/v2/REPOSITORY/TAIL`.
    pub(crate) fn repository_url(&self, repository: &Repository, tail: &str) -> Result<Url, Error> {
        self.url(&format!("{}/{tail}", self.path(repository)))
    }

    /// The scope of actions on a repository.
    pub(crate) fn scopes(&self, repository: &Repository, actions: &str) -> Scopes {
        Scopes::repository(&self.path(repository), actions)
    }

    /// Where a `Location` points. A registry behind a proxy that ends TLS may not know that it is
    /// reached by https and name itself by http; that is mended, not followed.
    pub(crate) fn location(&self, current: &Url, location: &str) -> Option<Url> {
        let mut url = current.join(location).ok()?;
        let to_self = url
            .host_str()
            .is_some_and(|h| h.eq_ignore_ascii_case(self.home.host()))
            && url.port() == self.base.port();
        if self.home.is_https() && url.scheme() == "http" && to_self {
            url.set_scheme("https").ok()?;
        }
        Some(url)
    }
}

/// Whether a distribution registry, or anything that speaks HTTP, is there.
async fn answers(
    http: &reqwest::Client,
    base: &Url,
    transports: &Transports,
    name: &str,
) -> Result<(), Error> {
    let url = base.join("/v2/").unwrap_or_else(|_| base.clone());
    let response = transports
        .timed(http.get(url.clone()).send(), name, &url)
        .await?;
    // A TLS server that is spoken to in plain http says so with a 400.
    if base.scheme() == "http" && response.status() == StatusCode::BAD_REQUEST {
        return Err(Error::Protocol {
            what: url.to_string(),
            reason: "the server does not take plain http".to_owned(),
        });
    }
    Ok(())
}
