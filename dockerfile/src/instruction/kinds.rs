//! The instructions that change only the image's configuration.

use std::time::Duration;

use serde::Serialize;

use crate::span::{Text, Word};

/// A command in exec form (a JSON array) or shell form (anything else).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum CommandLine {
    /// `["a", "b"]`: run as it stands. Empty for `[]`.
    Exec(Vec<Text>),
    /// Run by the SHELL in force: its words, then this text as one argument. Empty when the
    /// instruction has no argument.
    Shell(Text),
}

impl CommandLine {
    /// The argument vector: the exec form's words, or `shell` and the shell form's text.
    pub fn argv<S: AsRef<str>>(&self, shell: &[S]) -> Vec<String> {
        match self {
            Self::Exec(words) => words.iter().map(|word| word.text.clone()).collect(),
            Self::Shell(text) => {
                let mut argv: Vec<String> = shell.iter().map(|s| s.as_ref().to_owned()).collect();
                argv.push(text.text.clone());
                argv
            }
        }
    }

    /// Whether it is the exec (JSON) form.
    pub fn is_exec(&self) -> bool {
        matches!(self, Self::Exec(_))
    }
}

/// A key and value of ENV or LABEL; both are raw words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KeyValue {
    /// The key.
    pub key: Word,
    /// The value.
    pub value: Word,
    /// Written as `KEY value`, the legacy form without `=`.
    pub legacy: bool,
}

/// `ENV key=value…`. All pairs see the variables as they were before the instruction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Env {
    /// The pairs, in order, at least one.
    pub pairs: Vec<KeyValue>,
}

/// `LABEL key=value…`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Label {
    /// The pairs, in order, at least one.
    pub pairs: Vec<KeyValue>,
}

/// One variable of an ARG instruction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ArgDef {
    /// The name, which BuildKit takes as it stands (a `$` in it is not expanded).
    pub name: Word,
    /// The default, if any; `NAME=` has an empty one.
    pub default: Option<Word>,
    /// The description: a comment `# NAME text` right above the instruction.
    pub comment: Option<String>,
}

/// `ARG name[=default]…`. Unlike ENV, each default sees the ones before it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Arg {
    /// The variables, in order, at least one.
    pub args: Vec<ArgDef>,
}

/// `EXPOSE port…`. Expanded with word splitting ([`crate::shell::Lexer::process_words`]), then
/// parsed by [`crate::value::parse_ports`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Expose {
    /// The port specs as written, at least one.
    pub ports: Vec<Word>,
}

/// What a health check runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum HealthcheckTest {
    /// `HEALTHCHECK NONE`: `Test` is `["NONE"]`.
    None,
    /// `HEALTHCHECK CMD …`: `["CMD", …]` in exec form, `["CMD-SHELL", text]` in shell form.
    Cmd(CommandLine),
}

/// `HEALTHCHECK`. A zero duration or count means the flag was not given (inherit, or default).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Healthcheck {
    /// What it runs.
    pub test: HealthcheckTest,
    /// `--interval`.
    pub interval: Duration,
    /// `--timeout`.
    pub timeout: Duration,
    /// `--start-period`.
    pub start_period: Duration,
    /// `--start-interval`.
    pub start_interval: Duration,
    /// `--retries`.
    pub retries: u32,
}

impl Healthcheck {
    /// The `Test` array of the image config.
    pub fn test_words(&self) -> Vec<String> {
        match &self.test {
            HealthcheckTest::None => vec!["NONE".to_owned()],
            HealthcheckTest::Cmd(CommandLine::Exec(words)) => std::iter::once("CMD".to_owned())
                .chain(words.iter().map(|word| word.text.clone()))
                .collect(),
            HealthcheckTest::Cmd(CommandLine::Shell(text)) => {
                vec!["CMD-SHELL".to_owned(), text.text.clone()]
            }
        }
    }
}

/// `MAINTAINER name`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Maintainer {
    /// The author.
    pub name: Text,
}

/// `SHELL ["executable", "parameter"…]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Shell {
    /// The words, at least one.
    pub words: Vec<Text>,
}

/// `STOPSIGNAL signal`; after expansion check it with [`crate::value::is_stop_signal`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StopSignal {
    /// The signal.
    pub signal: Word,
}

/// `USER user[:group]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct User {
    /// The user.
    pub user: Word,
}

/// `VOLUME path…` or `VOLUME ["path"…]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Volume {
    /// The paths, at least one.
    pub paths: Vec<Word>,
}

/// `WORKDIR path`; a relative one is joined to the previous working directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Workdir {
    /// The path.
    pub path: Word,
}
