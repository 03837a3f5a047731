//! Lists what a filter leaves of a directory, by several threads where there is much to list.
//!
//! Each directory is a job of its own. Whoever does it, the entries come in the order of a sorted
//! walk: a directory, what is in it, then its neighbour.

use std::ffi::{CStr, OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use rustix::fs::{self, AtFlags, FileType, Mode, OFlags, Stat};

use super::FilesError;
use super::entry::{Entry, Filter, Verdict};
use super::rootfs::file_type;
use crate::stop::Stop;

/// So many entries are listed before it is worth while to start threads.
const ALONE: usize = 500;
/// More threads than this wait for the same locks of the kernel.
const THREADS: usize = 8;

/// A list that grows by what is found in directories.
pub(super) struct Walk<'a> {
    pub(super) filter: &'a dyn Filter,
    pub(super) stop: &'a Stop,
    pub(super) entries: Vec<Entry>,
}

impl Walk<'_> {
    /// Lists `dir`, which is `below` in the selection and `full` in the tree.
    pub(super) fn directory(
        &mut self,
        dir: OwnedFd,
        full: &Path,
        below: &Path,
    ) -> Result<(), FilesError> {
        let jobs = Jobs {
            filter: self.filter,
            stop: self.stop,
            state: Mutex::new(State::default()),
            changed: Condvar::new(),
        };
        let top = Arc::new(dir);
        let (items, inner) = jobs.list(&top, full, below)?;
        jobs.state().finish(0, items, inner);
        jobs.work(ALONE);
        if jobs.state().is_going_on() {
            let threads = std::thread::available_parallelism().map_or(1, usize::from);
            std::thread::scope(|scope| {
                for _ in 1..threads.min(THREADS) {
                    scope.spawn(|| jobs.work(usize::MAX));
                }
                jobs.work(usize::MAX);
            });
        }
        let state = jobs.state.into_inner().unwrap_or_else(|p| p.into_inner());
        match state.failed {
            Some(failed) => Err(failed),
            None => {
                self.entries.reserve(state.listed);
                flatten(
                    &mut state.lists.into_iter().map(Some).collect::<Vec<_>>(),
                    0,
                    self,
                );
                Ok(())
            }
        }
    }

    /// Lists the directory `name` of `parent`.
    pub(super) fn enter(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &OsStr,
        full: &Path,
        below: &Path,
    ) -> Result<(), FilesError> {
        self.directory(open(parent, name, full)?, full, below)
    }
}

/// Opens the directory `name` of `parent`, which is called `full`.
pub(super) fn open(
    parent: BorrowedFd<'_>,
    name: &OsStr,
    full: &Path,
) -> Result<OwnedFd, FilesError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    fs::openat(parent, name, flags, Mode::empty())
        .map_err(|e| FilesError::io("open", full)(e.into()))
}

/// What becomes of an entry beside being listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    /// Nothing.
    Stays,
    /// It is a directory, and what is in it follows.
    Entered,
    /// The same, but without that it goes as well.
    OnlyIfFilled,
}

/// A directory that was listed: its entries, and the number of the list of the first of them that
/// is entered; those of the others follow.
#[derive(Debug, Default)]
struct List {
    items: Vec<(Entry, Then)>,
    first: usize,
}

/// The entries of a directory, and the directories among them that are to be entered.
type Listed = (Vec<(Entry, Then)>, Vec<Job>);

/// A directory that is to be listed into the list of that number.
struct Job {
    list: usize,
    parent: Arc<OwnedFd>,
    name: OsString,
    full: PathBuf,
    below: PathBuf,
}

#[derive(Default)]
struct State {
    lists: Vec<List>,
    /// The next one is the last; so few directories are open at a time.
    waiting: Vec<Job>,
    /// Jobs that somebody is at.
    working: usize,
    listed: usize,
    failed: Option<FilesError>,
}

impl State {
    fn is_going_on(&self) -> bool {
        self.failed.is_none() && (self.working > 0 || !self.waiting.is_empty())
    }

    /// The list of that number is `items`; `inner` are the directories among them to be entered.
    fn finish(&mut self, list: usize, items: Vec<(Entry, Then)>, inner: Vec<Job>) {
        self.listed += items.len();
        let first = self.lists.len().max(1);
        self.lists.resize_with(first + inner.len(), List::default);
        self.lists[list] = List { items, first };
        let numbered = inner.into_iter().enumerate().rev();
        self.waiting.extend(numbered.map(|(n, job)| Job {
            list: first + n,
            ..job
        }));
    }
}

struct Jobs<'a> {
    filter: &'a dyn Filter,
    stop: &'a Stop,
    state: Mutex<State>,
    changed: Condvar,
}

impl Jobs<'_> {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|p| p.into_inner())
    }

    /// Does jobs until there are no more, one has failed, or so many entries are listed.
    fn work(&self, entries: usize) {
        let mut state = self.state();
        while state.is_going_on() && state.listed < entries {
            let Some(job) = state.waiting.pop() else {
                state = self.changed.wait(state).unwrap_or_else(|p| p.into_inner());
                continue;
            };
            state.working += 1;
            drop(state);
            let listed = open(job.parent.as_fd(), &job.name, &job.full)
                .and_then(|dir| self.list(&Arc::new(dir), &job.full, &job.below));
            state = self.state();
            state.working -= 1;
            match listed {
                Ok((items, inner)) => state.finish(job.list, items, inner),
                Err(e) => {
                    state.failed.get_or_insert(e);
                }
            }
            self.changed.notify_all();
        }
    }

    /// Lists one directory, and says which of its entries are to be entered.
    fn list(&self, dir: &Arc<OwnedFd>, full: &Path, below: &Path) -> Result<Listed, FilesError> {
        self.stop.check().map_err(FilesError::io("list", full))?;
        let names = Names::of(dir.as_fd()).map_err(FilesError::io("list", full))?;
        let mut items = Vec::with_capacity(names.places.len());
        let mut inner = Vec::new();
        // Of most entries the name in the tree is no longer needed once the filter has seen it.
        let mut full = full.to_owned();
        for name in names.iter() {
            let text = OsStr::from_bytes(name.to_bytes());
            full.push(text);
            if let Some((stat, then)) = self.look(dir, name, &full)? {
                let below = below.join(text);
                if then != Then::Stays {
                    inner.push(Job {
                        list: 0,
                        parent: Arc::clone(dir),
                        name: text.to_owned(),
                        full: full.clone(),
                        below: below.clone(),
                    });
                }
                items.push((Entry::new(below, stat), then));
            }
            full.pop();
        }
        Ok((items, inner))
    }

    /// The status of an entry that is seen, and what becomes of it.
    fn look(
        &self,
        dir: &OwnedFd,
        name: &CStr,
        full: &Path,
    ) -> Result<Option<(Stat, Then)>, FilesError> {
        let stat = match fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            // Removed since it was listed, as if it had never been there.
            Err(rustix::io::Errno::NOENT) => return Ok(None),
            Err(e) => return Err(FilesError::io("stat", full)(e.into())),
        };
        let kind = file_type(&stat);
        if kind == FileType::Socket {
            return Ok(None);
        }
        let is_dir = kind == FileType::Directory;
        let then = match self.filter.check(full, is_dir) {
            Verdict::Include if is_dir => Then::Entered,
            Verdict::Include => Then::Stays,
            Verdict::Descend if is_dir => Then::OnlyIfFilled,
            Verdict::Descend | Verdict::Exclude => return Ok(None),
        };
        Ok(Some((stat, then)))
    }
}

/// The names in a directory, sorted, in one allocation.
struct Names {
    bytes: Vec<u8>,
    /// Begin and end of each, with its NUL.
    places: Vec<(usize, usize)>,
}

impl Names {
    fn of(dir: BorrowedFd<'_>) -> std::io::Result<Self> {
        let (mut bytes, mut places) = (Vec::new(), Vec::new());
        for entry in fs::Dir::read_from(dir)? {
            let entry = entry?;
            let name = entry.file_name();
            if !matches!(name.to_bytes(), b"." | b"..") {
                let start = bytes.len();
                bytes.extend_from_slice(name.to_bytes_with_nul());
                places.push((start, bytes.len()));
            }
        }
        // A NUL is before every other byte, as the end of a shorter name has to be.
        places.sort_unstable_by(|a: &(usize, usize), b| bytes[a.0..a.1].cmp(&bytes[b.0..b.1]));
        Ok(Self { bytes, places })
    }

    fn iter(&self) -> impl Iterator<Item = &CStr> {
        let names = self
            .places
            .iter()
            .map(|(start, end)| &self.bytes[*start..*end]);
        names.filter_map(|name| CStr::from_bytes_with_nul(name).ok())
    }
}

/// Puts the lists below that of number `at` one behind the other, in the order of the walk.
fn flatten(lists: &mut [Option<List>], at: usize, walk: &mut Walk<'_>) {
    let Some(List { items, first }) = lists[at].take() else {
        return;
    };
    let mut next = first;
    for (entry, then) in items {
        let before = walk.entries.len();
        walk.entries.push(entry);
        if then == Then::Stays {
            continue;
        }
        flatten(lists, next, walk);
        next += 1;
        if then == Then::OnlyIfFilled && walk.entries.len() == before + 1 {
            walk.entries.pop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::entry::Everything;
    use super::*;

    /// Only what ends in 7, and the directories that lead there.
    struct Sevens;

    impl Filter for Sevens {
        fn check(&self, path: &Path, is_dir: bool) -> Verdict {
            match (path.to_string_lossy().ends_with('7'), is_dir) {
                (true, false) => Verdict::Include,
                (false, false) => Verdict::Exclude,
                (_, true) => Verdict::Descend,
            }
        }
    }

    fn listed(dir: &Path, filter: &dyn Filter) -> Vec<PathBuf> {
        let stop = Stop::default();
        let mut walk = Walk {
            filter,
            stop: &stop,
            entries: Vec::new(),
        };
        let (at, name) = (fs::CWD, dir.as_os_str());
        walk.enter(at, name, Path::new(""), Path::new("")).unwrap();
        walk.entries.into_iter().map(|entry| entry.path).collect()
    }

    fn expected(dir: &Path, below: &Path, keep: &dyn Fn(&Path) -> bool, found: &mut Vec<PathBuf>) {
        let mut names: Vec<_> = std::fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        names.sort();
        for name in names {
            let (path, below) = (dir.join(&name), below.join(&name));
            if !path.is_dir() {
                if keep(&below) {
                    found.push(below);
                }
                continue;
            }
            let before = found.len();
            found.push(below.clone());
            expected(&path, &below, keep, found);
            if found.len() == before + 1 && !keep(&below) {
                found.pop();
            }
        }
    }

    #[test]
    fn many_threads_list_in_the_order_of_a_sorted_walk() {
        let dir = tempfile::tempdir().unwrap();
        for i in 0..40 {
            let inner = dir.path().join(format!("d{i}/e{}/f", i % 3));
            std::fs::create_dir_all(&inner).unwrap();
            for j in 0..i {
                std::fs::write(inner.join(format!("{j}")), "").unwrap();
                std::fs::write(dir.path().join(format!("d{i}/{j}")), "").unwrap();
            }
        }
        // More than one thread does alone, and a directory with nothing in it.
        let mut all = Vec::new();
        expected(dir.path(), Path::new(""), &|_| true, &mut all);
        assert!(all.len() > 3 * ALONE);
        assert_eq!(listed(dir.path(), &Everything), all);
        let mut sevens = Vec::new();
        let keep = |path: &Path| !path.ends_with("f") && path.to_string_lossy().ends_with('7');
        expected(dir.path(), Path::new(""), &keep, &mut sevens);
        sevens
            .retain(|path| path.to_string_lossy().ends_with('7') || path.components().count() < 4);
        assert!(sevens.len() > 100);
        let found = listed(dir.path(), &Sevens);
        let files = |all: &[PathBuf]| -> Vec<PathBuf> {
            let files = all.iter().filter(|path| dir.path().join(path).is_file());
            files.cloned().collect()
        };
        assert_eq!(files(&found), files(&sevens));
        // No directory without something below it.
        for (n, path) in found.iter().enumerate() {
            let next = found.get(n + 1);
            let full = dir.path().join(path);
            assert!(full.is_file() || next.is_some_and(|next| next.starts_with(path)));
        }
    }

    #[test]
    fn the_first_failure_ends_it() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("a")).unwrap();
        let stop = Stop::default();
        stop.stop();
        let mut walk = Walk {
            filter: &Everything,
            stop: &stop,
            entries: Vec::new(),
        };
        let failed = walk.enter(
            fs::CWD,
            dir.path().as_os_str(),
            Path::new("x"),
            Path::new(""),
        );
        assert!(failed.is_err() && walk.entries.is_empty());
    }
}
