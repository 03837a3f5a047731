//! Images of the store to registries.

use std::io::BufWriter;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use bytes::Bytes;
use client::{Events, LayerState, PushLayer, Pushed};
use futures_util::future::try_join_all;
use oci::blob::BlobStore;
use oci::layer::compression::CompressOptions;
use oci::manifest::{Manifest, ManifestDocument};
use oci::media_type::{self, LayerCompression};
use oci::{ChainId, Descriptor, DiffId, Digest, MediaType, Reference};
use store::{Image, RawManifest};
use tokio::sync::Mutex;

use crate::document;
use crate::error::ImageError;
use crate::form::{Choice, Form};
use crate::layer::{self, LayerTar};
use crate::progress::watched;
use crate::service::Images;

/// Told of what becomes of each layer. Called from any thread: it must not block.
pub trait PushProgress: Send + Sync {
    /// All layers, topmost first, before anything is done.
    fn layers(&self, diff_ids: &[DiffId]);
    /// A layer has come to a new state, or further in it.
    fn layer(&self, diff_id: &DiffId, state: &LayerState);
}

/// A manifest, and the layers that it lists.
pub(crate) struct Wanted {
    pub(crate) manifest: Vec<u8>,
    pub(crate) media_type: MediaType,
    pub(crate) config: Descriptor,
    pub(crate) layers: Vec<Descriptor>,
}

/// Pushes an image under a name: layers in parallel, each as soon as its blob is there, then the
/// configuration, the manifest last. A pulled image goes out with the manifest that it came
/// with, as long as its blobs are there and no other compression is asked for.
///
/// # Errors
/// [`ImageError`]; the registry may have got some of the layers then, but no manifest.
pub async fn push_image(
    images: &Images,
    image: &Image,
    reference: &Reference,
    compression: Option<LayerCompression>,
    progress: &dyn PushProgress,
) -> Result<Pushed, ImageError> {
    let original = match compression {
        None => original(images, image).await?,
        Some(_) => None,
    };
    let form = Form {
        compression,
        ..Form::default()
    };
    let wanted = push_content(images, image, reference, original, &form, progress).await?;
    let client = images.client().await?;
    let pushed = client
        .put_manifest(reference, Bytes::from(wanted.manifest), &wanted.media_type)
        .await?;
    let by_digest = reference.with_digest(pushed.digest.clone());
    images
        .store
        .record_repo_digest(&image.id, &by_digest)
        .await?;
    Ok(pushed)
}

/// Pushes layers and configuration of an image, and returns the manifest that is to follow:
/// `original` if there is one, else one made of blobs of the form.
///
/// # Errors
/// [`ImageError`]; the registry may have got some of the layers then.
pub(crate) async fn push_content(
    images: &Images,
    image: &Image,
    reference: &Reference,
    original: Option<Wanted>,
    form: &Form,
    progress: &dyn PushProgress,
) -> Result<Wanted, ImageError> {
    let mut unique: Vec<DiffId> = Vec::new();
    for diff_id in image.layers.iter().rev() {
        if !unique.contains(diff_id) {
            unique.push(diff_id.clone());
        }
    }
    progress.layers(&unique);
    let wanted = match original {
        Some(wanted) => {
            let pushes = image
                .layers
                .iter()
                .zip(&wanted.layers)
                .map(|(diff_id, blob)| push_layer(images, reference, diff_id, blob, progress));
            try_join_all(pushes).await?;
            wanted
        }
        None => {
            let one_by_one = Mutex::new(());
            let chain = ChainId::chain(&image.layers);
            let layers = image.layers.iter().zip(&chain).enumerate();
            let pushes = layers.map(|(at, (diff_id, chain_id))| {
                let one_by_one = &one_by_one;
                async move {
                    let choice = form.of_layer(at);
                    let blob = {
                        // A compressor has all processors to itself.
                        let _turn = one_by_one.lock().await;
                        registry_blob(images, diff_id, chain_id, &choice, progress).await?
                    };
                    push_layer(images, reference, diff_id, &blob, progress).await?;
                    Ok::<_, ImageError>(blob)
                }
            });
            made(images, image, try_join_all(pushes).await?, form).await?
        }
    };
    let client = images.client().await?;
    let repository = reference.repository();
    let source: Arc<dyn BlobStore> = images.store.blobs().clone();
    let config = push_source(images, wanted.config.clone()).await?;
    client
        .push_blob(repository, &config, &source, &client::Silent)
        .await?;
    let blobs: Vec<Digest> = std::iter::once(&wanted.config)
        .chain(&wanted.layers)
        .filter(|blob| !blob.media_type.is_non_distributable())
        .map(|blob| blob.digest.clone())
        .collect();
    images.store.record_blob_sources(repository, &blobs).await?;
    Ok(wanted)
}

/// The manifest that the image came with, if every blob that it lists is there.
pub(super) async fn original(images: &Images, image: &Image) -> Result<Option<Wanted>, ImageError> {
    match images.store.manifest(image).await? {
        Some(raw) => usable(images, image, raw).await,
        None => Ok(None),
    }
}

/// A manifest of the image, if every blob that it lists is there.
pub(crate) async fn usable(
    images: &Images,
    image: &Image,
    raw: RawManifest,
) -> Result<Option<Wanted>, ImageError> {
    let Ok(ManifestDocument::Manifest(manifest)) =
        ManifestDocument::parse(&raw.bytes, Some(&raw.media_type))
    else {
        return Ok(None);
    };
    let Manifest { config, layers, .. } = manifest;
    if layers.len() != image.layers.len() || config.digest != image.id {
        return Ok(None);
    }
    for blob in layers
        .iter()
        .filter(|b| !b.media_type.is_non_distributable())
    {
        if images.store.use_blob(&blob.digest).await? != Some(blob.size) {
            return Ok(None);
        }
    }
    Ok(Some(Wanted {
        manifest: raw.bytes,
        media_type: raw.media_type,
        config,
        layers,
    }))
}

/// A manifest for layers of these blobs: Docker's as long as it has a word for them all, and
/// nobody asks for OCI's.
pub(crate) async fn made(
    images: &Images,
    image: &Image,
    blobs: Vec<Descriptor>,
    form: &Form,
) -> Result<Wanted, ImageError> {
    let config_size = images.store.config(&image.id).await?.len() as u64;
    let compression = |blob: &Descriptor| blob.media_type.layer_compression();
    let docker = !form.needs_oci()
        && blobs
            .iter()
            .all(|blob| compression(blob) != Some(LayerCompression::Zstd));
    let layer_type = |blob: &Descriptor| match (docker, compression(blob)) {
        (true, Some(LayerCompression::None)) => media_type::DOCKER_LAYER,
        (true, _) => media_type::DOCKER_LAYER_GZIP,
        (false, Some(LayerCompression::Gzip)) => media_type::OCI_LAYER_GZIP,
        (false, Some(LayerCompression::None)) => media_type::OCI_LAYER,
        (false, _) => media_type::OCI_LAYER_ZSTD,
    };
    let layers: Vec<Descriptor> = blobs
        .iter()
        .map(|blob| Descriptor::new(layer_type(blob), blob.digest.clone(), blob.size))
        .collect();
    let config_type = match docker {
        true => media_type::DOCKER_CONFIG,
        false => media_type::OCI_CONFIG,
    };
    let config = Descriptor::new(config_type, image.id.clone(), config_size);
    let manifest = match docker {
        true => document::docker_manifest(config.clone(), layers.clone()),
        false => document::oci_manifest(config.clone(), layers.clone(), &form.annotations),
    };
    Ok(Wanted {
        manifest: manifest.map_err(|cause| ImageError::Document {
            what: "manifest",
            cause,
        })?,
        media_type: match docker {
            true => media_type::DOCKER_MANIFEST.into(),
            false => media_type::OCI_MANIFEST.into(),
        },
        config,
        layers,
    })
}

/// Passes a blob's states on as the layer's.
struct OfLayer<'p> {
    diff_id: &'p DiffId,
    progress: &'p dyn PushProgress,
}

impl Events for OfLayer<'_> {
    fn layer(&self, _: &Descriptor, state: &LayerState) {
        self.progress.layer(self.diff_id, state);
    }
}

pub(crate) async fn push_source(
    images: &Images,
    blob: Descriptor,
) -> Result<PushLayer, ImageError> {
    let mount_from = images.store.blob_sources(&blob.digest).await?;
    Ok(PushLayer {
        descriptor: blob,
        mount_from,
    })
}

/// Brings a blob of a layer into a repository: one of the store, or one that can be had elsewhere,
/// which goes through here only when the registry cannot take it from there itself.
pub(crate) async fn push_layer(
    images: &Images,
    reference: &Reference,
    diff_id: &DiffId,
    blob: &Descriptor,
    progress: &dyn PushProgress,
) -> Result<(), ImageError> {
    let source: Arc<dyn BlobStore> = images.store.blobs().clone();
    let mut layer = push_source(images, blob.clone()).await?;
    let elsewhere = images.repositories(diff_id, &blob.digest);
    layer.mount_from.splice(..0, elsewhere);
    let events = OfLayer { diff_id, progress };
    let client = images.client().await?;
    if images.store.use_blob(&blob.digest).await?.is_none() {
        let repository = reference.repository();
        if client.place_blob(repository, &layer, &events).await? {
            return Ok(());
        }
        images.fetch_form(diff_id, blob).await?;
    }
    client
        .push_blob(reference.repository(), &layer, &source, &events)
        .await?;
    Ok(())
}

/// A layer's blob in a form that registries hold: one that is there, else made now and kept.
pub(crate) async fn registry_blob(
    images: &Images,
    diff_id: &DiffId,
    chain_id: &ChainId,
    choice: &Choice,
    progress: &dyn PushProgress,
) -> Result<Descriptor, ImageError> {
    let compression = choice.compression;
    let mut known: Vec<Descriptor> = images.store.layer_blobs(diff_id).await?;
    let rank = |blob: &Descriptor| match (blob.media_type.layer_compression(), compression) {
        (Some(found), Some(wanted)) => (found == wanted).then_some(0),
        (Some(LayerCompression::Gzip), None) => Some(0),
        (Some(LayerCompression::Zstd), None) => Some(1),
        _ => None,
    };
    known.retain(|blob| rank(blob).is_some());
    known.sort_by_key(|blob| rank(blob));
    // Which level made a blob nobody knows.
    known.retain(|_| choice.level.is_none());
    for blob in known {
        if images.store.use_blob(&blob.digest).await? == Some(blob.size) {
            return Ok(blob);
        }
    }
    if images.store.snapshot(chain_id).await?.is_none() {
        let mut remotes = images.remotes(diff_id);
        remotes.retain(|remote| choice.level.is_none() && rank(&remote.blob).is_some());
        remotes.sort_by_key(|remote| rank(&remote.blob));
        if let Some(remote) = remotes.into_iter().next() {
            return Ok(remote.blob);
        }
        images.bring(chain_id).await?;
    }
    let compression = compression.unwrap_or(LayerCompression::Gzip);
    let tar = LayerTar::find(images, diff_id, chain_id).await?;
    let blobs = Arc::clone(images.store.blobs());
    let total = tar.known_size().unwrap_or(0);
    let count = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&count);
    let options = CompressOptions {
        level: choice.level,
        ..CompressOptions::default()
    };
    let made = tokio::task::spawn_blocking(move || {
        let writer = BufWriter::with_capacity(1 << 20, blobs.writer()?);
        layer::compress_into(&tar, compression, &options, writer, &counted)
    });
    let tell = |current| progress.layer(diff_id, &LayerState::Compressing { current, total });
    let (digest, size) = watched(made, &count, &tell).await??;
    let media_type = match compression {
        LayerCompression::Gzip => media_type::DOCKER_LAYER_GZIP,
        LayerCompression::Zstd => media_type::OCI_LAYER_ZSTD,
        LayerCompression::None => media_type::DOCKER_LAYER,
    };
    let blob = Descriptor::new(media_type, digest, size);
    images
        .store
        .record_layer_blob(diff_id, blob.clone())
        .await?;
    Ok(blob)
}
