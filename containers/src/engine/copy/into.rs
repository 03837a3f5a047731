//! Into a container.

use std::ffi::CString;
use std::io::Read;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use oci::layer::compression::decompress;
use oci::layer::unpack::Ownership;
use rustix::fs::{FileType, OFlags};

use super::paths::{self, There, To};
use super::stream::{Opened, Target};
use super::{Copied, Seen, inside, local, not_found};
use crate::engine::container::Container;
use crate::engine::handle::{Containers, blocking};
use crate::error::{Error, Result};

/// Where something is to go in a container.
#[derive(Clone, Debug)]
pub struct CopyInto {
    /// The container as it was typed.
    pub typed: String,
    /// The path in it.
    pub path: String,
    /// A link is followed that is to be copied.
    pub follow: bool,
    /// Files become the container's user's.
    pub archive: bool,
}

fn invalid(text: impl ToString) -> Error {
    Error::Invalid(text.to_string())
}

impl Containers {
    /// Copies something of this machine into a container; a path that is not absolute begins at
    /// `here`.
    ///
    /// # Errors
    /// docker's sentences.
    pub async fn copy_into(
        &self,
        container: &Container,
        copy: CopyInto,
        (from, here): (&str, PathBuf),
    ) -> Result<Copied> {
        let from = local::absolute(from, &here);
        let seen = self.see(container).await?;
        let copied = blocking(move || {
            let path = seen.with(|root| copy.target(root))?;
            let shown = path.path.clone();
            let found = local::source(&from, copy.follow)?;
            let (dir, name) = paths::place(&found, &path).map_err(invalid)?;
            let name = name
                .or_else(|| found.renamed.clone())
                .unwrap_or_else(|| paths::split(&found.path).1);
            let opened = open(&found)?;
            let size = seen.with(|root| {
                let (opened_dir, ownership) = copy.enter(&seen, root, &dir)?;
                let into = Target {
                    dir: opened_dir.as_fd(),
                    shown: &dir,
                    ownership,
                };
                Ok(into.copy(&opened, &name)?)
            })?;
            Ok(Copied { size, path: shown })
        })
        .await?;
        self.tell(container, "extract-to-dir", &[]);
        Ok(copied)
    }

    /// Unpacks a tar, compressed or not, in a directory of a container.
    ///
    /// # Errors
    /// docker's sentences.
    pub async fn unpack_into(
        &self,
        container: &Container,
        copy: CopyInto,
        tar: impl Read + Send + 'static,
    ) -> Result<()> {
        let seen = self.see(container).await?;
        blocking(move || {
            seen.with(|root| {
                let target = copy.target(root)?;
                if target.there != There::Directory {
                    return Err(invalid(format!(
                        "destination \"{}:{}\" must be a directory",
                        copy.typed, copy.path
                    )));
                }
                let (dir, ownership) = copy.enter(&seen, root, &target.path)?;
                let into = Target {
                    dir: dir.as_fd(),
                    shown: &target.path,
                    ownership,
                };
                let (_, tar) = decompress(tar).map_err(invalid)?;
                Ok(into.unpack(tar)?)
            })
        })
        .await?;
        self.tell(container, "extract-to-dir", &[]);
        Ok(())
    }
}

/// Opens what is to be copied: what its path leads to later does not matter.
fn open(from: &paths::From) -> Result<Opened> {
    let (dir, name) = paths::split(&from.path);
    let whole = match from.is_dir {
        true => &from.path,
        false => &dir,
    };
    let opened = oci::layer::open_dir(whole.as_ref()).map_err(invalid)?;
    match from.is_dir {
        true => Ok(Opened::Directory(opened)),
        false => Ok(Opened::Entry(opened, CString::new(name).map_err(invalid)?)),
    }
}

impl CopyInto {
    /// What is at the path that was typed, or where a link there leads.
    fn target(&self, root: BorrowedFd<'_>) -> Result<To> {
        let mut path = self.path.clone();
        if path.is_empty() {
            let there = There::Nothing;
            return Ok(To { path, there });
        }
        let mut found = inside::look(root, &paths::absolute(&path));
        if found.as_ref().is_ok_and(inside::is_link) {
            let led = inside::follow(root, &paths::absolute(&path));
            path = led.map_err(|errno| not_found(&self.path, &self.typed, errno))?;
            found = inside::look(root, &path);
        }
        let there = match &found {
            Err(_) => There::Nothing,
            Ok(stat) if inside::is_dir(stat) => There::Directory,
            Ok(stat) => {
                let what = match FileType::from_raw_mode(stat.st_mode) {
                    FileType::BlockDevice | FileType::CharacterDevice => "got a device",
                    FileType::Fifo | FileType::Socket => "got an irregular file",
                    _ => "",
                };
                if !what.is_empty() {
                    return Err(invalid(format!(
                        "destination \"{}:{}\" must be a directory or a regular file: {what}",
                        self.typed, self.path
                    )));
                }
                There::Other
            }
        };
        Ok(To { path, there })
    }

    /// Opens the directory that files go into, and says whose they will be.
    fn enter(&self, seen: &Seen, root: BorrowedFd<'_>, dir: &str) -> Result<(OwnedFd, Ownership)> {
        let missing = |errno| not_found(dir, &self.typed, errno);
        let path = paths::absolute(dir);
        let stat = inside::open(root, &path, OFlags::PATH)
            .and_then(|fd| rustix::fs::fstat(&fd))
            .map_err(missing)?;
        if !inside::is_dir(&stat) {
            return Err(invalid("extraction point is not a directory"));
        }
        let real = inside::follow(root, &path).map_err(missing)?;
        seen.check_writable(&real)?;
        // By its real path, which was checked: a link that is put there since is not followed.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
        let opened = inside::open(root, &real, flags).map_err(missing)?;
        let ownership = match self.archive {
            true => seen.owner(root)?,
            false => Ownership::Archive,
        };
        Ok((opened, ownership))
    }
}
