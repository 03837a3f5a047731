//! Opens build contexts, wherever they are, and reads the Dockerfile.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::error::ContextError;
use super::ignore::{self, IgnoreFilter};
use super::read::{read_capped, read_in, temporary};
use super::remote;
use super::stream::{self, Input};
use crate::download::Download;
use crate::files::rootfs::Rootfs;

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
            let name = default_name(|name| fs::metadata(root.join(name)).is_ok());
            let path = root.join(name);
            let hint = "; name another file with -f";
            (read_dockerfile(&path, name, hint)?, Some(path))
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

/// The names that a Dockerfile may have where none is given, the first that is there counting.
const NAMES: [&str; 3] = ["Dockerfile", "dockerfile", "Containerfile"];

fn default_name(is_there: impl Fn(&str) -> bool) -> &'static str {
    NAMES
        .into_iter()
        .find(|name| is_there(name))
        .unwrap_or(NAMES[0])
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
            let there = |name: &str| matches!(rootfs.lstat(Path::new(name)), Ok(Some(_)));
            let name = file.unwrap_or_else(|| default_name(there));
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

fn open_tree(path: &Path) -> Result<Rootfs, ContextError> {
    Rootfs::open(path).map_err(|cause| ContextError::Io {
        what: "open",
        path: path.to_owned(),
        cause,
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dockerfiles_are_found_by_their_other_names() {
        let dir = tempfile::tempdir().unwrap();
        let context = dir.path().to_str().unwrap();
        let found = || from_folder(context, None).map(|(_, source)| source.name);
        let missing = found().unwrap_err().to_string();
        assert!(missing.contains("Dockerfile"), "{missing}");
        for name in ["Containerfile", "dockerfile", "Dockerfile"] {
            fs::write(dir.path().join(name), "FROM scratch\n").unwrap();
            assert_eq!(found().unwrap(), name);
        }
    }

    #[test]
    fn a_found_file_has_an_ignore_file_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("Containerfile"), "FROM scratch\n").unwrap();
        fs::write(dir.path().join("Containerfile.dockerignore"), "x\n").unwrap();
        let (context, _) = from_folder(dir.path().to_str().unwrap(), None).unwrap();
        assert!(context.filter.matcher().matches("x"));
    }
}
