//! Finds the command and executes it, with Docker's words for what goes wrong.

use std::io;

use nix::libc;

use super::failure::Failure;
use crate::sys::Syscall;

/// What is said of a file that could not be executed.
pub(super) fn refused(path: &str, error: &io::Error) -> Failure {
    match error.raw_os_error() {
        // The file is there: its interpreter is not.
        Some(libc::ENOENT) => Failure::NotFound {
            message: format!("exec {path}: no such file or directory"),
        },
        Some(libc::EACCES | libc::EPERM) => Failure::NotExecutable {
            message: format!("exec {path}: permission denied"),
        },
        Some(libc::ENOEXEC) => Failure::NotExecutable {
            message: format!("exec {path}: exec format error"),
        },
        Some(libc::E2BIG) => Failure::NotExecutable {
            message: format!("exec {path}: argument list too long"),
        },
        _ => Failure::NotExecutable {
            message: format!("exec {path}: {error}"),
        },
    }
}

/// Where the command of `argv` is.
pub(super) fn find(sys: &dyn Syscall, argv: &[String], env: &[String]) -> Result<String, Failure> {
    let Some(name) = argv.first() else {
        return Err(Failure::NotFound {
            message: "exec: no command".to_owned(),
        });
    };
    if name.contains('/') {
        return match sys.check_executable(name) {
            Ok(()) => Ok(name.clone()),
            Err(error) => Err(refuse(name, &error)),
        };
    }
    // Without the variable nothing is searched: what an image without one gets is not for here.
    let path = env.iter().find_map(|entry| entry.strip_prefix("PATH="));
    let mut denied = None;
    for dir in path.into_iter().flat_map(|path| path.split(':')) {
        let candidate = if dir.is_empty() {
            format!("./{name}")
        } else {
            format!("{dir}/{name}")
        };
        match sys.check_executable(&candidate) {
            Ok(()) => return Ok(candidate),
            Err(error) if error.raw_os_error() == Some(libc::EACCES) => denied = Some(error),
            Err(_) => {}
        }
    }
    match denied {
        Some(error) if !name.is_empty() => Err(refuse(name, &error)),
        _ => Err(Failure::NotFound {
            message: format!("exec: \"{name}\": executable file not found in $PATH"),
        }),
    }
}

fn refuse(name: &str, error: &io::Error) -> Failure {
    let quoted = format!("exec: \"{name}\"");
    match error.raw_os_error() {
        Some(libc::ENOENT | libc::ENOTDIR) => Failure::NotFound {
            message: format!("{quoted}: stat {name}: no such file or directory"),
        },
        Some(libc::EACCES) => Failure::NotExecutable {
            message: format!("{quoted}: permission denied"),
        },
        None if error.kind() == io::ErrorKind::IsADirectory => Failure::NotExecutable {
            message: format!("{quoted}: is a directory: permission denied"),
        },
        _ => Failure::NotExecutable {
            message: format!("{quoted}: {error}"),
        },
    }
}
