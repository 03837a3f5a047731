//! Steps: what remains of an instruction once everything in it is expanded.

use dockerfile::instruction::Device;
use dockerfile::span::Span;
use dockerfile::value::Chmod;
use oci::Digest;

use super::image::ImageRequest;
use super::mount::MountOp;

/// One instruction, ready to be looked up or run.
#[derive(Clone, Debug)]
pub struct Step {
    /// The instruction as progress shows it.
    pub name: String,
    /// Where it is.
    pub span: Span,
    /// What changes files; `None` when only the configuration changes.
    pub op: Option<Op>,
    /// The `created_by` of the history, or `None` for instructions that leave no trace there.
    pub history: Option<String>,
}

/// What a step does to the file system.
#[derive(Clone, Debug)]
pub enum Op {
    /// Runs a process.
    Run(RunOp),
    /// Copies files in.
    Copy(Box<CopyOp>),
    /// Makes the working directory.
    Workdir(WorkdirOp),
}

/// RUN.
#[derive(Clone, Debug)]
pub struct RunOp {
    /// The argument vector.
    pub argv: Vec<String>,
    /// The environment, `NAME=value`.
    pub env: Vec<String>,
    /// Environment that is passed and counts neither for the cache nor for the history: proxies.
    pub hidden_env: Vec<String>,
    /// `user[:group]`, empty for root.
    pub user: String,
    /// The working directory.
    pub cwd: String,
    /// The network.
    pub network: dockerfile::instruction::Network,
    /// A script of its own: the path in the container it is mounted at, and its text.
    pub script: Option<(String, String)>,
    /// `--mount`, each after those that it lies in.
    pub mounts: Vec<MountOp>,
    /// `--device`
    pub devices: Vec<Device>,
    /// `--security=insecure`
    pub insecure: bool,
}

/// WORKDIR.
#[derive(Clone, Debug)]
pub struct WorkdirOp {
    /// The absolute path.
    pub path: String,
    /// Who new directories belong to: the USER in force.
    pub user: String,
}

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
}
