//! Downloads that are kept for the next build, which asks whether they have changed (RFC 9110,
//! conditional requests) instead of loading them again.
//!
//! For each URL there is a small file that says what was told of it, and for each content a file
//! named by its digest. They can be made again: whatever is missing or damaged is loaded again.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use oci::Digest;
use serde::{Deserialize, Serialize};
use tempfile::TempPath;

use crate::auth::Auth;
use crate::derived;
use crate::download::{Answer, Download, DownloadError, Validators, ask, fetch, file_name};

/// What is known of a URL.
#[derive(Debug, Serialize, Deserialize)]
struct Known {
    url: String,
    digest: Digest,
    modified: Option<i64>,
    validators: Validators,
}

/// The folder of downloads that are kept.
#[derive(Clone, Debug)]
pub struct Kept {
    dir: PathBuf,
    /// Where files in use are, on the same file system.
    scratch: PathBuf,
    auth: Auth,
}

impl Kept {
    /// In `dir`; what is given out lies in `scratch`, until it is dropped. Servers are asked with
    /// `auth`.
    pub fn new(dir: PathBuf, scratch: PathBuf, auth: Auth) -> Self {
        Self { dir, scratch, auth }
    }

    /// Downloads `url`, unless it is here and the server says that it has not changed, or it is
    /// what `checksum` asks for.
    ///
    /// # Errors
    /// [`DownloadError`].
    pub async fn fetch(
        &self,
        url: &str,
        checksum: Option<&Digest>,
    ) -> Result<Download, DownloadError> {
        let note = self
            .dir
            .join(format!("{}.json", Digest::sha256(url.as_bytes()).hex()));
        let known = derived::load::<Known>(note.clone()).await;
        let known = known.filter(|known| known.url == url);
        if let (Some(known), Some(wanted)) = (&known, checksum)
            && let Some(path) = self.take(known, wanted).await
        {
            return Ok(found(known, wanted, path));
        }
        if let (Some(known), None) = (&known, checksum)
            && known.validators.any()
            && let Some(path) = self.take(known, &known.digest).await
        {
            return match ask(url, None, &self.scratch, &known.validators, &self.auth).await? {
                Answer::Unchanged => Ok(found(known, &known.digest, path)),
                Answer::New(download) => Ok(self.keep(url, download, note).await),
            };
        }
        let download = fetch(url, checksum, &self.scratch, &self.auth).await?;
        match checksum.is_some() || download.validators.any() {
            true => Ok(self.keep(url, download, note).await),
            false => Ok(download),
        }
    }

    /// A file that is here and has the digest `wanted`, under a name of its own.
    async fn take(&self, known: &Known, wanted: &Digest) -> Option<TempPath> {
        let (place, scratch) = (self.place(&known.digest), self.scratch.clone());
        let wanted = wanted.clone();
        let taken = tokio::task::spawn_blocking(move || {
            let taken = link(&place, &scratch).ok()?;
            let mut file = File::open(&taken).ok()?;
            let mut hasher = wanted.algorithm().hasher();
            let mut buffer = vec![0; 256 << 10];
            loop {
                match io::Read::read(&mut file, &mut buffer).ok()? {
                    0 => break,
                    n => hasher.update(&buffer[..n]),
                }
            }
            if hasher.finish() != wanted {
                return None;
            }
            // What is used is not pruned as old.
            let _ = file.set_modified(SystemTime::now());
            Some(taken)
        });
        taken.await.ok().flatten()
    }

    /// Keeps a download; where that cannot be, the next build loads it again.
    async fn keep(&self, url: &str, download: Download, note: PathBuf) -> Download {
        let known = Known {
            url: url.to_owned(),
            digest: download.digest.clone(),
            modified: download.modified,
            validators: download.validators.clone(),
        };
        let (place, file) = (self.place(&download.digest), download.file.to_path_buf());
        let kept = tokio::task::spawn_blocking(move || {
            fs::create_dir_all(place.parent().unwrap_or(Path::new(".")))?;
            match fs::remove_file(&place) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
                _ => {}
            }
            fs::hard_link(file, place)
        });
        if let Ok(Ok(())) = kept.await {
            derived::save(note, &known).await;
        }
        download
    }

    fn place(&self, digest: &Digest) -> PathBuf {
        self.dir.join(digest.hex())
    }
}

fn found(known: &Known, digest: &Digest, file: TempPath) -> Download {
    Download {
        file,
        digest: digest.clone(),
        name: file_name(&known.url),
        modified: known.modified,
        validators: known.validators.clone(),
    }
}

/// Another name for a file, in `dir`, that is gone when it is dropped.
fn link(file: &Path, dir: &Path) -> io::Result<TempPath> {
    let made = tempfile::Builder::new().make_in(dir, |path| fs::hard_link(file, path))?;
    Ok(made.into_temp_path())
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::net::TcpListener;
    use std::sync::{Arc, Mutex};

    use super::*;

    /// A server whose content changes: what it has, and the requests that it saw.
    struct Server {
        url: String,
        content: Arc<Mutex<(&'static str, &'static str)>>,
        asked: Arc<Mutex<Vec<String>>>,
    }

    /// Serves content with the header lines given; 304 when a request repeats one's value.
    fn serve(header: &'static str, content: &'static str) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/dir/f.txt?x=1", listener.local_addr().unwrap());
        let content = Arc::new(Mutex::new((header, content)));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (has, seen) = (Arc::clone(&content), Arc::clone(&asked));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok).take(32) {
                let lines = BufReader::new(&stream).lines().map_while(Result::ok);
                let request: Vec<String> = lines.take_while(|l| !l.is_empty()).collect();
                let (header, body) = *has.lock().unwrap();
                let values = || header.lines().filter_map(|line| line.split_once(": "));
                let same = request.iter().any(|line| {
                    line.starts_with("if-") && values().any(|(_, value)| line.ends_with(value))
                });
                seen.lock().unwrap().push(request.join("\n"));
                let (status, body) = match same {
                    true => ("304 Not Modified", ""),
                    false => ("200 OK", body),
                };
                let size = body.len();
                let _ = (&stream).write_all(
                    format!(
                        "HTTP/1.1 {status}\r\n{}content-length: {size}\r\nconnection: close\r\n\r\n{body}",
                        header.replace('\n', "\r\n")
                    )
                    .as_bytes(),
                );
            }
        });
        Server {
            url,
            content,
            asked,
        }
    }

    fn kept(dir: &Path) -> Kept {
        let scratch = dir.join("tmp");
        fs::create_dir_all(&scratch).unwrap();
        Kept::new(dir.join("downloads"), scratch, Auth::default())
    }

    fn text(download: &Download) -> String {
        io::read_to_string(download.open().unwrap()).unwrap()
    }

    #[tokio::test]
    async fn what_has_not_changed_is_not_loaded_again() {
        for header in [
            "ETag: \"v1\"\n",
            "Last-Modified: Sun, 09 Sep 2001 01:46:40 GMT\n",
        ] {
            let dir = tempfile::tempdir().unwrap();
            let kept = kept(dir.path());
            let server = serve(header, "one");
            for _ in 0..2 {
                let download = kept.fetch(&server.url, None).await.unwrap();
                assert_eq!(text(&download), "one");
                assert_eq!(download.digest, Digest::sha256(b"one"));
                assert_eq!(download.name.as_deref(), Some("f.txt"));
                let time = header.starts_with("Last").then_some(1_000_000_000);
                assert_eq!(download.modified, time);
            }
            let asked = server.asked.lock().unwrap().clone();
            assert_eq!(asked.len(), 2);
            assert!(!asked[0].contains("if-"), "{}", asked[0]);
            assert!(asked[1].contains("if-"), "{}", asked[1]);
            // Another content has another validator.
            *server.content.lock().unwrap() = ("ETag: \"v2\"\n", "two");
            let download = kept.fetch(&server.url, None).await.unwrap();
            assert_eq!(text(&download), "two");
            drop(download);
            assert_eq!(fs::read_dir(dir.path().join("tmp")).unwrap().count(), 0);
        }
    }

    #[tokio::test]
    async fn what_was_damaged_or_cannot_be_compared_is_loaded_again() {
        let dir = tempfile::tempdir().unwrap();
        let kept = kept(dir.path());
        let server = serve("ETag: \"v1\"\n", "one");
        drop(kept.fetch(&server.url, None).await.unwrap());
        fs::write(kept.place(&Digest::sha256(b"one")), "not").unwrap();
        assert_eq!(text(&kept.fetch(&server.url, None).await.unwrap()), "one");
        let asked = server.asked.lock().unwrap().clone();
        assert!(!asked[1].contains("if-"), "{}", asked[1]);
        let plain = serve("", "one");
        for _ in 0..2 {
            drop(kept.fetch(&plain.url, None).await.unwrap());
        }
        assert_eq!(plain.asked.lock().unwrap().len(), 2);
    }

    #[tokio::test]
    async fn what_a_checksum_asks_for_is_not_asked_for_again() {
        let dir = tempfile::tempdir().unwrap();
        let kept = kept(dir.path());
        let server = serve("", "one");
        let right = Digest::sha256(b"one");
        for _ in 0..2 {
            let download = kept.fetch(&server.url, Some(&right)).await.unwrap();
            assert_eq!(text(&download), "one");
        }
        assert_eq!(server.asked.lock().unwrap().len(), 1);
        let wrong = Digest::sha256(b"other");
        let error = kept.fetch(&server.url, Some(&wrong)).await.unwrap_err();
        assert!(error.to_string().contains("digest mismatch"), "{error}");
        let download = kept.fetch(&server.url, Some(&right)).await.unwrap();
        assert_eq!(text(&download), "one");
        assert_eq!(server.asked.lock().unwrap().len(), 2);
    }
}
