//! Writes a selection into a rootfs, by Docker's rules for destinations.
//!
//! - A file goes *to* the destination, or *into* it when that is a directory or ends in a slash.
//! - Of a directory the contents are copied; the destination directory itself keeps its metadata
//!   when it exists and is made 0755 (or as an octal `--chmod` says) when it doesn't, directories
//!   below it take the source's.
//! - A directory never replaces a file, nor a file a directory.
//! - Links are kept as links, hard links within one source stay hard links, times are kept.
//!
//! What is copied is what a file has when it is opened. A file that is being written to ends no
//! build; but what was hashed for the cache may then be something else, so it is told.
//!
//! Directories that exist keep their modification time and new ones get the newest time of what
//! was copied: the layer is then a function of the sources, and not of the clock.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dockerfile::value::Chmod;
use rustix::fs::{self, AtFlags, FileType, Mode, OFlags, Stat, Timespec, Timestamps};
use rustix::io::Errno;

use super::FilesError;
use super::dest::{Dest, Upper};
use super::make::{Batch, Files, Leaving, Level, Outcome, Pool, Target, clear};
use super::rootfs::{Owner, Rootfs, file_type, make_dir};
use super::select::{Entry, Selection};
use super::transfer::{
    chown_at, create, finish, is_same, mtime, newest, restore, set_times, times_of,
};
use crate::stop::Stop;

const BUFFER: usize = 256 << 10;

/// How a selection is written.
#[derive(Clone, Debug, Default)]
pub struct CopyOptions<'a> {
    /// The owner of everything that is made; `None` keeps the sources' own.
    pub owner: Option<Owner>,
    /// The mode of everything that is copied; `None` keeps the sources' own.
    pub chmod: Option<Chmod>,
    /// `--parents`: directories that exist take the source's mode and nothing else.
    pub parents: bool,
    /// Whether extended attributes come along, as they do from an image.
    pub xattrs: bool,
    /// Where what is new can go directly.
    pub upper: Option<Upper<'a>>,
    /// `--link`: the destination is an empty tree, which will lie upon this one. Directories that
    /// both have get the mode and owner that they have there, and nothing else of it counts.
    pub below: Option<&'a Rootfs>,
    /// Ends a long copy.
    pub stop: Stop,
}

impl CopyOptions<'_> {
    /// The mode of directories that have no source.
    fn dir_mode(&self) -> u32 {
        let absolute = self.chmod.as_ref().and_then(Chmod::absolute);
        absolute.map_or(0o755, |mode| mode & 0o777)
    }
}

/// Copies `selections` from `source` to `dest_path` in `dest`. A trailing slash makes the
/// destination a directory. Returns whether every file was still what it was when it was chosen.
///
/// # Errors
/// [`FilesError::Conflict`] where a file and a directory meet, and I/O errors.
pub fn copy(
    source: &Rootfs,
    selections: &[Selection],
    dest: &Rootfs,
    dest_path: &str,
    options: &CopyOptions<'_>,
) -> Result<bool, FilesError> {
    let into_dir = dest_path.ends_with('/');
    let target = Path::new(dest_path);
    let mut steady = true;
    for selection in selections {
        let mut writer = Writer::new(dest, options, newest(selection), target);
        if selection.is_dir {
            writer.contents(source, selection, target)?;
        } else {
            writer.single(source, selection, target, into_dir)?;
        }
        steady &= writer.steady;
    }
    Ok(steady)
}

/// Writes one file with the given bytes, as a here-document or a download needs it.
///
/// # Errors
/// As [`copy`].
pub fn write_file(
    dest: &Rootfs,
    dest_path: &str,
    name: &OsStr,
    content: &mut dyn Read,
    mode: u32,
    mtime: i64,
    options: &CopyOptions<'_>,
) -> Result<(), FilesError> {
    let time = Timespec {
        tv_sec: mtime,
        tv_nsec: 0,
    };
    let mut writer = Writer::new(dest, options, time, Path::new(dest_path));
    let (dir, name) = writer.place(Path::new(dest_path), name, dest_path.ends_with('/'))?;
    clear(dir.as_fd(), &name, &writer.shown)?;
    let shown = writer.shown.clone();
    let mut file = create(dir.as_fd(), &name).map_err(FilesError::io("create", &shown))?;
    loop {
        options
            .stop
            .check()
            .map_err(FilesError::io("write", &shown))?;
        let n = content
            .read(&mut writer.buffer)
            .map_err(FilesError::io("read", &shown))?;
        if n == 0 {
            break;
        }
        file.write_all(&writer.buffer[..n])
            .map_err(FilesError::io("write", &shown))?;
    }
    let owner = options.owner.unwrap_or_default();
    let mode = options
        .chmod
        .as_ref()
        .map_or(mode, |c| c.apply(mode, false));
    finish(file.as_fd(), owner, mode, None, time).map_err(FilesError::io("set the mode of", &shown))
}

struct Writer<'a> {
    dest: &'a Rootfs,
    options: &'a CopyOptions<'a>,
    files: Files<'a>,
    newest: Timespec,
    buffer: Vec<u8>,
    /// Where the first name of a file with several was written: below the destination.
    links: HashMap<(u64, u64), PathBuf>,
    shown: PathBuf,
    /// The directory that is filled, from the root of the tree.
    base: PathBuf,
    /// Nothing changed meanwhile.
    steady: bool,
}

impl<'a> Writer<'a> {
    fn new(
        dest: &'a Rootfs,
        options: &'a CopyOptions<'a>,
        newest: Timespec,
        target: &Path,
    ) -> Self {
        Self {
            dest,
            options,
            files: Files {
                owner: options.owner,
                chmod: options.chmod.as_ref(),
                parents: options.parents,
                xattrs: options.xattrs,
                earlier: options.upper.and_then(|upper| upper.earlier),
                stop: &options.stop,
            },
            newest,
            buffer: vec![0; BUFFER],
            links: HashMap::new(),
            shown: target.to_owned(),
            base: PathBuf::new(),
            steady: true,
        }
    }

    /// Copies one file.
    fn single(
        &mut self,
        source: &Rootfs,
        selection: &Selection,
        target: &Path,
        into_dir: bool,
    ) -> Result<(), FilesError> {
        let Some(entry) = selection.entries.first() else {
            return Ok(());
        };
        let parent = selection.root.parent().unwrap_or(Path::new(""));
        let from = source
            .open_dir(parent)
            .map_err(FilesError::io("open", parent))?;
        let real_name = selection.root.file_name().unwrap_or_default();
        let (dir, name) = self.place(target, selection.name(), into_dir)?;
        let before = times_of(dir.as_fd());
        let dir = Dest::plain(dir);
        self.entry(
            (from.as_fd(), real_name),
            entry,
            (&dir, &name),
            dir.to.as_fd(),
        )?;
        restore(dir.to.as_fd(), before);
        Ok(())
    }

    /// The directory and name that a file for `target` is written under; makes directories.
    fn place(
        &mut self,
        target: &Path,
        source_name: &OsStr,
        into_dir: bool,
    ) -> Result<(OwnedFd, OsString), FilesError> {
        let resolved = self
            .dest
            .canonical(target)
            .map_err(FilesError::io("resolve", &self.shown))?;
        let stat = self
            .dest
            .lstat(&resolved)
            .map_err(FilesError::io("stat", &self.shown))?;
        let is_dir = stat.is_some_and(|s| file_type(&s) == FileType::Directory);
        let (dir, name) = if into_dir || is_dir {
            self.shown = target.join(source_name);
            (resolved.clone(), source_name.to_owned())
        } else {
            let name = resolved.file_name().unwrap_or_default().to_owned();
            (resolved.parent().unwrap_or(Path::new("")).to_owned(), name)
        };
        let dir = self.directory(&dir)?;
        Ok((dir, name))
    }

    /// Opens a destination directory, making it and its parents as needed.
    fn directory(&self, path: &Path) -> Result<OwnedFd, FilesError> {
        let not_dir = |path: &Path| FilesError::Conflict {
            path: Path::new("/").join(path),
            what: "something on the way there is not a directory",
        };
        let mut done = PathBuf::new();
        let root = self.dest.open_dir(Path::new("."));
        let mut current = root.map_err(FilesError::io("open", "/"))?;
        for name in path.components() {
            done.push(name);
            let opened = self
                .dest
                .openat(&done, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty());
            current = match opened {
                Ok(fd) => fd,
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                    let before = times_of(current.as_fd());
                    let (mode, owner, time) = self.new_dir(&done);
                    let fd = make_dir(current.as_fd(), name.as_os_str(), mode, owner)
                        .map_err(FilesError::io("create", &done))?;
                    set_times(fd.as_fd(), time);
                    restore(current.as_fd(), before);
                    fd
                }
                Err(e) if e.kind() == std::io::ErrorKind::NotADirectory => {
                    return Err(not_dir(&done));
                }
                Err(e) => return Err(FilesError::io("open", &done)(e)),
            };
        }
        Ok(current)
    }

    /// Mode, owner and time of a directory that has no source.
    fn new_dir(&self, path: &Path) -> (u32, Owner, Timespec) {
        let below = self.options.below.and_then(|tree| tree.real_dir(path));
        match below {
            Some(stat) => {
                let (uid, gid) = (stat.st_uid, stat.st_gid);
                (stat.st_mode & 0o7777, Owner { uid, gid }, self.newest)
            }
            None => {
                let owner = self.options.owner.unwrap_or_default();
                (self.options.dir_mode(), owner, self.newest)
            }
        }
    }

    /// Copies the contents of a directory.
    fn contents(
        &mut self,
        source: &Rootfs,
        selection: &Selection,
        target: &Path,
    ) -> Result<(), FilesError> {
        let resolved = self
            .dest
            .canonical(target)
            .map_err(FilesError::io("resolve", &self.shown))?;
        let top = self.directory(&resolved)?;
        let top_times = times_of(top.as_fd());
        let dest = Dest::top(top, &resolved, self.options.upper)
            .map_err(FilesError::io("open", &self.shown))?;
        let source = source
            .open_dir(&selection.root)
            .map_err(FilesError::io("open", &selection.root))?;
        let top = Arc::new(Level {
            path: PathBuf::new(),
            source,
            dest,
            leaving: None,
        });
        self.base = resolved.clone();
        let regular = |entry: &&Entry| entry.kind() == FileType::RegularFile;
        let count = selection.entries.iter().filter(regular).count();
        let (files, outcome) = (self.files, Outcome::default());
        let to = Target {
            shown: target,
            base: &resolved,
        };
        std::thread::scope(|scope| {
            let pool = Pool::start(scope, &files, to, &outcome, count);
            self.entries(selection, target, &top, pool)
        })?;
        self.steady &= outcome.finish()?;
        restore(top.dest.whole(), top_times);
        Ok(())
    }

    /// Makes what is in a directory: files in the pool, all else here.
    fn entries<'p, 'e: 'p>(
        &mut self,
        selection: &'e Selection,
        target: &Path,
        top: &Arc<Level>,
        mut pool: Pool<'p, 'e>,
    ) -> Result<(), FilesError> {
        let mut levels = vec![Arc::clone(top)];
        let mut waiting: Vec<&Entry> = Vec::new();
        for entry in &selection.entries {
            let parent = entry.path.parent().unwrap_or(Path::new(""));
            while let Some(level) = levels.pop_if(|level| level.path != parent) {
                self.close(level, &mut waiting, &mut pool)?;
            }
            let Some(level) = levels.last() else {
                continue;
            };
            if pool.has_failed() {
                return Ok(());
            }
            let name = entry.path.file_name().unwrap_or_default();
            match entry.kind() {
                FileType::RegularFile if entry.stat.st_nlink == 1 => {
                    self.remember(entry);
                    waiting.push(entry);
                    if waiting.len() >= self.files.batch_len(level) {
                        let entries = std::mem::take(&mut waiting);
                        let level = Arc::clone(level);
                        pool.put(Batch { level, entries });
                    }
                }
                FileType::Directory => {
                    self.shown = target.join(&entry.path);
                    let inner = self.enter(level, name, entry)?;
                    // Files of a level wait until it is left, or a level below it is entered.
                    if !waiting.is_empty() {
                        let entries = std::mem::take(&mut waiting);
                        let level = Arc::clone(level);
                        pool.put(Batch { level, entries });
                    }
                    levels.push(Arc::new(inner));
                }
                _ => {
                    self.shown = target.join(&entry.path);
                    let from = (level.source.as_fd(), name);
                    self.entry(from, entry, (&level.dest, name), top.dest.to.as_fd())?;
                }
            }
        }
        while let Some(level) = levels.pop() {
            self.close(level, &mut waiting, &mut pool)?;
        }
        Ok(())
    }

    /// Makes the files that wait for a directory, and leaves it.
    fn close<'p, 'e: 'p>(
        &self,
        level: Arc<Level>,
        waiting: &mut Vec<&'e Entry>,
        pool: &mut Pool<'p, 'e>,
    ) -> Result<(), FilesError> {
        if waiting.is_empty() {
            return self.files.leave(level);
        }
        let entries = std::mem::take(waiting);
        pool.put(Batch { level, entries });
        Ok(())
    }

    /// Makes or opens a directory below the destination.
    fn enter(&self, parent: &Level, name: &OsStr, entry: &Entry) -> Result<Level, FilesError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let source = fs::openat(&parent.source, name, flags, Mode::empty())
            .map_err(|e| FilesError::io("open", &self.shown)(e.into()))?;
        let (dest, existed) = parent.dest.enter(name).map_err(|e| {
            let errno = Errno::from_io_error(&e);
            match errno {
                Some(Errno::NOTDIR | Errno::LOOP) => FilesError::Conflict {
                    path: self.shown.clone(),
                    what: "the source is a directory and the destination is not",
                },
                _ => FilesError::io("create", &self.shown)(e),
            }
        })?;
        Ok(Level {
            path: entry.path.clone(),
            source,
            leaving: Some(Leaving {
                stat: entry.stat,
                before: times_of(dest.whole()),
                existed,
            }),
            dest,
        })
    }

    /// Copies one entry that is not a directory; `top` is where remembered links start from.
    fn entry(
        &mut self,
        (from, source_name): (BorrowedFd<'_>, &OsStr),
        entry: &Entry,
        (dest, name): (&Dest, &OsStr),
        top: BorrowedFd<'_>,
    ) -> Result<(), FilesError> {
        let to = dest.place_of(name);
        let io = |what| FilesError::io(what, &self.shown);
        let stat = &entry.stat;
        let key = (stat.st_dev, stat.st_ino);
        let many = stat.st_nlink > 1;
        if many && let Some(first) = self.links.get(&key) {
            clear(to, name, &self.shown)?;
            // Both names are in the upper directory, and so may be the mark of what was removed.
            clear(dest.to.as_fd(), name, &self.shown)?;
            return fs::linkat(top, first, &dest.to, name, AtFlags::empty())
                .map_err(|e| io("link")(e.into()));
        }
        match entry.kind() {
            FileType::RegularFile => {
                let (from, to) = ((from, source_name), (to, name));
                let buffer = &mut self.buffer;
                self.steady &= self.files.file(from, stat, to, &self.shown, buffer)?;
            }
            FileType::Symlink => {
                let target = fs::readlinkat(from, source_name, Vec::new())
                    .map_err(|e| io("read the link")(e.into()))?;
                let now = fs::statat(from, source_name, AtFlags::SYMLINK_NOFOLLOW)
                    .map_err(|e| io("stat")(e.into()))?;
                if !is_same(&now, stat) {
                    return Err(FilesError::Changed(self.shown.clone()));
                }
                clear(to, name, &self.shown)?;
                fs::symlinkat(target, to, name).map_err(|e| io("create")(e.into()))?;
                self.at(to, name, stat)?;
            }
            // That is how overlays mark what is removed.
            FileType::CharacterDevice if stat.st_rdev == 0 => {
                return Err(io("create")(Errno::PERM.into()));
            }
            kind @ (FileType::Fifo | FileType::CharacterDevice | FileType::BlockDevice) => {
                clear(to, name, &self.shown)?;
                fs::mknodat(to, name, kind, Mode::from_raw_mode(0o600), stat.st_rdev)
                    .map_err(|e| io("create")(e.into()))?;
                self.at(to, name, stat)?;
                fs::chmodat(
                    to,
                    name,
                    Mode::from_raw_mode(self.files.mode(stat, false)),
                    AtFlags::empty(),
                )
                .map_err(|e| io("set the mode of")(e.into()))?;
            }
            _ => return Err(FilesError::Socket(self.shown.clone())),
        }
        if many {
            let path = if entry.path.as_os_str().is_empty() {
                PathBuf::from(name)
            } else {
                entry.path.clone()
            };
            self.links.insert(key, path);
        }
        Ok(())
    }

    /// Notes what a file holds that was copied with a directory, for the next copy.
    fn remember(&self, entry: &Entry) {
        if let (Some(upper), Some(content)) = (self.options.upper, entry.content)
            && !entry.path.as_os_str().is_empty()
        {
            let path = self.base.join(&entry.path);
            upper.made.borrow_mut().put(&path, content);
        }
    }

    /// Owner and time of what has no descriptor of its own.
    fn at(&self, to: BorrowedFd<'_>, name: &OsStr, stat: &Stat) -> Result<(), FilesError> {
        let owner = self.files.owner(stat);
        let result = chown_at(to, name, owner).and_then(|()| {
            let times = Timestamps {
                last_access: mtime(stat),
                last_modification: mtime(stat),
            };
            fs::utimensat(to, name, &times, AtFlags::SYMLINK_NOFOLLOW)
        });
        result.map_err(|e| FilesError::io("set the owner of", &self.shown)(e.into()))
    }
}

#[cfg(test)]
mod direct;
#[cfg(test)]
mod tests;
