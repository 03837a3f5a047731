//! The build context: the tree that COPY and ADD take from, and the Dockerfile in it.

mod ignore;
mod stdin;

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

pub use ignore::IgnoreFilter;
pub use stdin::Input;

use crate::files::rootfs::Rootfs;

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
    /// A context that cannot be fetched.
    #[error(
        "the build context {0:?} is a URL; download it and pass the folder, or pipe the \
             archive in: curl -L URL | rbuild -t NAME -"
    )]
    Url(String),
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
    #[error("the archive on standard input cannot be unpacked: {0}")]
    Archive(String),
    /// A pattern of the ignore file.
    #[error("{path}: {message}")]
    Ignore {
        /// The ignore file.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// The operating system failed.
    #[error("{what} {path:?}: {source}")]
    Io {
        /// What was being done.
        what: &'static str,
        /// To which path.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
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
    /// Unpacked from standard input.
    _unpacked: Option<TempDir>,
}

/// Opens a context and reads the Dockerfile: `context` and `file` as typed.
///
/// # Errors
/// [`ContextError`].
pub fn open(context: &str, file: Option<&str>) -> Result<(BuildContext, Source), ContextError> {
    if is_url(context) {
        return Err(ContextError::Url(context.to_owned()));
    }
    if context == "-" {
        return from_stdin(file);
    }
    let root = PathBuf::from(context);
    match fs::metadata(&root) {
        Ok(meta) if meta.is_dir() => {}
        Ok(_) => return Err(ContextError::NotDirectory(root)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(ContextError::NotFound(root)),
        Err(source) => {
            return Err(ContextError::Io {
                what: "open",
                path: root,
                source,
            });
        }
    }
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
    let rootfs = Rootfs::open(&root).map_err(|source| ContextError::Io {
        what: "open",
        path: root,
        source,
    })?;
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

/// A context, or a Dockerfile without one, from standard input.
fn from_stdin(file: Option<&str>) -> Result<(BuildContext, Source), ContextError> {
    if file == Some("-") {
        return Err(ContextError::TwiceStdin);
    }
    let dir = TempDir::with_prefix("rbuild-context-").map_err(|source| ContextError::Io {
        what: "create",
        path: "/tmp".into(),
        source,
    })?;
    let bytes = match stdin::read(dir.path())? {
        Input::Dockerfile(bytes) => Some(bytes),
        Input::Unpacked => None,
    };
    let (source, ignore_of) = match bytes {
        Some(bytes) => (
            Source {
                name: "Dockerfile".to_owned(),
                bytes,
            },
            None,
        ),
        None => {
            let name = file.unwrap_or("Dockerfile");
            let tree = Rootfs::open(dir.path()).map_err(|source| ContextError::Io {
                what: "open",
                path: dir.path().to_owned(),
                source,
            })?;
            let flags = rustix::fs::OFlags::RDONLY;
            let opened = tree.openat(Path::new(name), flags, rustix::fs::Mode::empty());
            let file = opened.map_err(|_| ContextError::NoDockerfile {
                path: PathBuf::from(name),
                hint: ": the archive on standard input has none; name another file with -f".into(),
            })?;
            let bytes = read_capped(&mut fs::File::from(file), Path::new(name), "Dockerfile")?;
            (
                Source {
                    name: name.to_owned(),
                    bytes,
                },
                Some(dir.path().join(name)),
            )
        }
    };
    let filter = ignore::load(dir.path(), ignore_of.as_deref())?;
    let rootfs = Rootfs::open(dir.path()).map_err(|source| ContextError::Io {
        what: "open",
        path: dir.path().to_owned(),
        source,
    })?;
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
        Err(source) => {
            return Err(ContextError::Io {
                what: "open",
                path: path.to_owned(),
                source,
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
        .map_err(|source| ContextError::Io {
            what: "read",
            path: path.to_owned(),
            source,
        })?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(ContextError::TooLarge {
            path: path.to_owned(),
            what,
        });
    }
    Ok(bytes)
}

fn is_url(context: &str) -> bool {
    [
        "http://",
        "https://",
        "git://",
        "git@",
        "ssh://",
        "github.com/",
    ]
    .iter()
    .any(|scheme| context.starts_with(scheme))
}
