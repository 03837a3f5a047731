//! Reads a log back: the last lines, those of a time, and what comes.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufReader, Read as _, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rustix::fs::inotify;

use super::entry::Entry;
use super::rotated::{Rotated, next_line, place};
use crate::state;

/// How far from a file's end lines are looked for at once.
const BLOCK: u64 = 64 << 10;

/// Which lines are wanted.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Only so many of the last.
    pub tail: Option<usize>,
    /// Only those since then.
    pub since: Option<Timestamp>,
    /// Only those before then.
    pub until: Option<Timestamp>,
}

impl Wanted {
    fn takes(&self, entry: &Entry) -> bool {
        if self.since.is_none() && self.until.is_none() {
            return true;
        }
        let time = entry.time.parse::<Timestamp>().ok();
        let after = |since| time.is_none_or(|time| time >= since);
        let before = |until| time.is_none_or(|time| time <= until);
        self.since.is_none_or(after) && self.until.is_none_or(before)
    }

    fn is_over(&self, entry: &Entry) -> bool {
        let time = entry.time.parse::<Timestamp>().ok();
        matches!((time, self.until), (Some(time), Some(until)) if time > until)
    }
}

/// Where a reader has come to.
#[derive(Debug)]
pub struct Reader {
    path: PathBuf,
    file: Option<BufReader<File>>,
    wanted: Wanted,
    /// A line of which the end is still to come.
    begun: Vec<u8>,
    /// The time of the last line that was read.
    last: String,
}

impl Reader {
    /// Tells the lines that are there, one after the other, and stands at the end of them.
    ///
    /// # Errors
    /// Those of the file system, and of `each`.
    pub fn open(
        path: PathBuf,
        wanted: Wanted,
        each: &mut dyn FnMut(Entry) -> io::Result<()>,
    ) -> io::Result<Self> {
        let mut reader = Self {
            file: open(&path)?,
            path,
            wanted,
            begun: Vec::new(),
            last: String::new(),
        };
        match reader.wanted.tail {
            Some(0) => reader.skip()?,
            Some(tail) => reader.last(tail, each)?,
            None => reader.all(each)?,
        }
        Ok(reader)
    }

    fn skip(&mut self) -> io::Result<()> {
        match &mut self.file {
            Some(file) => file.seek(SeekFrom::End(0)).map(drop),
            // Between two files: what is in the others is not wanted.
            None => {
                self.last = state::now();
                Ok(())
            }
        }
    }

    /// Those of them that are older than the open file, which may be one by now.
    fn older_than_own(&self) -> io::Result<Vec<Rotated>> {
        let mut older = Rotated::all(&self.path)?;
        if let Some(file) = &self.file
            && let Some(at) = place(file.get_ref(), &older)?
        {
            older.truncate(at);
        }
        Ok(older)
    }

    fn all(&mut self, each: &mut dyn FnMut(Entry) -> io::Result<()>) -> io::Result<()> {
        for file in self.older_than_own()? {
            file.read(&mut |entry| self.tell(entry, each).map(drop))?;
        }
        self.more(each).map(drop)
    }

    fn last(
        &mut self,
        tail: usize,
        each: &mut dyn FnMut(Entry) -> io::Result<()>,
    ) -> io::Result<()> {
        // Between two files, those that are there have to be told of as read.
        let is_open = self.file.is_some();
        let plain = is_open && self.wanted.since.is_none() && self.wanted.until.is_none();
        let mut missing = tail;
        if let Some(file) = self.file.as_mut().filter(|_| plain) {
            let (start, found) = start_of_last(file.get_mut(), tail)?;
            file.seek(SeekFrom::Start(start))?;
            missing = tail - found;
        }
        let mut last = VecDeque::new();
        let mut keep = |entry| {
            if last.len() == tail {
                last.pop_front();
            }
            last.push_back(entry);
            Ok(())
        };
        match plain {
            // Lines in older files are looked for where the newest has too few.
            true => {
                if missing > 0 {
                    for file in self.older_than_own()? {
                        file.read(&mut keep)?;
                    }
                }
                self.more(&mut keep)?;
            }
            false => self.all(&mut keep)?,
        }
        last.into_iter().try_for_each(each)
    }

    /// Tells the lines that have come since; true when the time that was asked for is over.
    ///
    /// # Errors
    /// Those of the file system, and of `each`.
    pub fn more(&mut self, each: &mut dyn FnMut(Entry) -> io::Result<()>) -> io::Result<bool> {
        loop {
            // Between two files, or none was begun.
            if self.file.is_none() {
                self.catch_up(each)?;
            }
            if self.read_on(each)? {
                return Ok(true);
            }
            let replaced = self.file.as_ref();
            if !replaced.is_some_and(|file| is_replaced(file.get_ref(), &self.path)) {
                return Ok(false);
            }
            // What was written before the file was put aside, and what went into others since.
            if self.read_on(each)? {
                return Ok(true);
            }
            self.catch_up(each)?;
            self.begun.clear();
        }
    }

    /// Reads the open file to its end.
    fn read_on(&mut self, each: &mut dyn FnMut(Entry) -> io::Result<()>) -> io::Result<bool> {
        let Some(mut file) = self.file.take() else {
            return Ok(false);
        };
        let mut over = false;
        while !over && next_line(&mut file, &mut self.begun)? {
            let line = std::mem::take(&mut self.begun);
            if let Ok(entry) = serde_json::from_slice::<Entry>(&line) {
                over = self.tell(entry, each)?;
            }
        }
        self.file = Some(file);
        Ok(over)
    }

    fn tell(
        &mut self,
        entry: Entry,
        each: &mut dyn FnMut(Entry) -> io::Result<()>,
    ) -> io::Result<bool> {
        self.last.clone_from(&entry.time);
        if self.wanted.is_over(&entry) {
            return Ok(true);
        }
        if self.wanted.takes(&entry) {
            each(entry)?;
        }
        Ok(false)
    }

    /// Goes on in the files that were begun since the open one was put aside: it is one of the
    /// rotated ones by now, or was compressed into one.
    fn catch_up(&mut self, each: &mut dyn FnMut(Entry) -> io::Result<()>) -> io::Result<()> {
        // Opened first: what is begun after it is for the next time.
        let next = open(&self.path)?;
        let mut older = Rotated::all(&self.path)?;
        if let Some(next) = &next
            && let Some(at) = place(next.get_ref(), &older)?
        {
            older.truncate(at);
        }
        let own = match &self.file {
            Some(file) => place(file.get_ref(), &older)?,
            None => None,
        };
        match own {
            Some(at) => {
                for file in older.drain(..).skip(at + 1) {
                    file.read(&mut |entry| self.tell(entry, each).map(drop))?;
                }
            }
            None => self.tell_newer(older, each)?,
        }
        self.file = next;
        Ok(())
    }

    /// Tells the lines of files that come after the last one that was told.
    fn tell_newer(
        &mut self,
        files: Vec<Rotated>,
        each: &mut dyn FnMut(Entry) -> io::Result<()>,
    ) -> io::Result<()> {
        let last = self.last.parse::<Timestamp>().ok();
        for file in files {
            file.read(&mut |entry| match entry.time.parse::<Timestamp>().ok() {
                at if at <= last && last.is_some() => Ok(()),
                _ => self.tell(entry, each).map(drop),
            })?;
        }
        Ok(())
    }
}

fn open(path: &Path) -> io::Result<Option<BufReader<File>>> {
    match File::open(path) {
        Ok(file) => Ok(Some(BufReader::new(file))),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

fn is_replaced(file: &File, path: &Path) -> bool {
    let here = file.metadata().map(|found| (found.dev(), found.ino()));
    let there = std::fs::metadata(path).map(|found| (found.dev(), found.ino()));
    match (here, there) {
        (Ok(here), Ok(there)) => here != there,
        _ => false,
    }
}

/// Where the last lines of a file begin, and how many there are of those that were asked for.
fn start_of_last(file: &mut File, lines: usize) -> io::Result<(u64, usize)> {
    let mut end = file.metadata()?.len();
    let mut found = 0;
    let mut block = Vec::new();
    // The last line break ends the last line.
    let mut last = true;
    while end > 0 {
        let start = end.saturating_sub(BLOCK);
        file.seek(SeekFrom::Start(start))?;
        block.clear();
        (&mut *file).take(end - start).read_to_end(&mut block)?;
        for (at, _) in block.iter().enumerate().rev().filter(|(_, b)| **b == b'\n') {
            if std::mem::take(&mut last) {
                continue;
            }
            found += 1;
            if found == lines {
                return Ok((start + at as u64 + 1, found));
            }
        }
        end = start;
    }
    // The first line begins the file.
    Ok((0, (found + usize::from(!last)).min(lines)))
}

/// Sleeps until something happens in a folder.
#[derive(Debug)]
pub struct Watch(rustix::fd::OwnedFd);

impl Watch {
    /// Begins to watch.
    ///
    /// # Errors
    /// When the kernel has no watches left.
    pub fn new(folder: &Path) -> io::Result<Self> {
        let fd = inotify::init(inotify::CreateFlags::CLOEXEC)?;
        let events = inotify::WatchFlags::MODIFY
            | inotify::WatchFlags::CREATE
            | inotify::WatchFlags::MOVED_TO
            | inotify::WatchFlags::DELETE_SELF
            | inotify::WatchFlags::MOVE_SELF
            | inotify::WatchFlags::ONLYDIR;
        inotify::add_watch(&fd, folder, events)?;
        Ok(Self(fd))
    }

    /// Its descriptor, readable when something has happened.
    pub fn fd(&self) -> rustix::fd::BorrowedFd<'_> {
        use rustix::fd::AsFd as _;
        self.0.as_fd()
    }

    /// Takes what has happened.
    ///
    /// # Errors
    /// Those of read(2).
    pub fn take(&self) -> io::Result<()> {
        let mut buffer = [0u8; 4096];
        rustix::io::retry_on_intr(|| rustix::io::read(&self.0, &mut buffer))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::LogSettings;
    use super::super::entry::Stream;
    use super::super::writer::Writer;
    use super::*;

    fn read(path: &Path, wanted: Wanted) -> (Vec<String>, Reader) {
        let mut lines = Vec::new();
        let reader = Reader::open(path.to_owned(), wanted, &mut |entry| {
            lines.push(entry.log.trim_end().to_owned());
            Ok(())
        })
        .unwrap();
        (lines, reader)
    }

    #[test]
    fn rotation_is_followed_and_the_tail_reaches_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let settings = LogSettings {
            max_size: Some(1000),
            max_file: 20,
            compress: true,
            ..LogSettings::default()
        };
        let mut log = Writer::open(path.clone(), settings).unwrap();
        let mut say = |from: usize, to: usize| {
            for number in from..to {
                let line = format!("{number}\n");
                log.write(Stream::Stdout, line.as_bytes()).unwrap();
            }
        };
        say(0, 50);
        let (lines, mut reader) = read(&path, Wanted::default());
        let numbers = |from: usize, to: usize| -> Vec<String> {
            (from..to).map(|number| number.to_string()).collect()
        };
        assert_eq!(lines, numbers(0, 50));
        say(50, 60);
        let mut came = Vec::new();
        reader
            .more(&mut |entry| {
                came.push(entry.log.trim_end().to_owned());
                Ok(())
            })
            .unwrap();
        assert_eq!(came, numbers(50, 60));
        // Several files are begun before it looks again.
        say(60, 90);
        came.clear();
        reader
            .more(&mut |entry| {
                came.push(entry.log.trim_end().to_owned());
                Ok(())
            })
            .unwrap();
        assert_eq!(came, numbers(60, 90));
        for tail in [0, 1, 5, 30, 60, 90, 100] {
            let wanted = Wanted {
                tail: Some(tail),
                ..Wanted::default()
            };
            let from = 90usize.saturating_sub(tail);
            assert_eq!(read(&path, wanted).0, numbers(from, 90), "{tail}");
        }
    }

    /// One reads while the other puts files aside, as fast as both can.
    #[test]
    fn no_line_is_lost_however_fast_files_are_begun() {
        for compress in [false, true] {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("log");
            let settings = LogSettings {
                max_size: Some(300),
                max_file: 10_000,
                compress,
                ..LogSettings::default()
            };
            let mut log = Writer::open(path.clone(), settings).unwrap();
            let writer = std::thread::spawn(move || {
                for chunk in 0..60 {
                    // Lines that are said at once go into several files.
                    let lines: String = (0..10).map(|n| format!("{}\n", chunk * 10 + n)).collect();
                    log.write(Stream::Stdout, lines.as_bytes()).unwrap();
                }
            });
            let mut lines = Vec::new();
            let mut each = |entry: Entry| {
                lines.push(entry.log.trim_end().to_owned());
                Ok(())
            };
            let mut reader = Reader::open(path, Wanted::default(), &mut each).unwrap();
            while !writer.is_finished() {
                reader.more(&mut each).unwrap();
            }
            reader.more(&mut each).unwrap();
            writer.join().unwrap();
            let all: Vec<String> = (0..600).map(|number| number.to_string()).collect();
            assert_eq!(lines, all, "compressed: {compress}");
        }
    }

    /// Whoever reads comes at the worst moment: its file was put aside and compressed, or there is
    /// none between two.
    #[test]
    fn a_file_is_read_once_whatever_it_has_become() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let settings = LogSettings {
            max_size: Some(1000),
            max_file: 20,
            compress: true,
            ..LogSettings::default()
        };
        let numbers = |from: usize, to: usize| -> Vec<String> {
            (from..to).map(|number| number.to_string()).collect()
        };
        let say = |from: usize, to: usize| {
            let mut log = Writer::open(path.clone(), settings).unwrap();
            let lines: String = (from..to).map(|number| format!("{number}\n")).collect();
            log.write(Stream::Stdout, lines.as_bytes()).unwrap();
            // With it ends the thread that compresses.
        };
        say(0, 5);
        let mut reader = Reader {
            file: open(&path).unwrap(),
            path: path.clone(),
            wanted: Wanted::default(),
            begun: Vec::new(),
            last: String::new(),
        };
        say(5, 40);
        let mut lines = Vec::new();
        let mut each = |entry: Entry| {
            lines.push(entry.log.trim_end().to_owned());
            Ok(())
        };
        reader.all(&mut each).unwrap();
        assert_eq!(lines, numbers(0, 40));
        // The moment between two files.
        for number in (1..20).rev() {
            let name = |number: u32| super::super::rotated::name(&path, number, true);
            let _ = std::fs::rename(name(number), name(number + 1));
        }
        std::fs::rename(&path, dir.path().join("log.1")).unwrap();
        let wanted = Wanted {
            tail: Some(100),
            ..Wanted::default()
        };
        let (lines, mut reader) = read(&path, wanted);
        assert_eq!(lines, numbers(0, 40));
        say(40, 41);
        let mut lines = Vec::new();
        reader
            .more(&mut |entry: Entry| {
                lines.push(entry.log.trim_end().to_owned());
                Ok(())
            })
            .unwrap();
        assert_eq!(lines, ["40"]);
    }

    #[test]
    fn times_choose_lines() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let line = |second: u32| {
            format!(
                "{{\"log\":\"{second}\\n\",\"stream\":\"stdout\",\
                 \"time\":\"2026-01-01T00:00:{second:02}Z\"}}\n"
            )
        };
        std::fs::write(&path, (0..10).map(line).collect::<String>()).unwrap();
        let at = |second: i64| Timestamp::new(1_767_225_600 + second, 0).ok();
        let wanted = Wanted {
            since: at(3),
            until: at(6),
            tail: None,
        };
        assert_eq!(read(&path, wanted.clone()).0, ["3", "4", "5", "6"]);
        let wanted = Wanted {
            tail: Some(2),
            ..wanted
        };
        assert_eq!(read(&path, wanted).0, ["5", "6"]);
    }
}
