//! All containers.

use store::StoredContainer;

use super::container::Container;
use super::handle::{Containers, blocking};
use crate::error::{Error, Result};

/// So many are read by one thread.
const BY_ONE: usize = 100;
/// So many threads at most read.
const MOST: usize = 8;

/// Reads many, by several threads where that is worth it: each is a file and some JSON.
fn read_all(
    stored: Vec<StoredContainer>,
    read: impl Fn(StoredContainer) -> Result<Option<Container>> + Sync,
) -> Result<Vec<Container>> {
    let one = |stored: StoredContainer| {
        let (dir, removing) = (stored.dir.clone(), stored.removing);
        match read(stored) {
            // One whose folder went away meanwhile is being removed.
            Err(Error::Io { .. }) if !removing && !dir.exists() => None,
            other => other.transpose(),
        }
    };
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = processors.min(MOST).min(stored.len() / BY_ONE);
    if threads < 2 {
        return stored.into_iter().filter_map(one).collect();
    }
    let share = stored.len().div_ceil(threads);
    let mut rest = stored.into_iter();
    std::thread::scope(|scope| {
        let shares = std::iter::from_fn(|| {
            let share: Vec<_> = rest.by_ref().take(share).collect();
            (!share.is_empty()).then_some(share)
        });
        let one = &one;
        let work = |share: Vec<_>| {
            scope.spawn(move || {
                share
                    .into_iter()
                    .filter_map(one)
                    .collect::<Result<Vec<_>>>()
            })
        };
        let threads: Vec<_> = shares.map(work).collect();
        let mut all = Vec::new();
        for thread in threads {
            let read = thread.join();
            all.extend(read.map_err(|_| Error::Invalid("a thread has panicked".to_owned()))??);
        }
        Ok(all)
    })
}

impl Containers {
    /// All containers, the newest first. What killed processes have left is put right.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn list(&self) -> Result<Vec<Container>> {
        let stored = self.store.containers().await?;
        let read = |stored| Container::read(stored).map(Some);
        self.tidy(blocking(move || read_all(stored, read)).await?)
            .await
    }

    /// The last that were made, so many at most, the newest first: the others are not read.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn list_newest(&self, most: usize) -> Result<Vec<Container>> {
        let mut stored = self.store.containers().await?;
        if most < stored.len() {
            let wanted = stored.drain(..most).collect();
            let read = |stored| Container::read(stored).map(Some);
            let all = blocking(move || read_all(wanted, read)).await?;
            let all = self.tidy(all).await?;
            // Unless some of them were nothing but left over.
            if all.len() == most {
                return Ok(all);
            }
        }
        self.list().await
    }

    /// Those that run; of the others only what has to be put right is looked at.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn list_alive(&self) -> Result<Vec<Container>> {
        let stored = self.store.containers().await?;
        let all = blocking(move || read_all(stored, Container::read_alive)).await?;
        let mut all = self.tidy(all).await?;
        all.retain(|container| container.state.status.is_alive());
        Ok(all)
    }

    /// Takes away what killed processes have left.
    async fn tidy(&self, all: Vec<Container>) -> Result<Vec<Container>> {
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
