//! Blobs that come and go, where several processes share an object store.
//!
//! Within a process a lock keeps a blob from being taken away while somebody brings the same one.
//! Between processes the database does. Whoever brings a blob announces it first, and what is shown
//! has to be announced still. Whoever takes blobs away says so in the transaction that finds that
//! nobody needs them or has announced them, and takes that back when their objects are gone: who
//! wants to bring one of them waits until then. All writers come one after the other, so that one
//! of the two is first.

use std::sync::Arc;

use oci::Digest;

use super::database::Meta;
use super::engine::{query, query_scalar};
use super::error::MetaError;
use super::job::job;
use super::replica::Announced;
use super::sql::json;
use crate::clock::now;

/// After how many seconds without a word from it a process is gone, and its announcements with it.
const SILENT: i64 = 60;
/// After how many seconds those that are leaving are taken away by somebody else.
const STUCK: i64 = 600;

impl Meta {
    /// Says that a blob is about to come; `None` when it is being taken away just now. Where only
    /// this process is at work there is nothing to say.
    ///
    /// # Errors
    /// [`MetaError`].
    pub async fn announce(&self, digest: &Digest) -> Result<Option<Announced>, MetaError> {
        let Some(replica) = &self.replica else {
            return Ok(Some(Announced(None)));
        };
        let announced = replica.bring(digest);
        let (replica, digest) = (Arc::clone(replica), digest.clone());
        let work = job(move |c| {
            Box::pin(async move {
                replica.tidy(c).await?;
                let done = query(
                    "INSERT INTO arriving (digest, replica, since)
                     SELECT ?1, ?2, ?3 WHERE NOT EXISTS (SELECT 1 FROM leaving WHERE digest = ?1)
                     ON CONFLICT (digest, replica) DO UPDATE SET since = excluded.since",
                )
                .bind(digest.to_string())
                .bind(replica.id.as_str())
                .bind(now())
                .execute(c)
                .await?;
                Ok(done.rows_affected() > 0)
            })
        });
        let free = self.writer.run(work, |_| {}).await?;
        Ok(free.then_some(announced))
    }

    /// Says that this process is at work, and forgets what it does not bring any more. To be done
    /// every few seconds.
    ///
    /// # Errors
    /// [`MetaError`].
    pub async fn beat(&self) -> Result<(), MetaError> {
        let Some(replica) = &self.replica else {
            return Ok(());
        };
        let replica = Arc::clone(replica);
        let work = job(move |c| {
            Box::pin(async move {
                query(
                    "INSERT INTO replicas (id, seen) VALUES (?, ?)
                     ON CONFLICT (id) DO UPDATE SET seen = excluded.seen",
                )
                .bind(replica.id.as_str())
                .bind(now())
                .execute(&mut *c)
                .await?;
                // Also those that a failed transaction was to forget.
                query(
                    "DELETE FROM arriving WHERE replica = ?1
                       AND digest NOT IN (SELECT value FROM json_each(?2))",
                )
                .bind(replica.id.as_str())
                .bind(json(&replica.brought())?)
                .execute(c)
                .await?;
                Ok(())
            })
        });
        self.writer.run(work, |()| {}).await
    }

    /// Has a blob that no row knows leave; whether it does. Its object may go then, and
    /// [`Meta::left`] is to be told.
    ///
    /// # Errors
    /// [`MetaError`].
    pub async fn leave_unknown(&self, digest: &Digest) -> Result<bool, MetaError> {
        let Some(replica) = &self.replica else {
            return Ok(!self.is_stored(digest).await?);
        };
        let (replica, digest) = (Arc::clone(replica), digest.clone());
        let work = job(move |c| {
            Box::pin(async move {
                let known: bool = query_scalar(
                    "SELECT EXISTS (SELECT 1 FROM blobs WHERE digest = ? AND stored = 1)",
                )
                .bind(digest.to_string())
                .fetch_one(&mut *c)
                .await?;
                Ok(!known && !replica.leave(c, &[digest]).await?.is_empty())
            })
        });
        self.writer.run(work, |_| {}).await
    }

    /// The objects of these are gone: they may come again.
    ///
    /// # Errors
    /// [`MetaError`].
    pub async fn left(&self, digests: &[Digest]) -> Result<(), MetaError> {
        if self.replica.is_none() || digests.is_empty() {
            return Ok(());
        }
        let digests = json(digests)?;
        let work = job(move |c| {
            Box::pin(async move {
                query("DELETE FROM leaving WHERE digest IN (SELECT value FROM json_each(?))")
                    .bind(digests)
                    .execute(c)
                    .await?;
                Ok(())
            })
        });
        self.writer.run(work, |()| {}).await
    }

    /// Forgets announcements of processes that are gone, and tells of some blobs whose
    /// removal a process began and did not end: it is to be done again, and [`Meta::left`] told.
    ///
    /// # Errors
    /// [`MetaError`].
    pub async fn stuck(&self) -> Result<Vec<Digest>, MetaError> {
        if self.replica.is_none() {
            return Ok(Vec::new());
        }
        let work = job(move |c| {
            Box::pin(async move {
                query("DELETE FROM replicas WHERE seen < ?")
                    .bind(now() - SILENT)
                    .execute(&mut *c)
                    .await?;
                query("DELETE FROM arriving WHERE replica NOT IN (SELECT id FROM replicas)")
                    .execute(&mut *c)
                    .await?;
                let stuck: Vec<String> = query_scalar(
                    "UPDATE leaving SET since = ?1 WHERE digest IN (
                         SELECT digest FROM leaving WHERE since < ?2 LIMIT 1000)
                     RETURNING digest",
                )
                .bind(now())
                .bind(now() - STUCK)
                .fetch_all(c)
                .await?;
                Ok(stuck)
            })
        });
        let stuck = self.writer.run(work, |_| {}).await?;
        let digests = stuck.iter().map(|text| {
            text.parse()
                .map_err(|e| MetaError::Corrupt(format!("digest {text:?}: {e}")))
        });
        digests.collect()
    }
}
