//! One file's data and metadata, by descriptor.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::BorrowedFd;

use rustix::fs::{self, AtFlags, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid};
use rustix::io::Errno;

use super::rootfs::Owner;
use super::select::Selection;
use crate::stop::Stop;

/// Whether a file is still the one that was selected, unchanged.
pub fn is_same(now: &Stat, then: &Stat) -> bool {
    // Not the device: an overlay mounted anew has another number.
    let content = |s: &Stat| (s.st_ino, s.st_size, s.st_mtime, s.st_mtime_nsec);
    let looks = |s: &Stat| (s.st_mode, s.st_uid, s.st_gid);
    content(now) == content(then) && looks(now) == looks(then)
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

/// Copies what a file had when its `stat` was taken, or less where it has shrunk since: data
/// (holes stay holes); returns the length.
pub(super) fn transfer(
    source: &mut File,
    mut dest: &File,
    stat: &Stat,
    buffer: &mut [u8],
    stop: &Stop,
) -> std::io::Result<u64> {
    let size = stat.st_size.unsigned_abs();
    let sparse = (stat.st_blocks.unsigned_abs()) * 512 < size && size > 64 << 10;
    if !sparse {
        return pump(source, dest, size, buffer, stop);
    }
    dest.set_len(size)?;
    let mut offset = 0;
    while offset < size {
        let start = match fs::seek(&*source, fs::SeekFrom::Data(offset)) {
            Ok(start) if start < size => start,
            Ok(_) | Err(Errno::NXIO) => break,
            Err(e) => return Err(e.into()),
        };
        let end = fs::seek(&*source, fs::SeekFrom::Hole(start))?.min(size);
        fs::seek(&*source, fs::SeekFrom::Start(start))?;
        dest.seek(SeekFrom::Start(start))?;
        if pump(source, dest, end - start, buffer, stop)? < end - start {
            break;
        }
        offset = end;
    }
    // A hole at the end looks like an end that came too early.
    let left = fs::fstat(&*source)?.st_size.unsigned_abs().min(size);
    dest.set_len(left)?;
    Ok(left)
}

/// Copies `len` bytes, or up to the end; returns how many.
fn pump(
    source: &mut File,
    mut dest: &File,
    len: u64,
    buffer: &mut [u8],
    stop: &Stop,
) -> std::io::Result<u64> {
    let mut copied = 0;
    while copied < len {
        stop.check()?;
        let room = usize::try_from(len - copied).unwrap_or(usize::MAX);
        let room = room.min(buffer.len());
        match source.read(&mut buffer[..room]) {
            Ok(0) => break,
            Ok(n) => {
                dest.write_all(&buffer[..n])?;
                copied += n as u64;
            }
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(copied)
}

/// The extended attributes of a file that belong to an image, sorted by name.
pub(super) fn xattrs_of(file: BorrowedFd<'_>) -> std::io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
    // The kernel's limits on the list and on one value.
    let mut names = vec![0; 64 << 10];
    let n = match fs::flistxattr(file, &mut names[..]) {
        Ok(0) | Err(Errno::NOTSUP) => return Ok(Vec::new()),
        Ok(n) => n,
        Err(e) => return Err(e.into()),
    };
    let mut found = Vec::new();
    for name in names[..n].split(|b| *b == 0) {
        if !oci::layer::is_portable_xattr(name) {
            continue;
        }
        let mut value = vec![0; 64 << 10];
        match fs::fgetxattr(file, name, &mut value[..]) {
            Ok(n) => {
                value.truncate(n);
                found.push((name.to_vec(), value));
            }
            Err(Errno::NODATA) => {}
            Err(e) => return Err(e.into()),
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// Copies extended attributes; what the destination cannot hold is left, but for capabilities.
fn copy_xattrs(source: BorrowedFd<'_>, dest: BorrowedFd<'_>) -> std::io::Result<()> {
    for (name, value) in xattrs_of(source)? {
        match fs::fsetxattr(dest, name.as_slice(), &value, fs::XattrFlags::empty()) {
            Err(Errno::NOTSUP) if name != b"security.capability" => {}
            other => other?,
        }
    }
    Ok(())
}

/// Owner before mode and the attributes of `xattrs`, since a change of owner clears the setuid
/// bit and capabilities; the time last.
pub(super) fn finish(
    file: BorrowedFd<'_>,
    owner: Owner,
    mode: u32,
    xattrs: Option<BorrowedFd<'_>>,
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
    if let Some(source) = xattrs {
        copy_xattrs(source, file)?;
        // An access list brings group bits of its own.
        if fs::fstat(file)?.st_mode & 0o7777 != mode {
            fs::fchmod(file, Mode::from_raw_mode(mode))?;
        }
    }
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
