//! Files that are read again when they change.
//!
//! They are looked at from time to time rather than watched: a look costs microseconds, follows
//! links wherever they lead (Kubernetes swaps a link to a directory two levels up), and works on
//! every file system. What was changed is read once it rests: a file that is being written would
//! else be read in halves.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::task::{JoinError, JoinHandle};

use crate::stamp::Stamp;
use crate::sync::blocking;

/// What reading again comes to: words for the log, or none when nothing is different.
pub type Read = Result<Option<String>, String>;

/// Something that is read from files.
pub struct Source {
    /// What it is, for the log.
    name: &'static str,
    files: Box<dyn Fn() -> Vec<PathBuf> + Send + Sync>,
    read: Box<dyn Fn() -> BoxFuture<'static, Read> + Send + Sync>,
    seen: Vec<Option<Stamp>>,
    /// It was changed since it was read last.
    stale: bool,
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Source")
            .field("name", &self.name)
            .field("files", &(self.files)())
            .finish_non_exhaustive()
    }
}

impl Source {
    /// What is read from `files` by `read`, and was read just now. When `read` fails all is as it
    /// was.
    pub fn new<F>(
        name: &'static str,
        files: impl Fn() -> Vec<PathBuf> + Send + Sync + 'static,
        read: impl Fn() -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Read> + Send + 'static,
    {
        Self {
            name,
            seen: look(&files()),
            files: Box::new(files),
            read: Box::new(move || -> BoxFuture<'static, Read> { Box::pin(read()) }),
            stale: false,
        }
    }

    /// Reads it again, whether or not it changed, and says what came of it.
    async fn read(&mut self) {
        self.stale = false;
        let name = self.name;
        match (self.read)().await {
            Ok(None) => {}
            Ok(Some(what)) => tracing::info!(what, "{name} read again"),
            Err(error) => tracing::error!(error, "{name} stay as they were"),
        }
    }

    /// Looks at the files, and reads them when they were changed and rest since the last look.
    async fn follow(&mut self) {
        let files = (self.files)();
        let Ok(now) = blocking(move || Ok::<_, JoinError>(look(&files))).await else {
            return;
        };
        if now != self.seen {
            self.seen = now;
            self.stale = true;
        } else if self.stale {
            self.read().await;
        }
    }
}

fn look(files: &[PathBuf]) -> Vec<Option<Stamp>> {
    files.iter().map(|path| Stamp::of(path)).collect()
}

/// Follows all of these: every `interval` where there is one, and whenever `all` says so.
pub fn follow(
    sources: Vec<Source>,
    interval: Option<Duration>,
    all: Arc<tokio::sync::Notify>,
) -> JoinHandle<()> {
    tokio::spawn(run(sources, interval, all))
}

async fn run(mut sources: Vec<Source>, interval: Option<Duration>, all: Arc<tokio::sync::Notify>) {
    loop {
        let pause = async {
            match interval {
                Some(interval) => tokio::time::sleep(interval).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = pause => for source in &mut sources {
                source.follow().await;
            },
            () = all.notified() => for source in &mut sources {
                source.read().await;
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;
    use std::path::Path;
    use std::sync::Mutex;

    /// A source that keeps what it read, and finds "broken" broken.
    fn source(path: &Path) -> (Source, Arc<Mutex<Vec<String>>>) {
        let kept = Arc::<Mutex<Vec<String>>>::default();
        let (file, keep) = (path.to_owned(), Arc::clone(&kept));
        let files = vec![path.to_owned()];
        let source = Source::new(
            "words",
            move || files.clone(),
            move || {
                let text = std::fs::read_to_string(&file).map_err(|e| e.to_string());
                let keep = Arc::clone(&keep);
                async move {
                    let text = text?;
                    keep.lock().unwrap().push(text.clone());
                    match text == "broken" {
                        true => Err(text),
                        false => Ok(Some(text)),
                    }
                }
            },
        );
        (source, kept)
    }

    #[tokio::test]
    async fn what_changed_is_read_once_when_it_rests() {
        let dir = tempfile::tempdir().unwrap();
        // As Kubernetes has it: the file is a link into a directory that is a link.
        for (version, text) in [("v1", "one"), ("v2", "two")] {
            std::fs::create_dir(dir.path().join(version)).unwrap();
            std::fs::write(dir.path().join(version).join("file"), text).unwrap();
        }
        let data = dir.path().join("..data");
        symlink("v1", &data).unwrap();
        symlink("..data/file", dir.path().join("file")).unwrap();
        let (mut source, kept) = source(&dir.path().join("file"));
        let read = || kept.lock().unwrap().clone();
        for _ in 0..3 {
            source.follow().await;
        }
        assert_eq!(read(), [""; 0]);
        let swap = |to: &str| {
            symlink(to, dir.path().join("..data_tmp")).unwrap();
            std::fs::rename(dir.path().join("..data_tmp"), &data).unwrap();
        };
        swap("v2");
        source.follow().await;
        assert_eq!(read(), [""; 0]);
        for _ in 0..3 {
            source.follow().await;
        }
        assert_eq!(read(), ["two"]);
        // Broken is tried once; gone and there again is a change like any other.
        std::fs::write(dir.path().join("v2/file"), "broken").unwrap();
        for _ in 0..4 {
            source.follow().await;
        }
        assert_eq!(read(), ["two", "broken"]);
        std::fs::remove_file(dir.path().join("v2/file")).unwrap();
        for _ in 0..3 {
            source.follow().await;
        }
        std::fs::write(dir.path().join("v2/file"), "three").unwrap();
        for _ in 0..3 {
            source.follow().await;
        }
        assert_eq!(read(), ["two", "broken", "three"]);
    }
}
