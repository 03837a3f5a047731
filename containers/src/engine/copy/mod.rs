//! `cp`: files out of a container and into one, whether it runs or not, with its volumes.
//!
//! What is in the container is seen through `runtime::view`, and opened inside its root alone. It
//! travels as a tar from one thread to another, of which nothing is kept.

mod inside;
mod into;
mod local;
mod out;
mod paths;
mod stream;

use std::io;

use oci::layer::unpack::Ownership;
use runtime::view::{self, View};
use runtime::{Mount, Overlay};
use rustix::fd::BorrowedFd;
use rustix::io::Errno;

use super::container::Container;
use super::handle::Containers;
use super::mounts;
use crate::error::{Error, Result};
use crate::record::MountSource;

pub use into::CopyInto;
pub use out::CopyOut;

/// What was copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copied {
    /// Bytes of the tar that it went through.
    pub size: u64,
    /// Where it went.
    pub path: String,
}

/// An error in the words of Go.
fn said(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "no such file or directory".to_owned(),
        io::ErrorKind::NotADirectory => "not a directory".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    }
}

/// docker's sentence about a path in a container.
fn not_found(typed: &str, container: &str, errno: Errno) -> Error {
    Error::Invalid(match errno {
        Errno::NOENT => format!("Could not find the file {typed} in container {container}"),
        errno => format!("lstat {typed}: {}", said(&errno.into())),
    })
}

impl From<String> for Error {
    fn from(text: String) -> Self {
        Self::Invalid(text)
    }
}

/// What a container's files are seen through.
#[derive(Debug)]
struct Seen {
    container: Container,
    view: View,
    mounts: Vec<Mount>,
    /// Keeps one that does not run from being started: its files would be mounted twice.
    #[allow(dead_code, reason = "held for its lock")]
    lock: Option<std::fs::File>,
}

impl Containers {
    /// Finds out what a container's files are.
    async fn see(&self, container: &Container) -> Result<Seen> {
        let lowers = self.lowers(container).await?;
        let stub = self.store.derived_dir("container-stub").await?;
        let places = self.places(&container.record.mounts).await?;
        let mut container = container.clone();
        super::handle::blocking(move || {
            runtime::overlay::prepare_lasting_stub_dir(&stub)?;
            let mut lock = None;
            container.again()?;
            if !container.state.status.has_processes() {
                lock = Some(container.change()?);
                // It may have been started before that.
                container.again()?;
            }
            let view = match container.state.status.has_processes() {
                true => {
                    lock = None;
                    View::Running(container.inhabitant())
                }
                false => View::Still(Overlay {
                    lowers,
                    stub: Some(stub),
                    upper: container.stored.upper(),
                    work: container.stored.work(),
                }),
            };
            let points = container.record.mounts.iter();
            let shown = points.filter(|point| !matches!(point.source, MountSource::Tmpfs { .. }));
            let mounts = shown.map(|point| mounts::mount(point, &places));
            Ok(Seen {
                view,
                mounts: mounts.collect::<Result<_>>()?,
                container,
                lock,
            })
        })
        .await
    }
}

impl Seen {
    /// Does something with the container's root directory.
    fn with<T: Send>(&self, work: impl FnOnce(BorrowedFd<'_>) -> Result<T> + Send) -> Result<T> {
        view::with(&self.view, &self.mounts, work)
    }

    /// Refuses to write where the container's processes cannot, in docker's words.
    fn check_writable(&self, real: &str) -> Result<()> {
        let record = &self.container.record;
        let holds = |target: &str| {
            let rest = real.strip_prefix(target);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let points = record.mounts.iter();
        let mut points = points.filter(|point| point.is_told() && holds(&point.target));
        let refused = |why: &str| Err(Error::Invalid(why.to_owned()));
        // The deepest comes last.
        match points.next_back() {
            Some(point) if is_readonly(point) => refused("mounted volume is marked read-only"),
            None if record.host.readonly_rootfs => refused("container rootfs is marked read-only"),
            _ => Ok(()),
        }
    }

    /// Whose files are that are written with `-a`: the container's user's, if it has one.
    fn owner(&self, root: BorrowedFd<'_>) -> Result<Ownership> {
        let user = &self.container.record.config.user;
        if user.is_empty() {
            return Ok(Ownership::Archive);
        }
        let identity = runtime::users::lookup(root, user);
        let identity = identity.map_err(|error| Error::Invalid(error.to_string()))?;
        Ok(Ownership::Fixed {
            uid: identity.uid,
            gid: identity.gid,
        })
    }
}

fn is_readonly(point: &crate::record::MountPoint) -> bool {
    point.readonly || matches!(point.source, MountSource::Image { .. })
}
