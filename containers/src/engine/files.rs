//! The file system of a container from outside: as a whole, and what has changed in it.

use std::collections::HashSet;
use std::fs;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use oci::layer::{TarOptions, open_dir, tree};
use runtime::overlay;
use rustix::fs::{Mode, OFlags};

use super::container::Container;
use super::handle::{Containers, blocking};
use crate::error::{Error, Result};

/// How a path differs from the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// It is new.
    Added,
    /// It is another.
    Changed,
    /// It is gone.
    Deleted,
}

impl Change {
    /// docker's letter for it.
    pub fn letter(self) -> char {
        match self {
            Self::Added => 'A',
            Self::Changed => 'C',
            Self::Deleted => 'D',
        }
    }
}

impl Containers {
    /// The layers below a container's own, the topmost first.
    pub(super) async fn lowers(&self, container: &Container) -> Result<Vec<PathBuf>> {
        self.layers(container.stored.chain_id.as_ref()).await
    }

    /// The layers below a container's own, with what every container has at the bottom.
    async fn lowers_and_stub(&self, container: &Container) -> Result<Vec<PathBuf>> {
        let mut lowers = self.lowers(container).await?;
        let stub = self.store.derived_dir("container-stub").await?;
        let made = {
            let stub = stub.clone();
            blocking(move || Ok(overlay::prepare_lasting_stub_dir(&stub).is_ok())).await?
        };
        // In a store that cannot be written to there may be none.
        if made || stub.is_dir() {
            lowers.push(stub);
        }
        Ok(lowers)
    }

    /// All files of a container as they are, whether it runs or not. What is mounted in it is left
    /// out.
    ///
    /// # Errors
    /// When its layers are gone.
    pub async fn files(&self, container: &Container) -> Result<OwnedFd> {
        let lowers = self.lowers_and_stub(container).await?;
        let upper = container.stored.upper();
        let files = blocking(move || view(&upper, &lowers)).await?;
        self.tell(container, "export", &[]);
        Ok(files)
    }

    /// What has changed in a container since it was made, by path.
    ///
    /// # Errors
    /// What could not be read.
    pub async fn diff(&self, container: &Container) -> Result<Vec<(Change, String)>> {
        let lowers = self.lowers_and_stub(container).await?;
        let upper = container.stored.upper();
        blocking(move || {
            let below = match lowers.is_empty() {
                true => None,
                false => Some(overlay::mount_detached(&lowers, None)?),
            };
            let mut found = Changes {
                upper: &upper,
                below: below.as_ref(),
                told: HashSet::new(),
                changes: Vec::new(),
            };
            let walked = found.walk(Path::new(""));
            walked.map_err(Error::io("read", &upper))?;
            found.changes.sort_by(|a, b| a.1.cmp(&b.1));
            Ok(found.changes)
        })
        .await
    }
}

/// Writes the tree below a directory as a tar.
///
/// # Errors
/// What could not be read or written.
pub fn write_tar(root: &OwnedFd, out: &mut dyn Write) -> Result<()> {
    let failed = |error: &dyn std::fmt::Display| Error::Invalid(format!("export: {error}"));
    let mut out = io::BufWriter::with_capacity(1 << 20, out);
    let options = TarOptions::default();
    tree::write_tar(root, &options, &mut out).map_err(|error| failed(&error))?;
    out.flush().map_err(|error| failed(&error))
}

/// A container's files as they are, for reading.
pub(super) fn view(upper: &Path, lowers: &[PathBuf]) -> Result<OwnedFd> {
    if lowers.is_empty() {
        return open_dir(upper).map_err(|error| Error::Invalid(error.to_string()));
    }
    let all = std::iter::once(upper.to_owned()).chain(lowers.iter().cloned());
    view_of(&all.collect::<Vec<_>>())
}

/// The files of layers, the topmost first, for reading.
fn view_of(layers: &[PathBuf]) -> Result<OwnedFd> {
    let mount = overlay::mount_detached(layers, None)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::openat(&mount, ".", flags, Mode::empty());
    root.map_err(|errno| Error::io("open", "the layers")(errno.into()))
}

/// Where a container differs from the layers below it.
struct Changes<'a> {
    upper: &'a Path,
    below: Option<&'a OwnedFd>,
    /// Directories that are among the changes.
    told: HashSet<PathBuf>,
    changes: Vec<(Change, String)>,
}

impl Changes<'_> {
    fn walk(&mut self, dir: &Path) -> io::Result<()> {
        let mut entries = fs::read_dir(self.upper.join(dir))?.collect::<io::Result<Vec<_>>>()?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let path = dir.join(entry.file_name());
            let found = entry.metadata()?;
            let is_whiteout = found.file_type().is_char_device() && found.rdev() == 0;
            let below = self.below(&path);
            if is_whiteout {
                self.tell(Change::Deleted, &path);
                continue;
            }
            match below {
                None => self.tell(Change::Added, &path),
                // A directory is copied when something in it is changed.
                Some(below) if found.is_dir() && is_same(&below, &found) => {}
                Some(_) => self.tell(Change::Changed, &path),
            }
            if found.is_dir() {
                self.walk(&path)?;
            }
        }
        Ok(())
    }

    fn below(&self, path: &Path) -> Option<rustix::fs::Stat> {
        let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::statat(self.below?, path, flags).ok()
    }

    fn tell(&mut self, change: Change, path: &Path) {
        // What was added or taken away has changed the directory that it was in.
        if let Some(parent) = path.parent().filter(|_| change != Change::Changed)
            && !parent.as_os_str().is_empty()
            && self.told.insert(parent.to_owned())
        {
            self.changes.push((Change::Changed, shown(parent)));
        }
        if self.told.insert(path.to_owned()) {
            self.changes.push((change, shown(path)));
        }
    }
}

fn is_same(below: &rustix::fs::Stat, here: &fs::Metadata) -> bool {
    below.st_mode == here.mode()
        && below.st_mtime == here.mtime()
        && i64::try_from(below.st_mtime_nsec).ok() == Some(here.mtime_nsec())
}

fn shown(path: &Path) -> String {
    format!("/{}", path.display())
}
