//! Blobs and manifests to a registry (distribution-spec, "Push"). Never to a mirror.

mod place;
mod referrer;
mod session;
mod streaming;
mod upload;

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::try_join_all;
use oci::blob::{BlobStore, MemoryBlobs};
use oci::reference::Repository;
use oci::{Descriptor, Digest, ManifestDocument, MediaType, Reference};
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use reqwest::{Method, StatusCode};

use crate::Client;
use crate::auth::Scopes;
use crate::call::{Body, Call};
use crate::config::registries::canonical;
use crate::endpoint::Endpoint;
use crate::error::Error;
use crate::events::{Events, LayerState, Silent};
use place::Place;
use upload::{Arrival, Target};

/// Repositories that one blob is tried to be mounted from.
const MAX_MOUNTS: usize = 3;
/// With it a registry says that it lists a manifest among those that refer to its subject.
const SUBJECT: &str = "oci-subject";

/// A blob to push.
#[derive(Clone, Debug)]
pub struct PushLayer {
    /// The blob.
    pub descriptor: Descriptor,
    /// Repositories that probably have it; those on another registry are passed over.
    pub mount_from: Vec<Repository>,
}

impl PushLayer {
    /// A blob that is known nowhere else.
    pub fn new(descriptor: Descriptor) -> Self {
        Self {
            descriptor,
            mount_from: Vec::new(),
        }
    }
}

/// An image to push.
#[derive(Clone, Debug)]
pub struct PushImage {
    /// The manifest, exactly as it is to stand in the registry.
    pub manifest: Bytes,
    /// Its media type.
    pub media_type: MediaType,
    /// The config.
    pub config: Descriptor,
    /// The layers, bottom first.
    pub layers: Vec<PushLayer>,
}

/// What the registry has now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pushed {
    /// The manifest's digest.
    pub digest: Digest,
    /// The manifest's size in bytes; docker prints it after the digest.
    pub size: u64,
    /// The manifest's media type.
    pub media_type: MediaType,
}

impl Client {
    /// Pushes an image: layers in parallel, then the config, the manifest last, so that nobody
    /// sees a tag whose blobs are missing. The bytes come from `source`, by digest.
    ///
    /// # Errors
    /// [`Error::Denied`], [`Error::Unauthorized`], [`Error::Registry`], [`Error::Blob`] when
    /// `source` lacks a blob, and transport errors once all tries are used up.
    pub async fn push(
        &self,
        reference: &Reference,
        image: &PushImage,
        source: &Arc<dyn BlobStore>,
        events: &dyn Events,
    ) -> Result<Pushed, Error> {
        let repository = reference.repository();
        let endpoint = self.registry(repository.domain()).await?;
        // One token for all, with every repository that is mounted from.
        let mut scopes = endpoint.scopes(repository, "pull,push");
        for layer in &image.layers {
            events.layer(&layer.descriptor, &LayerState::Preparing);
            scopes = scopes.and_pull(&mountable(layer, repository));
        }
        let layers = image
            .layers
            .iter()
            .map(|layer| self.push_one(&endpoint, repository, layer, &scopes, source, events));
        try_join_all(layers).await?;
        let config = PushLayer::new(image.config.clone());
        self.push_one(&endpoint, repository, &config, &scopes, source, &Silent)
            .await?;
        let bytes = image.manifest.clone();
        self.put(&endpoint, reference, bytes, &image.media_type, scopes)
            .await
    }

    /// Pushes one blob.
    ///
    /// # Errors
    /// As [`Client::push`].
    pub async fn push_blob(
        &self,
        repository: &Repository,
        layer: &PushLayer,
        source: &Arc<dyn BlobStore>,
        events: &dyn Events,
    ) -> Result<(), Error> {
        let endpoint = self.registry(repository.domain()).await?;
        let scopes = endpoint
            .scopes(repository, "pull,push")
            .and_pull(&mountable(layer, repository));
        self.push_one(&endpoint, repository, layer, &scopes, source, events)
            .await
    }

    /// Sees to it that a repository has a blob without sending it: it may be there, or be mounted
    /// from where `layer` says. False when that cannot be.
    ///
    /// # Errors
    /// As [`Client::push`].
    pub async fn place_blob(
        &self,
        repository: &Repository,
        layer: &PushLayer,
        events: &dyn Events,
    ) -> Result<bool, Error> {
        let endpoint = self.registry(repository.domain()).await?;
        let mount_from = mountable(layer, repository);
        let scopes = endpoint
            .scopes(repository, "pull,push")
            .and_pull(&mount_from);
        let blob = &layer.descriptor;
        let lock = self.blob_lock(&blob.digest);
        let _alone = lock.lock().await;
        // Nothing is sent, so that nobody has to wait for it.
        let target = Target {
            place: Place {
                client: self,
                endpoint: &endpoint,
                repository,
                scopes: &scopes,
            },
            blob,
            source: &(Arc::new(MemoryBlobs::default()) as Arc<dyn BlobStore>),
            events,
        };
        let state = match target.place(&mount_from).await? {
            Some(Arrival::Mounted(from)) => LayerState::MountedFrom(from.familiar()),
            Some(_) => LayerState::LayerAlreadyExists,
            None => return Ok(false),
        };
        events.layer(blob, &state);
        Ok(true)
    }

    /// Pushes a manifest or index whose content is there already.
    ///
    /// # Errors
    /// As [`Client::push`].
    pub async fn put_manifest(
        &self,
        reference: &Reference,
        bytes: Bytes,
        media_type: &MediaType,
    ) -> Result<Pushed, Error> {
        let repository = reference.repository();
        let endpoint = self.registry(repository.domain()).await?;
        let scopes = endpoint.scopes(repository, "pull,push");
        self.put(&endpoint, reference, bytes, media_type, scopes)
            .await
    }

    async fn push_one(
        &self,
        endpoint: &Endpoint,
        repository: &Repository,
        layer: &PushLayer,
        scopes: &Scopes,
        source: &Arc<dyn BlobStore>,
        events: &dyn Events,
    ) -> Result<(), Error> {
        let blob = &layer.descriptor;
        if blob.media_type.is_non_distributable() {
            events.layer(blob, &LayerState::SkippedForeignLayer);
            return Ok(());
        }
        // The same layer twice in an image is pushed once.
        let lock = self.blob_lock(&blob.digest);
        let _alone = lock.lock().await;
        let _permit = self
            .may_upload(|| events.layer(blob, &LayerState::Waiting))
            .await?;
        events.layer(blob, &LayerState::Preparing);
        let target = Target {
            place: Place {
                client: self,
                endpoint,
                repository,
                scopes,
            },
            blob,
            source,
            events,
        };
        let state = match target.bring(&mountable(layer, repository)).await? {
            Arrival::Existed => LayerState::LayerAlreadyExists,
            Arrival::Mounted(from) => LayerState::MountedFrom(from.familiar()),
            Arrival::Uploaded => LayerState::Pushed,
        };
        events.layer(blob, &state);
        Ok(())
    }

    /// Puts a manifest, and sees to it that whoever asks for what refers to its subject finds it.
    async fn put(
        &self,
        endpoint: &Endpoint,
        reference: &Reference,
        bytes: Bytes,
        media_type: &MediaType,
        scopes: Scopes,
    ) -> Result<Pushed, Error> {
        let document = ManifestDocument::parse(&bytes, Some(media_type)).ok();
        let document = document.filter(|document| document.subject().is_some());
        let (pushed, listed) = self
            .put_alone(endpoint, reference, bytes, media_type, scopes)
            .await?;
        if let (Some(document), false) = (document, listed) {
            self.list_referrer(endpoint, reference.repository(), &document, &pushed)
                .await?;
        }
        Ok(pushed)
    }

    /// Puts a manifest. Whether the registry says that it lists it among the referrers of its
    /// subject.
    async fn put_alone(
        &self,
        endpoint: &Endpoint,
        reference: &Reference,
        bytes: Bytes,
        media_type: &MediaType,
        scopes: Scopes,
    ) -> Result<(Pushed, bool), Error> {
        let key = reference.manifest_key();
        let algorithm = reference
            .digest()
            .map_or(oci::Algorithm::Sha256, Digest::algorithm);
        let digest = algorithm.digest(&bytes);
        let size = bytes.len() as u64;
        if let Some(expected) = reference.digest().filter(|expected| **expected != digest) {
            return Err(Error::DigestMismatch {
                what: format!("push of {}", reference.familiar()),
                expected: expected.clone(),
                actual: digest,
            });
        }
        let url = endpoint.repository_url(reference.repository(), &format!("manifests/{key}"))?;
        let content_type =
            HeaderValue::try_from(media_type.as_str()).map_err(|_| Error::Protocol {
                what: format!("push of {}", reference.familiar()),
                reason: format!("{media_type:?} cannot be sent as a Content-Type"),
            })?;
        let call = Call::new(Method::PUT, url, scopes)
            .header(CONTENT_TYPE, content_type)
            .body(Body::Bytes(bytes));
        let (response, _) = self.send(endpoint, &call).await?;
        if !response.status().is_success() {
            return Err(self.refuse(endpoint, &call, response).await);
        }
        let stated = response.headers().get("docker-content-digest");
        let stated = stated.and_then(|d| d.to_str().ok()?.parse::<Digest>().ok());
        match stated {
            Some(stated) if stated.algorithm() == algorithm && stated != digest => {
                Err(Error::DigestMismatch {
                    what: call.what(),
                    expected: digest,
                    actual: stated,
                })
            }
            _ => {
                let pushed = Pushed {
                    digest,
                    size,
                    media_type: media_type.clone(),
                };
                Ok((pushed, response.headers().contains_key(SUBJECT)))
            }
        }
    }

    /// Whether a repository has a blob; when a registry does not tell, it does not.
    pub(crate) async fn has_blob(
        &self,
        endpoint: &Endpoint,
        repository: &Repository,
        blob: &Descriptor,
        scopes: &Scopes,
    ) -> Result<bool, Error> {
        let url = endpoint.repository_url(repository, &format!("blobs/{}", blob.digest))?;
        let call = Call::new(Method::HEAD, url, scopes.clone());
        let (response, _) = self.send(endpoint, &call).await?;
        match response.status() {
            StatusCode::OK => Ok(true),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                Err(self.refuse(endpoint, &call, response).await)
            }
            _ => Ok(false),
        }
    }
}

/// The repositories that a mount can be asked from: others on the same registry.
fn mountable(layer: &PushLayer, repository: &Repository) -> Vec<Repository> {
    let mut all: Vec<Repository> = Vec::new();
    for from in &layer.mount_from {
        let usable = canonical(from.domain()) == canonical(repository.domain())
            && from.path() != repository.path()
            && !all.contains(from);
        if usable && all.len() < MAX_MOUNTS {
            all.push(from.clone());
        }
    }
    all
}
