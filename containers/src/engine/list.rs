//! All containers.

use super::container::Container;
use super::handle::{Containers, blocking};
use crate::error::{Error, Result};

impl Containers {
    /// All containers, the newest first. What killed processes have left is put right.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn list(&self) -> Result<Vec<Container>> {
        let stored = self.store.containers().await?;
        let all = blocking(move || {
            let read = stored.into_iter().filter_map(|stored| {
                let (dir, removing) = (stored.dir.clone(), stored.removing);
                match Container::read(stored) {
                    // One whose folder went away meanwhile is being removed.
                    Err(Error::Io { .. }) if !removing && !dir.exists() => None,
                    other => Some(other),
                }
            });
            read.collect::<Result<Vec<_>>>()
        })
        .await?;
        let mut left = Vec::with_capacity(all.len());
        for container in all {
            match container.is_left_over() {
                true => {
                    self.store.remove_container(&container.id).await?;
                    if container.record.host.auto_remove {
                        self.remove_anonymous(&container).await?;
                    }
                    self.tell(&container, "destroy", &[]);
                }
                false => left.push(container),
            }
        }
        Ok(left)
    }

    /// Bytes of a container's writable layer, and of its image's layers.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn sizes(&self, container: &Container) -> Result<(u64, u64)> {
        let below = match &container.stored.chain_id {
            None => 0,
            Some(chain_id) => {
                let layers = self.store.chain(chain_id).await?;
                layers.iter().map(|layer| layer.size_disk).sum()
            }
        };
        let upper = container.stored.upper();
        let own =
            blocking(move || super::inspect::size_of(&upper).map_err(Error::io("measure", &upper)))
                .await?;
        Ok((own, below))
    }
}
