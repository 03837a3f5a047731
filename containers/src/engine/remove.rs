//! Removing a container, and giving it another name.

use super::container::Container;
use super::handle::{Containers, blocking};
use crate::error::{Error, Result};
use crate::names;
use crate::protocol::Request;
use crate::record::MountSource;

impl Containers {
    /// Removes a container; `force` kills it first.
    ///
    /// # Errors
    /// [`Error::Runs`] when it runs and force was not asked for.
    pub async fn remove(&self, container: &Container, force: bool) -> Result<()> {
        self.remove_only(container, force).await?;
        Ok(())
    }

    /// Removes a container, and the volumes without a name that it alone uses; `force` kills it
    /// first.
    ///
    /// # Errors
    /// As [`remove`](Self::remove).
    pub async fn remove_with_volumes(&self, container: &Container, force: bool) -> Result<()> {
        self.remove_only(container, force).await?;
        self.remove_anonymous(container).await
    }

    /// Removes the volumes without a name that no other container uses.
    pub(super) async fn remove_anonymous(&self, container: &Container) -> Result<()> {
        for point in &container.record.mounts {
            let MountSource::Volume {
                name,
                anonymous: true,
                ..
            } = &point.source
            else {
                continue;
            };
            match self.store.remove_volume(name).await {
                Err(store::Error::VolumeInUse { .. } | store::Error::NoSuchVolume(_)) => {}
                removed => removed?,
            }
        }
        Ok(())
    }

    async fn remove_only(&self, container: &Container, force: bool) -> Result<()> {
        let mut container = container.clone();
        if !container.state.status.can_remove() {
            if !force {
                return Err(Error::Runs {
                    name: container.name.clone(),
                    status: container.state.status,
                });
            }
            let again = container.clone();
            blocking(move || again.end_by_force()).await?;
        }
        let lock = {
            let container = container.clone();
            blocking(move || Ok(container.change().ok())).await?
        };
        // It may have been started again, or be gone.
        if self.store.container(&container.id).await?.is_none() {
            return Ok(());
        }
        container.again()?;
        if !container.state.status.can_remove() {
            return Err(Error::Runs {
                name: container.name.clone(),
                status: container.state.status,
            });
        }
        self.store.remove_container(&container.id).await?;
        self.tell(&container, "destroy", &[]);
        drop(lock);
        Ok(())
    }

    /// Gives a container another name.
    ///
    /// # Errors
    /// Names that are none, or another's.
    pub async fn rename(&self, container: &Container, name: &str) -> Result<()> {
        let name = name.strip_prefix('/').unwrap_or(name);
        if name == container.name {
            return Err(Error::SameName);
        }
        if !names::is_name(name) {
            let wrong = Error::InvalidName(format!("/{name}"));
            return Err(Error::Invalid(format!(
                "Error when allocating new name: {wrong}"
            )));
        }
        match self.store.rename_container(&container.id, name).await {
            Err(taken @ store::Error::ContainerName { .. }) => {
                return Err(Error::Invalid(format!(
                    "Error when allocating new name: {taken}"
                )));
            }
            other => other?,
        }
        let renamed = Container {
            name: name.to_owned(),
            ..container.clone()
        };
        let before = format!("/{}", container.name);
        self.tell(&renamed, "rename", &[("oldName", before)]);
        if !container.state.status.has_processes() {
            return Ok(());
        }
        // Others find it by its new name.
        let name = name.to_owned();
        blocking(move || renamed.tell(&Request::Rename(name))).await
    }
}
