//! COPY and ADD, expanded.

use dockerfile::value::{Chmod, GitSource};
use oci::Digest;

use super::image::ImageRequest;

/// COPY or ADD.
#[derive(Clone, Debug, Default)]
pub struct CopyOp {
    /// Where files come from.
    pub from: CopyFrom,
    /// The sources in order.
    pub sources: Vec<CopySource>,
    /// The absolute destination; a trailing slash makes it a directory.
    pub dest: String,
    /// `--chown`, expanded.
    pub chown: Option<String>,
    /// `--chmod`, as written and parsed.
    pub chmod: Option<(String, Chmod)>,
    /// `--parents`
    pub parents: bool,
    /// `--link`: written as if the image were empty.
    pub link: bool,
    /// `--exclude` patterns.
    pub exclude: Vec<String>,
    /// ADD: local archives are unpacked.
    pub unpack_local: bool,
    /// `--unpack`: downloaded archives are unpacked too (or, when false, none at all is).
    pub unpack: Option<bool>,
    /// `--checksum`
    pub checksum: Option<Digest>,
}

/// The tree that a COPY takes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum CopyFrom {
    /// The build context.
    #[default]
    Context,
    /// Nothing.
    Scratch,
    /// An earlier stage.
    Stage(usize),
    /// An image.
    Image(ImageRequest),
    /// A named context.
    Named(String),
}

/// One source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CopySource {
    /// A path or pattern in the tree.
    Path(String),
    /// A here-document: the file's name and content.
    Inline {
        /// The name.
        name: String,
        /// The content.
        content: String,
    },
    /// Something to download.
    Url(String),
    /// A repository, of which one commit is taken.
    Git(GitAdd),
}

/// A git repository as a source of ADD.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GitAdd {
    /// The address as it was written, variables expanded.
    pub text: String,
    /// What it means, with what `--checksum` says.
    pub source: GitSource,
    /// `--keep-git-dir`
    pub keep_git_dir: bool,
}
