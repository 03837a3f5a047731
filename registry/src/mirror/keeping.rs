//! How much of what is mirrored is kept: what nobody pulled for longest goes first.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::whole::Mirror;
use crate::pattern::matches;
use crate::service::{Evicted, ServiceError};

/// How often it is looked at.
const INTERVAL: Duration = Duration::from_secs(60);

impl Mirror {
    /// Keeps what is mirrored within its limits for as long as the registry runs.
    pub async fn run_limits(self: Arc<Self>) {
        if self.settings.max_size.is_none() && self.settings.max_age.is_none() {
            return;
        }
        let mut tick = tokio::time::interval(INTERVAL);
        loop {
            tick.tick().await;
            if !self.registry.leads() {
                continue;
            }
            match self.keep_within().await {
                Ok(evicted) if evicted.manifests == 0 => {}
                Ok(evicted) => tracing::info!(
                    manifests = evicted.manifests,
                    bytes = evicted.bytes,
                    "mirrored images that nobody pulled were let go"
                ),
                Err(e) => tracing::warn!(error = %e, "mirrored images could not be let go"),
            }
        }
    }

    /// Lets go what is too old or too much, pinned repositories aside.
    ///
    /// # Errors
    /// [`ServiceError`]; what went until then is gone.
    pub async fn keep_within(&self) -> Result<Evicted, ServiceError> {
        let pinned = &self.settings.pinned;
        let kept = |name: &str| pinned.iter().any(|pattern| matches(pattern, name));
        let mirrored = |name: &str| self.names.is_mirrored(name) && !kept(name);
        let repositories = self.registry.repositories_where(mirrored).await?;
        let mut all = Evicted::default();
        if let Some(age) = self.settings.max_age {
            let age = i64::try_from(age.as_secs()).unwrap_or(i64::MAX);
            all += self.registry.evict_older(&repositories, age).await?;
        }
        if let Some(size) = self.settings.max_size {
            all += self.registry.evict_down_to(&repositories, size).await?;
        }
        self.counts.evicted.fetch_add(all.manifests, Relaxed);
        self.counts.evicted_bytes.fetch_add(all.bytes, Relaxed);
        Ok(all)
    }
}
