//! A repository that blobs are uploaded to, and what every upload has in common.

use std::time::Duration;

use oci::reference::Repository;
use oci::{Algorithm, Descriptor};
use reqwest::{Method, Response, StatusCode, Url};

use super::session::Session;
use crate::Client;
use crate::auth::Scopes;
use crate::call::Call;
use crate::endpoint::Endpoint;
use crate::error::Error;
use crate::retry;

/// A blob up to this size goes along with the closing `PUT`, which spares a round trip.
pub(super) const SMALL: u64 = 1 << 20;
/// How often progress is told.
pub(super) const TICK: Duration = Duration::from_millis(100);

/// A try that failed, and the pause that the registry asked for.
pub(super) type Failed = (Error, Option<Duration>);

/// A repository of a registry, as a client reaches it.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) client: &'a Client,
    pub(super) endpoint: &'a Endpoint,
    pub(super) repository: &'a Repository,
    pub(super) scopes: &'a Scopes,
}

impl Place<'_> {
    /// Whether it has a blob.
    pub(super) async fn has(&self, blob: &Descriptor) -> Result<bool, Error> {
        let Self {
            client,
            endpoint,
            repository,
            scopes,
        } = *self;
        client.has_blob(endpoint, repository, blob, scopes).await
    }

    /// Where uploads begin.
    pub(super) fn uploads(&self) -> Result<Url, Error> {
        let Self {
            endpoint,
            repository,
            ..
        } = *self;
        endpoint.repository_url(repository, "blobs/uploads/")
    }

    /// Begins an upload of a blob that this algorithm will name.
    pub(super) async fn begin(&self, algorithm: Algorithm) -> Result<Session, Error> {
        let mut url = self.uploads()?;
        if algorithm != Algorithm::Sha256 {
            url.query_pairs_mut()
                .append_pair("digest-algorithm", algorithm.as_str());
        }
        let call = Call::new(Method::POST, url, self.scopes.clone());
        let (response, url) = self.client.send(self.endpoint, &call).await?;
        if !response.status().is_success() {
            return Err(self.client.refuse(self.endpoint, &call, response).await);
        }
        Session::begin(self.endpoint, &url, &response).ok_or_else(|| Error::Protocol {
            what: call.what(),
            reason: "the registry began an upload without a usable Location".to_owned(),
        })
    }

    /// An answer, if it is the one hoped for.
    pub(super) async fn taken(
        &self,
        call: &Call,
        (response, url): (Response, Url),
    ) -> Result<(Response, Url), Failed> {
        if response.status().is_success() {
            return Ok((response, url));
        }
        let asked = retry::retry_after(response.headers());
        let refused = self.client.refuse(self.endpoint, call, response);
        Err((refused.await, asked))
    }

    /// Lets the registry forget an upload; if that fails, it forgets by itself in time.
    pub(super) async fn cancel(&self, session: Session) {
        let call = Call::new(Method::DELETE, session.url, self.scopes.clone());
        let _ = self.client.exchange(self.endpoint, &call).await;
    }
}

/// Whether going on, or beginning anew, may mend it: what is transient, a range that the registry
/// did not expect, and an upload that it has forgotten.
pub(super) fn may_go_on(error: &Error) -> bool {
    error.is_transient()
        || error.registry_error().is_some_and(|cause| {
            matches!(
                cause.status,
                StatusCode::RANGE_NOT_SATISFIABLE | StatusCode::NOT_FOUND
            )
        })
}
