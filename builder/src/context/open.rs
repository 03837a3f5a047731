//! Opens build contexts, wherever they are, and reads the Dockerfile.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::dated::newest_file;
use super::error::ContextError;
use super::ignore::{self, IgnoreFilter};
use super::read::{read_capped, read_in, temporary};
use super::remote;
use super::stream::{self, Input};
use crate::auth::Auth;
use crate::download::Download;
use crate::files::rootfs::Rootfs;
use crate::git::Checkout;

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
    /// The time that all of it is of, seconds since the epoch: a commit's, or when what was
    /// downloaded was last modified. A folder has none.
    pub dated: Option<i64>,
    /// Where a context is kept that was fetched or unpacked.
    _kept: Option<Kept>,
}

impl BuildContext {
    /// A small file of it; `None` where it is not there.
    ///
    /// # Errors
    /// It cannot be read, or is too large to be `what`.
    pub fn small_file(
        &self,
        path: &Path,
        what: &'static str,
    ) -> Result<Option<Vec<u8>>, ContextError> {
        read_in(&self.rootfs, path, what)
    }
}

/// Files that are gone after the build.
#[derive(Debug)]
enum Kept {
    Unpacked(TempDir),
    Commit(Checkout),
}

impl Kept {
    fn path(&self) -> PathBuf {
        match self {
            Self::Unpacked(dir) => dir.path().to_owned(),
            Self::Commit(checkout) => checkout.path(),
        }
    }

    /// The time that all of it is of.
    fn dated(&self) -> Option<i64> {
        match self {
            Self::Unpacked(dir) => newest_file(dir.path()),
            Self::Commit(checkout) => Some(checkout.committed),
        }
    }

    /// A context of a folder of it.
    fn context(self, rootfs: Rootfs, filter: IgnoreFilter, modified: Option<i64>) -> BuildContext {
        BuildContext {
            rootfs,
            filter,
            identity: None,
            dated: modified.or_else(|| self.dated()),
            _kept: Some(self),
        }
    }
}

/// What a Dockerfile's path begins with that is one of this machine, also where the context is
/// fetched; without it the Dockerfile of such a context is a file of it.
pub const THIS_MACHINE: &str = "cwd://";

/// Opens a context and reads the Dockerfile: `context` and `file` as typed. What has to be
/// fetched or unpacked goes to a temporary directory that lives as long as the context.
/// `keep_git_dir` is what is asked for, if anything, of a repository's `.git`.
///
/// # Errors
/// [`ContextError`].
pub async fn open(
    context: String,
    file: Option<String>,
    auth: &Auth,
    keep_git_dir: Option<bool>,
) -> Result<(BuildContext, Source), ContextError> {
    if context.is_empty() {
        return Err(ContextError::Nowhere);
    }
    let fetched = match remote::Remote::parse(&context)? {
        Some(remote) => Some(remote.fetch(auth, keep_git_dir).await?),
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
pub async fn open_named(place: String, auth: &Auth) -> Result<BuildContext, ContextError> {
    let fetched = match remote::Remote::parse(&place)? {
        Some(remote) => Some(remote.fetch(auth, None).await?),
        None => None,
    };
    let opened = tokio::task::spawn_blocking(move || {
        let (kept, subdir, modified) = match fetched {
            None => return named_folder(Path::new(&place)),
            Some(remote::Fetched::Tree { checkout, subdir }) => {
                (Kept::Commit(checkout), subdir, None)
            }
            Some(remote::Fetched::File { url, file }) => {
                let dir = temporary()?;
                match stream::read(open_download(&file)?, dir.path())? {
                    Input::Unpacked => (Kept::Unpacked(dir), PathBuf::from("."), file.modified),
                    Input::Dockerfile(_) => {
                        let message = "it is no archive".to_owned();
                        return Err(ContextError::Remote { url, message });
                    }
                }
            }
        };
        let rootfs = open_subdir(&kept, &subdir)?;
        let filter = ignore::load_in(&rootfs, "Dockerfile")?;
        Ok(kept.context(rootfs, filter, modified))
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
        dated: None,
        _kept: None,
    })
}

fn open_download(download: &Download) -> Result<fs::File, ContextError> {
    download.open().map_err(|cause| ContextError::Io {
        what: "open",
        path: download.file.to_path_buf(),
        cause,
    })
}

fn open_subdir(kept: &Kept, subdir: &Path) -> Result<Rootfs, ContextError> {
    let whole = open_tree(&kept.path())?;
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
        Some("-") => (typed()?, None),
        Some(file) => {
            let file = local(file).unwrap_or(file);
            let source = read_dockerfile(Path::new(file), file, "")?;
            (source, Some(PathBuf::from(file)))
        }
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
            dated: None,
            _kept: None,
        },
        source,
    ))
}

/// The file of this machine that is meant, wherever the context is.
fn local(file: &str) -> Option<&str> {
    file.strip_prefix(THIS_MACHINE)
}

/// A Dockerfile from standard input, beside a context.
fn typed() -> Result<Source, ContextError> {
    let bytes = read_capped(&mut io::stdin().lock(), Path::new("-"), "Dockerfile")?;
    Ok(Source {
        name: "Dockerfile".to_owned(),
        bytes,
    })
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
    from_input(input, dir, file, "standard input", None)
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
            from_input(input, dir, file, &url, download.modified)
        }
        remote::Fetched::Tree { checkout, subdir } => {
            let kept = Kept::Commit(checkout);
            from_tree(kept, &subdir, file, "the repository", None)
        }
    }
}

/// A Dockerfile alone, or an archive that was unpacked into `dir`.
fn from_input(
    input: Input,
    dir: TempDir,
    file: Option<&str>,
    origin: &str,
    modified: Option<i64>,
) -> Result<(BuildContext, Source), ContextError> {
    let kept = Kept::Unpacked(dir);
    match input {
        Input::Unpacked => from_tree(kept, Path::new("."), file, origin, modified),
        Input::Dockerfile(bytes) => {
            let source = Source {
                name: "Dockerfile".to_owned(),
                bytes,
            };
            let rootfs = open_tree(&kept.path())?;
            let filter = IgnoreFilter::default();
            Ok((kept.context(rootfs, filter, modified), source))
        }
    }
}

/// A tree that somebody else made: everything in it is resolved inside it, links too.
fn from_tree(
    kept: Kept,
    subdir: &Path,
    file: Option<&str>,
    origin: &str,
    modified: Option<i64>,
) -> Result<(BuildContext, Source), ContextError> {
    let rootfs = open_subdir(&kept, subdir)?;
    if let Some(file) = file.and_then(local) {
        let source = read_dockerfile(Path::new(file), file, "")?;
        let filter = match ignore::load_own(Path::new(file))? {
            Some(own) => own,
            None => ignore::load_in(&rootfs, "Dockerfile")?,
        };
        return Ok((kept.context(rootfs, filter, modified), source));
    }
    let source = match file {
        Some("-") => typed()?,
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
    Ok((kept.context(rootfs, filter, modified), source))
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
