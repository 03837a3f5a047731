//! Small content that is durable here until its file is.
//!
//! A blob of some kilobytes costs more in syncs than in bytes: of its file, of its directory and of
//! its row. So its content goes into the transaction of the row, and its file, which has its name
//! by then, is synced later together with all others. Everybody reads the file; a row here is only
//! read again when the registry starts, or when the file could not be synced.

use std::path::Path;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Release};

use bytes::Bytes;
use futures_util::TryStreamExt;
use oci::Digest;
use sqlx::Connection;

use super::database::Meta;
use super::engine::{query, query_as};
use super::error::MetaError;
use super::file::read_only;

/// Content whose file may not be durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsettled {
    /// Its number: higher than that of all content that came before it.
    pub id: i64,
    /// What it should be.
    pub digest: Digest,
    /// What it is.
    pub content: Bytes,
}

impl Meta {
    /// Up to which number there is content to settle: the files of all up to it have their names.
    /// `None` when there is none.
    pub fn to_settle(&self) -> Option<i64> {
        let last = self.unsettled.last.load(Acquire);
        (last > self.unsettled.settled.load(Acquire)).then_some(last)
    }

    /// About how many bytes there are to settle.
    pub fn unsettled_bytes(&self) -> u64 {
        self.unsettled.bytes.load(Acquire)
    }

    /// Up to `n` of those after number `after`, of blobs that are still stored.
    ///
    /// # Errors
    /// [`MetaError`].
    pub async fn unsettled(&self, after: i64, n: u32) -> Result<Vec<Unsettled>, MetaError> {
        let rows: Vec<(i64, String, Vec<u8>)> = query_as(
            "SELECT u.id, u.digest, u.content FROM unsettled u
             JOIN blobs b ON b.digest = u.digest AND b.stored = 1
             WHERE u.id > ? ORDER BY u.id LIMIT ?",
        )
        .bind(after)
        .bind(n)
        .fetch_all(&self.readers)
        .await?;
        rows.into_iter()
            .map(|(id, digest, content)| {
                Ok(Unsettled {
                    id,
                    digest: digest
                        .parse()
                        .map_err(|e| MetaError::Corrupt(format!("digest {digest:?}: {e}")))?,
                    content: content.into(),
                })
            })
            .collect()
    }

    /// Forgets content up to the number `last`: its files are durable.
    ///
    /// # Errors
    /// [`MetaError`].
    pub async fn settle(&self, last: i64) -> Result<(), MetaError> {
        // What comes meanwhile is counted for the next time.
        self.unsettled.bytes.store(0, Release);
        self.writer
            .run(
                move |c| {
                    Box::pin(async move {
                        query("DELETE FROM unsettled WHERE id <= ?")
                            .bind(last)
                            .execute(c)
                            .await?;
                        Ok(())
                    })
                },
                |()| {},
            )
            .await?;
        self.unsettled.settled.fetch_max(last, AcqRel);
        Ok(())
    }
}

/// Reads content out of a database that may be damaged, as far as it can be read.
pub async fn salvage_content(path: &Path) -> Vec<(Digest, Bytes)> {
    let mut found = Vec::new();
    if tokio::fs::try_exists(path).await.unwrap_or(false)
        && let Ok(mut connection) = read_only(path).await
    {
        let mut rows =
            sqlx::query_as::<_, (String, Vec<u8>)>("SELECT digest, content FROM unsettled")
                .fetch(&mut connection);
        while let Ok(Some((digest, content))) = rows.try_next().await {
            found.extend(digest.parse().map(|digest| (digest, content.into())));
        }
        drop(rows);
        let _ = connection.close().await;
    }
    found
}
