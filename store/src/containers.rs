//! Containers: their rows, and the directories in which they are kept.
//!
//! What a row says does not change by itself. What becomes of a container is told by files in its
//! directory, of whoever runs it; the store knows two of them: `fs` and `work`, its writable layer,
//! and `monitor.lock`, which is locked as long as it runs.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use oci::{ChainId, Digest};

use crate::db::Durability;
use crate::db::containers::{self as table, ContainerRow};
use crate::db::sqlite::Connection;
use crate::db::volumes;
use crate::error::{Error, Result};
use crate::lock::try_lock;
use crate::remove::{Named, Names, is_single};
use crate::store::{Store, blocking};
use crate::trash;

/// Locked by the process that runs a container.
const LOCK: &str = "monitor.lock";

/// A container to be.
#[derive(Clone, Debug)]
pub struct NewContainer {
    /// 64 hexadecimal digits.
    pub id: String,
    /// A name that no other container has.
    pub name: String,
    /// The image that it is made of.
    pub image: Digest,
    /// The layers of that image; nothing when it has none.
    pub chain_id: Option<ChainId>,
    /// Whatever else is known of it.
    pub record: String,
    /// Nanoseconds since the epoch.
    pub created: i64,
    /// The volumes that it uses, which are held by whoever makes it.
    pub volumes: Vec<String>,
    /// The images that are mounted in it, with their layers.
    pub images: Vec<(Digest, Option<ChainId>)>,
}

/// A container that is there.
#[derive(Clone, Debug)]
pub struct StoredContainer {
    /// 64 hexadecimal digits.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The image that it was made of; it may be gone.
    pub image: Digest,
    /// The layers below its own.
    pub chain_id: Option<ChainId>,
    /// Whatever else is known of it.
    pub record: String,
    /// Nanoseconds since the epoch.
    pub created: i64,
    /// Somebody has begun to remove it.
    pub removing: bool,
    /// Its directory.
    pub dir: PathBuf,
}

impl StoredContainer {
    /// Its writable layer: an overlay's upper directory.
    pub fn upper(&self) -> PathBuf {
        self.dir.join("fs")
    }

    /// What the overlay works in.
    pub fn work(&self) -> PathBuf {
        self.dir.join("work")
    }
}

impl Store {
    fn to_container(&self, row: ContainerRow) -> Result<StoredContainer> {
        Ok(StoredContainer {
            image: row.image()?,
            chain_id: row.chain_id()?,
            dir: self.0.layout.container(&row.id),
            id: row.id,
            name: row.name,
            record: row.record,
            created: row.created,
            removing: row.removing,
        })
    }

    /// Adds a container, with an empty writable layer.
    ///
    /// # Errors
    /// [`Error::ContainerName`] when the name is another's, [`Error::NoSuchSnapshot`] when the
    /// layers are gone.
    pub async fn add_container(&self, new: &NewContainer) -> Result<StoredContainer> {
        let mounted = new
            .images
            .iter()
            .filter_map(|(_, chain_id)| chain_id.as_ref());
        for chain_id in new.chain_id.iter().chain(mounted) {
            if self.chain(chain_id).await?.is_empty() {
                return Err(Error::NoSuchSnapshot(chain_id.clone()));
            }
        }
        let mut db = self.0.db.lock().await;
        let mut tx = db.begin(Durability::Full).await?;
        if let Some(holder) = table::holder(&mut tx, &new.name).await? {
            return Err(Error::ContainerName {
                name: new.name.clone(),
                holder,
            });
        }
        let of = (&new.image, new.chain_id.as_ref());
        table::insert(&mut tx, &new.id, &new.name, of, &new.record, new.created).await?;
        for volume in &new.volumes {
            if !volumes::add_user(&mut tx, volume, &new.id).await? {
                return Err(Error::NoSuchVolume(volume.clone()));
            }
        }
        for (image, chain_id) in &new.images {
            table::mounts_image(&mut tx, &new.id, image, chain_id.as_ref()).await?;
        }
        let dir = self.0.layout.container(&new.id);
        // A directory without a row is found while nobody holds the transaction.
        make(&self.0.layout.containers, &dir)?;
        if let Err(error) = tx.commit().await {
            let _ = trash::discard(&self.0.layout, &dir);
            return Err(error.into());
        }
        drop(db);
        let found = self.container(&new.id).await?;
        found.ok_or_else(|| Error::corrupt("a container that was added is not there"))
    }

    /// All containers, the newest first.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn containers(&self) -> Result<Vec<StoredContainer>> {
        let rows = table::all(&mut *self.0.db.lock().await).await?;
        rows.into_iter().map(|row| self.to_container(row)).collect()
    }

    /// A container by its whole ID.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn container(&self, id: &str) -> Result<Option<StoredContainer>> {
        let row = table::get(&mut *self.0.db.lock().await, id).await?;
        row.map(|row| self.to_container(row)).transpose()
    }

    /// A container by its ID, its name, or the beginning of its ID, in this order.
    ///
    /// # Errors
    /// [`Error::NoSuchContainer`], [`Error::AmbiguousContainer`].
    pub async fn find_container(&self, text: &str) -> Result<StoredContainer> {
        let id = {
            let mut db = self.0.db.lock().await;
            let named = text.strip_prefix('/').unwrap_or(text);
            let is_id = !text.is_empty() && text.bytes().all(|b| b.is_ascii_hexdigit());
            match table::get(&mut db, text).await? {
                Some(row) => Some(row.id),
                None => match table::holder(&mut db, named).await? {
                    Some(id) => Some(id),
                    None if is_id => match table::beginning(&mut db, text).await?.as_slice() {
                        [] => None,
                        [only] => Some(only.clone()),
                        _ => return Err(Error::AmbiguousContainer(text.to_owned())),
                    },
                    None => None,
                },
            }
        };
        let missing = || Error::NoSuchContainer(text.to_owned());
        self.container(&id.ok_or_else(missing)?)
            .await?
            .ok_or_else(missing)
    }

    /// Gives a container another name.
    ///
    /// # Errors
    /// [`Error::ContainerName`] when it is another's, [`Error::NoSuchContainer`].
    pub async fn rename_container(&self, id: &str, name: &str) -> Result<()> {
        let mut db = self.0.db.lock().await;
        let mut tx = db.begin(Durability::Full).await?;
        if let Some(holder) = table::holder(&mut tx, name).await? {
            let name = name.to_owned();
            return Err(Error::ContainerName { name, holder });
        }
        if !table::rename(&mut tx, id, name).await? {
            return Err(Error::NoSuchContainer(id.to_owned()));
        }
        Ok(tx.commit().await?)
    }

    /// Replaces what is known of a container.
    ///
    /// # Errors
    /// [`Error::NoSuchContainer`].
    pub async fn update_container(&self, id: &str, record: &str) -> Result<()> {
        let mut db = self.0.db.lock().await;
        let mut tx = db.begin(Durability::Full).await?;
        if !table::update(&mut tx, id, record).await? {
            return Err(Error::NoSuchContainer(id.to_owned()));
        }
        Ok(tx.commit().await?)
    }

    /// Removes a container that does not run: it is noted first, so that a kill at any moment
    /// leaves one that is known to be on its way.
    ///
    /// # Errors
    /// Those of the file system and database. One that is gone is no error.
    pub async fn remove_container(&self, id: &str) -> Result<()> {
        {
            let mut db = self.0.db.lock().await;
            let mut tx = db.begin(Durability::Lazy).await?;
            table::removing(&mut tx, id).await?;
            tx.commit().await?;
        }
        let shared = self.0.clone();
        let dir = self.0.layout.container(id);
        blocking(move || trash::discard(&shared.layout, &dir)).await?;
        let mut db = self.0.db.lock().await;
        let mut tx = db.begin(Durability::Full).await?;
        table::delete(&mut tx, id).await?;
        tx.commit().await?;
        drop(db);
        self.empty_trash().await
    }

    /// Refuses to remove an image that a container was made of, by docker's rules: by name only
    /// when it is the image's last one; by force if the container does not run.
    pub(crate) async fn check_containers(
        &self,
        db: &mut Connection,
        (named, names): (&Named, &Names<'_>),
        (typed, force): (&str, bool),
    ) -> Result<()> {
        let short = |id: &str| id.get(..12).unwrap_or(id).to_owned();
        let image = names.id().short().to_owned();
        let users = table::of_image(db, names.id()).await?;
        let Some(first) = users.first() else {
            return Ok(());
        };
        let single = is_single(names);
        match named {
            Named::By(_) if single && !force => Err(Error::ImageReferenced {
                name: typed.to_owned(),
                container: short(first),
                short_id: image,
            }),
            // Other names are left, or the image stays as the layers of the container.
            Named::By(_) => Ok(()),
            Named::ById => {
                let runs = |id: &&String| is_running(&self.0.layout.container(id));
                if let Some(running) = users.iter().find(runs) {
                    return Err(Error::ImageRunning {
                        short_id: image,
                        container: short(running),
                    });
                }
                match force {
                    true => Ok(()),
                    false => Err(Error::ImageStopped {
                        short_id: image,
                        container: short(first),
                    }),
                }
            }
        }
    }
}

/// Whether somebody runs the container of a directory.
fn is_running(dir: &Path) -> bool {
    let lock = File::open(dir.join(LOCK));
    lock.is_ok_and(|lock| matches!(try_lock(&lock), Ok(false)))
}

fn make(parent: &Path, dir: &Path) -> Result<()> {
    let make = |path: &Path, mode: u32| {
        let made = DirBuilder::new().mode(mode).create(path);
        let made = made.and_then(|()| {
            // The mode asked for is subject to the umask.
            fs::set_permissions(path, fs::Permissions::from_mode(mode))
        });
        made.map_err(Error::io("creating", path))
    };
    match fs::create_dir(parent) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => {
            return Err(Error::io("creating", parent)(e));
        }
        _ => {}
    }
    make(dir, 0o700)?;
    make(&dir.join("fs"), 0o755)?;
    make(&dir.join("work"), 0o700)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new(id: char, name: &str, image: &[u8]) -> NewContainer {
        NewContainer {
            id: id.to_string().repeat(64),
            name: name.to_owned(),
            image: Digest::sha256(image),
            chain_id: None,
            record: "{}".to_owned(),
            created: 1,
            volumes: Vec::new(),
            images: Vec::new(),
        }
    }

    #[tokio::test]
    async fn found_by_id_name_and_beginning() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).await.unwrap();
        let (web, db) = (new('a', "web", b"x"), new('b', "aa", b"x"));
        store.add_container(&web).await.unwrap();
        store.add_container(&db).await.unwrap();
        for (text, id) in [
            ("web", 'a'),
            ("/web", 'a'),
            ("aaa", 'a'),
            ("aa", 'b'),
            ("b", 'b'),
        ] {
            let found = store.find_container(text).await.unwrap();
            assert_eq!(found.id, id.to_string().repeat(64), "{text}");
            assert!(found.upper().is_dir() && found.work().is_dir());
        }
        let error = store.find_container("nope").await.unwrap_err();
        assert_eq!(error.to_string(), "No such container: nope");
        let error = store
            .add_container(&new('c', "web", b"x"))
            .await
            .unwrap_err();
        let id = "a".repeat(64);
        let want = format!(
            "Conflict. The container name \"/web\" is already in use by container \"{id}\". You \
             have to remove (or rename) that container to be able to reuse that name."
        );
        assert_eq!(error.to_string(), want);
        store.rename_container(&id, "www").await.unwrap();
        store.remove_container(&db.id).await.unwrap();
        let left = store.containers().await.unwrap();
        assert_eq!(left.len(), 1);
        assert_eq!(left[0].name, "www");
        assert!(!dir.path().join("containers").join(&db.id).exists());
    }

    #[tokio::test]
    async fn what_a_crash_left_is_collected() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).await.unwrap();
        store.add_container(&new('a', "web", b"x")).await.unwrap();
        let orphan = dir.path().join("containers").join("f".repeat(64));
        fs::create_dir(&orphan).unwrap();
        store.prune(&crate::PruneOptions::default()).await.unwrap();
        assert!(!orphan.exists());
        assert!(dir.path().join("containers").join("a".repeat(64)).exists());
    }
}
