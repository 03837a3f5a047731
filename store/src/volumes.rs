//! Volumes: their rows, their directories, and which containers use them.
//!
//! A volume's directory is locked by whoever fills or removes it. A new container's volumes are
//! held from before they are made until the container is there, so that nobody takes one away in
//! between; one that was made for a container which never came is pending, and is removed when
//! somebody comes by.

use std::collections::HashMap;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::db::Durability;
use crate::db::volumes::{self as table, VolumeRow};
use crate::error::{Error, Result};
use crate::lock::{Gate, lock_own, try_lock};
use crate::root::Layout;
use crate::store::{Store, blocking};
use crate::trash;

/// A volume to be.
#[derive(Clone, Debug)]
pub struct NewVolume {
    /// Its name: one component of a path.
    pub name: String,
    /// Whatever else is known of it.
    pub record: String,
    /// Nanoseconds since the epoch.
    pub created: i64,
}

/// A volume that is there.
#[derive(Clone, Debug)]
pub struct StoredVolume {
    /// Its name.
    pub name: String,
    /// Whatever else is known of it.
    pub record: String,
    /// Nanoseconds since the epoch.
    pub created: i64,
    /// The IDs of the containers that use it.
    pub users: Vec<String>,
    /// Its directory.
    pub dir: PathBuf,
}

impl StoredVolume {
    /// Where its files are.
    pub fn data(&self) -> PathBuf {
        self.dir.join("_data")
    }

    /// Where they are put together before they are its own.
    pub fn staging(&self) -> PathBuf {
        self.dir.join("filling")
    }

    /// Where they are once they are complete, for as long as they are being moved.
    pub fn complete(&self) -> PathBuf {
        self.dir.join("filled")
    }
}

/// A volume that nobody else fills or removes, for as long as this is held.
#[derive(Debug)]
pub struct HeldVolume {
    /// The volume.
    pub volume: StoredVolume,
    /// It was made just now.
    pub is_new: bool,
    #[allow(dead_code, reason = "held for its lock")]
    lock: File,
}

impl Store {
    fn to_volume(&self, row: VolumeRow, users: Vec<String>) -> StoredVolume {
        StoredVolume {
            dir: self.0.layout.volume(&row.name),
            name: row.name,
            record: row.record,
            created: row.created,
            users,
        }
    }

    /// Adds a volume; one that is there stays as it is. Says whether it is new.
    ///
    /// # Errors
    /// Those of the database and the file system.
    pub async fn add_volume(&self, new: &NewVolume) -> Result<(StoredVolume, bool)> {
        self.enter_volume(new, false).await
    }

    async fn enter_volume(&self, new: &NewVolume, pending: bool) -> Result<(StoredVolume, bool)> {
        let dir = self.0.layout.volume(&new.name);
        let mut db = self.0.db.lock().await;
        if let Some(row) = table::get(&mut db, &new.name).await?
            && dir.join("_data").is_dir()
            && (pending || !row.pending)
        {
            let users = table::users(&mut db, &new.name).await?;
            return Ok((self.to_volume(row, users), false));
        }
        drop(db);
        // Whoever clears away directories without a row has done so, or begins later.
        let layout = self.0.layout.clone();
        let _gate = blocking(move || Gate::shared(&layout)).await?;
        let mut db = self.0.db.lock().await;
        let mut tx = db.begin(Durability::Full).await?;
        let found = table::get(&mut tx, &new.name).await?;
        let is_new = found.is_none();
        let row = match found {
            Some(row) => {
                // A crash of the machine may have kept the row and lost the directory.
                make(&self.0.layout, &dir)?;
                row
            }
            None => {
                // Whatever has no row is what a crash has left.
                trash::discard(&self.0.layout, &dir)?;
                make(&self.0.layout, &dir)?;
                let row = VolumeRow {
                    name: new.name.clone(),
                    record: new.record.clone(),
                    created: new.created,
                    pending,
                };
                table::insert(&mut tx, &row).await?;
                row
            }
        };
        let users = table::users(&mut tx, &new.name).await?;
        if let Err(error) = tx.commit().await {
            if is_new {
                let _ = trash::discard(&self.0.layout, &dir);
            }
            return Err(error.into());
        }
        Ok((self.to_volume(row, users), is_new))
    }

    /// Holds a volume for a container that is to come; it is made when it is missing, and goes
    /// again when the container does not come. Waits for whoever else holds it: several are to be
    /// held in the order of their names.
    ///
    /// # Errors
    /// Those of the database and the file system.
    pub async fn hold_volume(&self, new: &NewVolume) -> Result<HeldVolume> {
        loop {
            let (volume, is_new) = self.enter_volume(new, true).await?;
            let dir = volume.dir.clone();
            let lock = blocking(move || lock(&dir)).await?;
            // It may have been removed while somebody else held it.
            let row = table::get(&mut *self.0.db.lock().await, &new.name).await?;
            if let (Some(lock), Some(_)) = (lock, row) {
                return Ok(HeldVolume {
                    volume,
                    is_new,
                    lock,
                });
            }
        }
    }

    /// All volumes, by name. Those that crashes have left half made are removed.
    ///
    /// # Errors
    /// Those of the database and the file system.
    pub async fn volumes(&self) -> Result<Vec<StoredVolume>> {
        let (rows, mut users) = {
            let mut db = self.0.db.lock().await;
            (table::all(&mut db).await?, table::all_users(&mut db).await?)
        };
        let mut found = Vec::with_capacity(rows.len());
        for row in rows {
            let left = row.pending && !self.0.read_only && self.drop_pending(&row.name).await?;
            if !left {
                found.push(self.with_users(row, &mut users));
            }
        }
        Ok(found)
    }

    fn with_users(&self, row: VolumeRow, users: &mut HashMap<String, Vec<String>>) -> StoredVolume {
        let own = users.remove(&row.name).unwrap_or_default();
        self.to_volume(row, own)
    }

    /// Removes a volume that was made for a container that never came; false when somebody still
    /// makes that.
    async fn drop_pending(&self, name: &str) -> Result<bool> {
        let dir = self.0.layout.volume(name);
        let free = blocking(move || match File::open(&dir) {
            Ok(file) => Ok(try_lock(&file)
                .map_err(Error::io("locking", &dir))?
                .then_some(file)),
            Err(e) => Err(Error::io("opening", &dir)(e)),
        })
        .await;
        let _lock = match free {
            Ok(None) => return Ok(false),
            Ok(Some(lock)) => Some(lock),
            // Its row alone is left.
            Err(_) => None,
        };
        let mut db = self.0.db.lock().await;
        let mut tx = db.begin(Durability::Full).await?;
        let still = table::get(&mut tx, name).await?;
        if !still.is_some_and(|row| row.pending) {
            return Ok(false);
        }
        table::delete(&mut tx, name).await?;
        tx.commit().await?;
        drop(db);
        self.discard_volume(name).await?;
        Ok(true)
    }

    /// Where volumes are: a directory each.
    pub fn volumes_dir(&self) -> PathBuf {
        self.0.layout.volumes.clone()
    }

    /// A volume.
    ///
    /// # Errors
    /// [`Error::NoSuchVolume`].
    pub async fn volume(&self, name: &str) -> Result<StoredVolume> {
        let mut db = self.0.db.lock().await;
        let row = table::get(&mut db, name).await?;
        let row = row.ok_or_else(|| Error::NoSuchVolume(name.to_owned()))?;
        let users = table::users(&mut db, name).await?;
        Ok(self.to_volume(row, users))
    }

    /// Gives up a volume that was held for a container which does not come: one that was made for
    /// it goes.
    ///
    /// # Errors
    /// Those of the database and the file system.
    pub async fn give_up_volume(&self, held: HeldVolume) -> Result<()> {
        let name = held.volume.name.clone();
        drop(held);
        let row = table::get(&mut *self.0.db.lock().await, &name).await?;
        if row.is_some_and(|row| row.pending) {
            self.drop_pending(&name).await?;
        }
        Ok(())
    }

    /// Removes a volume that no container uses.
    ///
    /// # Errors
    /// [`Error::NoSuchVolume`], [`Error::VolumeInUse`].
    pub async fn remove_volume(&self, name: &str) -> Result<()> {
        self.volume(name).await?;
        let dir = self.0.layout.volume(name);
        // Whoever makes a container with it is waited for, and has it then.
        let _lock = blocking(move || lock(&dir)).await?;
        let mut db = self.0.db.lock().await;
        let mut tx = db.begin(Durability::Full).await?;
        let users = table::users(&mut tx, name).await?;
        if !users.is_empty() {
            return Err(Error::VolumeInUse {
                name: name.to_owned(),
                users,
            });
        }
        if !table::delete(&mut tx, name).await? {
            return Err(Error::NoSuchVolume(name.to_owned()));
        }
        tx.commit().await?;
        drop(db);
        self.discard_volume(name).await
    }

    async fn discard_volume(&self, name: &str) -> Result<()> {
        let shared = self.0.clone();
        let dir = self.0.layout.volume(name);
        // Somebody may be making it anew: what has a row stays.
        let mut db = self.0.db.lock().await;
        let mut tx = db.begin(Durability::Lazy).await?;
        if table::get(&mut tx, name).await?.is_none() {
            blocking(move || trash::discard(&shared.layout, &dir)).await?;
        }
        tx.rollback().await?;
        drop(db);
        self.empty_trash().await
    }

    /// Volumes whose files are not there, with `repair` made anew, empty.
    ///
    /// # Errors
    /// Those of the database and the file system.
    pub async fn lost_volumes(&self, repair: bool) -> Result<Vec<StoredVolume>> {
        let mut db = self.0.db.lock().await;
        let rows = table::all(&mut db).await?;
        let lost: Vec<StoredVolume> = rows
            .into_iter()
            .map(|row| self.to_volume(row, Vec::new()))
            .filter(|volume| !volume.data().is_dir())
            .collect();
        if repair {
            for volume in &lost {
                make(&self.0.layout, &volume.dir)?;
            }
        }
        Ok(lost)
    }
}

/// The lock of a volume; nothing when it was removed meanwhile.
fn lock(dir: &Path) -> Result<Option<File>> {
    let file = match File::open(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file.map_err(Error::io("opening", dir))?,
    };
    let own = lock_own(&file, dir).map_err(Error::io("locking", dir))?;
    Ok(own.then_some(file))
}

/// Makes what is missing of a volume's directory.
fn make(layout: &Layout, dir: &Path) -> Result<()> {
    for (path, mode) in [
        (layout.volumes.as_path(), 0o711),
        (dir, 0o711),
        (&dir.join("_data"), 0o755),
    ] {
        match DirBuilder::new().mode(mode).create(path) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            // The mode asked for is subject to the umask.
            made => made
                .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(mode)))
                .map_err(Error::io("creating", path))?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::NewContainer;
    use oci::Digest;

    fn volume(name: &str) -> NewVolume {
        NewVolume {
            name: name.to_owned(),
            record: "{}".to_owned(),
            created: 1,
        }
    }

    fn container(volumes: &[&str]) -> NewContainer {
        NewContainer {
            id: "a".repeat(64),
            name: "web".to_owned(),
            image: Digest::sha256(b"x"),
            chain_id: None,
            record: "{}".to_owned(),
            created: 1,
            volumes: volumes.iter().map(|&name| name.to_owned()).collect(),
            images: Vec::new(),
        }
    }

    #[tokio::test]
    async fn one_in_use_stays_and_is_not_made_twice() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).await.unwrap();
        let (made, is_new) = store.add_volume(&volume("data")).await.unwrap();
        assert!(is_new && made.data().is_dir());
        fs::write(made.data().join("kept"), "x").unwrap();
        let (again, is_new) = store.add_volume(&volume("data")).await.unwrap();
        assert!(!is_new && again.data().join("kept").exists());
        let missing = store.add_container(&container(&["nope"])).await;
        assert_eq!(missing.unwrap_err().to_string(), "get nope: no such volume");
        assert!(store.containers().await.unwrap().is_empty());
        let web = store.add_container(&container(&["data"])).await.unwrap();
        let refused = store.remove_volume("data").await.unwrap_err().to_string();
        let want = format!("remove data: volume is in use - [{}]", web.id);
        assert_eq!(refused, want);
        store.remove_container(&web.id).await.unwrap();
        store.remove_volume("data").await.unwrap();
        assert!(!made.dir.exists());
        let gone = store.remove_volume("data").await.unwrap_err().to_string();
        assert_eq!(gone, "get data: no such volume");
    }

    #[tokio::test]
    async fn what_was_made_for_a_container_that_never_came_goes() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).await.unwrap();
        let held = store.hold_volume(&volume("own")).await.unwrap();
        // Somebody works on it.
        assert_eq!(store.volumes().await.unwrap().len(), 1);
        // As a kill leaves it: the lock is gone, the row is not.
        drop(held);
        assert!(store.volumes().await.unwrap().is_empty());
        assert!(!dir.path().join("volumes/own").exists());
        // One whose container came stays.
        let held = store.hold_volume(&volume("own")).await.unwrap();
        store.add_container(&container(&["own"])).await.unwrap();
        store.give_up_volume(held).await.unwrap();
        assert_eq!(store.volumes().await.unwrap()[0].users.len(), 1);
    }

    #[tokio::test]
    async fn directories_and_rows_find_together_again() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).await.unwrap();
        // A kill between directory and row.
        let orphan = dir.path().join("volumes/orphan/_data");
        fs::create_dir_all(&orphan).unwrap();
        fs::write(orphan.join("old"), "x").unwrap();
        let left = store.leftovers().await.unwrap();
        assert_eq!(left[0].0, dir.path().join("volumes/orphan"));
        let (made, is_new) = store.add_volume(&volume("orphan")).await.unwrap();
        assert!(is_new && !made.data().join("old").exists());
        assert!(store.leftovers().await.unwrap().is_empty());
        // A row without its directory.
        fs::remove_dir_all(&made.dir).unwrap();
        assert_eq!(store.lost_volumes(true).await.unwrap().len(), 1);
        assert!(store.lost_volumes(true).await.unwrap().is_empty() && made.data().is_dir());
        assert_eq!(store.volume("orphan").await.unwrap().users, [""; 0]);
    }
}
