//! WORKDIR, and the directory that a RUN starts in.

use std::path::Path;

use runtime::users::UserError;

use super::{Stack, copy};
use crate::files::rootfs::{Owner, Rootfs};
use crate::solve::error::StepError;

/// Makes the working directory of a RUN when the image lacks it, as runtimes do.
pub(super) fn make_cwd(cwd: &str, stack: &Stack) -> Result<(), StepError> {
    if cwd == "/" || stack.readable()?.open_dir(Path::new(cwd)).is_ok() {
        return Ok(());
    }
    make_workdir(cwd, "", &stack.writable()?)
}

/// `mkdir -p` for WORKDIR; new directories belong to the user in force.
pub(super) fn make_workdir(path: &str, user: &str, dest: &Rootfs) -> Result<(), StepError> {
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
