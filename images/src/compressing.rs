//! Layers on their way to the form that they have outside the store. Each form of each layer is
//! made once, one after the other, and can be sent while it is made.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use client::Growth;
use oci::blob::BlobWriter;
use oci::layer::compression::{Compression, Kind};
use oci::media_type::LayerCompression;
use oci::{ChainId, Descriptor, DiffId};
use store::Store;
use tokio::sync::Semaphore;

use crate::error::ImageError;
use crate::layer::{LayerTar, compress_into};
use crate::making::{Compressed, Form, Found, Making, Observed};
use crate::service::Images;

/// All that making a form takes.
struct Work {
    tar: LayerTar,
    form: Form,
    writer: Box<dyn BlobWriter>,
    observed: Observed,
    store: Store,
    turn: Arc<Semaphore>,
}

impl Work {
    async fn run(self) -> Result<Compressed, ImageError> {
        let Self {
            tar,
            form: (diff_id, compression),
            writer,
            observed,
            store,
            turn,
        } = self;
        let stop = Arc::clone(&observed.stop);
        let stopped = || match stop.load(Ordering::Relaxed) {
            true => Err(ImageError::Stopped),
            false => Ok(()),
        };
        let turn = turn.acquire_owned().await;
        if let Err(why) = stopped() {
            // Before the turn is given back, so that who has it next finds nothing left.
            drop(writer);
            return Err(why);
        }
        let made = tokio::task::spawn_blocking(move || {
            let made = compress_into(&tar, compression, writer, &observed);
            // Given back here, so that who has the turn knows that nothing is written any more.
            drop(turn);
            made
        });
        let made = made.await?;
        stopped()?;
        let Compressed { blob, diff_id: now } = made?;
        // What a table of contents has changed is no form of this layer.
        if now == diff_id {
            store.record_layer_blob(&diff_id, blob.clone()).await?;
        } else {
            store.record_layer_blob(&now, blob.clone()).await?;
        }
        Ok(Compressed { blob, diff_id: now })
    }
}

impl Images {
    /// Begins to make a form of a layer, unless that is done already.
    ///
    /// # Errors
    /// When no blob can be begun.
    pub(crate) async fn compress(
        &self,
        tar: LayerTar,
        diff_id: &DiffId,
        compression: Compression,
    ) -> Result<Found, ImageError> {
        let blobs = Arc::clone(self.store.blobs());
        let begun = tokio::task::spawn_blocking(move || blobs.growing()).await?;
        let (writer, file) = begun?;
        let form = (diff_id.clone(), compression);
        let total = tar.known_size().unwrap_or(0);
        let (making, observed, ended) = Making::new(file, total);
        let making = Arc::new(making);
        if let Some(other) = self.compressing.begin(&form, &making) {
            return Ok(other);
        }
        let all = Arc::downgrade(&self.compressing);
        let grown = Arc::clone(&observed.grown);
        let work = Work {
            tar,
            form: form.clone(),
            writer,
            observed,
            store: self.store.clone(),
            turn: Arc::clone(&self.compressing.turn),
        };
        tokio::spawn(async move {
            let made = work.run().await;
            let growth = match &made {
                Ok(made) => Growth::Whole(Box::new(made.blob.clone())),
                Err(_) => Growth::Failed,
            };
            if let Some(all) = all.upgrade() {
                match &made {
                    Ok(made) => all.done(form, made.clone()),
                    Err(_) => all.forget(&form),
                }
            }
            ended.send_replace(Some(made.map_err(Arc::new)));
            grown.send_replace(growth);
        });
        Ok(Found::Making(making))
    }

    /// Begins to compress a layer of a build that is not over, since its outputs will want it so.
    /// What is there already, or not in this store, is left alone.
    ///
    /// # Errors
    /// The store's.
    pub async fn compress_ahead(
        &self,
        diff_id: &DiffId,
        chain_id: &ChainId,
        compression: Option<Compression>,
    ) -> Result<(), ImageError> {
        if self
            .compressed_before(diff_id, compression)
            .await?
            .is_some()
            || self.store.snapshot(chain_id).await?.is_none()
        {
            return Ok(());
        }
        let tar = LayerTar::find(self, diff_id, chain_id).await?;
        let compression = compression.unwrap_or(Kind::Gzip.into());
        if let Found::Making(making) = self.compress(tar, diff_id, compression).await? {
            self.compressing.hold(making);
        }
        Ok(())
    }

    /// Ends what is compressed for a build that is over, and waits until it leaves nothing behind.
    pub async fn stop_compressing(&self) {
        for mut ending in self.compressing.let_go() {
            // Also one that has not begun: its file is there already. An error is an end too.
            let _ = ending.wait_for(Option::is_some).await;
        }
        // Whoever has the turn gives it back within milliseconds.
        drop(self.compressing.turn.acquire().await);
    }

    /// A form of a layer that needs not be made: this process has made it or is about to, or the
    /// store has it from before. Without `compression` any will do that registries hold.
    pub(crate) async fn compressed_before(
        &self,
        diff_id: &DiffId,
        compression: Option<Compression>,
    ) -> Result<Option<Found>, ImageError> {
        let wanted = compression.unwrap_or(Kind::Gzip.into());
        if let Some(found) = self.compressing.find(&(diff_id.clone(), wanted)) {
            match &found {
                Found::Making(_) => return Ok(Some(found)),
                Found::Done(made) => {
                    let there = self.store.use_blob(&made.blob.digest).await?;
                    if there == Some(made.blob.size) {
                        return Ok(Some(found));
                    }
                    self.compressing.forget(&(diff_id.clone(), wanted));
                }
            }
        }
        let mut known: Vec<Descriptor> = self.store.layer_blobs(diff_id).await?;
        known.retain(|blob| rank(blob, compression).is_some());
        known.sort_by_key(|blob| rank(blob, compression));
        for blob in known {
            if self.store.use_blob(&blob.digest).await? == Some(blob.size) {
                let diff_id = diff_id.clone();
                return Ok(Some(Found::Done(Box::new(Compressed { blob, diff_id }))));
            }
        }
        Ok(None)
    }
}

/// How well a blob of which nobody knows how it was made will do, if it will.
pub(crate) fn rank(blob: &Descriptor, wanted: Option<Compression>) -> Option<u8> {
    let found = blob.media_type.layer_compression()?;
    match wanted {
        None => match found {
            LayerCompression::Gzip => Some(0),
            LayerCompression::Zstd => Some(1),
            LayerCompression::None => None,
        },
        Some(wanted) => {
            let plain = !wanted.kind().has_contents();
            let same = wanted.kind().format() == found && wanted.level().is_none();
            (plain && same).then_some(0)
        }
    }
}
