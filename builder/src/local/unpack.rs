//! Layer blobs to snapshots.

use std::io::BufReader;
use std::sync::Arc;

use oci::blob::BlobStore as _;
use oci::digest::Hashing;
use oci::layer::{compression, unpack};
use oci::{ChainId, DiffId};

use super::{Local, LocalError};

/// Unpacks the layers that have no snapshot yet, bottom first; each is checked against its diff
/// ID before it can be used.
pub async fn ensure_unpacked(local: &Local, diff_ids: &[DiffId]) -> Result<(), LocalError> {
    let chain = ChainId::chain(diff_ids);
    let Some(top) = chain.last() else {
        return Ok(());
    };
    if local.store.snapshot(top).await?.is_some() {
        return Ok(());
    }
    for (i, (diff_id, chain_id)) in diff_ids.iter().zip(&chain).enumerate() {
        if local.store.snapshot(chain_id).await?.is_none() {
            let parent = i.checked_sub(1).and_then(|below| chain.get(below));
            unpack_layer(local, diff_id, parent).await?;
        }
    }
    local.store.make_durable().await?;
    Ok(())
}

async fn unpack_layer(
    local: &Local,
    diff_id: &DiffId,
    parent: Option<&ChainId>,
) -> Result<(), LocalError> {
    let failed = |message: String| LocalError::Layer {
        diff_id: diff_id.to_string(),
        message,
    };
    let blobs = Arc::clone(local.store.blobs());
    let known = local.store.layer_blobs(diff_id).await?;
    let staged = local.store.begin_snapshot().await?;
    let upper = staged.upper().to_owned();
    let unpacked = tokio::task::spawn_blocking(move || {
        let mut missing = "its blob is not in the store; pull the image again".to_owned();
        for blob in known {
            let reader = match blobs.open(&blob.digest) {
                Ok(reader) => reader,
                Err(e) => {
                    missing = e.to_string();
                    continue;
                }
            };
            let (_, plain) = compression::decompress(BufReader::with_capacity(1 << 20, reader))
                .map_err(|e| e.to_string())?;
            let mut hashing = Hashing::new(plain);
            let target = oci::layer::open_dir(&upper).map_err(|e| e.to_string())?;
            unpack::layer(&mut hashing, &target, &unpack::UnpackOptions::default())
                .map_err(|e| e.to_string())?;
            // What follows the end of the archive is part of the layer's digest too.
            std::io::copy(&mut hashing, &mut std::io::sink()).map_err(|e| e.to_string())?;
            let (_, digest, size) = hashing.finish();
            return Ok((digest, size));
        }
        Err(missing)
    })
    .await?;
    let (digest, size) = unpacked.map_err(failed)?;
    if digest != *diff_id.digest() {
        return Err(failed(format!("the content of its blob is {digest}")));
    }
    staged
        .commit(parent, diff_id.clone(), size, size, None)
        .await?;
    Ok(())
}
