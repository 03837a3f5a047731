//! What a registry holds, and deleting from it (distribution-spec, "Content Discovery" and
//! "Content Management"; Docker Registry HTTP API V2, "Catalog").

use oci::Reference;
use oci::reference::Repository;
use reqwest::{Method, StatusCode, Url};

use crate::Client;
use crate::auth::Scopes;
use crate::call::Call;
use crate::endpoint::Endpoint;
use crate::error::Error;
use crate::http::read_capped;
use crate::pages::{CatalogPage, Names, Pages, TagPage};
use crate::resolve::{explain, explain_denied};

const MAX_PAGE: u64 = 8 << 20;

impl Client {
    /// The tags of a repository, all pages of them, in the registry's order.
    ///
    /// # Errors
    /// [`Error::RepositoryNotFound`], [`Error::PullDenied`], and transport errors.
    pub async fn tags(&self, repository: &Repository) -> Result<Vec<String>, Error> {
        let endpoint = self.registry(repository.domain()).await?;
        let url = endpoint.repository_url(repository, "tags/list")?;
        let scopes = endpoint.scopes(repository, "pull");
        let pages = self.pages::<TagPage>(&endpoint, url, &scopes);
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
        self.pages::<CatalogPage>(&endpoint, url, &scopes).await
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

    async fn pages<P: Names>(
        &self,
        endpoint: &Endpoint,
        first: Url,
        scopes: &Scopes,
    ) -> Result<Vec<String>, Error> {
        let mut pages = Pages::new(endpoint, first);
        while let Some(url) = pages.next()? {
            let call = Call::new(Method::GET, url, scopes.clone());
            let (response, url) = self.send(endpoint, &call).await?;
            if response.status() != StatusCode::OK {
                return Err(self.refuse(endpoint, &call, response).await);
            }
            pages.follow(&url, response.headers());
            let idle = self.config().idle_timeout;
            let body = read_capped(response, MAX_PAGE, idle, &call.what()).await?;
            pages.add::<P>(&url, &body)?;
        }
        Ok(pages.whole())
    }
}
