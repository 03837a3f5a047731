//! From a tree to a tree by way of a tar that nobody keeps, however large it is.

use std::ffi::CString;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use oci::layer::tree::{self, Source};
use oci::layer::unpack::{self, Ownership, Problem, UnpackError, UnpackOptions};

/// What is copied, opened.
#[derive(Debug)]
pub(super) enum Opened {
    /// A directory.
    Directory(OwnedFd),
    /// Anything else, by its name in a directory.
    Entry(OwnedFd, CString),
}

impl Opened {
    /// Writes it as a tar in which it has this name; returns the tar's bytes.
    pub(super) fn write(&self, name: &str, out: &mut dyn Write) -> Result<u64, String> {
        let source = match self {
            Self::Directory(dir) => Source::Directory(dir.as_fd()),
            Self::Entry(dir, own) => Source::Entry(dir.as_fd(), own),
        };
        tree::write_as(source, name.as_bytes(), out).map_err(|error| error.to_string())
    }
}

/// How files are written.
#[derive(Clone, Debug)]
pub(super) struct Target<'a> {
    /// The directory.
    pub(super) dir: BorrowedFd<'a>,
    /// What it is called in messages.
    pub(super) shown: &'a str,
    /// Whose the files will be.
    pub(super) ownership: Ownership,
}

impl Target<'_> {
    /// Unpacks a tar.
    pub(super) fn unpack(&self, tar: impl Read) -> Result<(), String> {
        let options = UnpackOptions {
            ownership: self.ownership,
            keep_kinds: true,
            ..UnpackOptions::default()
        };
        let told = |error: UnpackError| match &error {
            UnpackError::Refused { path, problem } => {
                let (path, dir) = (path.display().to_string(), self.shown);
                match problem {
                    Problem::IsDirectory => {
                        format!("cannot overwrite directory {path:?} with non-directory {dir:?}")
                    }
                    Problem::IsNoDirectory => {
                        format!("cannot overwrite non-directory {path:?} with directory {dir:?}")
                    }
                    _ => error.to_string(),
                }
            }
            _ => error.to_string(),
        };
        unpack::archive(tar, self.dir, &options).map_err(told)?;
        Ok(())
    }

    /// Copies something, under a name; returns the bytes of its tar.
    pub(super) fn copy(&self, source: &Opened, name: &str) -> Result<u64, String> {
        let (reader, mut writer) = io::pipe().map_err(|e| e.to_string())?;
        std::thread::scope(|scope| {
            let written = scope.spawn(move || {
                let written = source.write(name, &mut writer);
                // Whoever reads would wait for more.
                drop(writer);
                written
            });
            let unpacked = self.unpack(io::BufReader::with_capacity(1 << 17, reader));
            let written = written.join();
            match (written, unpacked) {
                (Err(_), _) => Err("a thread ended early".to_owned()),
                (Ok(written), unpacked) => {
                    // A source that cannot be read ends the tar too early: that is not the reason.
                    let broken = matches!(&written, Err(e) if e.contains("Broken pipe"));
                    match (written, unpacked) {
                        (Err(error), _) if !broken => Err(error),
                        (_, Err(error)) => Err(error),
                        (written, Ok(())) => written,
                    }
                }
            }
        })
    }
}
