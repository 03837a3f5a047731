//! The client itself: what is shared between all that a process does with registries.

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, Weak};

use oci::Digest;
use reqwest::{Method, Response, Url};
use tokio::sync::{OnceCell, Semaphore, SemaphorePermit};

use crate::auth::{Scopes, Source};
use crate::call::{self, Call};
use crate::config::Config;
use crate::endpoint::{Endpoint, Spec};
use crate::error::Error;
use crate::http::Transports;
use crate::sync::lock;

/// A client of distribution registries. Cheap to clone; clones share connections, tokens and
/// limits.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    config: Arc<Config>,
    transports: Transports,
    endpoints: Mutex<HashMap<Spec, Arc<OnceCell<Arc<Endpoint>>>>>,
    /// Mirrors that could not be reached are not tried again by this process.
    down: Mutex<HashSet<Spec>>,
    downloads: Semaphore,
    uploads: Semaphore,
    busy: Mutex<HashMap<Digest, Weak<tokio::sync::Mutex<()>>>>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

impl Client {
    /// A client of that configuration. Nothing is read or connected to yet.
    pub fn new(config: Config) -> Self {
        let config = Arc::new(config);
        Self(Arc::new(Inner {
            transports: Transports::new(Arc::clone(&config)),
            endpoints: Mutex::default(),
            down: Mutex::default(),
            downloads: Semaphore::new(config.max_concurrent_downloads.max(1)),
            uploads: Semaphore::new(config.max_concurrent_uploads.max(1)),
            busy: Mutex::default(),
            config,
        }))
    }

    /// The configuration.
    pub fn config(&self) -> &Config {
        &self.0.config
    }

    /// Asks for `/v2/`, as a check that a registry is there and takes our credentials.
    ///
    /// # Errors
    /// [`Error::Connect`], [`Error::Unauthorized`], and whatever else a registry may answer.
    pub async fn ping(&self, registry: &str) -> Result<(), Error> {
        let endpoint = self.registry(registry).await?;
        let call = Call::new(Method::GET, endpoint.url("")?, Scopes::none());
        let (response, _) = self.send(&endpoint, &call).await?;
        if response.status().is_success() {
            return Ok(());
        }
        Err(self.refuse(&endpoint, &call, response).await)
    }

    pub(crate) fn transports(&self) -> &Transports {
        &self.0.transports
    }

    /// Leave to download; `waiting` is told where others come first.
    pub(crate) async fn may_download(
        &self,
        waiting: impl FnOnce(),
    ) -> Result<SemaphorePermit<'_>, Error> {
        permit(&self.0.downloads, waiting).await
    }

    /// Leave to upload.
    pub(crate) async fn may_upload(
        &self,
        waiting: impl FnOnce(),
    ) -> Result<SemaphorePermit<'_>, Error> {
        permit(&self.0.uploads, waiting).await
    }

    /// A lock for each digest, so that a blob wanted twice at once is downloaded once.
    pub(crate) fn blob_lock(&self, digest: &Digest) -> Arc<tokio::sync::Mutex<()>> {
        let mut busy = lock(&self.0.busy);
        busy.retain(|_, lock| lock.strong_count() > 0);
        if let Some(lock) = busy.get(digest).and_then(Weak::upgrade) {
            return lock;
        }
        let lock = Arc::new(tokio::sync::Mutex::new(()));
        busy.insert(digest.clone(), Arc::downgrade(&lock));
        lock
    }

    /// The registry itself.
    pub(crate) async fn registry(&self, name: &str) -> Result<Arc<Endpoint>, Error> {
        self.endpoint(&Spec::registry(name)).await
    }

    async fn endpoint(&self, spec: &Spec) -> Result<Arc<Endpoint>, Error> {
        let cell = {
            let mut endpoints = lock(&self.0.endpoints);
            Arc::clone(endpoints.entry(spec.clone()).or_default())
        };
        let reach = || async {
            let own = self.0.config.registries.get(&spec.name);
            let source = match own.and_then(|own| own.credentials.clone()) {
                Some(credentials) => Source::Given(credentials),
                None => Source::Stored(self.0.config.docker.clone()),
            };
            let spec = Spec {
                plain_http: spec.plain_http.or(own.and_then(|own| own.plain_http)),
                ..spec.clone()
            };
            let reached = Endpoint::reach(&spec, source, &self.0.config, &self.0.transports);
            reached.await.map(Arc::new)
        };
        cell.get_or_try_init(reach).await.cloned()
    }

    /// Reads from the registry's mirrors in order, then from itself, until one has it. What a
    /// mirror answers wrongly is logged and forgotten: the registry has the last word.
    pub(crate) async fn read<T, F>(
        &self,
        registry: &str,
        mut work: impl FnMut(Arc<Endpoint>) -> F,
    ) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let upstream = Spec::registry(registry);
        let mirrors = self
            .0
            .config
            .registries
            .get(registry)
            .map(|s| s.mirrors.as_slice());
        for mirror in mirrors.unwrap_or_default() {
            let spec = Spec::mirror(mirror, &upstream.name);
            if self.down().contains(&spec) {
                continue;
            }
            let result = match self.endpoint(&spec).await {
                Ok(endpoint) => work(endpoint).await,
                Err(e) => Err(e),
            };
            match result {
                Ok(value) => return Ok(value),
                // Our own disk is not the mirror's fault, and the next would fail the same.
                Err(e @ Error::Blob { .. }) if !mismatched(&e) => return Err(e),
                Err(e) => {
                    if e.registry_error().is_some() {
                        tracing::debug!(mirror = mirror.host, "not from the mirror: {e}");
                    } else {
                        tracing::warn!(mirror = mirror.host, "not from the mirror: {e}");
                    }
                    if matches!(e, Error::Connect { .. }) {
                        self.down().insert(spec);
                    }
                }
            }
        }
        work(self.endpoint(&upstream).await?).await
    }

    fn down(&self) -> MutexGuard<'_, HashSet<Spec>> {
        lock(&self.0.down)
    }

    /// Sends what may be repeated.
    pub(crate) async fn send(
        &self,
        endpoint: &Endpoint,
        call: &Call,
    ) -> Result<(Response, Url), Error> {
        call::send(&self.0.transports, &self.0.config, endpoint, call).await
    }

    /// Sends once.
    pub(crate) async fn exchange(
        &self,
        endpoint: &Endpoint,
        call: &Call,
    ) -> Result<(Response, Url), Error> {
        call::exchange(&self.0.transports, endpoint, call).await
    }

    /// An unwelcome answer as an error.
    pub(crate) async fn refuse(
        &self,
        endpoint: &Endpoint,
        call: &Call,
        response: Response,
    ) -> Error {
        call::refuse(&self.0.transports, endpoint, call.what(), response).await
    }
}

async fn permit(
    semaphore: &Semaphore,
    waiting: impl FnOnce(),
) -> Result<SemaphorePermit<'_>, Error> {
    if let Ok(permit) = semaphore.try_acquire() {
        return Ok(permit);
    }
    waiting();
    semaphore
        .acquire()
        .await
        .map_err(|_| Error::Interrupted("a transfer"))
}

/// Whether the content was wrong, rather than the disk.
fn mismatched(error: &Error) -> bool {
    use oci::blob::BlobError;
    matches!(
        error,
        Error::Blob {
            cause: BlobError::DigestMismatch { .. } | BlobError::SizeMismatch { .. },
            ..
        }
    )
}
