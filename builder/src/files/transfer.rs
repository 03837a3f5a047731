//! One file's data and metadata, by descriptor.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{self, AtFlags, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid};
use rustix::io::Errno;

use super::rootfs::Owner;
use super::select::Selection;

/// Whether a file is still the one that was selected, unchanged.
pub(super) fn is_same(now: &Stat, then: &Stat) -> bool {
    // Not the device: an overlay mounted anew has another number.
    let key = |s: &Stat| (s.st_ino, s.st_size, s.st_mtime, s.st_mtime_nsec);
    key(now) == key(then)
}

pub(super) fn create(dir: BorrowedFd<'_>, name: &OsStr) -> std::io::Result<File> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    Ok(File::from(fs::openat(
        dir,
        name,
        flags,
        Mode::from_raw_mode(0o600),
    )?))
}

/// Copies a file's data (holes stay holes) and extended attributes; returns its length.
pub(super) fn transfer(
    source: &mut File,
    mut dest: &File,
    stat: &Stat,
    buffer: &mut [u8],
) -> std::io::Result<u64> {
    let size = stat.st_size.unsigned_abs();
    let sparse = (stat.st_blocks.unsigned_abs()) * 512 < size && size > 64 << 10;
    let mut offset = 0;
    if sparse {
        dest.set_len(size)?;
        while offset < size {
            let start = match fs::seek(&*source, fs::SeekFrom::Data(offset)) {
                Ok(start) => start,
                Err(Errno::NXIO) => break,
                Err(e) => return Err(e.into()),
            };
            let end = fs::seek(&*source, fs::SeekFrom::Hole(start))?;
            fs::seek(&*source, fs::SeekFrom::Start(start))?;
            fs::seek(dest, fs::SeekFrom::Start(start))?;
            let copied = std::io::copy(&mut Read::take(&mut *source, end - start), &mut dest)?;
            if copied != end - start {
                return Ok(start + copied);
            }
            offset = end;
        }
        offset = size;
    } else {
        loop {
            let n = source.read(buffer)?;
            if n == 0 {
                break;
            }
            dest.write_all(&buffer[..n])?;
            offset += n as u64;
            // A file of the size that was promised needs no second read to find its end.
            if offset == size {
                break;
            }
        }
    }
    copy_xattrs(source.as_fd(), dest.as_fd());
    Ok(offset)
}

/// Copies `user.*` attributes and file capabilities; what the destination cannot hold is left.
pub(super) fn copy_xattrs(source: BorrowedFd<'_>, dest: BorrowedFd<'_>) {
    let mut names = [0; 1024];
    let Ok(n) = fs::flistxattr(source, &mut names[..]) else {
        return;
    };
    for name in names[..n]
        .split(|b| *b == 0)
        .filter(|name| !name.is_empty())
    {
        if name != b"security.capability" && !name.starts_with(b"user.") {
            continue;
        }
        let mut value = vec![0; 64 << 10];
        if let Ok(n) = fs::fgetxattr(source, name, &mut value[..]) {
            // Refused where the file system holds none of them: the content is still right.
            let _ = fs::fsetxattr(dest, name, &value[..n], fs::XattrFlags::empty());
        }
    }
}

/// Owner before mode, since a change of owner clears the setuid bit; the time last.
pub(super) fn finish(
    file: BorrowedFd<'_>,
    owner: Owner,
    mode: u32,
    time: Timespec,
) -> std::io::Result<()> {
    if owner != Owner::default() || !rustix::process::geteuid().is_root() {
        fs::fchown(
            file,
            Some(Uid::from_raw(owner.uid)),
            Some(Gid::from_raw(owner.gid)),
        )?;
    } else {
        // Made by root, and already root's; a set-group-ID directory may have given its group.
        let stat = fs::fstat(file)?;
        if (stat.st_uid, stat.st_gid) != (0, 0) {
            fs::fchown(file, Some(Uid::ROOT), Some(Gid::ROOT))?;
        }
    }
    fs::fchmod(file, Mode::from_raw_mode(mode))?;
    fs::futimens(
        file,
        &Timestamps {
            last_access: time,
            last_modification: time,
        },
    )?;
    Ok(())
}

pub(super) fn chown_at(dir: BorrowedFd<'_>, name: &OsStr, owner: Owner) -> Result<(), Errno> {
    let (uid, gid) = (Uid::from_raw(owner.uid), Gid::from_raw(owner.gid));
    fs::chownat(dir, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
}

pub(super) fn mtime(stat: &Stat) -> Timespec {
    Timespec {
        tv_sec: stat.st_mtime,
        tv_nsec: stat.st_mtime_nsec.try_into().unwrap_or(0),
    }
}

pub(super) fn newest(selection: &Selection) -> Timespec {
    let times = selection.entries.iter().map(|e| mtime(&e.stat));
    times
        .max_by_key(|t| (t.tv_sec, t.tv_nsec))
        .unwrap_or(Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        })
}

pub(super) fn times_of(dir: BorrowedFd<'_>) -> Option<Timespec> {
    fs::fstat(dir).ok().map(|stat| mtime(&stat))
}

/// Puts a directory's time back; one that cannot be set is no reason to fail a copy.
pub(super) fn restore(dir: BorrowedFd<'_>, before: Option<Timespec>) {
    if let Some(time) = before {
        set_times(dir, time);
    }
}

pub(super) fn set_times(dir: BorrowedFd<'_>, time: Timespec) {
    let times = Timestamps {
        last_access: time,
        last_modification: time,
    };
    let _ = fs::futimens(dir, &times);
}
