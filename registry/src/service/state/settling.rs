//! Small content on its way from the database to its files: see [`crate::meta::Meta::to_settle`].

use super::mending::{Trust, write};
use super::registry::Registry;
use crate::service::error::ServiceError;

/// Bytes of content in the database at which whoever brings more waits until it is settled.
const MOST: u64 = 16 << 20;
impl Registry {
    /// Makes the files of small content durable, and lets the database forget that content.
    ///
    /// # Errors
    /// [`ServiceError::Storage`], [`ServiceError::Meta`]; the database keeps it then.
    pub async fn settle(&self) -> Result<(), ServiceError> {
        let _alone = self.settling.lock().await;
        let Some(last) = self.meta.to_settle() else {
            return Ok(());
        };
        if let Err(e) = self.blobs.sync().await {
            // Said once; what is lost can be read until memory is short. And it may be of files
            // that are none of ours.
            tracing::warn!(error = %e, "small files are written again");
            write(&self.meta, &self.blobs, last, Trust::Nothing).await?;
        }
        Ok(self.meta.settle(last).await?)
    }

    /// The same when there is much of it.
    pub(in crate::service) async fn settle_much(&self) {
        if self.meta.unsettled_bytes() >= MOST
            && let Err(e) = self.settle().await
        {
            tracing::warn!(error = %e, "small files are not synced yet");
        }
    }
}
