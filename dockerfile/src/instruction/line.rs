//! One instruction: where it stands, and which it is.

use serde::Serialize;

use super::copy::{Add, Copy};
use super::kinds::{
    Arg, CommandLine, Env, Expose, Healthcheck, Label, Maintainer, Shell, StopSignal, User, Volume,
    Workdir,
};
use super::run::{MountKind, Run};
use crate::span::{LineRange, Span, Text};

/// What every instruction has: its keyword, place, source text and flags.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Header {
    /// The keyword as written (`RUN`, `run`).
    pub keyword: Text,
    /// The whole instruction: continuation lines and heredoc bodies included.
    pub span: Span,
    /// Lines it covers.
    pub lines: LineRange,
    /// The instruction on one line: continuations joined, comments removed, no heredoc bodies,
    /// trimmed. BuildKit shows this text as the step's name.
    pub code: String,
    /// The `--flag[=value]` words, quotes already removed, as the instruction had them.
    pub flags: Vec<Text>,
    /// The comment lines right above the instruction, without `#`.
    pub comments: Vec<String>,
}

impl Header {
    /// The line the instruction starts on, from 1.
    pub fn line(&self) -> usize {
        self.lines.start
    }
}

/// One instruction of a stage (`FROM` is the stage itself, see [`crate::stage::Stage`]).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Instruction {
    /// Place and source text.
    pub header: Header,
    /// What it says.
    pub kind: Kind,
}

/// The instructions of the language, `FROM` excepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Kind {
    /// `ADD`
    Add(Add),
    /// `ARG`
    Arg(Arg),
    /// `CMD`
    Cmd(CommandLine),
    /// `COPY`
    Copy(Copy),
    /// `ENTRYPOINT`
    Entrypoint(CommandLine),
    /// `ENV`
    Env(Env),
    /// `EXPOSE`
    Expose(Expose),
    /// `HEALTHCHECK`
    Healthcheck(Healthcheck),
    /// `LABEL`
    Label(Label),
    /// `MAINTAINER` (deprecated)
    Maintainer(Maintainer),
    /// `ONBUILD`
    Onbuild(Onbuild),
    /// `RUN`
    Run(Run),
    /// `SHELL`
    Shell(Shell),
    /// `STOPSIGNAL`
    StopSignal(StopSignal),
    /// `USER`
    User(User),
    /// `VOLUME`
    Volume(Volume),
    /// `WORKDIR`
    Workdir(Workdir),
}

impl Kind {
    /// The keyword in capitals.
    pub fn keyword(&self) -> &'static str {
        match self {
            Self::Add(_) => "ADD",
            Self::Arg(_) => "ARG",
            Self::Cmd(_) => "CMD",
            Self::Copy(_) => "COPY",
            Self::Entrypoint(_) => "ENTRYPOINT",
            Self::Env(_) => "ENV",
            Self::Expose(_) => "EXPOSE",
            Self::Healthcheck(_) => "HEALTHCHECK",
            Self::Label(_) => "LABEL",
            Self::Maintainer(_) => "MAINTAINER",
            Self::Onbuild(_) => "ONBUILD",
            Self::Run(_) => "RUN",
            Self::Shell(_) => "SHELL",
            Self::StopSignal(_) => "STOPSIGNAL",
            Self::User(_) => "USER",
            Self::Volume(_) => "VOLUME",
            Self::Workdir(_) => "WORKDIR",
        }
    }

    /// The stages, images and contexts that it takes files from: the `from` of COPY and of bind and
    /// cache mounts, each with its place.
    pub fn sources(&self) -> Vec<(String, Span)> {
        match self {
            Self::Copy(copy) => copy
                .from
                .iter()
                .map(|from| (from.text.clone(), from.span))
                .collect(),
            Self::Run(run) => run
                .mounts
                .iter()
                .filter_map(|raw| {
                    let mount = raw.resolve(|word| Ok(word.to_owned())).ok()?;
                    let from = match mount.kind {
                        MountKind::Bind { from, .. } | MountKind::Cache { from, .. } => from?,
                        _ => return None,
                    };
                    Some((from, raw.value.span))
                })
                .collect(),
            _ => Vec::new(),
        }
    }
}

/// `ONBUILD instruction`: fired in the stages that are based on this image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Onbuild {
    /// What goes into the config's `OnBuild` list: the trigger's source on one line, its
    /// here-documents after it. Parse it again with [`crate::parse_trigger`] when it fires.
    pub trigger: String,
    /// The trigger parsed, or `None` where the error is among the diagnostics.
    pub instruction: Option<Box<Instruction>>,
}

impl Onbuild {
    /// The typed trigger.
    pub fn kind(&self) -> Option<&Kind> {
        self.instruction
            .as_ref()
            .map(|instruction| &instruction.kind)
    }
}
