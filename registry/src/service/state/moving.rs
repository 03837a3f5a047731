//! Blobs that come and go, where other processes may bring and take the same ones.

use std::time::{Duration, Instant};

use oci::Digest;

use super::registry::Registry;
use crate::meta::{Announced, MetaError};
use crate::service::error::ServiceError;

/// How long who brings a blob waits until the same one is taken away.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long apart it is asked.
const PAUSE: Duration = Duration::from_millis(50);

impl Registry {
    /// Says that a blob is about to come: from before it gets its name until its row is committed no
    /// other process takes it away. The lock of
    /// [`Blobs::arriving`](crate::storage::Blobs::arriving) says so within this one, and is taken
    /// after this.
    ///
    /// # Errors
    /// [`MetaError::Unreachable`] when one that takes it away does not come to an end.
    pub(in crate::service) async fn announce(
        &self,
        digest: &Digest,
    ) -> Result<Announced, ServiceError> {
        let begun = Instant::now();
        loop {
            if let Some(announced) = self.meta.announce(digest).await? {
                return Ok(announced);
            }
            if begun.elapsed() > PATIENCE {
                let why = format!("{digest} is being taken away");
                return Err(MetaError::Unreachable(why).into());
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Tells other processes that this one is at work, which has to be done every few seconds.
    ///
    /// # Errors
    /// [`ServiceError::Meta`].
    pub async fn beat(&self) -> Result<(), ServiceError> {
        Ok(self.meta.beat().await?)
    }

    /// Takes away what processes that are gone were about to take away.
    pub(in crate::service) async fn end_removals(&self) -> Result<(), ServiceError> {
        loop {
            let stuck = self.meta.stuck().await?;
            if stuck.is_empty() {
                return Ok(());
            }
            self.blobs.remove(stuck.clone()).await?;
            self.meta.left(&stuck).await?;
        }
    }
}
