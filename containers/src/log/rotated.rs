//! The files of a log that were put aside.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use jiff::Timestamp;

use super::entry::Entry;

/// The longest line of a file that is read: an entry of 16 KiB, each byte escaped.
const MAX_LINE: u64 = 256 << 10;

/// What a file is called when it has been put aside so many times.
pub(super) fn name(log: &Path, number: u32, compressed: bool) -> PathBuf {
    let mut name = log.as_os_str().to_owned();
    name.push(format!(".{number}{}", if compressed { ".gz" } else { "" }));
    name.into()
}

/// A file that was put aside, which stays the same whatever it is called by now.
#[derive(Debug)]
pub(super) struct Rotated {
    file: File,
    compressed: bool,
    identity: (u64, u64),
    /// The line that it begins with, when there is a whole one.
    first: Option<Vec<u8>>,
}

impl Rotated {
    /// All of them, the oldest first. They are opened from the newest on, as far as there are any
    /// by then: numbers only grow, so that a file that gets another one meanwhile is met twice and
    /// taken once, and none is passed over.
    pub(super) fn all(log: &Path) -> io::Result<Vec<Self>> {
        let newest = File::open(log).ok();
        let mut found: Vec<Self> = Vec::new();
        let mut number = 1;
        let mut most = highest(log)?;
        while number <= most {
            if let Some(file) = Self::open(log, number)?
                && !found.iter().any(|one| one.is(&file))
            {
                found.push(file);
            }
            number += 1;
            if number > most {
                most = highest(log)?;
            }
        }
        found.reverse();
        let still = File::open(log).ok().as_ref().and_then(identity);
        if still.is_none() || still != newest.as_ref().and_then(identity) {
            // One that was begun meanwhile may have been met among older ones.
            found.sort_by_cached_key(Self::begins_at);
        }
        Ok(found)
    }

    fn open(log: &Path, number: u32) -> io::Result<Option<Self>> {
        // One that is being compressed gets its other name before it loses this one.
        for compressed in [false, true] {
            match File::open(name(log, number, compressed)) {
                Ok(file) => {
                    let Some(identity) = identity(&file) else {
                        return Ok(None);
                    };
                    let mut found = Self {
                        file,
                        compressed,
                        identity,
                        first: None,
                    };
                    found.first = found.first_line()?;
                    return Ok(Some(found));
                }
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(e),
            }
        }
        Ok(None)
    }

    /// Whether both are one, before and after it was compressed. No two begin with the same line,
    /// for no two lines have the same time.
    fn is(&self, other: &Self) -> bool {
        let becomes = self.compressed != other.compressed && self.first.is_some();
        self.identity == other.identity || (becomes && self.first == other.first)
    }

    /// The time of its first line.
    fn begins_at(&self) -> Option<Timestamp> {
        let entry: Entry = serde_json::from_slice(self.first.as_deref()?).ok()?;
        entry.time.parse().ok()
    }

    fn text(&self) -> Box<dyn BufRead + '_> {
        match self.compressed {
            true => Box::new(BufReader::new(MultiGzDecoder::new(&self.file))),
            false => Box::new(BufReader::new(&self.file)),
        }
    }

    fn first_line(&self) -> io::Result<Option<Vec<u8>>> {
        let mut line = Vec::new();
        let whole = next_line(&mut self.text(), &mut line)?;
        (&self.file).rewind()?;
        Ok(whole.then_some(line))
    }

    /// Tells its lines.
    pub(super) fn read(self, each: &mut dyn FnMut(Entry) -> io::Result<()>) -> io::Result<()> {
        let mut from = self.text();
        let mut line = Vec::new();
        while next_line(&mut from, &mut line)? {
            if let Ok(entry) = serde_json::from_slice(&line) {
                each(entry)?;
            }
            line.clear();
        }
        Ok(())
    }
}

/// Which of them an open file is by now: the same file, or what it was compressed into.
pub(super) fn place(of: &File, among: &[Rotated]) -> io::Result<Option<usize>> {
    let own = identity(of);
    let same = among.iter().position(|file| Some(file.identity) == own);
    if same.is_some() || !among.iter().any(|file| file.compressed) {
        return Ok(same);
    }
    let first = first_line(of)?;
    let is = |file: &Rotated| file.compressed && file.first == first;
    Ok(among.iter().position(is).filter(|_| first.is_some()))
}

/// The line that a file begins with, wherever its reader stands.
fn first_line(file: &File) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    let mut block = [0; 4096];
    loop {
        let length = file.read_at(&mut block, line.len() as u64)?;
        let part = block.get(..length).unwrap_or_default();
        match part.iter().position(|b| *b == b'\n') {
            Some(at) => {
                line.extend_from_slice(part.get(..=at).unwrap_or_default());
                return Ok(Some(line));
            }
            None if part.is_empty() || line.len() as u64 >= MAX_LINE => return Ok(None),
            None => line.extend_from_slice(part),
        }
    }
}

/// The highest number that a file has.
pub(super) fn highest(log: &Path) -> io::Result<u32> {
    let (Some(folder), Some(own)) = (log.parent(), log.file_name().and_then(|name| name.to_str()))
    else {
        return Ok(0);
    };
    let mut most = 0;
    for entry in std::fs::read_dir(folder)? {
        let name = entry?.file_name();
        let number = name
            .to_str()
            .and_then(|name| name.strip_prefix(own)?.strip_prefix('.'))
            .and_then(|number| number.trim_end_matches(".gz").parse().ok());
        most = most.max(number.unwrap_or(0));
    }
    Ok(most)
}

/// Adds to a line; true when it is whole.
pub(super) fn next_line(from: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    let room = MAX_LINE.saturating_sub(line.len() as u64);
    from.take(room).read_until(b'\n', line)?;
    // One that is too long is no entry of ours, and is passed over.
    Ok(line.ends_with(b"\n") || line.len() as u64 >= MAX_LINE)
}

/// Device and inode.
fn identity(file: &File) -> Option<(u64, u64)> {
    let found = file.metadata().ok()?;
    Some((found.dev(), found.ino()))
}
