//! Layer blobs to snapshots.

use std::io::BufReader;
use std::path::Path;
use std::sync::Arc;

use oci::blob::BlobStore as _;
use oci::layer::compression::{self, ReadAhead};
use oci::layer::unpack;
use oci::layer::verify::Verified;
use oci::{ChainId, DiffId, ImageConfig};

use crate::error::ImageError;
use crate::service::Images;

/// Unpacks the layers that have no snapshot yet, bottom first; each is checked against its diff
/// ID before it can be used.
async fn ensure_unpacked(images: &Images, diff_ids: &[DiffId]) -> Result<(), ImageError> {
    let chain = ChainId::chain(diff_ids);
    let Some(top) = chain.last() else {
        return Ok(());
    };
    // The whole chain, since a layer below may have been taken away.
    if !images.store.chain(top).await?.is_empty() {
        return Ok(());
    }
    if !rustix::process::geteuid().is_root() {
        return Err(ImageError::NeedsRoot);
    }
    for (i, (diff_id, chain_id)) in diff_ids.iter().zip(&chain).enumerate() {
        if images.store.snapshot(chain_id).await?.is_none() {
            let parent = i.checked_sub(1).and_then(|below| chain.get(below));
            unpack_layer(images, diff_id, parent).await?;
        }
    }
    images.store.make_durable().await?;
    Ok(())
}

/// The largest layer that is unpacked, in bytes. What was compressed has bounds of its own
/// besides.
const MAX_LAYER: u64 = 256 << 30;

async fn unpack_layer(
    images: &Images,
    diff_id: &DiffId,
    parent: Option<&ChainId>,
) -> Result<(), ImageError> {
    let failed = |message: String| ImageError::Layer {
        diff_id: diff_id.to_string(),
        message,
    };
    let blobs = Arc::clone(images.store.blobs());
    let known = images.store.layer_blobs(diff_id).await?;
    let staged = images.store.begin_snapshot().await?;
    let upper = staged.upper().to_owned();
    let wanted = diff_id.clone();
    let unpacked = tokio::task::spawn_blocking(move || {
        let mut missing =
            "the store has neither its files nor a blob of it; pull, load or build the image again"
                .to_owned();
        for blob in known {
            match blobs.open(&blob.digest) {
                Ok(reader) => {
                    return unpack_into(reader, &upper, wanted).map_err(|e| {
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
    })
    .await?;
    let (size_tar, size_files) = unpacked.map_err(failed)?;
    staged
        .commit(parent, diff_id.clone(), size_tar, size_files, None)
        .await?;
    Ok(())
}

/// Unpacks a layer blob; returns the bytes of its tar and of its files. Decompression, hashing and
/// writing overlap.
pub(crate) fn unpack_into(
    blob: impl std::io::Read + Send + 'static,
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
    pub async fn ensure_unpacked(&self, config: &ImageConfig) -> Result<(), ImageError> {
        ensure_unpacked(self, &config.rootfs.diff_ids).await
    }
}
