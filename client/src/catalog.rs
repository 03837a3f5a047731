//! What a registry holds, and deleting from it (distribution-spec, "Content Discovery" and
//! "Content Management"; Docker Registry HTTP API V2, "Catalog").

use std::collections::HashSet;

use oci::Reference;
use oci::reference::Repository;
use reqwest::{Method, StatusCode, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::Client;
use crate::auth::Scopes;
use crate::call::Call;
use crate::endpoint::Endpoint;
use crate::error::Error;
use crate::http::{next_link, read_capped};
use crate::origin::Origin;
use crate::resolve::{explain, explain_denied};

const MAX_PAGE: u64 = 8 << 20;
/// Names in one listing; more would be a registry that pages for ever.
pub(crate) const MAX_NAMES: usize = 1_000_000;

/// A page of tags.
#[derive(Deserialize)]
pub(crate) struct TagList {
    #[serde(default)]
    pub(crate) tags: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Catalog {
    #[serde(default)]
    repositories: Option<Vec<String>>,
}

impl Client {
    /// The tags of a repository, all pages of them, in the registry's order.
    ///
    /// # Errors
    /// [`Error::RepositoryNotFound`], [`Error::PullDenied`], and transport errors.
    pub async fn tags(&self, repository: &Repository) -> Result<Vec<String>, Error> {
        let endpoint = self.registry(repository.domain()).await?;
        let url = endpoint.repository_url(repository, "tags/list")?;
        let scopes = endpoint.scopes(repository, "pull");
        let pages = self.pages(&endpoint, url, &scopes, |page: TagList| page.tags);
        pages.await.map_err(|e| match e {
            Error::Registry { cause, .. } if cause.status == StatusCode::NOT_FOUND => {
                Error::RepositoryNotFound {
                    repository: repository.familiar(),
                    cause,
                }
            }
            other => explain_denied(other, repository),
        })
    }

    /// The repositories of a registry, as far as it lists them to us.
    ///
    /// # Errors
    /// [`Error::Unauthorized`], [`Error::Denied`], and transport errors.
    pub async fn catalog(&self, registry: &str) -> Result<Vec<String>, Error> {
        let endpoint = self.registry(registry).await?;
        let url = endpoint.url("_catalog")?;
        let scopes = Scopes::catalog();
        self.pages(&endpoint, url, &scopes, |page: Catalog| page.repositories)
            .await
    }

    /// Deletes a manifest by digest, or a tag where the reference has only a tag.
    ///
    /// # Errors
    /// [`Error::ManifestNotFound`], [`Error::Denied`]; [`Error::Registry`] with status 405 where
    /// the registry has deletion disabled.
    pub async fn delete_manifest(&self, reference: &Reference) -> Result<(), Error> {
        let repository = reference.repository();
        let endpoint = self.registry(repository.domain()).await?;
        let tail = format!("manifests/{}", reference.manifest_key());
        let url = endpoint.repository_url(repository, &tail)?;
        let call = Call::new(Method::DELETE, url, endpoint.scopes(repository, "delete"));
        let (response, _) = self.send(&endpoint, &call).await?;
        if response.status().is_success() {
            return Ok(());
        }
        match self.refuse(&endpoint, &call, response).await {
            denied @ (Error::Unauthorized { .. } | Error::Denied { .. }) => Err(denied),
            other => Err(explain(other, reference)),
        }
    }

    async fn pages<P: DeserializeOwned>(
        &self,
        endpoint: &Endpoint,
        first: Url,
        scopes: &Scopes,
        names: impl Fn(P) -> Option<Vec<String>>,
    ) -> Result<Vec<String>, Error> {
        let mut all = Vec::new();
        let mut seen = HashSet::new();
        let mut next = Some(first);
        while let Some(url) = next.take() {
            let call = Call::new(Method::GET, url.clone(), scopes.clone());
            let what = call.what();
            let protocol = |reason: &str| Error::Protocol {
                what: what.clone(),
                reason: reason.to_owned(),
            };
            if Origin::of(&url).as_ref() != Some(&endpoint.home) {
                return Err(protocol("the next page is on another server"));
            }
            if !seen.insert(url) || all.len() > MAX_NAMES {
                return Err(protocol("the registry's pages have no end"));
            }
            let (response, url) = self.send(endpoint, &call).await?;
            if response.status() != StatusCode::OK {
                return Err(self.refuse(endpoint, &call, response).await);
            }
            next = next_link(response.headers(), &url)
                .and_then(|link| endpoint.location(&url, link.as_str()));
            let idle = self.config().idle_timeout;
            let body = read_capped(response, MAX_PAGE, idle, &what).await?;
            let page = serde_json::from_slice(&body)
                .map_err(|e| protocol(&format!("the answer is not the JSON expected: {e}")))?;
            all.extend(names(page).unwrap_or_default());
        }
        Ok(all)
    }
}
