//! Images of an archive into the store.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use oci::archive::{ArchivedBlob, ArchivedImage, ArchivedIndex, ArchivedLayer, ImageArchive};
use oci::blob::{BlobStore as _, DiskBlobs, Expected};
use oci::{ChainId, Digest, Reference};
use store::{NewImage, NewIndex, RawManifest};

use crate::error::ImageError;
use crate::ingest::{Promised, ingest};
use crate::progress::{Counted, LayerProgress, watched};
use crate::service::Images;

/// An image or index that was loaded.
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
    let mut ids = Vec::new();
    let in_index = |at| {
        let mut indexes = archive.indexes.iter();
        indexes.any(|index| index.images.iter().any(|(_, place)| *place == at))
    };
    let listed: Vec<bool> = (0..archive.images.len()).map(in_index).collect();
    for ((image, size), listed) in archive.images.into_iter().zip(sizes).zip(listed) {
        let id = Digest::sha256(&image.config);
        let taken = taken(images, &id, &image.references).await?;
        ids.push(id.clone());
        let references = image.references.clone();
        let stored = images.store.put_image(NewImage {
            config: image.config,
            manifest: image
                .manifest
                .map(|(media_type, bytes)| RawManifest { media_type, bytes }),
            size,
            tags: image.references,
            repo_digests: Vec::new(),
            parent: None,
        });
        stored.await?;
        // One that only an index leads to is told of with the index.
        if !listed || !references.is_empty() {
            loaded.push(Loaded {
                id,
                references,
                taken,
            });
        }
    }
    for index in archive.indexes {
        loaded.push(load_index(images, index, &ids).await?);
    }
    Ok(loaded)
}

/// The names of something new that other content has until now.
async fn taken(
    images: &Images,
    id: &Digest,
    references: &[Reference],
) -> Result<Vec<(Reference, Digest)>, ImageError> {
    let mut taken = Vec::new();
    for reference in references {
        match images.store.find(reference).await? {
            Some(there) if there.id() != id => {
                taken.push((reference.clone(), there.id().clone()));
            }
            _ => {}
        }
    }
    Ok(taken)
}

/// Loads an index whose images are in the store; `ids` are those of the archive's images.
async fn load_index(
    images: &Images,
    index: ArchivedIndex,
    ids: &[Digest],
) -> Result<Loaded, ImageError> {
    let mut blobs = Vec::new();
    for blob in index.blobs {
        blobs.push(blob.descriptor.digest.clone());
        let store = Arc::clone(images.store.blobs());
        tokio::task::spawn_blocking(move || copy_blob(&store, &blob)).await??;
    }
    images.store.expect_blobs(blobs.iter()).await?;
    let id = Digest::sha256(&index.bytes);
    let taken = taken(images, &id, &index.references).await?;
    let places = index.images.into_iter();
    let documents = index.documents.into_iter();
    let mut new = NewIndex {
        document: RawManifest {
            media_type: index.media_type,
            bytes: index.bytes,
        },
        images: places
            .filter_map(|(manifest, at)| Some((manifest, ids.get(at)?.clone())))
            .collect(),
        manifests: documents
            .map(|(media_type, bytes)| RawManifest { media_type, bytes })
            .collect(),
        blobs,
        tags: index.references.clone(),
        repo_digests: Vec::new(),
    };
    for (manifest, bytes) in index.manifests {
        new.manifests.push(RawManifest {
            media_type: manifest,
            bytes,
        });
    }
    images.store.put_index(new).await?;
    Ok(Loaded {
        id,
        references: index.references,
        taken,
    })
}

/// A blob of an archive into the store, verified.
fn copy_blob(store: &DiskBlobs, blob: &ArchivedBlob) -> Result<(), ImageError> {
    let failed = |e: std::io::Error| ImageError::Files(e.to_string());
    let mut writer = store.writer()?;
    std::io::copy(&mut blob.open()?, &mut writer).map_err(failed)?;
    writer.commit(&Expected {
        digest: Some(blob.descriptor.digest.clone()),
        size: Some(blob.descriptor.size),
    })?;
    Ok(())
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
