//! Git repositories of a test's own, and a server that gives them out as git's own does.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;

use crate::{Cmd, Dir, Files, Missing, OLD, program};

/// Repositories below one folder. Everything is committed at [`OLD`].
#[derive(Debug)]
pub struct Repositories(Dir);

impl Repositories {
    /// None yet.
    ///
    /// # Errors
    /// [`Missing`] without git.
    pub fn new() -> Result<Self, Missing> {
        program("git")?;
        Ok(Self(Dir::new()))
    }

    /// Where one is.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Makes one with a branch `main`, whose objects are named by `format`.
    pub fn init(&self, name: &str, format: &str) {
        let init = Cmd::new("git").args(["init", "-q", "-b", "main"]);
        let format = format!("--object-format={format}");
        init.arg(format).arg(self.path(name)).ok();
        self.git(name, &["config", "http.getanyfile", "true"]);
        self.git(name, &["config", "protocol.file.allow", "always"]);
    }

    /// Runs git in one; returns what it printed, without the end of the line.
    pub fn git(&self, name: &str, args: &[&str]) -> String {
        let time = format!("{OLD} +0000");
        let git = Cmd::new("git")
            .current_dir(self.path(name))
            .env("GIT_AUTHOR_DATE", &time)
            .env("GIT_COMMITTER_DATE", &time)
            .args(["-c", "user.name=me", "-c", "user.email=me@here"])
            .args(["-c", "protocol.file.allow=always"])
            .args(args);
        git.ok().out().trim_end().to_owned()
    }

    /// Commits files; returns the commit.
    pub fn commit(&self, name: &str, files: &[(&str, &str)]) -> String {
        for (path, content) in files {
            // Not dated to the past: git tells a changed file by its time.
            let file = self.path(name).join(path);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, content).unwrap();
        }
        self.git(name, &["add", "--all"]);
        self.git(name, &["commit", "-q", "-m", "some"]);
        self.git(name, &["rev-parse", "HEAD"])
    }

    /// Serves all of them as plain files, as any web server can.
    pub fn plainly(&self, names: &[&str]) -> Files {
        let server = Files::serve(&[]);
        for name in names {
            self.git(name, &["update-server-info"]);
            let data = self.path(name).join(".git");
            for file in files_below(&data) {
                let path = file.strip_prefix(&data).unwrap().display().to_string();
                server.put(&format!("/{name}/{path}"), &std::fs::read(&file).unwrap());
            }
        }
        server
    }

    /// Serves all of them as `git http-backend` does.
    pub fn serve(&self) -> GitServer {
        GitServer::start(self.0.path())
    }
}

fn files_below(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).unwrap().map(Result::unwrap);
    let found = entries.flat_map(|entry| match entry.file_type().unwrap() {
        kind if kind.is_dir() => files_below(&entry.path()),
        _ => vec![entry.path()],
    });
    found.collect()
}

/// A server of repositories.
#[derive(Debug)]
pub struct GitServer {
    address: SocketAddr,
    requests: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl GitServer {
    fn start(root: &Path) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
        let address = listener.local_addr().unwrap();
        let (requests, stop) = (
            Arc::new(AtomicUsize::new(0)),
            Arc::new(AtomicBool::new(false)),
        );
        let (count, end, root) = (Arc::clone(&requests), Arc::clone(&stop), root.to_owned());
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if end.load(Ordering::SeqCst) {
                    break;
                }
                count.fetch_add(1, Ordering::SeqCst);
                let _ = answer(stream, &root);
            }
        });
        Self {
            address,
            requests,
            stop,
            thread: Some(thread),
        }
    }

    /// The URL of a repository.
    pub fn url(&self, name: &str) -> String {
        format!("http://{}/{name}", self.address)
    }

    /// How often it was asked for anything.
    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

impl Drop for GitServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Wakes it up.
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Answers one request by git's CGI program (RFC 3875).
fn answer(mut stream: TcpStream, root: &Path) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut request = String::new();
    reader.read_line(&mut request)?;
    let mut words = request.split(' ');
    let (method, target) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    // The repositories are not bare.
    let path = path.replacen(".git/", ".git/.git/", 1);
    let mut backend = Command::new("git");
    backend
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("REQUEST_METHOD", method)
        .env("PATH_INFO", &path)
        .env("QUERY_STRING", query)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line.trim().is_empty() {
            break;
        }
        let (name, value) = line.trim().split_once(": ").unwrap_or_default();
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse().unwrap_or(0),
            "content-type" => drop(backend.env("CONTENT_TYPE", value)),
            "content-encoding" => drop(backend.env("HTTP_CONTENT_ENCODING", value)),
            "git-protocol" => drop(backend.env("GIT_PROTOCOL", value)),
            _ => {}
        }
    }
    backend.env("CONTENT_LENGTH", length.to_string());
    let mut running = backend.spawn()?;
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let mut input = running.stdin.take().expect("piped");
    input.write_all(&body)?;
    drop(input);
    let output = running.wait_with_output()?.stdout;
    let text = String::from_utf8_lossy(&output[..output.len().min(4096)]).into_owned();
    let status = text.strip_prefix("Status: ").and_then(|s| s.lines().next());
    write!(
        stream,
        "HTTP/1.1 {}\r\nConnection: close\r\n",
        status.unwrap_or("200 OK")
    )?;
    stream.write_all(&output)
}
