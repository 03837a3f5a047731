//! Typed instructions: what each line of a stage says.
//!
//! The types tell what still needs variable expansion: a [`Word`](crate::span::Word) does, a
//! [`Text`](crate::span::Text) does not.
//! `RUN`, `CMD`, `ENTRYPOINT`, `SHELL`, `HEALTHCHECK`, `ONBUILD` and `MAINTAINER` expand nothing
//! (a shell form is expanded by the shell that runs it).

mod copy;
mod fields;
mod kinds;
mod line;
mod mount;
mod run;

pub use crate::heredoc::Heredoc;
pub use copy::{Add, Copy, Files};
pub use kinds::{
    Arg, ArgDef, CommandLine, Env, Expose, Healthcheck, HealthcheckTest, KeyValue, Label,
    Maintainer, Shell, StopSignal, User, Volume, Workdir,
};
pub use line::{Header, Instruction, Kind, Onbuild};
pub use run::{
    Device, Mount, MountError, MountKind, Network, RawDevice, RawMount, Run, Script, Security,
    Sharing,
};

pub(crate) use mount::parse_bool;
