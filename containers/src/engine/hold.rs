//! What a container to be needs of others: volumes and images for its mounts. Volumes are held, and
//! filled, before the container is there.

use std::path::PathBuf;

use oci::{ChainId, Digest};
use store::{HeldVolume, NewVolume};

use super::container::Container;
use super::handle::{Containers, blocking};
use super::mounts::Places;
use super::populate;
use super::volumes::{CreateVolume, VolumeRecord};
use crate::error::{Error, Result};
use crate::events::Actor;
use crate::record::{HostConfig, MountPoint, MountSource};

/// What is held for a container to be.
#[derive(Debug, Default)]
pub(super) struct Held {
    pub(super) volumes: Vec<HeldVolume>,
    pub(super) images: Vec<(Digest, Option<ChainId>)>,
}

impl Held {
    /// The names of the volumes.
    pub(super) fn names(&self) -> Vec<String> {
        let names = self.volumes.iter();
        names.map(|held| held.volume.name.clone()).collect()
    }
}

impl Containers {
    /// Holds what the mounts need. Volumes without a name get one, and images their IDs; volumes
    /// that are empty get what the image `chain_id` has in their place.
    ///
    /// # Errors
    /// Names and images that there are not, in docker's words. Nothing is held then, and what was
    /// made is gone.
    pub(super) async fn hold(
        &self,
        points: &mut [MountPoint],
        driver: &str,
        chain_id: Option<&ChainId>,
    ) -> Result<Held> {
        let mut held = Held::default();
        let done = self.hold_all(points, driver, chain_id, &mut held).await;
        match done {
            Ok(()) => Ok(held),
            Err(error) => {
                self.give_up(held).await;
                Err(error)
            }
        }
    }

    /// Lets go of what was held for a container that does not come.
    pub(super) async fn give_up(&self, held: Held) {
        for volume in held.volumes {
            // What stays is found by whoever lists volumes.
            let _ = self.store.give_up_volume(volume).await;
        }
    }

    async fn hold_all(
        &self,
        points: &mut [MountPoint],
        driver: &str,
        chain_id: Option<&ChainId>,
        held: &mut Held,
    ) -> Result<()> {
        let mut wanted: Vec<NewVolume> = Vec::new();
        for point in points.iter_mut() {
            match &mut point.source {
                MountSource::Volume {
                    name,
                    labels,
                    options,
                    ..
                } => {
                    let new = CreateVolume {
                        name: (!name.is_empty()).then(|| name.clone()),
                        driver: driver.to_owned(),
                        labels: labels.clone(),
                        options: options.clone(),
                    };
                    let new = new.settle()?;
                    name.clone_from(&new.name);
                    wanted.push(new);
                }
                MountSource::Image {
                    name, id, chain_id, ..
                } => {
                    let image = self.store.resolve(name).await?;
                    *chain_id = image.chain_id();
                    held.images.push((image.id.clone(), image.chain_id()));
                    *id = Some(image.id);
                }
                MountSource::Bind { .. } | MountSource::Tmpfs { .. } => {}
            }
        }
        // In the order of their names: two that wait for each other would wait for ever.
        wanted.sort_by(|a, b| a.name.cmp(&b.name));
        wanted.dedup_by(|a, b| a.name == b.name);
        for new in wanted {
            let volume = self.store.hold_volume(&new).await?;
            if volume.is_new {
                self.tell_of("volume", Actor::volume(&new.name), "create");
            }
            held.volumes.push(volume);
        }
        // What a volume is was decided when it was made.
        for point in points.iter_mut() {
            let MountSource::Volume { name, options, .. } = &mut point.source else {
                continue;
            };
            let mut volumes = held.volumes.iter();
            if let Some(held) = volumes.find(|held| held.volume.name == *name) {
                let record: VolumeRecord =
                    serde_json::from_str(&held.volume.record).unwrap_or_default();
                *options = record.options;
            }
        }
        self.fill(points, chain_id, held).await
    }

    async fn fill(
        &self,
        points: &[MountPoint],
        chain_id: Option<&ChainId>,
        held: &Held,
    ) -> Result<()> {
        if held.volumes.is_empty() {
            return Ok(());
        }
        let lowers = self.layers(chain_id).await?;
        let mut fills = Vec::new();
        for held in &held.volumes {
            let first = points.iter().find(|point| {
                point.volume() == Some(&held.volume.name) && populate::is_filled(point)
            });
            fills.push((held.volume.clone(), first.cloned()));
        }
        blocking(move || {
            for (volume, point) in fills {
                populate::settle(&volume)?;
                if let Some(point) = point {
                    populate::fill(&volume, &point, &lowers)?;
                }
            }
            Ok(())
        })
        .await
    }

    /// The directories of an image's layers, the topmost first.
    pub(super) async fn layers(&self, chain_id: Option<&ChainId>) -> Result<Vec<PathBuf>> {
        let Some(chain_id) = chain_id else {
            return Ok(Vec::new());
        };
        let layers = self.store.chain(chain_id).await?;
        if layers.is_empty() {
            return Err(store::Error::NoSuchSnapshot(chain_id.clone()).into());
        }
        Ok(layers.into_iter().map(|layer| layer.fs_path).collect())
    }

    /// The mounts of the containers whose volumes one takes.
    pub(super) async fn lent(&self, host: &HostConfig) -> Result<Vec<(Vec<MountPoint>, bool)>> {
        let mut lent = Vec::new();
        for (lender, writable) in super::mounts::lenders(host)? {
            let lender: Container = self.find(lender).await?;
            lent.push((lender.record.mounts, writable));
        }
        Ok(lent)
    }

    /// Where the things are that a container mounts.
    pub(super) async fn places(&self, points: &[MountPoint]) -> Result<Places> {
        let mut layers = Vec::new();
        for point in points {
            if let MountSource::Image { name, chain_id, .. } = &point.source {
                let found = self.layers(chain_id.as_ref()).await?;
                if found.is_empty() {
                    return Err(Error::Invalid(format!("image {name} has no files")));
                }
                layers.push((point.target.clone(), found));
            }
        }
        Ok(Places {
            volumes: self.store.volumes_dir(),
            layers,
        })
    }
}
