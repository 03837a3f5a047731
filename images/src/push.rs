//! Images of the store to registries.

use std::sync::Arc;

use bytes::Bytes;
use client::{Events, LayerState, PushLayer, Pushed};
use futures_util::future::{try_join, try_join_all};
use oci::blob::BlobStore;
use oci::layer::compression::{Compression, Kind};
use oci::manifest::{Manifest, ManifestDocument};
use oci::media_type::{self, LayerCompression};
use oci::{ChainId, Descriptor, DiffId, Digest, MediaType, Reference};
use store::{Image, RawManifest};

use crate::compressing::rank;
use crate::document;
use crate::error::ImageError;
use crate::form::Form;
use crate::layer::LayerTar;
use crate::making::{Compressed, Found, Making};
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
    compression: Option<Compression>,
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
            let chain = ChainId::chain(&image.layers);
            let layers = image.layers.iter().zip(&chain).enumerate();
            let pushes = layers.map(|(at, layer)| {
                make_and_push(images, reference, layer, form.of_layer(at), progress)
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
/// nobody asks for OCI's. Where tables of contents have changed layers, the configuration is
/// another one, which is in the store then.
pub(crate) async fn made(
    images: &Images,
    image: &Image,
    made: Vec<Compressed>,
    form: &Form,
) -> Result<Wanted, ImageError> {
    let (id, config_size) = config_of(images, image, &made).await?;
    let compression = |blob: &Descriptor| blob.media_type.layer_compression();
    let docker = !form.needs_oci()
        && made.iter().all(|Compressed { blob, .. }| {
            compression(blob) != Some(LayerCompression::Zstd) && blob.annotations.is_empty()
        });
    let layer_type = |blob: &Descriptor| match (docker, compression(blob)) {
        (true, Some(LayerCompression::None)) => media_type::DOCKER_LAYER,
        (true, _) => media_type::DOCKER_LAYER_GZIP,
        (false, Some(LayerCompression::Gzip)) => media_type::OCI_LAYER_GZIP,
        (false, Some(LayerCompression::None)) => media_type::OCI_LAYER,
        (false, _) => media_type::OCI_LAYER_ZSTD,
    };
    let layer = |Compressed { blob, .. }: &Compressed| {
        let mut layer = Descriptor::new(layer_type(blob), blob.digest.clone(), blob.size);
        layer.annotations.clone_from(&blob.annotations);
        layer
    };
    let layers: Vec<Descriptor> = made.iter().map(layer).collect();
    let config_type = match docker {
        true => media_type::DOCKER_CONFIG,
        false => media_type::OCI_CONFIG,
    };
    let config = Descriptor::new(config_type, id, config_size);
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

/// The configuration that fits the layers: its digest and size. It is in the store.
async fn config_of(
    images: &Images,
    image: &Image,
    made: &[Compressed],
) -> Result<(Digest, u64), ImageError> {
    let bytes = images.store.config(&image.id).await?;
    if made.iter().map(|layer| &layer.diff_id).eq(&image.layers) {
        return Ok((image.id.clone(), bytes.len() as u64));
    }
    let diff_ids = made.iter().map(|layer| layer.diff_id.clone()).collect();
    let bytes = document::with_diff_ids(&bytes, diff_ids).map_err(|cause| {
        let what = "configuration";
        ImageError::Document { what, cause }
    })?;
    let (id, size) = (Digest::sha256(&bytes), bytes.len() as u64);
    images.store.put_blob(bytes).await?;
    Ok((id, size))
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

/// A layer in the form asked for, or in any that registries hold: one that is there, or that is
/// made from now on and kept.
pub(crate) async fn find_or_make(
    images: &Images,
    diff_id: &DiffId,
    chain_id: &ChainId,
    compression: Option<Compression>,
) -> Result<Found, ImageError> {
    if let Some(found) = images.compressed_before(diff_id, compression).await? {
        return Ok(found);
    }
    if images.store.snapshot(chain_id).await?.is_none() {
        let mut remotes = images.remotes(diff_id);
        remotes.retain(|remote| rank(&remote.blob, compression).is_some());
        remotes.sort_by_key(|remote| rank(&remote.blob, compression));
        if let Some(remote) = remotes.into_iter().next() {
            return Ok(Found::Done(Box::new(Compressed {
                blob: remote.blob,
                diff_id: diff_id.clone(),
            })));
        }
        images.bring(chain_id).await?;
    }
    let tar = LayerTar::find(images, diff_id, chain_id).await?;
    let compression = compression.unwrap_or(Kind::Gzip.into());
    images.compress(tar, diff_id, compression).await
}

/// As [`find_or_make`], and waits until it is made.
pub(crate) async fn registry_blob(
    images: &Images,
    diff_id: &DiffId,
    chain_id: &ChainId,
    compression: Option<Compression>,
    progress: &dyn PushProgress,
) -> Result<Compressed, ImageError> {
    match find_or_make(images, diff_id, chain_id, compression).await? {
        Found::Done(made) => Ok(*made),
        Found::Making(making) => made_by(&making, diff_id, progress).await,
    }
}

async fn made_by(
    making: &Making,
    diff_id: &DiffId,
    progress: &dyn PushProgress,
) -> Result<Compressed, ImageError> {
    let tell = |current, total| {
        progress.layer(diff_id, &LayerState::Compressing { current, total });
    };
    making.whole(&tell).await
}

/// Makes a layer if need be, and brings it into a repository, while it is made if it is large.
async fn make_and_push(
    images: &Images,
    reference: &Reference,
    (diff_id, chain_id): (&DiffId, &ChainId),
    compression: Option<Compression>,
    progress: &dyn PushProgress,
) -> Result<Compressed, ImageError> {
    let (layer, sent) = match find_or_make(images, diff_id, chain_id, compression).await? {
        Found::Done(made) => (*made, false),
        Found::Making(making) => {
            let repository = reference.repository();
            let events = OfLayer { diff_id, progress };
            let client = images.client().await?;
            let sending = async {
                let sent = client.push_growing(repository, making.growing(), &events);
                Ok(sent.await?)
            };
            try_join(made_by(&making, diff_id, progress), sending).await?
        }
    };
    if !sent {
        push_layer(images, reference, diff_id, &layer.blob, progress).await?;
    }
    Ok(layer)
}
