//! The build context: the tree that COPY and ADD take from, and the Dockerfile in it.

mod ignore;
mod remote;
mod stream;

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

pub use ignore::IgnoreFilter;
pub use stream::Input;

use crate::download::Download;
use crate::files::rootfs::{self, Rootfs};

/// The largest Dockerfile or ignore file that is read, in bytes.
const MAX_FILE: u64 = 16 << 20;

/// Why there is no build context.
#[derive(Debug, thiserror::Error)]
pub enum ContextError {
    /// The folder is not there, or is none.
    #[error("unable to prepare context: path {0:?} not found")]
    NotFound(PathBuf),
    /// A file where a folder is meant.
    #[error(
        "unable to prepare context: {0:?} is not a folder; to build a Dockerfile of another \
             name, write: rbuild -f {0:?} FOLDER"
    )]
    NotDirectory(PathBuf),
    /// A context that could not be fetched.
    #[error("failed to fetch the build context {url}: {message}")]
    Remote {
        /// Where it should have come from.
        url: String,
        /// Why it didn't.
        message: String,
    },
    /// Nobody wrote a Dockerfile.
    #[error("failed to read dockerfile: open {path}: no such file or directory{hint}")]
    NoDockerfile {
        /// Where it was looked for.
        path: PathBuf,
        /// What to do.
        hint: String,
    },
    /// Too much of it.
    #[error("{path}: larger than {MAX_FILE} bytes, which no {what} is")]
    TooLarge {
        /// Which file.
        path: PathBuf,
        /// What it should be.
        what: &'static str,
    },
    /// Both from standard input.
    #[error("invalid argument: can't use stdin for both build context and dockerfile")]
    TwiceStdin,
    /// What came on standard input is no archive that can be unpacked.
    #[error("the archive cannot be unpacked as a build context: {0}")]
    Archive(String),
    /// A pattern of the ignore file.
    #[error("{path}: {message}")]
    Ignore {
        /// The ignore file.
        path: PathBuf,
        /// What is wrong.
        message: String,
        /// The line, for people.
        excerpt: String,
    },
    /// The operating system failed.
    #[error("{what} {path:?}: {cause}")]
    Io {
        /// What was being done.
        what: &'static str,
        /// To which path.
        path: PathBuf,
        /// Why it failed.
        cause: io::Error,
    },
}

/// A Dockerfile's text and the name it is shown under.
#[derive(Clone, Debug)]
pub struct Source {
    /// As in messages.
    pub name: String,
    /// The bytes; not necessarily text.
    pub bytes: Vec<u8>,
}

/// An opened build context.
#[derive(Debug)]
pub struct BuildContext {
    /// Its tree.
    pub rootfs: Rootfs,
    /// What the ignore file leaves out.
    pub filter: IgnoreFilter,
    /// What names it in the file index: the real path of a folder, `None` for what is gone
    /// after the build.
    pub identity: Option<PathBuf>,
    /// Where a context is kept that was fetched or unpacked.
    _unpacked: Option<TempDir>,
}

/// Opens a context and reads the Dockerfile: `context` and `file` as typed. What has to be
/// fetched or unpacked goes to a temporary directory that lives as long as the context.
///
/// # Errors
/// [`ContextError`].
pub async fn open(
    context: String,
    file: Option<String>,
) -> Result<(BuildContext, Source), ContextError> {
    let fetched = match remote::Remote::parse(&context) {
        Some(remote) => Some(remote.fetch().await?),
        None => None,
    };
    let opened = tokio::task::spawn_blocking(move || {
        let file = file.as_deref();
        match fetched {
            Some(fetched) => from_fetched(fetched, file),
            None if context == "-" => from_stdin(file),
            None => from_folder(&context, file),
        }
    });
    opened
        .await
        .map_err(|e| ContextError::Archive(e.to_string()))?
}

/// Opens a named context, which needs no Dockerfile: a folder, or what [`open`] fetches.
///
/// # Errors
/// [`ContextError`].
pub async fn open_named(place: String) -> Result<BuildContext, ContextError> {
    let fetched = match remote::Remote::parse(&place) {
        Some(remote) => Some(remote.fetch().await?),
        None => None,
    };
    let opened = tokio::task::spawn_blocking(move || {
        let (dir, subdir) = match fetched {
            None => return named_folder(Path::new(&place)),
            Some(remote::Fetched::Tree { dir, subdir }) => (dir, subdir),
            Some(remote::Fetched::File { url, file }) => {
                let dir = temporary()?;
                match stream::read(open_download(&file)?, dir.path())? {
                    Input::Unpacked => (dir, PathBuf::from(".")),
                    Input::Dockerfile(_) => {
                        let message = "it is no archive".to_owned();
                        return Err(ContextError::Remote { url, message });
                    }
                }
            }
        };
        let rootfs = open_subdir(&dir, &subdir)?;
        let filter = ignore::load_in(&rootfs, "Dockerfile")?;
        Ok(BuildContext {
            rootfs,
            filter,
            identity: None,
            _unpacked: Some(dir),
        })
    });
    opened
        .await
        .map_err(|e| ContextError::Archive(e.to_string()))?
}

fn named_folder(folder: &Path) -> Result<BuildContext, ContextError> {
    check_folder(folder)?;
    let rootfs = open_tree(folder)?;
    let filter = ignore::load(folder, None)?;
    let identity = fs::canonicalize(folder).ok();
    Ok(BuildContext {
        rootfs,
        filter,
        identity,
        _unpacked: None,
    })
}

fn open_download(download: &Download) -> Result<fs::File, ContextError> {
    download.open().map_err(|cause| ContextError::Io {
        what: "open",
        path: download.file.path().to_owned(),
        cause,
    })
}

fn open_subdir(dir: &TempDir, subdir: &Path) -> Result<Rootfs, ContextError> {
    let whole = open_tree(dir.path())?;
    whole
        .open_dir(subdir)
        .map(Rootfs::new)
        .map_err(|cause| ContextError::Io {
            what: "open the folder",
            path: subdir.to_owned(),
            cause,
        })
}

fn from_folder(context: &str, file: Option<&str>) -> Result<(BuildContext, Source), ContextError> {
    let root = PathBuf::from(context);
    check_folder(&root)?;
    let (source, ignore_of) = match file {
        Some("-") => {
            let bytes = read_capped(&mut io::stdin().lock(), Path::new("-"), "Dockerfile")?;
            (
                Source {
                    name: "Dockerfile".to_owned(),
                    bytes,
                },
                None,
            )
        }
        Some(file) => (
            read_dockerfile(Path::new(file), file, "")?,
            Some(PathBuf::from(file)),
        ),
        None => {
            let path = root.join("Dockerfile");
            let hint = "; name another file with -f";
            (read_dockerfile(&path, "Dockerfile", hint)?, Some(path))
        }
    };
    let filter = ignore::load(&root, ignore_of.as_deref())?;
    let identity = fs::canonicalize(&root).ok();
    let rootfs = open_tree(&root)?;
    Ok((
        BuildContext {
            rootfs,
            filter,
            identity,
            _unpacked: None,
        },
        source,
    ))
}

fn check_folder(root: &Path) -> Result<(), ContextError> {
    match fs::metadata(root) {
        Ok(meta) if meta.is_dir() => Ok(()),
        Ok(_) => Err(ContextError::NotDirectory(root.to_owned())),
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            Err(ContextError::NotFound(root.to_owned()))
        }
        Err(cause) => Err(ContextError::Io {
            what: "open",
            path: root.to_owned(),
            cause,
        }),
    }
}

/// A context, or a Dockerfile without one, from standard input.
fn from_stdin(file: Option<&str>) -> Result<(BuildContext, Source), ContextError> {
    if file == Some("-") {
        return Err(ContextError::TwiceStdin);
    }
    let dir = temporary()?;
    let input = stream::read(io::stdin(), dir.path())?;
    from_input(input, dir, file, "standard input")
}

/// A context that was fetched.
fn from_fetched(
    fetched: remote::Fetched,
    file: Option<&str>,
) -> Result<(BuildContext, Source), ContextError> {
    match fetched {
        remote::Fetched::File {
            url,
            file: download,
        } => {
            let dir = temporary()?;
            let input = stream::read(open_download(&download)?, dir.path())?;
            from_input(input, dir, file, &url)
        }
        remote::Fetched::Tree { dir, subdir } => from_tree(dir, &subdir, file, "the repository"),
    }
}

/// A Dockerfile alone, or an archive that was unpacked into `dir`.
fn from_input(
    input: Input,
    dir: TempDir,
    file: Option<&str>,
    origin: &str,
) -> Result<(BuildContext, Source), ContextError> {
    match input {
        Input::Unpacked => from_tree(dir, Path::new("."), file, origin),
        Input::Dockerfile(bytes) => {
            let source = Source {
                name: "Dockerfile".to_owned(),
                bytes,
            };
            let rootfs = open_tree(dir.path())?;
            let filter = IgnoreFilter::default();
            Ok((
                BuildContext {
                    rootfs,
                    filter,
                    identity: None,
                    _unpacked: Some(dir),
                },
                source,
            ))
        }
    }
}

/// A tree that somebody else made: everything in it is resolved inside it, links too.
fn from_tree(
    dir: TempDir,
    subdir: &Path,
    file: Option<&str>,
    origin: &str,
) -> Result<(BuildContext, Source), ContextError> {
    let rootfs = open_subdir(&dir, subdir)?;
    let source = match file {
        Some("-") => {
            let bytes = read_capped(&mut io::stdin().lock(), Path::new("-"), "Dockerfile")?;
            Source {
                name: "Dockerfile".to_owned(),
                bytes,
            }
        }
        _ => {
            let name = file.unwrap_or("Dockerfile");
            let bytes = read_in(&rootfs, Path::new(name), "Dockerfile")?;
            let bytes = bytes.ok_or_else(|| ContextError::NoDockerfile {
                path: PathBuf::from(name),
                hint: format!(": {origin} has none; name another file with -f"),
            })?;
            Source {
                name: name.to_owned(),
                bytes,
            }
        }
    };
    let filter = ignore::load_in(&rootfs, &source.name)?;
    Ok((
        BuildContext {
            rootfs,
            filter,
            identity: None,
            _unpacked: Some(dir),
        },
        source,
    ))
}

fn temporary() -> Result<TempDir, ContextError> {
    TempDir::with_prefix("rbuild-context-").map_err(|cause| ContextError::Io {
        what: "create a directory in",
        path: std::env::temp_dir(),
        cause,
    })
}

fn open_tree(path: &Path) -> Result<Rootfs, ContextError> {
    Rootfs::open(path).map_err(|cause| ContextError::Io {
        what: "open",
        path: path.to_owned(),
        cause,
    })
}

/// Reads a small file of a tree; `None` when it is not there.
fn read_in(
    tree: &Rootfs,
    path: &Path,
    what: &'static str,
) -> Result<Option<Vec<u8>>, ContextError> {
    // A pipe or device in an archive must not make us wait.
    let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::NONBLOCK;
    match tree.openat(path, flags, rustix::fs::Mode::empty()) {
        Ok(fd) => read_capped(&mut fs::File::from(fd), path, what).map(Some),
        Err(e) if rootfs::is_absent(&e) => Ok(None),
        Err(cause) => Err(ContextError::Io {
            what: "open",
            path: path.to_owned(),
            cause,
        }),
    }
}

fn read_dockerfile(path: &Path, name: &str, hint: &str) -> Result<Source, ContextError> {
    let file = fs::File::open(path);
    let mut file = match file {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            let hint = hint.to_owned();
            return Err(ContextError::NoDockerfile {
                path: path.to_owned(),
                hint,
            });
        }
        Err(cause) => {
            return Err(ContextError::Io {
                what: "open",
                path: path.to_owned(),
                cause,
            });
        }
    };
    let bytes = read_capped(&mut file, path, "Dockerfile")?;
    Ok(Source {
        name: name.to_owned(),
        bytes,
    })
}

/// Reads all of a small file.
fn read_capped(
    reader: &mut dyn Read,
    path: &Path,
    what: &'static str,
) -> Result<Vec<u8>, ContextError> {
    let mut bytes = Vec::new();
    reader
        .take(MAX_FILE + 1)
        .read_to_end(&mut bytes)
        .map_err(|cause| ContextError::Io {
            what: "read",
            path: path.to_owned(),
            cause,
        })?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(ContextError::TooLarge {
            path: path.to_owned(),
            what,
        });
    }
    Ok(bytes)
}
