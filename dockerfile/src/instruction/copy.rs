//! `COPY` and `ADD`.

use serde::Serialize;

use crate::heredoc::Heredoc;
use crate::span::{Text, Word};

/// The sources and destination that COPY and ADD have in common.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Files {
    /// Paths, wildcards and URLs, in order.
    pub sources: Vec<Word>,
    /// Files whose contents are here-documents, in order.
    pub heredocs: Vec<Heredoc>,
    /// The destination; a trailing slash makes it a directory.
    pub dest: Word,
}

/// `COPY [flags] source… dest`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Copy {
    /// Sources and destination.
    pub files: Files,
    /// `--from=`: stage name, stage index, image or named context. Never expanded; a `$` in it
    /// is refused while parsing.
    pub from: Option<Text>,
    /// `--chown=user[:group]`.
    pub chown: Option<Word>,
    /// `--chmod=`: after expansion, [`crate::value::Chmod`] parses it.
    pub chmod: Option<Word>,
    /// `--link`.
    pub link: bool,
    /// `--parents`: keep the sources' directories (from the `/./` pivot on).
    pub parents: bool,
    /// `--exclude=` patterns, in order.
    pub exclude: Vec<Word>,
}

/// `ADD [flags] source… dest`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Add {
    /// Sources and destination; [`crate::value::AddSource`] classifies an expanded source.
    pub files: Files,
    /// `--chown=user[:group]`.
    pub chown: Option<Word>,
    /// `--chmod=`.
    pub chmod: Option<Word>,
    /// `--link`.
    pub link: bool,
    /// `--keep-git-dir`: keep `.git` of a git source (`None`: the default, drop it).
    pub keep_git_dir: Option<bool>,
    /// `--checksum=`: expected digest of an HTTP or git source.
    pub checksum: Option<Word>,
    /// `--unpack`: extract archives, also remote ones (`None`: local ones only).
    pub unpack: Option<bool>,
    /// `--exclude=` patterns, in order.
    pub exclude: Vec<Word>,
}
