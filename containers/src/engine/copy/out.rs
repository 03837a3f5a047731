//! Out of a container.

use std::ffi::CString;
use std::io::Write;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::PathBuf;

use oci::layer::unpack::Ownership;
use rustix::fs::OFlags;
use rustix::io::Errno;

use super::paths::{self, From};
use super::stream::{Opened, Target};
use super::{Copied, Seen, inside, local, not_found};
use crate::engine::container::Container;
use crate::engine::handle::{Containers, blocking};
use crate::error::{Error, Result};

/// Something to be copied out of a container.
#[derive(Clone, Debug)]
pub struct CopyOut {
    /// The container as it was typed.
    pub typed: String,
    /// The path in it.
    pub path: String,
    /// A link is followed.
    pub follow: bool,
}

impl Containers {
    /// Copies something to a path of this machine; one that is not absolute begins at `here`.
    ///
    /// # Errors
    /// docker's sentences.
    pub async fn copy_out(
        &self,
        container: &Container,
        copy: CopyOut,
        (to, here): (&str, PathBuf),
    ) -> Result<Copied> {
        let to = local::absolute(to, &here);
        local::check(&to)?;
        let seen = self.see(container).await?;
        let copied = blocking(move || {
            let size = seen.with(|root| {
                let found = copy.find(root)?;
                let target = local::destination(&to)?;
                let (dir, name) = paths::place(&found.from, &target)
                    .map_err(|why| Error::Invalid(why.to_owned()))?;
                let opened = oci::layer::open_dir(dir.as_ref())
                    .map_err(|error| Error::Invalid(error.to_string()))?;
                let into = Target {
                    dir: opened.as_fd(),
                    shown: &dir,
                    // docker gives nothing away: files are whose who copies.
                    ownership: Ownership::Current,
                };
                let name = name.unwrap_or_else(|| found.name());
                Ok(into.copy(&found.opened, &name)?)
            })?;
            Ok(Copied { size, path: to })
        })
        .await?;
        self.tell(container, "archive-path", &[]);
        Ok(copied)
    }

    /// Writes something as a tar.
    ///
    /// # Errors
    /// docker's sentences.
    pub async fn copy_as_tar(
        &self,
        container: &Container,
        copy: CopyOut,
        mut out: impl Write + Send + 'static,
    ) -> Result<()> {
        let seen: Seen = self.see(container).await?;
        blocking(move || {
            seen.with(|root| {
                let found = copy.find(root)?;
                found.opened.write(&found.own_name(), &mut out)?;
                out.flush()
                    .map_err(|error| Error::Invalid(error.to_string()))
            })
        })
        .await?;
        self.tell(container, "archive-path", &[]);
        Ok(())
    }
}

/// What is copied, found and opened.
struct Found {
    from: From,
    opened: Opened,
}

impl Found {
    fn own_name(&self) -> String {
        paths::base(&self.from.path).to_owned()
    }

    /// What it is called where it goes.
    fn name(&self) -> String {
        let renamed = self.from.renamed.clone();
        renamed.unwrap_or_else(|| self.own_name())
    }
}

impl CopyOut {
    fn find(&self, root: BorrowedFd<'_>) -> Result<Found> {
        if self.path.is_empty() {
            return Err(Error::Invalid(
                "bad parameter: pathcannot be empty".to_owned(),
            ));
        }
        let mut typed = self.path.clone();
        let mut renamed = None;
        let link = inside::look(root, &paths::absolute(&typed));
        if self.follow && link.is_ok_and(|stat| inside::is_link(&stat)) {
            let target = inside::follow(root, &paths::absolute(&typed))
                .map_err(|errno| self.missing(&typed, errno))?;
            (typed, renamed) = paths::led(&typed, target);
        }
        let path = paths::absolute(&typed);
        let missing = |errno| self.missing(&typed, errno);
        let stat = inside::look(root, &path).map_err(missing)?;
        let is_dir = inside::is_dir(&stat);
        let opened = match is_dir {
            true => {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY;
                Opened::Directory(inside::open(root, &path, flags).map_err(missing)?)
            }
            false => {
                let (dir, name) = paths::split(&path);
                let flags = OFlags::PATH | OFlags::DIRECTORY;
                let dir = inside::open(root, &dir, flags).map_err(missing)?;
                let name = CString::new(name).map_err(|_| missing(Errno::INVAL))?;
                Opened::Entry(dir, name)
            }
        };
        Ok(Found {
            from: From {
                path,
                is_dir,
                renamed,
            },
            opened,
        })
    }

    fn missing(&self, typed: &str, errno: Errno) -> Error {
        not_found(typed, &self.typed, errno)
    }
}
