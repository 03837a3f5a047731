//! Brings the times of an upper directory down to what its layer will say.
//!
//! A tar that is made with [`TarOptions::clamp_mtime`](super::TarOptions::clamp_mtime) dates
//! nothing later than that. Whoever unpacks it sees those times; so must whoever has the
//! directory that it was made of.

use std::ffi::OsStr;
use std::io;
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, RawDir, Stat, Timespec, Timestamps, UTIME_OMIT, fstat,
    futimens, openat, statat, utimensat,
};
use rustix::io::Errno;

use super::names::MAX_DEPTH;
use super::walk::{GoOn, TarError};

const LISTING_BUFFER: usize = 64 << 10;
const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// Sets every modification time below `upper`, and its own, that is later than `latest` (seconds
/// since the epoch) to exactly that. Symbolic links are not followed.
///
/// # Errors
/// [`TarError::Read`] for what cannot be read or set and for what `go_on` says, and
/// [`TarError::TooDeep`].
pub fn clamp_times(upper: impl AsFd, latest: i64, go_on: GoOn<'_>) -> Result<(), TarError> {
    let mut path = Vec::new();
    let failed = |path: &[u8], cause: io::Error| TarError::Read {
        what: "setting times of",
        path: PathBuf::from(OsStr::from_bytes(path)),
        cause,
    };
    let root = openat(upper, c".", DIRECTORY, Mode::empty());
    let root = root.map_err(|e| failed(b".", e.into()))?;
    // Directories still to be gone through, each with its path and depth.
    let mut todo: Vec<(OwnedFd, Vec<u8>)> = vec![(root, Vec::new())];
    let mut depth = vec![0_usize];
    let mut buffer = [MaybeUninit::uninit(); LISTING_BUFFER];
    while let (Some((dir, at)), Some(level)) = (todo.pop(), depth.pop()) {
        if level >= MAX_DEPTH {
            return Err(TarError::TooDeep(PathBuf::from(OsStr::from_bytes(&at))));
        }
        let stat = fstat(&dir).map_err(|e| failed(&at, e.into()))?;
        if is_later(&stat, latest) {
            futimens(&dir, &times(latest)).map_err(|e| failed(&at, e.into()))?;
        }
        let mut listing = RawDir::new(&dir, &mut buffer);
        while let Some(entry) = listing.next() {
            let entry = entry.map_err(|e| failed(&at, e.into()))?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            path.clear();
            path.extend_from_slice(&at);
            path.extend_from_slice(name.to_bytes());
            go_on().map_err(|e| failed(&path, e))?;
            let kind = clamp(dir.as_fd(), name, latest).map_err(|e| failed(&path, e.into()))?;
            if kind == FileType::Directory {
                let inner = openat(&dir, name, DIRECTORY, Mode::empty());
                path.push(b'/');
                todo.push((inner.map_err(|e| failed(&path, e.into()))?, path.clone()));
                depth.push(level + 1);
            }
        }
    }
    Ok(())
}

/// Clamps one entry, unless it is a directory; says what it is.
fn clamp(dir: BorrowedFd<'_>, name: &std::ffi::CStr, latest: i64) -> Result<FileType, Errno> {
    let stat = statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?;
    let kind = FileType::from_raw_mode(stat.st_mode);
    if kind != FileType::Directory && is_later(&stat, latest) {
        utimensat(dir, name, &times(latest), AtFlags::SYMLINK_NOFOLLOW)?;
    }
    Ok(kind)
}

fn is_later(stat: &Stat, latest: i64) -> bool {
    stat.st_mtime > latest || (stat.st_mtime == latest && stat.st_mtime_nsec != 0)
}

fn times(seconds: i64) -> Timestamps {
    Timestamps {
        last_access: Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_OMIT,
        },
        last_modification: Timespec {
            tv_sec: seconds,
            tv_nsec: 0,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt, symlink};

    #[test]
    fn nothing_is_later_and_what_is_older_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        std::fs::create_dir_all(path("d/e")).unwrap();
        std::fs::write(path("d/e/new"), "").unwrap();
        std::fs::hard_link(path("d/e/new"), path("linked")).unwrap();
        symlink("/etc/passwd", path("d/link")).unwrap();
        std::fs::write(path("old"), "").unwrap();
        let old = std::time::UNIX_EPOCH + std::time::Duration::from_millis(5_500);
        let file = std::fs::File::options().write(true).open(path("old"));
        file.unwrap().set_modified(old).unwrap();
        let fd = super::super::open_dir(dir.path()).unwrap();
        clamp_times(&fd, 1_000, &|| Ok(())).unwrap();
        let time = |name: &str| {
            let found = std::fs::symlink_metadata(path(name)).unwrap();
            (found.mtime(), found.mtime_nsec())
        };
        for name in [".", "d", "d/e", "d/e/new", "linked", "d/link"] {
            assert_eq!(time(name), (1_000, 0), "{name}");
        }
        assert_eq!(time("old"), (5, 500_000_000));
        // A fraction of the last second is later, too.
        clamp_times(&fd, 5, &|| Ok(())).unwrap();
        assert_eq!((time("old"), time("d")), ((5, 0), (5, 0)));
    }

    #[test]
    fn it_ends_when_it_is_told_to() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("f"), "").unwrap();
        let fd = super::super::open_dir(dir.path()).unwrap();
        let error = clamp_times(&fd, 5, &|| Err(io::Error::other("enough"))).unwrap_err();
        assert!(error.to_string().contains("enough"), "{error}");
        let measured =
            super::super::diff::measure(&fd, &super::super::TarOptions::default(), &|| {
                Err(io::Error::other("enough"))
            });
        assert!(measured.unwrap_err().to_string().contains("enough"));
    }
}
