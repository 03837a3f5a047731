//! The layers that a step works on, as detached overlay mounts.

use std::path::{Path, PathBuf};

use runtime::users::UserError;

use super::copy;
use crate::files::rootfs::{Owner, Rootfs};
use crate::solve::error::StepError;

/// The layers that a step works on, and where it leaves its own.
pub struct Stack {
    /// Topmost first.
    pub lowers: Vec<PathBuf>,
    /// Stands for the layers when there are none.
    pub empty: PathBuf,
    /// Where its own files come.
    pub upper: PathBuf,
    /// The overlay's work directory.
    pub work: PathBuf,
}

impl Stack {
    /// The files as they are.
    ///
    /// # Errors
    /// When they cannot be mounted.
    pub fn readable(&self) -> Result<Rootfs, StepError> {
        mount(&self.lowers, &self.empty, None)
    }

    /// The files, to be changed.
    ///
    /// # Errors
    /// When they cannot be mounted.
    pub fn writable(&self) -> Result<Rootfs, StepError> {
        let upper = Some((self.upper.as_path(), self.work.as_path()));
        mount(&self.lowers, &self.empty, upper)
    }

    /// No files, to be added to: what comes of it lies upon the layers.
    ///
    /// # Errors
    /// When they cannot be mounted.
    pub fn bare(&self) -> Result<Rootfs, StepError> {
        let upper = Some((self.upper.as_path(), self.work.as_path()));
        mount(&[], &self.empty, upper)
    }
}

/// A detached overlay of `lowers`, writable when `upper` (and its work directory) is given.
///
/// # Errors
/// When it cannot be mounted.
pub fn mount(
    lowers: &[PathBuf],
    empty: &Path,
    upper: Option<(&Path, &Path)>,
) -> Result<Rootfs, StepError> {
    let empty = [empty.to_owned()];
    let lowers = if lowers.is_empty() {
        &empty[..]
    } else {
        lowers
    };
    let mounted = runtime::overlay::mount_detached(lowers, upper)
        .map_err(|e| StepError::Other(e.to_string()))?;
    Ok(Rootfs::new(mounted))
}

/// Makes the working directory of a RUN when the image lacks it, as runtimes do.
///
/// # Errors
/// When it cannot be made.
pub fn make_cwd(cwd: &str, stack: &Stack) -> Result<(), StepError> {
    if cwd == "/" || stack.readable()?.open_dir(Path::new(cwd)).is_ok() {
        return Ok(());
    }
    make_workdir(cwd, "", &stack.writable()?)
}

/// `mkdir -p` for WORKDIR; new directories belong to the user in force.
///
/// # Errors
/// When it cannot be made.
pub fn make_workdir(path: &str, user: &str, dest: &Rootfs) -> Result<(), StepError> {
    let owner = match user {
        "" => Owner::default(),
        user => match copy::find_owner(user, dest) {
            Ok(owner) => owner,
            // Only a RUN needs the user to exist; it may be made by then.
            Err(UserError::UnknownUser(_) | UserError::UnknownGroup(_)) => Owner::default(),
            Err(e) => return Err(StepError::Other(format!("USER {user}: {e}"))),
        },
    };
    // As BuildKit: what a `..` steps out of is made as well.
    for (at, _) in path.match_indices("/..") {
        let before = Path::new(&path[..at]);
        if matches!(path.as_bytes().get(at + 3), None | Some(b'/')) && before.has_root() {
            dest.make_dirs(before, 0o755, owner)
                .map_err(|e| StepError::Other(format!("WORKDIR {path}: {e}")))?;
        }
    }
    dest.make_dirs(Path::new(path), 0o755, owner)
        .map(drop)
        .map_err(|e| StepError::Other(format!("WORKDIR {path}: {e}")))
}
