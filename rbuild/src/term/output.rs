//! Archives to a file or to standard output.

use std::fs::File;
use std::io::{self, IsTerminal as _, Write};
use std::os::fd::AsFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::failure::Failure;

/// Where an archive goes.
#[derive(Clone, Debug)]
pub enum Output {
    /// Standard output.
    Stdout,
    /// A file, which appears when all of it is written.
    File(PathBuf),
}

impl Output {
    /// What `-o` says; without it, standard output, unless that is a terminal.
    ///
    /// # Errors
    /// On a terminal, in docker's words: `what` is `save` or `export`.
    pub fn new(file: Option<PathBuf>, what: &str) -> Result<Self, Failure> {
        match file {
            Some(path) if path.as_os_str() == "-" => Self::new(None, what),
            Some(path) => {
                let dir = parent(&path);
                match dir.metadata() {
                    Ok(_) => Ok(Self::File(path)),
                    Err(error) => {
                        let kind = if what == "save" { "image" } else { "container" };
                        let why = golang::errno::said(&error);
                        Err(Failure::new(format!(
                            "failed to {what} {kind}: invalid output path: stat {}: {why}",
                            dir.display()
                        )))
                    }
                }
            }
            None if io::stdout().is_terminal() => Err(Failure::new(format!(
                "cowardly refusing to {what} to a terminal. Use the -o flag or redirect"
            ))),
            None => Ok(Self::Stdout),
        }
    }

    /// Writes it.
    ///
    /// # Errors
    /// The producer's, and those of the file; there is no file then.
    pub fn write<E: Into<Failure>>(
        &self,
        produce: impl FnOnce(&mut dyn Write) -> Result<(), E>,
    ) -> Result<(), Failure> {
        let path = match self {
            Self::Stdout => {
                let out = io::stdout().as_fd().try_clone_to_owned()?;
                return into_pipe(File::from(out), produce);
            }
            Self::File(path) => path,
        };
        let failed = |e: io::Error| Failure::new(format!("write {}: {e}", path.display()));
        // A pipe or device is written to, not replaced.
        if path.metadata().is_ok_and(|m| !m.is_file() && !m.is_dir()) {
            let file = File::options().write(true).open(path).map_err(failed)?;
            return into_pipe(file, produce);
        }
        if path.is_dir() {
            let text = format!("write {}: it is a directory", path.display());
            return Err(Failure::new(text));
        }
        let dir = parent(path);
        let mut file = tempfile::Builder::new()
            .prefix(".rbuild-")
            .permissions(std::fs::Permissions::from_mode(0o666))
            .tempfile_in(dir)
            .map_err(failed)?;
        produce(file.as_file_mut()).map_err(Into::into)?;
        file.as_file().sync_all().map_err(failed)?;
        file.persist(path).map_err(|e| failed(e.error))?;
        Ok(())
    }
}

/// The folder that a file is in.
fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    }
}

/// Writes what may be read by a program that ends before everything came.
fn into_pipe<E: Into<Failure>>(
    file: File,
    produce: impl FnOnce(&mut dyn Write) -> Result<(), E>,
) -> Result<(), Failure> {
    let mut pipe = Pipe {
        file,
        closed: false,
    };
    match produce(&mut pipe) {
        Err(_) if pipe.closed => Err(Failure::closed_pipe()),
        done => done.map_err(Into::into),
    }
}

/// A file that notes when nobody reads it any more.
struct Pipe {
    file: File,
    closed: bool,
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes);
        self.closed |= matches!(&written, Err(e) if e.kind() == io::ErrorKind::BrokenPipe);
        written
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
