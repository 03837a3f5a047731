//! The audit log: a file to which a line of JSON is added for all that changes.
//!
//! What is to be told comes from the database, where it was written in the transaction of the
//! change itself, and leaves it once the line is on disk. A crash in between writes a line again
//! at most, and that is found by its ID. While the file cannot be written, all waits in the
//! database.

use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::events::{AUDIT, line};
use crate::meta::QueuedEvent;
use crate::service::Registry;
use crate::sync::blocking;

/// Lines written at once.
const BATCH: u32 = 256;
/// Pause after the file could not be written.
const AGAIN: Duration = Duration::from_secs(1);
/// How often it is looked at where other processes add some.
const LOOK: Duration = Duration::from_secs(1);
/// Bytes at the end of the file in which lines are looked for that a crash wrote already.
const TAIL: u64 = 512 << 10;

/// The task that writes.
#[derive(Debug)]
pub struct Audit {
    task: JoinHandle<()>,
    stopping: watch::Sender<bool>,
}

impl Audit {
    /// Begins to write what the registry's audit log is to be told to the file at `path`.
    ///
    /// # Errors
    /// When it cannot be written now.
    pub async fn start(registry: &Arc<Registry>, path: &Path) -> io::Result<Self> {
        let (stopping, stop) = watch::channel(false);
        let path = path.to_owned();
        let log = blocking(move || Log::open(path)).await?;
        let writer = Writer {
            registry: Arc::clone(registry),
            log: Some(log),
        };
        let task = tokio::spawn(writer.run(stop));
        Ok(Self { task, stopping })
    }

    /// Writes what waits, for up to `drain`; the rest stays for the next start.
    pub async fn stop(self, drain: Duration) {
        let _ = self.stopping.send(true);
        let abort = self.task.abort_handle();
        if tokio::time::timeout(drain, self.task).await.is_err() {
            tracing::warn!("the audit log could not be written to its end; the rest waits");
            abort.abort();
        }
    }
}

struct Writer {
    registry: Arc<Registry>,
    /// Elsewhere while it is written.
    log: Option<Log>,
}

impl Writer {
    async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let registry = Arc::clone(&self.registry);
        let Some(wake) = registry.subscribers().and_then(|s| s.audit()) else {
            return;
        };
        let mut failing = false;
        loop {
            let stopping = *stop.borrow_and_update();
            match self.write().await {
                Ok(true) => {
                    failing = false;
                    continue;
                }
                Ok(false) => {
                    failing = false;
                    if stopping {
                        return;
                    }
                    tokio::select! {
                        () = wake.notified() => {}
                        // Others wake nobody here.
                        () = tokio::time::sleep(LOOK), if registry.is_shared() => {}
                        _ = stop.changed() => {}
                    }
                }
                Err(e) => {
                    // Once is enough, until it went well again.
                    if !failing {
                        tracing::error!(error = %e, "the audit log cannot be written; its lines wait");
                    }
                    failing = true;
                    tokio::time::sleep(AGAIN).await;
                }
            }
        }
    }

    /// Writes the oldest of what waits; whether there was anything.
    async fn write(&mut self) -> io::Result<bool> {
        if !self.registry.leads() {
            return Ok(false);
        }
        let queued = self.registry.queued_events(AUDIT, BATCH).await;
        let queued = queued.map_err(io::Error::other)?;
        let Some(last) = queued.last().map(|event| event.id) else {
            return Ok(false);
        };
        let Some(mut log) = self.log.take() else {
            return Err(io::Error::other(
                "the last line was never written to its end",
            ));
        };
        let written = blocking(move || {
            let written = log.append(&queued);
            Ok::<_, io::Error>((log, written))
        });
        let (log, written) = written.await?;
        self.log = Some(log);
        written?;
        let forgotten = self.registry.forget_events(AUDIT, last).await;
        forgotten.map_err(io::Error::other)?;
        Ok(true)
    }
}

/// The file.
#[derive(Debug)]
struct Log {
    path: PathBuf,
    file: File,
    /// The lines at its end when it was opened, by ID: some of what waits may be among them.
    there: HashSet<String>,
}

impl Log {
    fn open(path: PathBuf) -> io::Result<Self> {
        let named = |e: io::Error| io::Error::new(e.kind(), format!("{}: {e}", path.display()));
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(0o640)
            .open(&path)
            .map_err(named)?;
        let size = file.metadata()?.len();
        file.seek(SeekFrom::Start(size.saturating_sub(TAIL)))?;
        let mut tail = Vec::new();
        file.read_to_end(&mut tail)?;
        if tail.last().is_some_and(|last| *last != b'\n') {
            // What a crash cut off is written again, on a line of its own.
            file.write_all(b"\n")?;
        }
        let lines = tail.split(|b| *b == b'\n');
        let there = lines.filter_map(|line| {
            let line: Value = serde_json::from_slice(line).ok()?;
            Some(line["id"].as_str()?.to_owned())
        });
        let there = there.collect();
        let parent = path.parent().filter(|p| *p != Path::new(""));
        File::open(parent.unwrap_or(Path::new(".")))?.sync_all()?;
        Ok(Self { path, file, there })
    }

    /// Adds lines durably, to a new file when this one was renamed or removed.
    fn append(&mut self, queued: &[QueuedEvent]) -> io::Result<()> {
        let own = self.file.metadata()?;
        let same = std::fs::metadata(&self.path)
            .is_ok_and(|there| (there.dev(), there.ino()) == (own.dev(), own.ino()));
        if !same {
            let known = std::mem::take(&mut self.there);
            *self = Self::open(self.path.clone())?;
            self.there.extend(known);
        }
        let mut text = String::new();
        for event in queued {
            if let Some((id, line)) = line(&event.event)
                && !self.there.contains(&id)
            {
                text.push_str(&Value::Object(line).to_string());
                text.push('\n');
            }
        }
        let before = self.file.metadata()?.len();
        let written = self
            .file
            .write_all(text.as_bytes())
            .and_then(|()| self.file.sync_data());
        if written.is_err() {
            // All of it comes again.
            let _ = self.file.set_len(before);
        } else {
            self.there = queued
                .iter()
                .filter_map(|event| Some(line(&event.event)?.0))
                .collect();
        }
        written
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(id: i64) -> QueuedEvent {
        let event = serde_json::json!({
            "id": format!("e{id}"), "timestamp": "2026-01-02T03:04:05Z", "action": "push",
            "target": {"repository": "app", "tag": "v1", "url": "http://x/v2/app/manifests/v1"},
            "request": {"id": "r", "addr": "192.0.2.7:4000", "useragent": "a\nb"},
            "actor": {"name": "alice"}, "source": {"addr": "node"},
        });
        QueuedEvent {
            id,
            event: event.to_string(),
        }
    }

    fn ids(path: &Path) -> Vec<String> {
        let text = std::fs::read_to_string(path).unwrap();
        let lines = text
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines
            .map(|line| line["id"].as_str().unwrap().to_owned())
            .collect()
    }

    #[test]
    fn a_file_that_is_moved_away_is_begun_anew_and_nothing_is_written_twice() {
        let dir = tempfile::tempdir().unwrap();
        let (path, old) = (dir.path().join("audit.log"), dir.path().join("audit.1"));
        let mut log = Log::open(path.clone()).unwrap();
        log.append(&[event(1), event(2)]).unwrap();
        std::fs::rename(&path, &old).unwrap();
        log.append(&[event(3)]).unwrap();
        assert_eq!(
            (ids(&old), ids(&path)),
            (vec!["e1".into(), "e2".into()], vec!["e3".into()])
        );
        // Killed before the database forgot it, and while a line was written.
        log.file.write_all(b"{\"id\":\"e4\",\"ti").unwrap();
        drop(log);
        let mut log = Log::open(path.clone()).unwrap();
        log.append(&[event(3), event(4)]).unwrap();
        assert_eq!(ids(&path), ["e3", "e4"]);
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count(), 3, "{text}");
        std::fs::remove_file(&path).unwrap();
        log.append(&[event(5)]).unwrap();
        assert_eq!(ids(&path), ["e5"]);
    }
}
