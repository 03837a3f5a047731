//! Small content on its way from the database to its files: see [`Meta::to_settle`].

use super::registry::Registry;
use crate::meta::Meta;
use crate::service::error::ServiceError;
use crate::storage::BlobFiles;
use crate::sync::blocking;

/// Bytes of content in the database at which whoever brings more waits until it is settled.
const MOST: u64 = 16 << 20;
/// Rows read at once.
const BATCH: u32 = 64;

/// Whether files are compared with their content, or written again in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trust {
    WhatIsRead,
    Nothing,
}

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
        let files = self.blobs.clone();
        if let Err(e) = blocking(move || files.sync()).await {
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

/// Brings the files of a registry that is being opened to what its database knows of them: after a
/// power cut they may be empty, or not be there.
pub(super) async fn recover(meta: &Meta, files: &BlobFiles) -> Result<(), ServiceError> {
    let Some(last) = meta.to_settle() else {
        return Ok(());
    };
    let mended = write(meta, files, last, Trust::WhatIsRead).await?;
    if mended > 0 {
        tracing::info!(
            files = mended,
            "small files were lost in a crash, and are back"
        );
    }
    let all = files.clone();
    blocking(move || all.sync()).await?;
    Ok(meta.settle(last).await?)
}

/// Writes what the database has of content up to the number `last`; how many files.
async fn write(
    meta: &Meta,
    files: &BlobFiles,
    last: i64,
    trust: Trust,
) -> Result<usize, ServiceError> {
    let (mut after, mut written) = (0, 0);
    while after < last {
        let some = meta.unsettled(after, BATCH).await?;
        let Some(end) = some.last() else { break };
        after = end.id;
        for one in some {
            let _arriving = files.arriving(&one.digest).await;
            let files = files.clone();
            let wrote = blocking(move || match trust {
                Trust::WhatIsRead => files.mend(&one.digest, &one.content),
                Trust::Nothing => files.write_again(&one.digest, &one.content).map(|()| true),
            });
            written += usize::from(wrote.await?);
        }
    }
    Ok(written)
}
