//! Volumes: made, looked at and removed.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use store::{NewVolume, StoredVolume};

use super::create::nanoseconds;
use super::handle::{Containers, blocking};
use super::inspect::size_of;
use super::mounts::local;
use crate::error::{Error, Result};
use crate::events::Actor;
use crate::{names, state};

/// The label of volumes that nobody has named.
const ANONYMOUS: &str = "com.docker.volume.anonymous";

/// A volume to be made.
#[derive(Clone, Debug, Default)]
pub struct CreateVolume {
    /// Its name; nothing for one of ours.
    pub name: Option<String>,
    /// `local`, or nothing for that.
    pub driver: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// `type`, `device` and `o`.
    pub options: BTreeMap<String, String>,
}

/// What is known of a volume beside its name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct VolumeRecord {
    pub(super) labels: BTreeMap<String, String>,
    pub(super) options: BTreeMap<String, String>,
}

/// A volume.
#[derive(Clone, Debug)]
pub struct Volume {
    /// Its name.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// `type`, `device` and `o`.
    pub options: BTreeMap<String, String>,
    /// When it was made, RFC 3339 in seconds.
    pub created_at: String,
    /// Where its files are.
    pub mountpoint: PathBuf,
    /// The IDs of the containers that use it.
    pub users: Vec<String>,
}

impl Volume {
    fn read(stored: StoredVolume) -> Self {
        let record: VolumeRecord = serde_json::from_str(&stored.record).unwrap_or_default();
        let created = stored.created / 1_000_000_000;
        Self {
            mountpoint: stored.data(),
            created_at: state::seconds_of(created),
            name: stored.name,
            labels: record.labels,
            options: record.options,
            users: stored.users,
        }
    }

    /// Whether nobody has given it its name.
    pub fn is_anonymous(&self) -> bool {
        self.labels.contains_key(ANONYMOUS)
    }

    /// docker's fields.
    pub fn document(&self) -> Value {
        let map = |map: &BTreeMap<String, String>| match map.is_empty() {
            true => Value::Null,
            false => json!(map),
        };
        json!({
            "CreatedAt": self.created_at,
            "Driver": "local",
            "Labels": map(&self.labels),
            "Mountpoint": self.mountpoint,
            "Name": self.name,
            "Options": map(&self.options),
            "Scope": "local",
        })
    }
}

/// Checks the name of a volume.
fn check_name(name: &str) -> Result<(), String> {
    let is_first = |c: char| c.is_ascii_alphanumeric();
    let is_next = |c: char| is_first(c) || "_.-".contains(c);
    if name.chars().count() == 1 && name.chars().all(is_first) {
        let why = "volume name is too short, names should be at least two alphanumeric characters";
        return Err(why.to_owned());
    }
    let fits = name.starts_with(is_first) && name.chars().all(is_next) && name.len() <= 255;
    match fits {
        true => Ok(()),
        false => Err(format!(
            "{name:?} includes invalid characters for a local volume name, only \
             \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host directory, \
             use absolute path"
        )),
    }
}

impl CreateVolume {
    /// What the store is to keep.
    ///
    /// # Errors
    /// docker's sentences about names, drivers and options.
    pub(super) fn settle(self) -> Result<NewVolume> {
        let mut labels = self.labels;
        let name = match self.name {
            Some(name) => name,
            None => {
                labels.insert(ANONYMOUS.to_owned(), String::new());
                names::new_id().map_err(Error::io("read", "/dev/urandom"))?
            }
        };
        let refused = |why: String| Error::Invalid(format!("create {name}: {why}"));
        if !matches!(self.driver.as_str(), "" | "local") {
            let driver = &self.driver;
            return Err(refused(format!(
                "error looking up volume plugin {driver}: plugin {driver:?} not found"
            )));
        }
        check_name(&name).map_err(refused)?;
        local::check(&self.options).map_err(refused)?;
        let record = VolumeRecord {
            labels,
            options: self.options,
        };
        let record = serde_json::to_string(&record).map_err(|e| refused(e.to_string()))?;
        Ok(NewVolume {
            name,
            record,
            created: nanoseconds(),
        })
    }
}

impl Containers {
    /// Makes a volume; one of this name that is there stays as it is. Returns its name.
    ///
    /// # Errors
    /// docker's sentences about names, drivers and options.
    pub async fn create_volume(&self, request: CreateVolume) -> Result<String> {
        let new = request.settle()?;
        self.add_volume(&new).await
    }

    /// The same of what is settled.
    async fn add_volume(&self, new: &NewVolume) -> Result<String> {
        let (volume, is_new) = self.store.add_volume(new).await?;
        if is_new {
            self.tell_of("volume", Actor::volume(&volume.name), "create");
        }
        Ok(volume.name)
    }

    /// All volumes, by name.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn volumes(&self) -> Result<Vec<Volume>> {
        let stored = self.store.volumes().await?;
        Ok(stored.into_iter().map(Volume::read).collect())
    }

    /// A volume.
    ///
    /// # Errors
    /// [`store::Error::NoSuchVolume`].
    pub async fn volume(&self, name: &str) -> Result<Volume> {
        Ok(Volume::read(self.store.volume(name).await?))
    }

    /// Bytes of a volume's files; those with several names count once.
    ///
    /// # Errors
    /// Those of the file system.
    pub async fn volume_size(&self, volume: &Volume) -> Result<u64> {
        let data = volume.mountpoint.clone();
        blocking(move || match size_of(&data) {
            // Removed meanwhile, or lost: `fsck` tells of that.
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(0),
            size => size.map_err(Error::io("measure", &data)),
        })
        .await
    }

    /// Removes a volume that no container uses.
    ///
    /// # Errors
    /// [`store::Error::NoSuchVolume`], [`store::Error::VolumeInUse`].
    pub async fn remove_volume(&self, name: &str) -> Result<()> {
        self.store.remove_volume(name).await?;
        self.tell_of("volume", Actor::volume(name), "destroy");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// docker 28's sentences.
    #[test]
    fn volumes_are_refused_in_dockers_words() {
        let create = |name: &str| CreateVolume {
            name: Some(name.to_owned()),
            ..CreateVolume::default()
        };
        let other = CreateVolume {
            driver: "nope".to_owned(),
            ..create("x1")
        };
        let options = CreateVolume {
            options: [("foo".to_owned(), "bar".to_owned())].into(),
            ..create("x4")
        };
        for (request, why) in [
            (
                create("a b"),
                "create a b: \"a b\" includes invalid characters for a local volume name, only \
                 \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host \
                 directory, use absolute path",
            ),
            (
                create("a"),
                "create a: volume name is too short, names should be at least two alphanumeric \
                 characters",
            ),
            (
                other,
                "create x1: error looking up volume plugin nope: plugin \"nope\" not found",
            ),
            (options, "create x4: invalid option: \"foo\""),
        ] {
            assert_eq!(request.settle().unwrap_err().to_string(), why);
        }
        for name in ["..", ".", "", "a/b", "-a", "a\n"] {
            assert!(create(name).settle().is_err(), "{name:?}");
        }
        let own = CreateVolume::default().settle().unwrap();
        assert_eq!(own.name.len(), 64);
        assert!(own.record.contains(ANONYMOUS));
    }
}
