//! Where events are kept: two files in a folder of the store, a line of JSON each, so that the
//! older half goes when there are too many.

use std::fs::{self, DirBuilder, File};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::Timespec;
use rustix::io::Errno;

use super::event::Event;
use crate::log::reader::Watch;

/// How large a file becomes, in bytes.
const ENOUGH: u64 = 1 << 20;

/// The folder of a store's root.
fn folder(root: &Path) -> PathBuf {
    root.join("events")
}

fn newer(folder: &Path) -> PathBuf {
    folder.join("journal")
}

fn older(folder: &Path) -> PathBuf {
    folder.join("journal.1")
}

/// Keeps an event. What has happened has happened, even where there is no room to tell of it: that
/// is no reason to fail.
pub fn tell(root: &Path, event: &Event) {
    let _ = keep(&folder(root), event, ENOUGH);
}

fn keep(folder: &Path, event: &Event, enough: u64) -> io::Result<()> {
    let mut line = serde_json::to_vec(event)?;
    line.push(b'\n');
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
        _ => {}
    }
    let path = newer(folder);
    loop {
        let mut options = File::options();
        let options = options.append(true).create(true).mode(0o600);
        let mut file = options.open(&path)?;
        file.lock()?;
        let now = file.metadata()?;
        // Somebody may have put it aside while this waited.
        if fs::metadata(&path).map_or(true, |there| there.ino() != now.ino()) {
            continue;
        }
        if now.len() >= enough {
            fs::rename(&path, older(folder))?;
            continue;
        }
        // One write: whoever reads finds whole lines, but for a kill in its middle.
        return file.write_all(&line);
    }
}

/// Which times are wanted, in nanoseconds since the epoch.
#[derive(Clone, Copy, Debug, Default)]
pub struct Span {
    /// From this on; nothing for what is still to come.
    pub since: Option<i64>,
    /// Up to this; nothing for ever.
    pub until: Option<i64>,
}

fn now() -> i64 {
    i64::try_from(jiff::Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX)
}

/// Tells events of a store to `each`, oldest first, and waits for more until the span is over.
///
/// # Errors
/// Those of the file system, and of `each`.
pub fn follow(
    root: &Path,
    span: Span,
    each: &mut dyn FnMut(Event) -> io::Result<()>,
) -> io::Result<()> {
    let folder = folder(root);
    match DirBuilder::new().mode(0o700).create(&folder) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
        _ => {}
    }
    let watch = Watch::new(&folder)?;
    let since = span.since.unwrap_or_else(now);
    let mut wanted = |event: Event| {
        let in_time = |until: i64| event.time_nano <= until;
        match event.time_nano >= since && span.until.is_none_or(in_time) {
            true => each(event),
            false => Ok(()),
        }
    };
    // Before its name is another's, or the files would be read in the wrong order.
    let mut tail = Tail::open(&newer(&folder))?;
    if let Some(mut before) = Tail::open(&older(&folder))?
        && tail.as_ref().is_none_or(|tail| tail.inode != before.inode)
    {
        before.read(&mut wanted)?;
    }
    loop {
        if let Some(tail) = &mut tail {
            tail.read(&mut wanted)?;
        }
        let next = Tail::open(&newer(&folder))?;
        let known = tail.as_ref().map(|tail| tail.inode);
        if next.as_ref().map(|next| next.inode) != known && next.is_some() {
            tail = next;
            continue;
        }
        let left = match span.until {
            None => None,
            Some(until) => match u64::try_from(until.saturating_sub(now())) {
                Ok(left) if left > 0 => Some(Duration::from_nanos(left)),
                _ => return Ok(()),
            },
        };
        let time = left.and_then(|left| Timespec::try_from(left).ok());
        match poll(
            &mut [PollFd::from_borrowed_fd(watch.fd(), PollFlags::IN)],
            time.as_ref(),
        ) {
            Ok(0) | Err(Errno::INTR) => {}
            Ok(_) => watch.take()?,
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// A file that is read on.
struct Tail {
    file: BufReader<File>,
    inode: u64,
    /// The beginning of a line whose end is still to come.
    begun: Vec<u8>,
}

impl Tail {
    fn open(path: &Path) -> io::Result<Option<Self>> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e),
        };
        Ok(Some(Self {
            inode: file.metadata()?.ino(),
            file: BufReader::new(file),
            begun: Vec::new(),
        }))
    }

    fn read(&mut self, each: &mut dyn FnMut(Event) -> io::Result<()>) -> io::Result<()> {
        loop {
            self.file.read_until(b'\n', &mut self.begun)?;
            if self.begun.last() != Some(&b'\n') {
                return Ok(());
            }
            let line = std::mem::take(&mut self.begun);
            // A line that was cut by a kill is nobody's event.
            if let Ok(event) = serde_json::from_slice(&line) {
                each(event)?;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Actor;
    use super::*;

    fn event(action: &str) -> Event {
        Event::of_container(&Actor::default(), action, &[])
    }

    fn told(root: &Path, span: Span) -> Vec<String> {
        let mut told = Vec::new();
        follow(root, span, &mut |event| {
            told.push(event.action);
            Ok(())
        })
        .unwrap();
        told
    }

    #[test]
    fn events_are_told_in_order_and_the_oldest_go() {
        let dir = tempfile::tempdir().unwrap();
        let folder = folder(dir.path());
        let past = Span {
            since: Some(0),
            until: Some(now() + 1),
        };
        assert!(told(dir.path(), past).is_empty());
        let length = serde_json::to_vec(&event("00")).unwrap().len() as u64 + 1;
        for number in 10..20 {
            // Two to a file.
            keep(&folder, &event(&number.to_string()), length * 2).unwrap();
        }
        let all = Span {
            since: Some(0),
            until: Some(now()),
        };
        assert_eq!(told(dir.path(), all), ["16", "17", "18", "19"]);
        let before = Span {
            since: Some(0),
            until: Some(1),
        };
        assert!(told(dir.path(), before).is_empty());
    }

    #[test]
    fn what_comes_is_told_and_a_line_that_was_cut_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().to_owned();
        tell(&root, &event("before"));
        let path = newer(&folder(&root));
        let mut file = File::options().append(true).open(&path).unwrap();
        file.write_all(b"{\"status\":\n").unwrap();
        let writer = {
            let root = root.clone();
            std::thread::spawn(move || {
                for number in 0..50 {
                    tell(&root, &event(&number.to_string()));
                }
            })
        };
        let mut seen = Vec::new();
        let span = Span {
            since: Some(0),
            until: None,
        };
        let stop = follow(&root, span, &mut |event| {
            seen.push(event.action);
            match seen.len() {
                51 => Err(io::ErrorKind::Interrupted.into()),
                _ => Ok(()),
            }
        });
        assert!(stop.is_err());
        writer.join().unwrap();
        assert_eq!((seen[0].as_str(), seen[50].as_str()), ("before", "49"));
    }
}
