//! `RUN` and its flags.

use serde::Serialize;

use super::kinds::CommandLine;
use crate::heredoc::Heredoc;
use crate::span::{Span, Text};

/// `RUN [flags] command`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Run {
    /// The command, without here-document bodies; see [`Run::script`].
    pub command: CommandLine,
    /// Here-documents of a shell form, in order.
    pub heredocs: Vec<Heredoc>,
    /// Whether the whole command is one `<<EOF` word.
    pub sole_heredoc: bool,
    /// `--mount=`, in order; [`RawMount::resolve`] expands and checks one.
    pub mounts: Vec<RawMount>,
    /// `--network=`, default [`Network::Default`].
    pub network: Network,
    /// `--security=`, default [`Security::Sandbox`].
    pub security: Security,
    /// `--device=`, in order.
    pub devices: Vec<RawDevice>,
}

/// What a RUN runs once here-documents are worked in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Script<'r> {
    /// No here-document: the command line itself.
    Plain(&'r CommandLine),
    /// The whole command is one here-document without `#!` (its body goes to the shell), or here-
    /// documents are arguments of a command (the text handed to the shell is put together
    /// again, terminators included).
    Shell(String),
    /// The whole command is one here-document that begins with `#!`: write `body` to an
    /// executable file mounted at `/dev/pipes/NAME` and let the shell run that path.
    File {
        /// The path the shell runs.
        path: String,
        /// Contents of the file, mode 0755.
        body: String,
    },
}

impl Run {
    /// Works the here-documents into the command, as BuildKit does.
    pub fn script(&self) -> Script<'_> {
        let (CommandLine::Shell(text), Some(first)) = (&self.command, self.heredocs.first()) else {
            return Script::Plain(&self.command);
        };
        if !self.sole_heredoc {
            let mut full = text.text.clone();
            for heredoc in &self.heredocs {
                full.push('\n');
                full.push_str(&heredoc.content);
                full.push_str(&heredoc.name);
            }
            return Script::Shell(full);
        }
        let body = first.body().into_owned();
        if first.has_shebang() {
            Script::File {
                path: format!("/dev/pipes/{}", first.name),
                body,
            }
        } else {
            Script::Shell(body)
        }
    }
}

/// `RUN --network=`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize)]
pub enum Network {
    /// The build's network.
    #[default]
    Default,
    /// No network but loopback.
    None,
    /// The host's network.
    Host,
}

/// `RUN --security=`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize)]
pub enum Security {
    /// Confined.
    #[default]
    Sandbox,
    /// All capabilities, no confinement.
    Insecure,
}

/// `--mount=` as written: comma-separated options whose values still need expansion.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RawMount {
    /// The flag's value.
    pub value: Text,
}

/// `--device=` as written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RawDevice {
    /// The flag's value.
    pub value: Text,
}

/// A device request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Device {
    /// CDI device name or class.
    pub name: String,
    /// Whether the step fails without it.
    pub required: bool,
}

/// Sharing of a cache mount among concurrent steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize)]
pub enum Sharing {
    /// Several writers at once.
    #[default]
    Shared,
    /// Each concurrent writer gets its own.
    Private,
    /// A second writer waits.
    Locked,
}

/// A resolved `--mount`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Mount {
    /// Path in the container; relative ones are below the working directory. Secret and ssh
    /// mounts may have none (defaults: `/run/secrets/<id>`, `/run/buildkit/ssh_agent.<n>`).
    pub target: Option<String>,
    /// The type and the options only it has.
    pub kind: MountKind,
}

/// The mount types with their own options.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum MountKind {
    /// `type=bind`, the default.
    Bind {
        /// Stage, image or named context; `None` is the build context.
        from: Option<String>,
        /// Path in `from`; `None` is its root.
        source: Option<String>,
        /// `rw`: writable, what is written is thrown away.
        writable: bool,
    },
    /// `type=cache`.
    Cache {
        /// Identity; `None` means the target.
        id: Option<String>,
        /// What an empty cache starts with.
        from: Option<String>,
        /// Path in `from`.
        source: Option<String>,
        /// `ro`.
        readonly: bool,
        /// Sharing.
        sharing: Sharing,
        /// Mode of a new cache directory, default 0755.
        mode: Option<u32>,
        /// Owner of a new cache directory, default 0.
        uid: Option<u32>,
        /// Group of a new cache directory, default 0.
        gid: Option<u32>,
    },
    /// `type=tmpfs`.
    Tmpfs {
        /// Size limit in bytes; `None` is unlimited.
        size: Option<u64>,
    },
    /// `type=secret`.
    Secret {
        /// Identity; `None` means the last element of the target.
        id: Option<String>,
        /// Environment variable that gets the secret. Then it is a file too only with a target.
        env: Option<String>,
        /// Fail when the secret was not given.
        required: bool,
        /// Mode of the file, default 0400.
        mode: Option<u32>,
        /// Owner of the file, default 0.
        uid: Option<u32>,
        /// Group of the file, default 0.
        gid: Option<u32>,
    },
    /// `type=ssh`.
    Ssh {
        /// Identity, default `default`.
        id: Option<String>,
        /// Fail when the agent was not given.
        required: bool,
        /// Mode of the socket, default 0600.
        mode: Option<u32>,
        /// Owner of the socket, default 0.
        uid: Option<u32>,
        /// Group of the socket, default 0.
        gid: Option<u32>,
    },
}

/// Why a `--mount` or `--device` value was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct MountError {
    /// One sentence: what is wrong.
    pub message: String,
    /// One sentence: how to mend it.
    pub help: Option<String>,
    /// The flag's value.
    pub span: Span,
}
