//! Layer blobs to snapshots.

use std::io::{BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use oci::blob::BlobStore as _;
use oci::layer::compression::{self, ReadAhead};
use oci::layer::reader::Reader;
use oci::layer::unpack;
use oci::layer::verify::Verified;
use oci::{ChainId, DiffId, ImageConfig};

use crate::error::ImageError;
use crate::progress::{Counted, LayerProgress, watched};
use crate::service::Images;

/// Unpacks the layers that have no snapshot yet, bottom first; each is checked against its diff
/// ID before it can be used.
async fn ensure_unpacked(
    images: &Images,
    diff_ids: &[DiffId],
    progress: &dyn LayerProgress,
) -> Result<(), ImageError> {
    let chain = ChainId::chain(diff_ids);
    let Some(top) = chain.last() else {
        return Ok(());
    };
    // The whole chain, since a layer below may have been taken away.
    if !images.store.chain(top).await?.is_empty() {
        return Ok(());
    }
    if !rustix::process::geteuid().is_root() {
        return Err(ImageError::NeedsRoot("unpacking the layers of an image"));
    }
    let mut parent = None;
    for diff_id in diff_ids {
        parent = Some(unpack_onto(images, diff_id, parent.as_ref(), progress).await?);
    }
    images.make_durable().await?;
    Ok(())
}

/// Unpacks a layer onto those of `parent`, unless that was done before; returns the stack.
pub(super) async fn unpack_onto(
    images: &Images,
    diff_id: &DiffId,
    parent: Option<&ChainId>,
    progress: &dyn LayerProgress,
) -> Result<ChainId, ImageError> {
    let chain_id = ChainId::extend(parent, diff_id);
    if images.store.snapshot(&chain_id).await?.is_none() {
        unpack_layer(images, diff_id, parent, progress).await?;
    }
    Ok(chain_id)
}

/// The largest layer that is unpacked, in bytes. What was compressed has bounds of its own
/// besides.
const MAX_LAYER: u64 = 256 << 30;

async fn unpack_layer(
    images: &Images,
    diff_id: &DiffId,
    parent: Option<&ChainId>,
    progress: &dyn LayerProgress,
) -> Result<(), ImageError> {
    let staged = images.store.begin_snapshot().await?;
    let upper = staged.upper().to_owned();
    let (size_tar, size_files) = read_blob(images, diff_id, progress, move |blob, wanted| {
        unpack_into(blob, &upper, wanted)
    })
    .await?;
    staged
        .commit(parent, diff_id.clone(), size_tar, size_files, None)
        .await?;
    Ok(())
}

/// Reads a layer's blob on another thread, and tells how far that is.
async fn read_blob<T: Send + 'static>(
    images: &Images,
    diff_id: &DiffId,
    progress: &dyn LayerProgress,
    work: impl FnOnce(Box<dyn Read + Send>, DiffId) -> Result<T, String> + Send + 'static,
) -> Result<T, ImageError> {
    let blobs = Arc::clone(images.store.blobs());
    let known = images.store.layer_blobs(diff_id).await?;
    let total = known.first().map_or(0, |blob| blob.size);
    let count = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&count);
    let wanted = diff_id.clone();
    let work = tokio::task::spawn_blocking(move || {
        let mut missing =
            "the store has neither its files nor a blob of it; pull, load or build the image again"
                .to_owned();
        for blob in known {
            match blobs.open(&blob.digest) {
                Ok(reader) => {
                    let reader = Box::new(Counted::new(reader, &counted));
                    return work(reader, wanted).map_err(|e| {
                        format!(
                            "blob {} in the store: {e}; if it is damaged, `rbuild fsck --repair` \
                             removes it",
                            blob.digest
                        )
                    });
                }
                Err(e) => missing = e.to_string(),
            }
        }
        Err(missing)
    });
    let id = diff_id.digest();
    let done = watched(work, &count, &|current| progress.layer(id, current, total)).await?;
    let done = done.map_err(|message| ImageError::Layer {
        diff_id: diff_id.to_string(),
        message,
    })?;
    progress.done(id);
    Ok(done)
}

/// Reads a layer blob and verifies it; returns the bytes of its files.
fn measure(blob: impl Read + Send + 'static, wanted: DiffId) -> Result<u64, String> {
    let blob = BufReader::with_capacity(1 << 20, blob);
    let (_, plain) = compression::decompress(blob).map_err(|e| e.to_string())?;
    let mut layer = Verified::new(plain, wanted, MAX_LAYER);
    let mut reader = Reader::new(&mut layer);
    let mut bytes = 0;
    while let Some(entry) = reader.next_entry().map_err(|e| e.to_string())? {
        bytes += entry.size;
    }
    layer.finish().map_err(|e| e.to_string())?;
    Ok(bytes)
}

/// Unpacks a layer blob; returns the bytes of its tar and of its files. Decompression, hashing and
/// writing overlap.
pub(crate) fn unpack_into(
    blob: impl Read + Send + 'static,
    upper: &Path,
    wanted: DiffId,
) -> Result<(u64, u64), String> {
    let blob = BufReader::with_capacity(1 << 20, blob);
    let (_, plain) = compression::decompress(blob).map_err(|e| e.to_string())?;
    let ahead = ReadAhead::new(plain).map_err(|e| e.to_string())?;
    let mut layer = Verified::new(ahead, wanted, MAX_LAYER);
    let target = oci::layer::open_dir(upper).map_err(|e| e.to_string())?;
    let unpacked = unpack::layer(&mut layer, &target, &unpack::UnpackOptions::default())
        .map_err(|e| e.to_string())?;
    if unpacked.opaque_root {
        // Overlay heeds no such mark on the root of a lower directory: what it hides would show.
        return Err("it hides every layer below it, and cannot be stacked on them".to_owned());
    }
    let size_tar = layer.finish().map_err(|e| e.to_string())?;
    Ok((size_tar, unpacked.bytes))
}

impl Images {
    /// Makes sure that every layer of an image is unpacked and can be stacked.
    ///
    /// # Errors
    /// When a layer's blob is missing or wrong.
    pub async fn ensure_unpacked(
        &self,
        config: &ImageConfig,
        progress: &dyn LayerProgress,
    ) -> Result<(), ImageError> {
        ensure_unpacked(self, &config.rootfs.diff_ids, progress).await
    }

    /// The bytes of an image's files, by reading its layers, each checked against its diff ID:
    /// for those who may not unpack them.
    ///
    /// # Errors
    /// When a layer's blob is missing or wrong.
    pub(crate) async fn measure(
        &self,
        config: &ImageConfig,
        progress: &dyn LayerProgress,
    ) -> Result<u64, ImageError> {
        let mut bytes: u64 = 0;
        for diff_id in &config.rootfs.diff_ids {
            bytes = bytes.saturating_add(read_blob(self, diff_id, progress, measure).await?);
        }
        Ok(bytes)
    }
}
