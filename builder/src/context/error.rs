//! Why there is no build context.

use std::io;
use std::path::PathBuf;

use dockerfile::value::SourceError;

/// The largest Dockerfile or ignore file that is read, in bytes.
pub(super) const MAX_FILE: u64 = 16 << 20;

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
    /// An address of a repository that contradicts itself.
    #[error("{url}: {cause}")]
    Address {
        /// The address.
        url: String,
        /// Why it is none.
        cause: SourceError,
    },
    /// There is nothing to be opened.
    #[error("please specify build context (e.g. \".\" for the current directory)")]
    Nowhere,
    /// What dates the build could not be fetched.
    #[error("SOURCE_DATE_EPOCH: {url}: {message}")]
    Undated {
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
