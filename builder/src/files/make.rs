//! Regular files, copied or linked to an earlier layer: by several threads where there are many,
//! since nearly all of the time is the kernel's.

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::Scope;

use dockerfile::value::Chmod;
use rustix::fs::{self, AtFlags, FileType, Mode, OFlags, Stat, Timespec};
use rustix::io::Errno;

use super::FilesError;
use super::dest::Dest;
use super::earlier::{Earlier, Wanted};
use super::rootfs::{Owner, file_type, remove_all};
use super::select::Entry;
use super::transfer::{create, finish, is_same, mtime, restore, times_of, transfer};
use crate::stop::Stop;

const BUFFER: usize = 256 << 10;
/// With fewer files than this, threads cost more than they save.
const FEW: usize = 128;
/// How many files of one directory a thread takes at a time when it copies them.
const COPIED: usize = 64;
/// When it links them: the kernel lets only one at a time link into a directory.
const LINKED: usize = 1024;
/// More threads than this only wait for each other.
const MAX_THREADS: usize = 4;

/// A directory that is being filled.
pub(super) struct Level {
    /// Below the selection's root.
    pub path: PathBuf,
    pub source: OwnedFd,
    pub dest: Dest,
    /// What it gets once nothing more is written into it; the destination itself gets nothing.
    pub leaving: Option<Leaving>,
}

/// The metadata that a directory gets.
pub(super) struct Leaving {
    pub stat: Stat,
    /// Its time, if it was there.
    pub before: Option<Timespec>,
    pub existed: bool,
}

/// How files are made.
#[derive(Clone, Copy)]
pub(super) struct Files<'a> {
    pub owner: Option<Owner>,
    pub chmod: Option<&'a Chmod>,
    pub parents: bool,
    pub xattrs: bool,
    pub earlier: Option<&'a Earlier>,
    pub stop: &'a Stop,
}

/// Where the files of a selection go, for messages and in the layer.
#[derive(Clone, Copy)]
pub(super) struct Target<'t> {
    /// As it was asked for.
    pub shown: &'t Path,
    /// From the root of the tree, links followed.
    pub base: &'t Path,
}

impl Files<'_> {
    /// How many files of one directory are best made by one thread.
    pub(super) fn batch_len(&self, level: &Level) -> usize {
        match level.dest.earlier {
            Some(_) => LINKED,
            None => COPIED,
        }
    }

    pub(super) fn owner(&self, stat: &Stat) -> Owner {
        self.owner.unwrap_or(Owner {
            uid: stat.st_uid,
            gid: stat.st_gid,
        })
    }

    pub(super) fn mode(&self, stat: &Stat, is_dir: bool) -> u32 {
        let mode = stat.st_mode & 0o7777;
        self.chmod.map_or(mode, |chmod| chmod.apply(mode, is_dir))
    }

    /// Gives a directory its metadata, if nobody else holds it any more: whoever has written the
    /// last file into it does that.
    pub(super) fn leave(&self, level: Arc<Level>) -> Result<(), FilesError> {
        let Some(level) = Arc::into_inner(level) else {
            return Ok(());
        };
        let Some(leaving) = level.leaving else {
            return Ok(());
        };
        let failed = FilesError::io("set the mode of", &level.path);
        if self.parents && leaving.existed {
            let mode = Mode::from_raw_mode(leaving.stat.st_mode & 0o7777);
            restore(level.dest.whole(), leaving.before);
            return fs::fchmod(level.dest.whole(), mode).map_err(|e| failed(e.into()));
        }
        finish(
            level.dest.whole(),
            self.owner(&leaving.stat),
            self.mode(&leaving.stat, true),
            self.xattrs.then_some(level.source.as_fd()),
            mtime(&leaving.stat),
        )
        .map_err(failed)
    }

    /// Makes one file; says whether it was what had been selected all along.
    pub(super) fn file(
        &self,
        from: (BorrowedFd<'_>, &OsStr),
        stat: &Stat,
        to: (BorrowedFd<'_>, &OsStr),
        shown: &Path,
        buffer: &mut Vec<u8>,
    ) -> Result<bool, FilesError> {
        let ((from, source_name), (to, name)) = (from, to);
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
        let source = fs::openat(from, source_name, flags | OFlags::CLOEXEC, Mode::empty())
            .map_err(|e| FilesError::io("open", shown)(e.into()))?;
        let now = fs::fstat(&source).map_err(|e| FilesError::io("stat", shown)(e.into()))?;
        if file_type(&now) != FileType::RegularFile {
            return Err(FilesError::Changed(shown.to_owned()));
        }
        let dest = match create(to, name) {
            Ok(file) => file,
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {
                clear(to, name, shown)?;
                create(to, name).map_err(FilesError::io("create", shown))?
            }
            Err(e) => return Err(FilesError::io("create", shown)(e)),
        };
        buffer.resize(BUFFER, 0);
        let mut source = File::from(source);
        let written = transfer(&mut source, &dest, &now, buffer, self.stop)
            .map_err(FilesError::io("copy", shown))?;
        let after = fs::fstat(&source).map_err(|e| FilesError::io("stat", shown)(e.into()))?;
        finish(
            dest.as_fd(),
            self.owner(&now),
            self.mode(&now, false),
            self.xattrs.then_some(source.as_fd()),
            mtime(&now),
        )
        .map_err(FilesError::io("set the mode of", shown))?;
        Ok(written == now.st_size.unsigned_abs() && is_same(&after, stat))
    }

    /// Links to the file that an earlier copy made of the same source, if there is one and nothing
    /// has changed.
    fn link_earlier(&self, level: &Level, entry: &Entry, name: &OsStr, base: &Path) -> bool {
        let dest = &level.dest;
        let (Some(earlier), Some(dir), Some(content)) =
            (self.earlier, &dest.earlier, entry.content)
        else {
            return false;
        };
        // Should the source have changed since it was looked at: this is what the key tells of.
        let wanted = Wanted {
            path: &base.join(&entry.path),
            content,
            stat: &entry.stat,
            owner: self.owner(&entry.stat),
            mode: self.mode(&entry.stat, false),
        };
        earlier.link(dir.as_fd(), &wanted, dest.to.as_fd(), name)
    }

    /// Makes files of one directory, and leaves it.
    fn batch(
        &self,
        batch: Batch<'_>,
        target: Target<'_>,
        buffer: &mut Vec<u8>,
    ) -> Result<bool, FilesError> {
        let Batch { level, entries } = batch;
        let mut steady = true;
        for entry in entries {
            let shown = target.shown.join(&entry.path);
            self.stop.check().map_err(FilesError::io("copy", &shown))?;
            let name = entry.path.file_name().unwrap_or_default();
            if self.link_earlier(&level, entry, name, target.base) {
                continue;
            }
            let from = (level.source.as_fd(), name);
            let to = (level.dest.place_of(name), name);
            steady &= self.file(from, &entry.stat, to, &shown, buffer)?;
        }
        self.leave(level)?;
        Ok(steady)
    }
}

/// Removes what a file is about to replace; a directory is never replaced.
pub(super) fn clear(to: BorrowedFd<'_>, name: &OsStr, shown: &Path) -> Result<(), FilesError> {
    match fs::statat(to, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => Ok(()),
        Ok(stat) if file_type(&stat) == FileType::Directory => Err(FilesError::Conflict {
            path: shown.to_owned(),
            what: "the destination is a directory and the source is not",
        }),
        Ok(_) => {
            let before = times_of(to);
            remove_all(to, name).map_err(FilesError::io("replace", shown))?;
            restore(to, before);
            Ok(())
        }
        Err(e) => Err(FilesError::io("stat", shown)(e.into())),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Files of one directory.
pub(super) struct Batch<'e> {
    pub level: Arc<Level>,
    pub entries: Vec<&'e Entry>,
}

/// What the threads have come to.
#[derive(Default)]
pub(super) struct Outcome {
    ended: AtomicBool,
    unsteady: AtomicBool,
    error: Mutex<Option<FilesError>>,
}

impl Outcome {
    fn note(&self, done: Result<bool, FilesError>) {
        match done {
            Ok(true) => {}
            Ok(false) => self.unsteady.store(true, Ordering::Relaxed),
            Err(e) => {
                self.ended.store(true, Ordering::Relaxed);
                lock(&self.error).get_or_insert(e);
            }
        }
    }

    /// Whether every file was what had been selected; or the first failure.
    pub(super) fn finish(self) -> Result<bool, FilesError> {
        match self
            .error
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner)
        {
            Some(error) => Err(error),
            None => Ok(!self.unsteady.into_inner()),
        }
    }
}

/// Makes batches of files, in threads when there are any.
pub(super) struct Pool<'p, 'e> {
    files: &'p Files<'p>,
    target: Target<'p>,
    outcome: &'p Outcome,
    threads: Option<SyncSender<Batch<'e>>>,
    buffer: Vec<u8>,
}

impl<'p, 'e: 'p> Pool<'p, 'e> {
    /// Starts threads in `scope` for `count` files, if that is worth it. They end when the pool is
    /// dropped.
    pub(super) fn start<'s>(
        scope: &'s Scope<'s, 'p>,
        files: &'p Files<'p>,
        target: Target<'p>,
        outcome: &'p Outcome,
        count: usize,
    ) -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let mut threads = None;
        if count > FEW && processors > 1 {
            let (batches, todo) = sync_channel(2 * processors);
            let todo: Arc<Mutex<Receiver<Batch<'e>>>> = Arc::new(Mutex::new(todo));
            for _ in 0..processors.min(MAX_THREADS) {
                let todo = Arc::clone(&todo);
                let work = move || {
                    let mut buffer = Vec::new();
                    loop {
                        let next = lock(&todo).recv();
                        let Ok(batch) = next else { return };
                        if !outcome.ended.load(Ordering::Relaxed) {
                            outcome.note(files.batch(batch, target, &mut buffer));
                        }
                    }
                };
                // One is enough, and without any it is done here.
                if std::thread::Builder::new()
                    .spawn_scoped(scope, work)
                    .is_ok()
                {
                    threads = Some(batches.clone());
                }
            }
        }
        Self {
            files,
            target,
            outcome,
            threads,
            buffer: Vec::new(),
        }
    }

    /// Makes the files now or soon.
    pub(super) fn put(&mut self, batch: Batch<'e>) {
        match &self.threads {
            // Threads only end after this does.
            Some(threads) => drop(threads.send(batch)),
            None => {
                let done = self.files.batch(batch, self.target, &mut self.buffer);
                self.outcome.note(done);
            }
        }
    }

    /// Whether something failed, so that the rest is in vain.
    pub(super) fn has_failed(&self) -> bool {
        self.outcome.ended.load(Ordering::Relaxed)
    }
}
