//! Paths of this machine, as `cp` sees them.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

use super::paths::{self, From, There, To};
use super::said;

/// As many links as docker follows.
const MAX_LINKS: usize = 10;

fn lstat(path: &str) -> Result<Metadata, String> {
    fs::symlink_metadata(path).map_err(|error| format!("lstat {path}: {}", said(&error)))
}

fn is_other(path: &str) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| !found.is_dir())
}

/// A path from the root, ending as it was typed.
pub(super) fn absolute(typed: &str, here: &Path) -> String {
    let path = here.join(typed).display().to_string();
    paths::keep_end(golang::path::clean(&path), typed)
}

fn real(path: &str) -> Result<String, String> {
    let real: PathBuf = fs::canonicalize(path).map_err(|error| {
        // The part of it that is not there.
        let mut missing = Path::new(path);
        while let Some(parent) = missing.parent().filter(|p| p.symlink_metadata().is_err()) {
            missing = parent;
        }
        let missing = match missing.canonicalize() {
            Err(_) if missing.is_symlink() => link_target(missing),
            _ => missing.to_owned(),
        };
        format!("lstat {}: {}", missing.display(), said(&error))
    })?;
    Ok(real.display().to_string())
}

fn link_target(link: &Path) -> PathBuf {
    let target = fs::read_link(link).unwrap_or_default();
    match link.parent() {
        Some(parent) => parent.join(target),
        None => target,
    }
}

/// What is copied from here.
///
/// # Errors
/// docker's sentences about what is not there.
pub(super) fn source(path: &str, follow: bool) -> Result<From, String> {
    let (path, renamed) = match follow {
        true => paths::led(path, real(path)?),
        false => {
            let at = path.rfind('/').map_or(0, |at| at + 1);
            let (dir, name) = path.split_at(at);
            if name.is_empty() && is_other(dir.trim_end_matches('/')) && !Path::new(dir).is_dir() {
                return Err("not a directory".to_owned());
            }
            let resolved = format!("{}/{name}", real(dir)?);
            let other = paths::base(path) != paths::base(&resolved);
            let renamed = (paths::is_slashed(path) && other).then(|| paths::base(path).to_owned());
            (resolved, renamed)
        }
    };
    let found = lstat(&path)?;
    Ok(From {
        is_dir: found.is_dir(),
        path,
        renamed,
    })
}

/// Checks where something is to go, before anything is asked of the container.
///
/// # Errors
/// docker's sentences.
pub(super) fn check(path: &str) -> Result<(), String> {
    let dir = paths::dir(&golang::path::clean(path));
    if fs::metadata(&dir).is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
        return Err(format!(
            "invalid output path: directory {dir:?} does not exist"
        ));
    }
    let found = match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(format!("stat {path}: {}", said(&error))),
        Ok(found) => found.file_type(),
    };
    let what = if found.is_block_device() || found.is_char_device() {
        "got a device"
    } else if found.is_fifo() || found.is_socket() {
        "got an irregular file"
    } else {
        return Ok(());
    };
    Err(format!(
        "invalid output path: {path:?} must be a directory or a regular file: {what}"
    ))
}

/// Where something is to go: the end of the links at a path.
///
/// # Errors
/// docker's sentences.
pub(super) fn destination(typed: &str) -> Result<To, String> {
    let mut path = typed.to_owned();
    for _ in 0..=MAX_LINKS {
        let found = match fs::symlink_metadata(&path) {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let (parent, _) = paths::split(&path);
                let dir = fs::metadata(&parent)
                    .map_err(|error| format!("stat {parent}: {}", said(&error)))?;
                return match dir.is_dir() {
                    true => Ok(To {
                        path,
                        there: There::Nothing,
                    }),
                    false => Err("not a directory".to_owned()),
                };
            }
            Err(error) => return Err(format!("lstat {path}: {}", said(&error))),
        };
        if !found.is_symlink() {
            let there = match found.is_dir() {
                true => There::Directory,
                false => There::Other,
            };
            return Ok(To { path, there });
        }
        path = link_target(Path::new(&path)).display().to_string();
    }
    Err(format!("too many symlinks in {typed}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn what_is_here_is_seen_as_docker_sees_it() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        fs::create_dir(root.join("d")).unwrap();
        fs::write(root.join("f"), "x").unwrap();
        symlink("d", root.join("ld")).unwrap();
        symlink("nowhere", root.join("dangling")).unwrap();
        let at = |name: &str| format!("{}/{name}", root.display());
        let found = source(&at("ld"), false).unwrap();
        assert_eq!(
            (found.path.as_str(), found.is_dir),
            (at("ld").as_str(), false)
        );
        for (typed, follow) in [("ld/", false), ("ld", true)] {
            let found = source(&at(typed), follow).unwrap();
            assert!(found.is_dir && found.path.starts_with(&at("d")), "{typed}");
            assert_eq!(found.renamed.as_deref(), Some("ld"));
        }
        assert_eq!(source(&at("f/"), false).unwrap_err(), "not a directory");
        let gone = format!("lstat {}: no such file or directory", at("nowhere"));
        assert_eq!(source(&at("dangling"), true).unwrap_err(), gone);
        let gone = format!("lstat {}: no such file or directory", at("nope"));
        assert_eq!(source(&at("nope"), false).unwrap_err(), gone);
        let wrong = format!(
            "invalid output path: directory {:?} does not exist",
            at("nodir")
        );
        assert_eq!(check(&at("nodir/f")).unwrap_err(), wrong);
        check(&at("nodir/")).unwrap();
        let wrong = format!("stat {}: not a directory", at("f/"));
        assert_eq!(check(&at("f/")).unwrap_err(), wrong);
        assert_eq!(destination(&at("ld")).unwrap().path, at("d"));
        assert_eq!(destination(&at("dangling")).unwrap().there, There::Nothing);
    }
}
