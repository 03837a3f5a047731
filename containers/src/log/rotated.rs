//! The files of a log that were put aside.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;

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
    pub(super) identity: (u64, u64),
}

impl Rotated {
    /// All of them, the oldest first. They are opened from the newest on, as far as there are any
    /// by then: numbers only grow, so that a file that gets another one meanwhile is met twice and
    /// taken once, and none is passed over.
    pub(super) fn all(log: &Path) -> io::Result<Vec<Self>> {
        let mut found: Vec<Self> = Vec::new();
        let mut number = 1;
        let mut most = highest(log)?;
        while number <= most {
            if let Some(mut file) = Self::open(log, number)?
                && !found.iter().any(|one| one.identity == file.identity)
            {
                let again = match found.last_mut() {
                    Some(newer) if file.compressed && !newer.compressed => {
                        let lines = (newer.first_line()?, file.first_line()?);
                        lines.0.is_some() && lines.0 == lines.1
                    }
                    _ => false,
                };
                // Not what was met before it was compressed.
                if !again {
                    found.push(file);
                }
            }
            number += 1;
            if number > most {
                most = highest(log)?;
            }
        }
        found.reverse();
        Ok(found)
    }

    fn open(log: &Path, number: u32) -> io::Result<Option<Self>> {
        // One that is being compressed gets its other name before it loses this one.
        for compressed in [false, true] {
            match File::open(name(log, number, compressed)) {
                Ok(file) => {
                    return Ok(identity(&file).map(|identity| Self {
                        file,
                        compressed,
                        identity,
                    }));
                }
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(e),
            }
        }
        Ok(None)
    }

    fn text(&self) -> Box<dyn BufRead + '_> {
        match self.compressed {
            true => Box::new(BufReader::new(MultiGzDecoder::new(&self.file))),
            false => Box::new(BufReader::new(&self.file)),
        }
    }

    /// The line that it begins with, when there is a whole one.
    fn first_line(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut line = Vec::new();
        let whole = next_line(&mut self.text(), &mut line)?;
        self.file.rewind()?;
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
pub(super) fn identity(file: &File) -> Option<(u64, u64)> {
    let found = file.metadata().ok()?;
    Some((found.dev(), found.ino()))
}
