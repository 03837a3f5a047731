//! One digest for what a COPY takes: everything that ends up in the layer, and nothing else.
//!
//! Mode, owner, size, type, link target, device and content count, and extended attributes where
//! they are copied; modification times do not, so that a fresh checkout still hits the cache.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use oci::Digest;
use oci::digest::{Algorithm, Hasher};
use oci::layer::holes::{is_sparse, run_at};
use rustix::fs::{self, FileType, Mode, OFlags};

use super::FilesError;
use super::index::{FileIndex, Known};
use super::rootfs::{Rootfs, file_type};
use super::select::{Entry, Selection, bytes};
use super::transfer::{is_same, xattrs_of};
use crate::stop::Stop;

const BUFFER: usize = 256 << 10;
/// How many zeros are left out at a time; the buffer holds several times as many.
const ZEROS: usize = 64 << 10;

/// How owners count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owners {
    /// All files belong to root, as those of a build context do, or `--chown` decides.
    Root,
    /// The files' own.
    Kept,
}

/// What counts beside names, modes and content.
#[derive(Clone, Debug)]
pub struct Counted {
    /// How owners count.
    pub owners: Owners,
    /// Whether extended attributes do.
    pub xattrs: bool,
    /// Ends it early.
    pub stop: Stop,
}

/// A selection that was looked at.
#[derive(Clone, Debug)]
pub struct Digested {
    /// Of all of it.
    pub digest: Digest,
    /// The hash of each entry's content, in the order of the entries.
    pub contents: Vec<[u8; 32]>,
}

/// Digests of selections, in order; the files whose content is not in `index` are read, and of
/// each the content is noted. Of a file that is being written to counts what it has when it is
/// opened.
///
/// # Errors
/// I/O errors, and [`FilesError::Changed`] for a file that is replaced by something else.
pub fn selections(
    rootfs: &Rootfs,
    selections: &mut [Selection],
    counted: &Counted,
    index: &mut FileIndex,
) -> Result<Vec<Digested>, FilesError> {
    let mut result = Vec::with_capacity(selections.len());
    for selection in selections {
        let contents = contents(rootfs, selection, counted, index)?;
        let mut hasher = Algorithm::Sha256.hasher();
        for (entry, content) in selection.entries.iter_mut().zip(&contents) {
            entry.content = (entry.kind() == FileType::RegularFile).then_some(*content);
            hasher.update(&header(entry, counted.owners));
            hasher.update(bytes(&entry.path));
            hasher.update(b"\0");
            hasher.update(content);
        }
        let digest = hasher.finish();
        result.push(Digested { digest, contents });
    }
    Ok(result)
}

/// The user and group of an entry, its size and its device number, as far as they count.
pub(super) fn numbers(entry: &Entry, owners: Owners) -> (u32, u32, u64, u64) {
    let stat = &entry.stat;
    let (uid, gid) = match owners {
        Owners::Root => (0, 0),
        Owners::Kept => (stat.st_uid, stat.st_gid),
    };
    let (size, device) = match entry.kind() {
        FileType::RegularFile => (stat.st_size.unsigned_abs(), 0),
        FileType::CharacterDevice | FileType::BlockDevice => (0, stat.st_rdev),
        _ => (0, 0),
    };
    (uid, gid, size, device)
}

/// The fixed-size part of an entry's key.
fn header(entry: &Entry, owners: Owners) -> [u8; 36] {
    let stat = &entry.stat;
    let (uid, gid, size, device) = numbers(entry, owners);
    let mut header = [0; 36];
    header[0..4].copy_from_slice(&stat.st_mode.to_le_bytes());
    header[4..8].copy_from_slice(&uid.to_le_bytes());
    header[8..12].copy_from_slice(&gid.to_le_bytes());
    header[12..20].copy_from_slice(&size.to_le_bytes());
    header[20..28].copy_from_slice(&device.to_le_bytes());
    header[28..36].copy_from_slice(&(bytes(&entry.path).len() as u64).to_le_bytes());
    header
}

/// What counts of each entry beside its header: the hash of a file's content and attributes, or
/// of a link's target.
fn contents(
    rootfs: &Rootfs,
    selection: &Selection,
    counted: &Counted,
    index: &mut FileIndex,
) -> Result<Vec<[u8; 32]>, FilesError> {
    let mut contents = vec![[0; 32]; selection.entries.len()];
    let mut unknown = Vec::new();
    for (i, entry) in selection.entries.iter().enumerate() {
        match entry.kind() {
            FileType::RegularFile | FileType::Symlink => {}
            FileType::Directory if counted.xattrs => {}
            FileType::Socket => return Err(FilesError::Socket(selection.path_of(entry))),
            _ => continue,
        }
        match index.get(&selection.root, entry) {
            Some(known) => contents[i] = known,
            None => unknown.push(i),
        }
    }
    if unknown.is_empty() {
        return Ok(contents);
    }
    for (i, known) in hash_all(rootfs, selection, counted, &unknown)? {
        contents[i] = known.content;
        // What has changed since it was listed is not known under the status it had then.
        if is_same(&known.stat, &selection.entries[i].stat) {
            index.put(&selection.root, &selection.entries[i], known);
        }
    }
    Ok(contents)
}

/// Hashes the given entries on all processors.
fn hash_all(
    rootfs: &Rootfs,
    selection: &Selection,
    counted: &Counted,
    unknown: &[usize],
) -> Result<Vec<(usize, Known)>, FilesError> {
    let base = if selection.is_dir {
        Some(
            rootfs
                .open_dir(&selection.root)
                .map_err(FilesError::io("open", &selection.root))?,
        )
    } else {
        None
    };
    let base = base.as_ref();
    let next = AtomicUsize::new(0);
    let results = Mutex::new(Vec::with_capacity(unknown.len()));
    let failed = Mutex::new(None);
    let work = || {
        let mut buffer = vec![0; BUFFER];
        let mut mine = Vec::new();
        while let Some(&i) = unknown.get(next.fetch_add(1, Ordering::Relaxed)) {
            let entry = &selection.entries[i];
            match hash_entry(rootfs, base, selection, entry, counted, &mut buffer) {
                Ok(known) => mine.push((i, known)),
                Err(e) => {
                    next.store(unknown.len(), Ordering::Relaxed);
                    failed
                        .lock()
                        .unwrap_or_else(|p| p.into_inner())
                        .get_or_insert(e);
                    return;
                }
            }
        }
        results
            .lock()
            .unwrap_or_else(|p| p.into_inner())
            .append(&mut mine);
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    if threads == 1 || unknown.len() < 16 {
        work();
    } else {
        std::thread::scope(|scope| {
            for _ in 0..threads.min(8) {
                scope.spawn(work);
            }
        });
    }
    match failed.into_inner().unwrap_or_else(|p| p.into_inner()) {
        Some(error) => Err(error),
        None => Ok(results.into_inner().unwrap_or_else(|p| p.into_inner())),
    }
}

fn hash_entry(
    rootfs: &Rootfs,
    base: Option<&OwnedFd>,
    selection: &Selection,
    entry: &Entry,
    counted: &Counted,
    buffer: &mut [u8],
) -> Result<Known, FilesError> {
    let shown = selection.path_of(entry);
    let flags = match entry.kind() {
        FileType::Symlink => OFlags::PATH | OFlags::NOFOLLOW,
        _ => OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY,
    };
    let fd = open(rootfs, base, &shown, &entry.path, flags)?;
    let stat = fs::fstat(&fd).map_err(|e| FilesError::io("stat", &shown)(e.into()))?;
    if file_type(&stat) != entry.kind() {
        return Err(FilesError::Changed(shown));
    }
    let mut hasher = Algorithm::Sha256.hasher();
    let mut latest = stat;
    match entry.kind() {
        FileType::Symlink => {
            let target = fs::readlinkat(&fd, c"", Vec::new())
                .map_err(|e| FilesError::io("read the link", &shown)(e.into()))?;
            hasher.update(target.as_bytes());
        }
        kind => {
            let file = File::from(fd);
            if kind == FileType::RegularFile {
                hash_content(&mut hasher, &file, &stat, buffer, &counted.stop)
                    .map_err(FilesError::io("read", &shown))?;
            }
            if counted.xattrs {
                let xattrs = xattrs_of(file.as_fd())
                    .map_err(FilesError::io("read attributes of", &shown))?;
                for (name, value) in &xattrs {
                    hasher.update(&(name.len() as u64).to_le_bytes());
                    hasher.update(name);
                    hasher.update(&(value.len() as u64).to_le_bytes());
                    hasher.update(value);
                }
                hasher.update(&(xattrs.len() as u64).to_le_bytes());
            }
            latest = fs::fstat(&file).map_err(|e| FilesError::io("stat", &shown)(e.into()))?;
        }
    }
    let digest = hasher.finish();
    let mut content = [0; 32];
    for (byte, pair) in content.iter_mut().zip(digest.hex().as_bytes().chunks(2)) {
        *byte = hex(pair[0]) << 4 | hex(pair[1]);
    }
    Ok(Known {
        content,
        stat: latest,
    })
}

/// Hashes what a file had when its `stat` was taken, or less where it has shrunk since. Blocks of
/// zeros are left out, and where they are comes last: then holes need not be read, and a copy in
/// which they are filled counts as the same. No other content of the same size comes to the same
/// input: what tells of a block is shorter than the block.
fn hash_content(
    hasher: &mut Hasher,
    file: &File,
    stat: &fs::Stat,
    buffer: &mut [u8],
    stop: &Stop,
) -> std::io::Result<()> {
    let size = stat.st_size.unsigned_abs();
    let sparse = is_sparse(stat);
    let mut zeros: Vec<(u64, u64)> = Vec::new();
    let mut blank = |from: u64, to: u64| match zeros.last_mut() {
        Some((_, end)) if *end == from => *end = to,
        _ => zeros.push((from, to)),
    };
    let mut at = 0;
    while at < size {
        stop.check()?;
        let mut end = size;
        if sparse {
            let run = run_at(file, at, size)?;
            let whole = run.end - run.end % ZEROS as u64;
            if run.hole && whole > at {
                blank(at, whole);
                at = whole;
                continue;
            }
            // Up to where blocks may be holes again.
            end = size.min(run.end.next_multiple_of(ZEROS as u64));
        }
        let room = usize::try_from(end - at).unwrap_or(usize::MAX);
        let room = room.min(buffer.len());
        let n = read_full(file, &mut buffer[..room], at)?;
        for (block, from) in buffer[..n].chunks(ZEROS).zip((at..).step_by(ZEROS)) {
            match block.len() == ZEROS && block.iter().all(|byte| *byte == 0) {
                true => blank(from, from + ZEROS as u64),
                false => hasher.update(block),
            }
        }
        at += n as u64;
        if n < room {
            break;
        }
    }
    for (from, to) in zeros {
        hasher.update(&from.to_le_bytes());
        hasher.update(&to.to_le_bytes());
    }
    Ok(())
}

/// Reads until the buffer is full or the file ends.
fn read_full(file: &File, buffer: &mut [u8], at: u64) -> std::io::Result<usize> {
    let mut n = 0;
    while n < buffer.len() {
        match file.read_at(&mut buffer[n..], at + n as u64) {
            Ok(0) => break,
            Ok(more) => n += more,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(n)
}

/// Opens an entry; below a directory of the selection, relative to that directory's descriptor.
fn open(
    rootfs: &Rootfs,
    base: Option<&OwnedFd>,
    shown: &Path,
    path: &Path,
    flags: OFlags,
) -> Result<OwnedFd, FilesError> {
    let opened = match base {
        Some(base) => {
            let resolve = fs::ResolveFlags::BENEATH | fs::ResolveFlags::NO_SYMLINKS;
            let flags = flags | OFlags::CLOEXEC;
            fs::openat2(base.as_fd(), path, flags, Mode::empty(), resolve).map_err(Into::into)
        }
        None => rootfs.openat(shown, flags, Mode::empty()),
    };
    opened.map_err(FilesError::io("open", shown))
}

fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => digit - b'a' + 10,
    }
}

#[cfg(test)]
mod tests {
    use super::super::select::{Everything, SourceTree};
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn digest(dir: &Path) -> Digest {
        counting(dir, false)
    }

    fn counting(dir: &Path, xattrs: bool) -> Digest {
        let rootfs = Rootfs::open(dir).unwrap();
        let tree = SourceTree {
            rootfs: &rootfs,
            filter: &Everything,
            stop: &Stop::default(),
        };
        let mut selected = tree.select(".").unwrap();
        let mut index = FileIndex::empty();
        let counted = Counted {
            owners: Owners::Root,
            xattrs,
            stop: Stop::default(),
        };
        selections(&rootfs, &mut selected, &counted, &mut index)
            .unwrap()
            .remove(0)
            .digest
    }

    #[test]
    fn content_and_mode_count_and_times_do_not() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("f");
        std::fs::write(&file, "one").unwrap();
        let first = digest(dir.path());

        let later = std::time::SystemTime::now() + std::time::Duration::from_secs(60);
        File::options()
            .write(true)
            .open(&file)
            .unwrap()
            .set_modified(later)
            .unwrap();
        assert_eq!(digest(dir.path()), first);

        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
        let executable = digest(dir.path());
        assert_ne!(executable, first);

        std::fs::write(&file, "two").unwrap();
        assert_ne!(digest(dir.path()), executable);
    }

    #[test]
    fn attributes_count_where_they_are_copied() {
        let dir = tempfile::tempdir().unwrap();
        let inner = dir.path().join("d");
        std::fs::create_dir(&inner).unwrap();
        std::fs::write(inner.join("f"), "one").unwrap();
        for path in [inner.join("f"), inner] {
            let before = (counting(dir.path(), false), counting(dir.path(), true));
            let flags = fs::XattrFlags::empty();
            if fs::setxattr(&path, c"user.mark", b"v", flags).is_err() {
                println!("skipped: no user attributes on this file system");
                return;
            }
            assert_eq!(counting(dir.path(), false), before.0);
            assert_ne!(counting(dir.path(), true), before.1);
        }
    }

    #[test]
    fn holes_are_zeros_and_where_they_are_counts() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("f");
        let len = 5 * ZEROS + 11;
        let mut seen = std::collections::HashSet::new();
        for filled in [&[][..], &[0], &[1], &[2, 3], &[5], &[0, 1, 2, 3, 4, 5]] {
            let mut content = vec![0; len];
            for block in filled {
                content[block * ZEROS..len.min((block + 1) * ZEROS)].fill(7);
            }
            std::fs::write(&file, &content).unwrap();
            let dense = digest(dir.path());
            std::fs::remove_file(&file).unwrap();
            let sparse = File::create(&file).unwrap();
            sparse.set_len(len as u64).unwrap();
            for block in filled {
                let part = &content[block * ZEROS..len.min((block + 1) * ZEROS)];
                sparse.write_all_at(part, (block * ZEROS) as u64).unwrap();
            }
            assert_eq!(digest(dir.path()), dense, "{filled:?}");
            assert!(seen.insert(dense), "{filled:?}");
        }
        // Without such blocks it is the digest of the content.
        std::fs::write(&file, vec![7; len]).unwrap();
        let stat = fs::lstat(&file).unwrap();
        let mut hasher = Algorithm::Sha256.hasher();
        let mut buffer = vec![0; BUFFER];
        let stop = Stop::default();
        let open = File::open(&file).unwrap();
        hash_content(&mut hasher, &open, &stat, &mut buffer, &stop).unwrap();
        assert_eq!(hasher.finish(), Digest::sha256(&vec![7; len]));
        stop.stop();
        let mut hasher = Algorithm::Sha256.hasher();
        hash_content(&mut hasher, &open, &stat, &mut buffer, &stop).unwrap_err();
    }

    #[test]
    fn names_and_links_count() {
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("a", dir.path().join("l")).unwrap();
        let first = digest(dir.path());
        std::fs::remove_file(dir.path().join("l")).unwrap();
        std::os::unix::fs::symlink("b", dir.path().join("l")).unwrap();
        let second = digest(dir.path());
        assert_ne!(first, second);
        std::fs::rename(dir.path().join("l"), dir.path().join("m")).unwrap();
        assert_ne!(digest(dir.path()), second);
    }
}
