//! Brings files of small content to what the database knows of them.

use crate::meta::Meta;
use crate::service::error::ServiceError;
use crate::storage::Blobs;

/// Rows read at once.
const BATCH: u32 = 64;

/// Whether files are compared with their content, or written again in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    /// Only those that are not the content are written.
    WhatIsRead,
    /// All are written.
    Nothing,
}

/// Brings the files of a registry that is being opened to what its database knows of them: after a
/// power cut they may be empty, or not be there.
pub(super) async fn recover(meta: &Meta, files: &Blobs) -> Result<(), ServiceError> {
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
    files.sync().await?;
    Ok(meta.settle(last).await?)
}

/// Writes what the database has of content up to the number `last`; how many files.
pub(super) async fn write(
    meta: &Meta,
    files: &Blobs,
    last: i64,
    trust: Trust,
) -> Result<usize, ServiceError> {
    let (mut after, mut written) = (0, 0);
    while after < last {
        let some = meta.unsettled(after, BATCH).await?;
        let Some(end) = some.last() else { break };
        after = end.id;
        for one in some {
            // A damaged database is no reason to damage a file.
            if one.digest.algorithm().digest(&one.content) != one.digest {
                tracing::error!(digest = %one.digest, "content in the database is not what its digest says, and is left out");
                continue;
            }
            let _arriving = files.arriving(&one.digest).await;
            let wrote = match trust {
                Trust::WhatIsRead => files.mend(&one.digest, &one.content).await?,
                Trust::Nothing => {
                    files.write_again(&one.digest, &one.content).await?;
                    true
                }
            };
            written += usize::from(wrote);
        }
    }
    Ok(written)
}
