//! Writes what a container says, line by line as it comes.
//!
//! Nothing is kept in memory but a line that is not whole yet, of at most 16 KiB, and nothing is
//! lost: the file is written before more is read.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use flate2::Compression;
use flate2::write::GzEncoder;
use jiff::Timestamp;

use super::entry::{Stream, append};
use super::times::Times;
use super::{LogSettings, rotated};

/// The longest line that is kept whole; longer ones become several entries, as with docker.
const MAX_LINE: usize = 16 << 10;

/// A container's log.
#[derive(Debug)]
pub struct Writer {
    path: PathBuf,
    settings: LogSettings,
    file: Option<File>,
    size: u64,
    /// Lines that have begun, of either stream.
    begun: [Vec<u8>; 2],
    times: Times,
    compressing: Option<JoinHandle<()>>,
}

impl Writer {
    /// Opens the log; what is there is added to.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn open(path: PathBuf, settings: LogSettings) -> io::Result<Self> {
        let file = match settings.kept {
            true => Some(append_to(&path)?),
            false => None,
        };
        let size = match &file {
            Some(file) => file.metadata()?.len(),
            None => 0,
        };
        Ok(Self {
            path,
            settings,
            file,
            size,
            begun: [Vec::new(), Vec::new()],
            times: Times::default(),
            compressing: None,
        })
    }

    /// Adds what was read.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn write(&mut self, stream: Stream, mut bytes: &[u8]) -> io::Result<()> {
        if self.file.is_none() {
            return Ok(());
        }
        let mut out = String::new();
        let times = &mut self.times;
        times.begin(Timestamp::now());
        let begun = begun_of(&mut self.begun, stream);
        while !bytes.is_empty() {
            let room = MAX_LINE - begun.len();
            let window = bytes.get(..room.min(bytes.len())).unwrap_or(bytes);
            let (end, whole) = match window.iter().position(|b| *b == b'\n') {
                Some(at) => (at + 1, true),
                None => (window.len(), window.len() == room),
            };
            let (part, rest) = bytes.split_at(end);
            begun.extend_from_slice(part);
            bytes = rest;
            if whole {
                append(&mut out, begun, stream, times.next());
                begun.clear();
            }
        }
        self.put(&out)
    }

    /// The end of a stream: a line that has begun is one now.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn end(&mut self, stream: Stream) -> io::Result<()> {
        let mut out = String::new();
        let begun = std::mem::take(begun_of(&mut self.begun, stream));
        if !begun.is_empty() {
            self.times.begin(Timestamp::now());
            append(&mut out, &begun, stream, self.times.next());
        }
        self.put(&out)
    }

    fn put(&mut self, text: &str) -> io::Result<()> {
        // Between lines, so that a file never ends in the middle of one.
        for line in text.split_inclusive('\n') {
            let full = self.settings.max_size.is_some_and(|max| self.size >= max);
            if full {
                self.rotate()?;
            }
            if self.settings.max_size.is_some() {
                self.append(line)?;
            }
        }
        match self.settings.max_size {
            Some(_) => Ok(()),
            None => self.append(text),
        }
    }

    fn append(&mut self, text: &str) -> io::Result<()> {
        if let Some(file) = &mut self.file {
            file.write_all(text.as_bytes())?;
            self.size += text.len() as u64;
        }
        Ok(())
    }

    /// Begins another file; the oldest goes.
    fn rotate(&mut self) -> io::Result<()> {
        if let Some(thread) = self.compressing.take() {
            let _ = thread.join();
        }
        let most = self.settings.max_file.max(1);
        if most == 1 {
            // As docker has it: the one file is begun anew.
            fs::remove_file(&self.path)?;
        } else {
            let highest = rotated::highest(&self.path)?.min(most.saturating_sub(2));
            for compressed in [false, true] {
                gone(fs::remove_file(rotated::name(
                    &self.path,
                    most - 1,
                    compressed,
                )))?;
                for number in (1..=highest).rev() {
                    let from = rotated::name(&self.path, number, compressed);
                    let to = rotated::name(&self.path, number + 1, compressed);
                    gone(fs::rename(from, to))?;
                }
            }
            fs::rename(&self.path, rotated::name(&self.path, 1, false))?;
            if self.settings.compress {
                let (from, to) = (
                    rotated::name(&self.path, 1, false),
                    rotated::name(&self.path, 1, true),
                );
                // Without a thread, or when it fails, the file stays as it is, which is read too.
                let thread = std::thread::Builder::new().name("log-compress".to_owned());
                self.compressing = thread
                    .spawn(move || {
                        let _ = compress(&from, &to);
                    })
                    .ok();
            }
        }
        self.file = Some(append_to(&self.path)?);
        self.size = 0;
        Ok(())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if let Some(thread) = self.compressing.take() {
            let _ = thread.join();
        }
    }
}

fn begun_of(begun: &mut [Vec<u8>; 2], stream: Stream) -> &mut Vec<u8> {
    let [stdout, stderr] = begun;
    match stream {
        Stream::Stdout => stdout,
        Stream::Stderr => stderr,
    }
}

fn append_to(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut options = File::options();
    options.create(true).append(true).mode(0o640).open(path)
}

fn gone(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Compresses a file under another name, and takes it away when the other is whole.
fn compress(from: &Path, to: &Path) -> io::Result<()> {
    let new = to.with_extension("tmp");
    let mut encoder = GzEncoder::new(File::create(&new)?, Compression::fast());
    io::copy(&mut File::open(from)?, &mut encoder)?;
    encoder.finish()?.sync_all()?;
    fs::rename(&new, to)?;
    fs::remove_file(from)
}

#[cfg(test)]
mod tests {
    use super::super::entry::Entry;
    use super::*;

    fn entries(path: &Path) -> Vec<String> {
        let text = fs::read_to_string(path).unwrap();
        let entries = text
            .lines()
            .map(|line| serde_json::from_str::<Entry>(line).unwrap());
        entries.map(|entry| entry.log).collect()
    }

    #[test]
    fn lines_are_whole_however_they_come() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut log = Writer::open(path.clone(), LogSettings::default()).unwrap();
        for part in ["he", "llo\nwor", "ld\n", "\n", "end"] {
            log.write(Stream::Stdout, part.as_bytes()).unwrap();
        }
        log.write(Stream::Stderr, b"between\n").unwrap();
        assert_eq!(entries(&path), ["hello\n", "world\n", "\n", "between\n"]);
        log.end(Stream::Stdout).unwrap();
        assert_eq!(entries(&path).last().unwrap(), "end");
    }

    #[test]
    fn long_lines_are_split_as_dockers() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut log = Writer::open(path.clone(), LogSettings::default()).unwrap();
        let line = [vec![b'x'; 40_000], vec![b'\n']].concat();
        for part in line.chunks(999) {
            log.write(Stream::Stdout, part).unwrap();
        }
        let sizes: Vec<usize> = entries(&path).iter().map(String::len).collect();
        assert_eq!(sizes, [16_384, 16_384, 7_233]);
    }

    #[test]
    fn files_rotate_and_are_compressed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let settings = LogSettings {
            max_size: Some(500),
            max_file: 3,
            compress: true,
            ..LogSettings::default()
        };
        let mut log = Writer::open(path.clone(), settings).unwrap();
        for number in 0..100 {
            log.write(Stream::Stdout, format!("{number}\n").as_bytes())
                .unwrap();
        }
        drop(log);
        let mut names: Vec<_> = fs::read_dir(dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, ["log", "log.1.gz", "log.2.gz"]);
        assert_eq!(entries(&path).last().unwrap(), "99\n");
        let one = LogSettings {
            max_file: 1,
            ..settings
        };
        let mut log = Writer::open(path.clone(), one).unwrap();
        for number in 0..100 {
            log.write(Stream::Stdout, format!("{number}\n").as_bytes())
                .unwrap();
        }
        assert!(fs::metadata(&path).unwrap().len() < 700);
    }
}
