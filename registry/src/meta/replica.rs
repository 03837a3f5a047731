//! One of several processes, and the blobs that it is bringing.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use oci::Digest;
use serde::Serialize;

use super::engine::{Connection, query, query_scalar};
use super::error::MetaError;
use super::sql::json;
use crate::clock::now;
use crate::sync::lock;

/// Rows of what is not brought any more that one transaction takes away.
const AT_ONCE: usize = 256;

/// This process, one of several.
#[derive(Debug)]
pub(super) struct Replica {
    pub(super) id: String,
    /// How often each blob is being brought. Those that are not any more have a row until a
    /// transaction comes along.
    bringing: Mutex<HashMap<Digest, usize>>,
}

/// A blob that is being brought. Held until its row is committed.
#[derive(Debug)]
pub struct Announced(pub(super) Option<(Arc<Replica>, Digest)>);

impl Drop for Announced {
    fn drop(&mut self) {
        if let Some((replica, digest)) = &self.0
            && let Some(count) = lock(&replica.bringing).get_mut(digest)
        {
            *count -= 1;
        }
    }
}

impl Replica {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            id: uuid::Uuid::new_v4().simple().to_string(),
            bringing: Mutex::default(),
        })
    }

    pub(super) fn bring(self: &Arc<Self>, digest: &Digest) -> Announced {
        *lock(&self.bringing).entry(digest.clone()).or_default() += 1;
        Announced(Some((Arc::clone(self), digest.clone())))
    }

    /// Some that are not brought any more, for the transaction that forgets them. They are not in
    /// memory from now on: whoever brings one again announces it after that transaction.
    fn idle(&self) -> Vec<Digest> {
        let mut bringing = lock(&self.bringing);
        let idle = bringing.iter().filter(|(_, count)| **count == 0);
        let idle: Vec<Digest> = idle
            .map(|(digest, _)| digest.clone())
            .take(AT_ONCE)
            .collect();
        for digest in &idle {
            bringing.remove(digest);
        }
        idle
    }

    /// All that are being brought.
    pub(super) fn brought(&self) -> Vec<Digest> {
        let mut bringing = lock(&self.bringing);
        bringing.retain(|_, count| *count > 0);
        bringing.keys().cloned().collect()
    }

    /// Takes away the rows of some that are not brought any more.
    pub(super) async fn tidy(&self, c: &mut Connection) -> Result<(), MetaError> {
        let idle = self.idle();
        if !idle.is_empty() {
            query(
                "DELETE FROM arriving WHERE replica = ?1
                   AND digest IN (SELECT value FROM json_each(?2))",
            )
            .bind(self.id.as_str())
            .bind(json(&idle)?)
            .execute(c)
            .await?;
        }
        Ok(())
    }

    /// Makes sure that what is about to be shown has been announced, and still is.
    ///
    /// # Errors
    /// [`MetaError::Unreachable`]: others took this process for gone. Everybody in the
    /// transaction has to try again.
    pub(super) async fn expects(
        &self,
        c: &mut Connection,
        digest: &Digest,
    ) -> Result<(), MetaError> {
        let announced: bool = query_scalar(
            "SELECT EXISTS (SELECT 1 FROM arriving WHERE digest = ?1 AND replica = ?2)",
        )
        .bind(digest.to_string())
        .bind(self.id.as_str())
        .fetch_one(c)
        .await?;
        match announced {
            true => Ok(()),
            false => Err(MetaError::Unreachable(format!(
                "this process was silent for so long that {digest} has to be announced again"
            ))),
        }
    }

    /// Those of `digests` that nobody brings, and nobody takes away already: they are leaving from
    /// now on.
    pub(super) async fn leave(
        &self,
        c: &mut Connection,
        digests: &[impl Serialize],
    ) -> Result<Vec<String>, MetaError> {
        self.tidy(c).await?;
        Ok(query_scalar(
            "INSERT INTO leaving (digest, since)
             SELECT j.value, ?2 FROM json_each(?1) j
             WHERE NOT EXISTS (SELECT 1 FROM arriving a WHERE a.digest = j.value)
             ON CONFLICT (digest) DO NOTHING
             RETURNING digest",
        )
        .bind(json(digests)?)
        .bind(now())
        .fetch_all(c)
        .await?)
    }
}
