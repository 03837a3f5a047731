//! Puts back what a backup has: the whole of it where there is no registry yet, and repositories
//! of it among those of a registry that is there, also of one that runs.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use oci::{Algorithm, Digest};
use serde::{Deserialize, Serialize};

use super::backup::{Copy, SECRETS, write_copy};
use super::imported::Imported;
use super::taking::{Elsewhere, Source};
use crate::meta::{Meta, Place as Database, Snapshot};
use crate::name::{RepositoryName, UploadId};
use crate::service::error::ServiceError;
use crate::service::state::{DATABASE, Registry, lock};
use crate::storage::{
    Backend, BlobFiles, Blobs, Context, Staged, Standing, StorageError, create_new, make_dir,
    sync_dir,
};
use crate::sync::{blocking, waiting};

/// What to put back.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RestoreOptions {
    /// The backup: a directory or a tar.
    pub from: PathBuf,
    /// Only these repositories; all when none is named.
    #[serde(default)]
    pub repositories: Vec<String>,
}

/// Where a backup has a file.
#[derive(Clone, Debug)]
enum Place {
    /// By itself.
    File(PathBuf),
    /// In an archive: where it begins, and its bytes.
    Part(Arc<File>, u64, u64),
}

/// A backup that was opened.
#[derive(Debug)]
struct Backup {
    from: PathBuf,
    /// Blobs of an archive; a folder's are where a registry has them.
    parts: HashMap<Digest, Place>,
    /// The database and the secrets.
    others: BTreeMap<&'static str, Place>,
}

/// A part of a file, read by itself.
struct Part<'a> {
    file: &'a File,
    at: u64,
    left: u64,
}

impl Read for Part<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).map_or(buffer.len(), |left| left.min(buffer.len()));
        let Some(room) = buffer.get_mut(..most) else {
            return Ok(0);
        };
        let read = self.file.read_at(room, self.at)?;
        self.at += read as u64;
        self.left -= read as u64;
        Ok(read)
    }
}

impl Place {
    fn open(&self) -> Result<Box<dyn Read + '_>, StorageError> {
        Ok(match self {
            Self::File(path) => Box::new(File::open(path).context("open", path)?),
            Self::Part(file, at, left) => Box::new(Part {
                file,
                at: *at,
                left: *left,
            }),
        })
    }

    /// A durable copy of it, for its owner alone.
    fn copy(&self, to: &Path) -> Result<(), StorageError> {
        if let Self::File(path) = self {
            return write_copy(path, to);
        }
        let mut file = create_new(to).context("create", to)?;
        io::copy(&mut self.open()?, &mut file).context("write", to)?;
        file.sync_all().context("sync", to)
    }
}

impl Backup {
    /// Opens a backup; `None` when it is none.
    fn open(from: &Path) -> Result<Option<Self>, StorageError> {
        let mut backup = Self {
            from: from.to_owned(),
            parts: HashMap::new(),
            others: BTreeMap::new(),
        };
        let names = || SECRETS.into_iter().chain([DATABASE]);
        if from.is_dir() {
            for name in names() {
                let path = from.join(name);
                if path.exists() {
                    backup.others.insert(name, Place::File(path));
                }
            }
        } else {
            let file = File::open(from).context("open", from)?;
            let shared = Arc::new(file.try_clone().context("open", from)?);
            let mut tar = tar::Archive::new(file);
            let entries = tar.entries_with_seek().context("read", from)?;
            for entry in entries {
                let entry = entry.context("read", from)?;
                if !entry.header().entry_type().is_file() {
                    continue;
                }
                let place =
                    Place::Part(Arc::clone(&shared), entry.raw_file_position(), entry.size());
                let path = entry.path().context("read", from)?;
                if let Some(name) = names().find(|name| path.as_os_str() == *name) {
                    backup.others.insert(name, place);
                } else if let Some(digest) = named(&path) {
                    backup.parts.insert(digest, place);
                }
            }
        }
        Ok(backup.others.contains_key(DATABASE).then_some(backup))
    }

    fn place(&self, digest: &Digest) -> Place {
        self.parts.get(digest).cloned().unwrap_or_else(|| {
            let algorithm = digest.algorithm().as_str();
            let blobs = self.from.join("blobs").join(algorithm);
            Place::File(blobs.join(&digest.hex()[..2]).join(digest.hex()))
        })
    }

    /// The same for its database, copied to `copy`.
    async fn snapshot(self: &Arc<Self>, copy: &Path) -> Result<Snapshot, ServiceError> {
        let (backup, to) = (Arc::clone(self), copy.to_owned());
        blocking(move || match backup.others.get(DATABASE) {
            Some(database) => database.copy(&to),
            None => Ok(()),
        })
        .await?;
        Ok(Snapshot::open(copy).await?)
    }
}

/// The blob that a path in an archive names: `blobs/sha256/ab/abcd…`.
fn named(path: &Path) -> Option<Digest> {
    let parts: Vec<&str> = path.to_str()?.split('/').collect();
    let [.., "blobs", algorithm, _, hex] = *parts else {
        return None;
    };
    let algorithm = [Algorithm::Sha256, Algorithm::Sha512]
        .into_iter()
        .find(|known| known.as_str() == algorithm)?;
    Digest::new(algorithm, hex).ok()
}

impl Source for Backup {
    fn bring(&self, files: &BlobFiles, digest: &Digest) -> Result<Option<Staged>, StorageError> {
        match self.place(digest) {
            Place::File(path) => files.import(&path, digest),
            place => files.import_from(&mut place.open()?, digest),
        }
    }

    fn open(&self, digest: &Digest) -> Result<Box<dyn Read + '_>, StorageError> {
        match self.parts.get(digest) {
            Some(place) => place.open(),
            None => match self.place(digest) {
                Place::File(path) => {
                    let file = File::open(&path).context("open", &path)?;
                    Ok(Box::new(file))
                }
                Place::Part(..) => Ok(Box::new(io::empty())),
            },
        }
    }
}

/// Why there is nothing to put back.
fn none(from: &Path) -> ServiceError {
    ServiceError::NoBackup(from.to_owned())
}

impl Registry {
    /// Puts repositories of a backup back. Whatever else is here stays; a tag that is here and in
    /// the backup points to what it has in the backup.
    ///
    /// # Errors
    /// [`ServiceError::NoBackup`], [`ServiceError::Name`], [`ServiceError::NameUnknown`];
    /// [`ServiceError`] when the disk or the database fails or is full. What single things could
    /// not be put back is listed.
    pub async fn restore(
        self: &Arc<Self>,
        options: &RestoreOptions,
    ) -> Result<Imported, ServiceError> {
        let from = options.from.clone();
        let backup = blocking(move || Backup::open(&from)).await?;
        let backup = Arc::new(backup.ok_or_else(|| none(&options.from))?);
        let copy = Copy(self.blobs.staging().join(UploadId::random().to_string()));
        let mut snapshot = backup.snapshot(&copy.0).await?;
        let there = snapshot.repositories().await?;
        let mut wanted = Vec::new();
        for text in &options.repositories {
            let name: RepositoryName = text.parse()?;
            if !there.contains(&name) {
                return Err(ServiceError::NameUnknown(name));
            }
            wanted.push(name);
        }
        if wanted.is_empty() {
            wanted = there;
        }
        let mut imported = Imported::default();
        let source: Arc<dyn Source> = backup;
        for name in wanted {
            let from = Elsewhere {
                layers: snapshot.blobs_of(&name).await?,
                manifests: snapshot.manifests_of(&name).await?.into_iter().collect(),
                name,
            };
            self.take_repository(&source, from, &mut imported).await?;
        }
        snapshot.close().await?;
        Ok(imported)
    }

    /// Makes the registry of a backup in `data_dir`, which holds none, as it was: with the times of
    /// pushes and pulls.
    ///
    /// # Errors
    /// [`ServiceError::NoBackup`]; [`ServiceError::NotEmpty`] when there is a registry;
    /// [`ServiceError::Storage`], [`ServiceError::Meta`].
    pub async fn restore_whole(
        data_dir: &Path,
        from: &Path,
        backend: &Backend,
        database: &Database,
    ) -> Result<Imported, ServiceError> {
        let (dir, path) = (data_dir.to_owned(), from.to_owned());
        let opened = blocking(move || {
            let backup = Backup::open(&path)?;
            make_dir(&dir)?;
            Ok::<_, StorageError>((backup, lock(&dir)?))
        })
        .await?;
        let (backup, _lock) = opened;
        let backup = Arc::new(backup.ok_or_else(|| none(from))?);
        if !Meta::is_empty(database).await? {
            return Err(ServiceError::NotEmpty(match database {
                Database::File(_) => data_dir.display().to_string(),
                Database::Server(server) => server.to_string(),
            }));
        }
        let files = Blobs::open(data_dir, backend).await?;
        files.claim(data_dir, None, Standing::Heir).await?;
        let copy = Copy(files.staging().join(UploadId::random().to_string()));
        let mut snapshot = backup.snapshot(&copy.0).await?;
        let mut imported = Imported::default();
        for name in snapshot.repositories().await? {
            let manifests = snapshot.manifests_of(&name).await?;
            imported.repositories += 1;
            imported.manifests += manifests.len() as u64;
            imported.tags += manifests
                .iter()
                .map(|(_, tags)| tags.len() as u64)
                .sum::<u64>();
        }
        let mut after = 0;
        loop {
            let page = snapshot.stored_blobs(after).await?;
            let Some(last) = page.last() else { break };
            after = last.id;
            let (backup, files) = (Arc::clone(&backup), files.clone());
            imported = blocking(move || {
                for blob in page {
                    put_back(&backup, &files, &blob.digest, blob.size, &mut imported)?;
                }
                Ok::<_, StorageError>(imported)
            })
            .await?;
        }
        snapshot.close().await?;
        let dir = data_dir.to_owned();
        blocking(move || {
            for name in SECRETS {
                let to = dir.join(name);
                if let Some(place) = backup.others.get(name)
                    && !to.exists()
                {
                    let unready = files.staging().join(name);
                    place.copy(&unready)?;
                    fs::rename(&unready, &to).context("rename to", &to)?;
                }
            }
            Ok::<_, StorageError>(())
        })
        .await?;
        match database {
            Database::Server(server) => server.fill(&copy.0).await?,
            Database::File(database) => {
                let (dir, database) = (data_dir.to_owned(), database.clone());
                blocking(move || {
                    fs::rename(&copy.0, &database).context("rename to", &database)?;
                    sync_dir(&dir)
                })
                .await?;
            }
        }
        Ok(imported)
    }
}

/// Brings a blob of a backup, unless an earlier try did.
fn put_back(
    backup: &Backup,
    files: &Blobs,
    digest: &Digest,
    size: u64,
    imported: &mut Imported,
) -> Result<(), StorageError> {
    if waiting(files.size(digest))? == Some(size) {
        return Ok(());
    }
    let why = match backup.bring(files.local(), digest) {
        Ok(Some(staged)) => {
            let ready = waiting(files.ready(staged, digest))?;
            waiting(files.adopt(ready, digest))?;
            imported.blobs += 1;
            imported.bytes += size;
            return Ok(());
        }
        Ok(None) => "its content is not what its digest says",
        Err(StorageError::Io { cause, .. }) if cause.kind() == io::ErrorKind::NotFound => {
            "the backup does not have it"
        }
        Err(e) => return Err(e),
    };
    imported.skipped.push(format!("blob {digest}: {why}"));
    Ok(())
}

impl fmt::Debug for Part<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes from {}", self.left, self.at)
    }
}
