//! A registry as it is at one moment, to be put away: its database, every blob that it knows, and
//! the secrets that it made.
//!
//! A folder has the form of a registry's own directory: `rregistry serve --data-dir` could serve
//! it. What an earlier backup put there is not copied again. Blobs come first and the database
//! last, so that a backup that was interrupted leaves the one before, and goes on the next time.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tar::{Builder, EntryType, Header};

use super::export::{is_other_archive, is_tar};
use crate::clock::now;
use crate::meta::{Snapshot, StoredBlob};
use crate::name::UploadId;
use crate::service::error::ServiceError;
use crate::service::state::{DATABASE, Registry, lock};
use crate::storage::{BlobFiles, Blobs, Context, Flaw, Listed, StorageError, create_new, sync_dir};
use crate::sync::{blocking, waiting};

/// What a registry makes for itself beside the database.
pub(super) const SECRETS: [&str; 2] = ["token.key", "htpasswd"];

/// Where a backup goes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BackupOptions {
    /// A directory, or a file whose name ends with `.tar`.
    pub output: PathBuf,
    /// Blobs in the directory that the registry no longer has are removed at the end.
    #[serde(default)]
    pub prune: bool,
}

/// What a backup has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackedUp {
    /// Repositories that have manifests.
    pub repositories: u64,
    /// Blobs, manifests included.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Blobs that an earlier backup had not put there.
    pub new_blobs: u64,
    /// Their bytes.
    pub new_bytes: u64,
    /// Blobs that were removed.
    pub removed: u64,
    /// Blobs that are missing or damaged here, and so are not in the backup.
    pub damaged: Vec<String>,
}

/// Whether a path, of which not all may be there yet, is in a directory.
fn is_inside(path: &Path, dir: &Path) -> bool {
    let Ok(dir) = fs::canonicalize(dir) else {
        return false;
    };
    let above = path.ancestors().map(fs::canonicalize);
    above.into_iter().flatten().any(|above| above == dir)
}

/// A database's copy in a staging directory, gone with this value unless it was renamed.
#[derive(Debug)]
pub(super) struct Copy(pub(super) PathBuf);

impl Drop for Copy {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

impl Registry {
    /// Writes a backup. Garbage is not collected meanwhile; all else goes on.
    ///
    /// # Errors
    /// [`ServiceError::Output`], [`ServiceError::Inside`], [`ServiceError::Storage`],
    /// [`ServiceError::Meta`].
    pub async fn back_up_to(&self, options: &BackupOptions) -> Result<BackedUp, ServiceError> {
        let output = &options.output;
        let (own, to) = (self.data_dir.clone(), output.clone());
        let looked = blocking(move || Ok::<_, StorageError>(is_inside(&to, &own)));
        if is_other_archive(output) {
            return Err(ServiceError::Output(output.clone()));
        }
        if looked.await? {
            return Err(ServiceError::Inside(output.clone()));
        }
        // What is told to be stored stays until the end.
        let _alone = self.collecting.lock().await;
        self.flush_pulls().await?;
        self.settle().await?;
        if is_tar(output) {
            self.back_up_to_tar(output).await
        } else {
            self.back_up_to_folder(output, options.prune).await
        }
    }

    async fn back_up_to_folder(
        &self,
        folder: &Path,
        prune: bool,
    ) -> Result<BackedUp, ServiceError> {
        let dir = folder.to_owned();
        let (_lock, files) = blocking(move || {
            crate::storage::make_dir(&dir)?;
            let lock = lock(&dir)?;
            Ok::<_, StorageError>((lock, BlobFiles::open(&dir)?))
        })
        .await?;
        let copy = Copy(files.staging().join(UploadId::random().to_string()));
        let mut snapshot = self.copy_of_database(&copy.0).await?;
        let mut backed_up = BackedUp {
            repositories: snapshot.repositories().await?.len() as u64,
            ..BackedUp::default()
        };
        let mut after = 0;
        loop {
            let page = snapshot.stored_blobs(after).await?;
            let Some(last) = page.last() else { break };
            after = last.id;
            let (from, to) = (self.blobs.clone(), files.clone());
            backed_up = blocking(move || {
                for blob in &page {
                    put_away(&from, &to, blob, &mut backed_up)?;
                }
                Ok::<_, StorageError>(backed_up)
            })
            .await?;
        }
        if prune {
            backed_up.removed = remove_unknown(&copy.0, &files).await?;
        }
        snapshot.close().await?;
        let (own, dir) = (self.data_dir.clone(), folder.to_owned());
        blocking(move || {
            for name in SECRETS {
                let (from, to) = (own.join(name), dir.join(name));
                if from.exists() {
                    let unready = files.staging().join(name);
                    write_copy(&from, &unready)?;
                    fs::rename(&unready, &to).context("rename to", &to)?;
                }
            }
            let database = dir.join(DATABASE);
            let file = File::open(&copy.0).context("open", &copy.0)?;
            file.sync_all().context("sync", &copy.0)?;
            // Of a registry that served this folder: they belong to the database before.
            for beside in ["-wal", "-shm"] {
                let path = dir.join(format!("{DATABASE}{beside}"));
                match fs::remove_file(&path) {
                    Err(e) if e.kind() != io::ErrorKind::NotFound => {
                        return Err(e).context("remove", &path);
                    }
                    _ => {}
                }
            }
            fs::rename(&copy.0, &database).context("rename to", &database)?;
            sync_dir(&dir)
        })
        .await?;
        Ok(backed_up)
    }

    async fn back_up_to_tar(&self, output: &Path) -> Result<BackedUp, ServiceError> {
        let copy = Copy(self.blobs.staging().join(UploadId::random().to_string()));
        let mut snapshot = self.copy_of_database(&copy.0).await?;
        let mut blobs = Vec::new();
        while let Some(page) = next(&mut snapshot, blobs.last()).await? {
            blobs.extend(page);
        }
        let mut backed_up = BackedUp {
            repositories: snapshot.repositories().await?.len() as u64,
            ..BackedUp::default()
        };
        snapshot.close().await?;
        let (files, own, output) = (self.blobs.clone(), self.data_dir.clone(), output.to_owned());
        blocking(move || {
            let mut name = output.as_os_str().to_owned();
            name.push(format!(".{}.tmp", UploadId::random()));
            let unready = Copy(name.into());
            let file = create_new(&unready.0).context("create", &unready.0)?;
            let mut tar = Builder::new(io::BufWriter::with_capacity(1 << 20, file));
            let written = |done: io::Result<()>| done.context("write", &unready.0);
            written(entry(&mut tar, Path::new(DATABASE), &copy.0))?;
            for name in SECRETS {
                let path = own.join(name);
                if path.exists() {
                    written(entry(&mut tar, Path::new(name), &path))?;
                }
            }
            for blob in blobs {
                let flaw = waiting(files.verify(&blob.digest, blob.size, true))?;
                let reading = files.open_on_thread(&blob.digest)?;
                let (None, Some(reading)) = (&flaw, reading) else {
                    let flaw = flaw.unwrap_or(Flaw::Missing);
                    backed_up.damaged.push(format!("{}: {flaw}", blob.digest));
                    continue;
                };
                let inside = BlobFiles::path_inside(&blob.digest);
                written(append(&mut tar, &inside, blob.size, reading))?;
                backed_up.blobs += 1;
                backed_up.bytes += blob.size;
                backed_up.new_blobs += 1;
                backed_up.new_bytes += blob.size;
            }
            let file = tar
                .into_inner()
                .and_then(|file| file.into_inner().map_err(io::Error::from))
                .context("write", &unready.0)?;
            file.sync_all().context("sync", &unready.0)?;
            fs::rename(&unready.0, &output).context("rename to", &output)?;
            match output.parent() {
                Some(dir) if !dir.as_os_str().is_empty() => sync_dir(dir)?,
                _ => sync_dir(Path::new("."))?,
            }
            Ok::<_, ServiceError>(backed_up)
        })
        .await
    }

    async fn copy_of_database(&self, to: &Path) -> Result<Snapshot, ServiceError> {
        let path = to.to_owned();
        // SQLite writes into a file that is there and empty: this one is its owner's alone.
        blocking(move || create_new(&path).context("create", &path)).await?;
        self.meta.copy_to(to).await?;
        Ok(Snapshot::open(to).await?)
    }
}

async fn next(
    snapshot: &mut Snapshot,
    last: Option<&StoredBlob>,
) -> Result<Option<Vec<StoredBlob>>, ServiceError> {
    let page = snapshot
        .stored_blobs(last.map_or(0, |blob| blob.id))
        .await?;
    Ok((!page.is_empty()).then_some(page))
}

/// Copies a blob that is not there yet, and verifies it on the way.
fn put_away(
    from: &Blobs,
    to: &BlobFiles,
    blob: &StoredBlob,
    backed_up: &mut BackedUp,
) -> Result<(), StorageError> {
    let digest = &blob.digest;
    // What was put there was verified; that it is still whole is for `rregistry fsck` to say.
    let there = fs::metadata(to.path(digest)).is_ok_and(|found| found.len() == blob.size);
    if !there {
        let Some(mut reading) = from.open_on_thread(digest)? else {
            let line = format!("{digest}: {}", Flaw::Missing);
            backed_up.damaged.push(line);
            return Ok(());
        };
        let Some(staged) = reading.import_to(to, digest)? else {
            let line = format!("{digest}: its content is not what its digest says");
            backed_up.damaged.push(line);
            return Ok(());
        };
        to.adopt_staged(staged, digest)?;
        backed_up.new_blobs += 1;
        backed_up.new_bytes += blob.size;
    }
    backed_up.blobs += 1;
    backed_up.bytes += blob.size;
    Ok(())
}

/// Removes the files that the copy of the database does not know.
async fn remove_unknown(database: &Path, files: &BlobFiles) -> Result<u64, ServiceError> {
    let mut known = std::collections::HashSet::new();
    let mut snapshot = Snapshot::open(database).await?;
    let mut after = 0;
    loop {
        let page = snapshot.stored_blobs(after).await?;
        let Some(last) = page.last() else { break };
        after = last.id;
        known.extend(page.into_iter().map(|blob| blob.digest));
    }
    snapshot.close().await?;
    let files = files.clone();
    blocking(move || {
        let mut removed = 0;
        for shard in files.shards()? {
            for Listed { digest, .. } in files.list(&shard)? {
                if !known.contains(&digest) {
                    files.remove(&digest)?;
                    removed += 1;
                }
            }
        }
        Ok(removed)
    })
    .await
}

/// A durable copy of a small file, for its owner alone.
pub(super) fn write_copy(from: &Path, to: &Path) -> Result<(), StorageError> {
    let mut source = File::open(from).context("open", from)?;
    let mut file = create_new(to).context("create", to)?;
    io::copy(&mut source, &mut file).context("write", to)?;
    file.sync_all().context("sync", to)
}

fn entry(tar: &mut Builder<impl io::Write>, name: &Path, path: &Path) -> io::Result<()> {
    let file = File::open(path)?;
    let size = file.metadata()?.len();
    append(tar, name, size, file)
}

fn append(
    tar: &mut Builder<impl io::Write>,
    name: &Path,
    size: u64,
    content: impl io::Read,
) -> io::Result<()> {
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::Regular);
    header.set_mode(0o600);
    header.set_mtime(u64::try_from(now()).unwrap_or(0));
    header.set_size(size);
    tar.append_data(&mut header, name, content)
}
