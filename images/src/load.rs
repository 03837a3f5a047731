//! Images of an archive into the store.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use oci::archive::{ArchivedImage, ArchivedLayer, ImageArchive};
use oci::{ChainId, Digest, Reference};
use store::{NewImage, RawManifest};

use crate::error::ImageError;
use crate::ingest::{Promised, ingest};
use crate::progress::{Counted, LayerProgress, watched};
use crate::service::Images;

/// An image that was loaded.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// Its ID.
    pub id: Digest,
    /// Its names.
    pub references: Vec<Reference>,
    /// Names that another image had until now, with that image's ID.
    pub taken: Vec<(Reference, Digest)>,
}

/// Loads all images of an archive. Every layer of every image is read and verified before any of
/// the images is there.
///
/// # Errors
/// [`ImageError`]; no image is there then, and no tag has moved.
pub async fn load(
    images: &Images,
    archive: ImageArchive,
    progress: &dyn LayerProgress,
) -> Result<Vec<Loaded>, ImageError> {
    let mut sizes = Vec::new();
    for image in &archive.images {
        sizes.push(ingest_layers(images, image, progress).await?);
    }
    let mut loaded = Vec::new();
    for (image, size) in archive.images.into_iter().zip(sizes) {
        let id = Digest::sha256(&image.config);
        let mut taken = Vec::new();
        for reference in &image.references {
            match images.store.find(reference).await? {
                Some(there) if there.id != id => taken.push((reference.clone(), there.id)),
                _ => {}
            }
        }
        let references = image.references.clone();
        let stored = images.store.put_image(NewImage {
            config: image.config,
            manifest: image
                .manifest
                .map(|(media_type, bytes)| RawManifest { media_type, bytes }),
            size,
            tags: image.references,
            repo_digests: Vec::new(),
        });
        stored.await?;
        loaded.push(Loaded {
            id,
            references,
            taken,
        });
    }
    Ok(loaded)
}

/// Brings an image's layers in; returns the bytes of their files where no snapshots tell it.
///
/// # Errors
/// [`ImageError`]; layers that were complete stay.
pub(super) async fn ingest_layers(
    images: &Images,
    image: &ArchivedImage,
    progress: &dyn LayerProgress,
) -> Result<Option<u64>, ImageError> {
    let unpacks = rustix::process::geteuid().is_root();
    let diff_ids: Vec<_> = image.layers.iter().map(|l| l.diff_id.clone()).collect();
    let chain = ChainId::chain(&diff_ids);
    let mut size = 0;
    for (i, (layer, chain_id)) in image.layers.iter().zip(&chain).enumerate() {
        let parent = i.checked_sub(1).and_then(|below| chain.get(below));
        if images.store.snapshot(chain_id).await?.is_some() {
            continue;
        }
        size += ingest_layer(images, layer, parent, unpacks, progress).await?;
    }
    Ok((!unpacks).then_some(size))
}

async fn ingest_layer(
    images: &Images,
    layer: &ArchivedLayer,
    parent: Option<&ChainId>,
    unpacks: bool,
    progress: &dyn LayerProgress,
) -> Result<u64, ImageError> {
    let staged = match unpacks {
        true => Some(images.store.begin_snapshot().await?),
        false => None,
    };
    let upper = staged.as_ref().map(|staged| staged.upper().to_owned());
    let blobs = Arc::clone(images.store.blobs());
    let promised = Promised {
        diff_id: Some(layer.diff_id.clone()),
        blob: layer.descriptor.clone(),
    };
    let count = Arc::new(AtomicU64::new(0));
    let source = Counted::new(layer.open()?, &count);
    let work =
        tokio::task::spawn_blocking(move || ingest(source, &blobs, upper.as_deref(), &promised));
    let (id, total) = (layer.diff_id.digest(), layer.size);
    let brought = watched(work, &count, &|current| progress.layer(id, current, total))
        .await?
        .map_err(|error| ImageError::Layer {
            diff_id: layer.diff_id.to_string(),
            message: error.to_string(),
        })?;
    progress.done(id);
    images
        .store
        .record_layer_blob(&brought.diff_id, brought.blob)
        .await?;
    if let Some(staged) = staged {
        let sizes = (brought.size_tar, brought.size_files);
        staged
            .commit(parent, brought.diff_id, sizes.0, sizes.1, None)
            .await?;
    }
    Ok(brought.size_files)
}
