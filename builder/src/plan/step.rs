//! Steps: what remains of an instruction once everything in it is expanded.

use dockerfile::instruction::Device;
use dockerfile::span::Span;

use super::copy::CopyOp;
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
    /// The same in the order in which it was set last: only BuildKit's caches ask for that.
    pub env_as_set: Vec<String>,
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
