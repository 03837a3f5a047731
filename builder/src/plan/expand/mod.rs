//! A stage's instructions, expanded one after the other into steps.

mod run;
mod transfer;

use std::collections::BTreeMap;
use std::sync::Arc;

use dockerfile::diagnostic::{Code, Diagnostic};
use dockerfile::eval::expand_word;
use dockerfile::history;
use dockerfile::instruction::{Arg, CommandLine, Env, Healthcheck, Instruction, Kind, Label};
use dockerfile::shell::Lexer;
use dockerfile::span::{Span, Word};
use dockerfile::value;
use oci::Platform;
use oci::config::{Config, Empty, Healthcheck as HealthConfig};

use super::PlanError;
use super::args::BuildArgs;
use super::copy::{CopyFrom, CopyOp, CopySource};
use super::graph::{Consent, StagePlan};
use super::names::{Base, Names};
pub use super::state::Declared;
use super::state::{StageState, join};
use super::step::{Op, Step, WorkdirOp};
use super::windows;

/// What a stage's expansion depends on.
#[derive(Clone, Debug)]
pub struct StageInput<'a> {
    /// The Dockerfile, and what the names in it mean.
    pub names: Names<'a>,
    /// The stage.
    pub stage: &'a StagePlan,
    /// The global scope.
    pub global: &'a BTreeMap<String, String>,
    /// `--build-arg`
    pub args: &'a BuildArgs,
    /// What the user agrees to.
    pub consent: Consent,
    /// The configuration of the base, empty for `scratch`.
    pub base: Config,
    /// The base's author.
    pub author: Option<String>,
    /// The arguments of the base, when it is a stage.
    pub declared: Declared,
    /// Nothing is known of the base yet: what may be mended by its variables is no mistake.
    pub open: bool,
}

impl StageInput<'_> {
    /// What the stage is for.
    fn platform(&self) -> &Platform {
        let own = self.stage.platform.as_ref();
        own.unwrap_or(self.names.platform)
    }
}

/// A stage ready to be run.
#[derive(Clone, Debug)]
pub struct ExpandedStage {
    /// The steps, in order.
    pub steps: Vec<Step>,
    /// The configuration after all of them.
    pub config: Arc<Config>,
    /// The author after all of them.
    pub author: Option<Arc<str>>,
    /// The arguments after all of them.
    pub declared: Declared,
}

/// Expands a stage.
///
/// # Errors
/// All mistakes found, with their places.
pub fn expand_stage(input: &StageInput<'_>) -> Result<ExpandedStage, PlanError> {
    match sketch_stage(input) {
        (expanded, errors) if errors.is_empty() => Ok(expanded),
        (_, errors) => Err(PlanError(errors)),
    }
}

/// Expands a stage as far as that goes, and tells what is wrong with it.
pub fn sketch_stage(input: &StageInput<'_>) -> (ExpandedStage, Vec<Diagnostic>) {
    let Some(stage) = input.names.file.stages.get(input.stage.index) else {
        let expanded = ExpandedStage {
            steps: Vec::new(),
            config: Arc::new(input.base.clone()),
            author: None,
            declared: Declared::default(),
        };
        return (expanded, Vec::new());
    };
    let triggers = input.base.on_build.clone();
    let mut expander = Expander {
        input,
        lexer: Lexer::new(input.names.file.directives.escape_char()),
        state: StageState::new(
            input.base.clone(),
            input.author.clone(),
            input.declared.clone(),
            windows::is(input.platform()),
        ),
        steps: Vec::new(),
        errors: Vec::new(),
        at: None,
    };
    if let Base::Tree(name) = &input.stage.base {
        expander.base_tree(name, stage.header.span);
    }
    if !input.stage.replaced {
        for trigger in &triggers {
            expander.trigger(trigger, stage.header.span);
        }
        for instruction in &stage.instructions {
            expander.instruction(instruction);
        }
    }
    let expanded = ExpandedStage {
        steps: expander.steps,
        declared: expander.state.declared(),
        config: Arc::new(expander.state.config),
        author: expander.state.author.map(Into::into),
    };
    (expanded, expander.errors)
}

struct Expander<'a> {
    input: &'a StageInput<'a>,
    lexer: Lexer,
    state: StageState,
    steps: Vec<Step>,
    errors: Vec<Diagnostic>,
    /// The FROM that a trigger fires at: its own place is in another file.
    at: Option<Span>,
}

/// The outcome of one instruction: its file system part and its history.
type Outcome = Result<(Option<Op>, Option<String>), Wrong>;

/// All that is wrong with one instruction.
struct Wrong(Vec<Diagnostic>);

impl From<Diagnostic> for Wrong {
    fn from(diagnostic: Diagnostic) -> Self {
        Self(vec![diagnostic])
    }
}

impl Expander<'_> {
    /// The files of a named context as the first layer.
    fn base_tree(&mut self, name: &str, span: Span) {
        let op = CopyOp {
            from: CopyFrom::Named(name.to_owned()),
            sources: vec![CopySource::Path(".".to_owned())],
            dest: "/".to_owned(),
            ..CopyOp::default()
        };
        self.steps.push(Step {
            name: format!("FROM {name}"),
            span,
            op: Some(Op::Copy(Box::new(op))),
            history: Some(format!("[context {name}] load from client")),
        });
    }

    /// Fires an ONBUILD trigger of the base image.
    fn trigger(&mut self, text: &str, span: Span) {
        let (instruction, found) = dockerfile::parse_trigger(text);
        match (instruction, found.iter().find(|d| d.is_error())) {
            (Some(instruction), None) => {
                self.at = Some(span);
                self.instruction(&instruction);
                self.at = None;
            }
            (_, error) => {
                let why = error.map(|d| d.message.clone()).unwrap_or_default();
                let message = format!("the base image's ONBUILD trigger {text:?} is wrong: {why}");
                self.errors
                    .push(Diagnostic::error(Code::InvalidArgument, message, span));
            }
        }
    }

    fn instruction(&mut self, instruction: &Instruction) {
        let header = &instruction.header;
        let span = self.at.unwrap_or(header.span);
        match self.apply(instruction) {
            Ok((op, history)) => self.steps.push(Step {
                name: match self.at {
                    Some(_) => format!("ONBUILD {}", header.code),
                    None => header.code.clone(),
                },
                span,
                op,
                history,
            }),
            // A variable that only the base image knows may mend it.
            Err(_) if self.input.open && has_variables(instruction) => {}
            Err(Wrong(errors)) => {
                for mut error in errors {
                    if self.at.is_some() {
                        error.message = format!(
                            "in the base image's ONBUILD {}: {}",
                            header.code, error.message
                        );
                    }
                    if self.at.is_some() || error.span == Span::default() {
                        error.span = span;
                    }
                    self.errors.push(error);
                }
            }
        }
    }

    fn apply(&mut self, instruction: &Instruction) -> Outcome {
        match &instruction.kind {
            Kind::Add(add) => self.add(add),
            Kind::Arg(arg) => self.arg(arg),
            Kind::Cmd(command) => Ok(self.cmd(command)),
            Kind::Copy(copy) => self.copy(copy),
            Kind::Entrypoint(command) => Ok(self.entrypoint(command)),
            Kind::Env(env) => self.env(env),
            Kind::Expose(expose) => self.expose(&expose.ports),
            Kind::Healthcheck(check) => Ok(self.healthcheck(check)),
            Kind::Label(label) => self.label(label),
            Kind::Maintainer(maintainer) => {
                self.state.author = Some(maintainer.name.text.clone());
                Ok(meta(format!("MAINTAINER {}", maintainer.name.text)))
            }
            Kind::Onbuild(onbuild) => {
                self.state.config.on_build.push(onbuild.trigger.clone());
                Ok((None, None))
            }
            Kind::Run(run) => self.run(run),
            Kind::Shell(shell) => {
                let words: Vec<String> = shell.words.iter().map(|w| w.text.clone()).collect();
                let text = history::list("SHELL", &words);
                self.state.config.shell = Some(words);
                Ok(meta(text))
            }
            Kind::StopSignal(stop) => {
                let signal = self.word(&stop.signal)?;
                if !value::is_stop_signal(&signal) {
                    let message = format!("{signal:?} is not a signal");
                    let error = Diagnostic::error(Code::InvalidArgument, message, stop.signal.span);
                    return Err(error
                        .help("name it as in SIGTERM, or give its number")
                        .into());
                }
                self.state.config.stop_signal = Some(signal.clone());
                Ok(meta(format!("STOPSIGNAL {signal}")))
            }
            Kind::User(user) => {
                let user = self.word(&user.user)?;
                self.state.config.user.clone_from(&user);
                Ok(meta(format!("USER {user}")))
            }
            Kind::Volume(volume) => {
                let mut paths = Vec::new();
                for word in &volume.paths {
                    let path = self.word(word)?;
                    if path.is_empty() {
                        let message = "VOLUME specified can not be an empty string";
                        let code = Code::InvalidArgument;
                        let error = Diagnostic::error(code, message, word.span);
                        return Err(error
                            .help("give the variable a value, or name a path")
                            .into());
                    }
                    self.state.config.volumes.insert(path.clone(), Empty {});
                    paths.push(path);
                }
                Ok(meta(history::list("VOLUME", &paths)))
            }
            Kind::Workdir(workdir) => {
                let path = self.word(&workdir.path)?;
                let path = self.path(&path, workdir.path.span)?;
                let (written, path) = self.state.set_cwd(&path);
                let text = Some(format!("WORKDIR {written}"));
                let user = self.state.config.user.clone();
                let op = (join("/", &path) != "/").then_some(Op::Workdir(WorkdirOp { path, user }));
                Ok((op, text))
            }
        }
    }

    /// A path of the stage's system as Linux writes it.
    fn path(&self, written: &str, span: Span) -> Result<String, Diagnostic> {
        let wrong = |why| Diagnostic::error(Code::InvalidArgument, why, span);
        self.state.path(written).map_err(wrong)
    }

    /// Expands a word with what is set now.
    fn word(&self, word: &Word) -> Result<String, Diagnostic> {
        expand_word(self.lexer, word, &self.state)
    }

    fn arg(&mut self, arg: &Arg) -> Outcome {
        let mut text = String::from("ARG");
        let (given, global) = (self.input.args, self.input.global);
        for (name, value) in self.state.declare(self.lexer, arg, given, global)? {
            text.push(' ');
            text.push_str(&name);
            if let Some(value) = &value {
                text.push('=');
                text.push_str(value);
            }
        }
        Ok(meta(text))
    }

    fn env(&mut self, env: &Env) -> Outcome {
        let mut text = String::from("ENV");
        for (key, value) in self.state.assign(self.lexer, env)? {
            text.push_str(&format!(" {key}={value}"));
        }
        Ok(meta(text))
    }

    fn label(&mut self, label: &Label) -> Outcome {
        let mut text = String::from("LABEL");
        for pair in &label.pairs {
            let key = self.word(&pair.key)?;
            let value = self.word(&pair.value)?;
            text.push_str(&format!(" {key}={value}"));
            self.state.config.labels.insert(key, value);
        }
        Ok(meta(text))
    }

    fn expose(&mut self, words: &[Word]) -> Outcome {
        let mut specs = Vec::new();
        let mut wrong = Vec::new();
        for word in words {
            let expanded = match self.lexer.expand_placed(word.as_str(), &self.state) {
                Ok(expanded) => expanded.words,
                Err(e) => {
                    wrong.push(Diagnostic::in_word(&e, |part| word.place(part)));
                    continue;
                }
            };
            for spec in expanded {
                match value::parse_ports(&spec) {
                    Ok(ports) => specs.extend(ports.iter().map(ToString::to_string)),
                    Err(e) => wrong.push(
                        Diagnostic::error(Code::InvalidArgument, e.to_string(), word.span)
                            .help("write a port as 80, 80/udp or 8000-8010"),
                    ),
                }
            }
        }
        if !wrong.is_empty() {
            return Err(Wrong(wrong));
        }
        for port in &specs {
            self.state
                .config
                .exposed_ports
                .insert(port.clone(), Empty {});
        }
        Ok(meta(history::list("EXPOSE", &specs)))
    }

    fn healthcheck(&mut self, check: &Healthcheck) -> (Option<Op>, Option<String>) {
        let nanos = |d: std::time::Duration| i64::try_from(d.as_nanos()).unwrap_or(i64::MAX);
        let health = HealthConfig {
            test: check.test_words(),
            interval: nanos(check.interval),
            timeout: nanos(check.timeout),
            start_period: nanos(check.start_period),
            start_interval: nanos(check.start_interval),
            retries: i64::from(check.retries),
        };
        let text = history::healthcheck(&history::Health {
            test: &health.test,
            interval: check.interval,
            timeout: check.timeout,
            start_period: check.start_period,
            start_interval: check.start_interval,
            retries: check.retries,
        });
        self.state.config.healthcheck = Some(health);
        meta(text)
    }

    fn cmd(&mut self, command: &CommandLine) -> (Option<Op>, Option<String>) {
        let argv = command.argv(&self.state.shell());
        let text = history::command("CMD", &argv);
        self.state.config.cmd = Some(argv).filter(|argv| !argv.is_empty());
        self.state.config.args_escaped = Some(true);
        self.state.cmd_set = true;
        meta(text)
    }

    fn entrypoint(&mut self, command: &CommandLine) -> (Option<Op>, Option<String>) {
        let argv = command.argv(&self.state.shell());
        let text = history::command("ENTRYPOINT", &argv);
        self.state.config.entrypoint = Some(argv).filter(|argv| !argv.is_empty());
        // The base's CMD were arguments for another program.
        if !self.state.cmd_set {
            self.state.config.cmd = None;
        }
        meta(text)
    }
}

/// Whether what an instruction means depends on variables.
fn has_variables(instruction: &Instruction) -> bool {
    let heredocs = match &instruction.kind {
        Kind::Copy(copy) => &copy.files.heredocs[..],
        Kind::Add(add) => &add.files.heredocs[..],
        _ => &[],
    };
    let mut bodies = heredocs.iter().filter(|heredoc| heredoc.expand);
    instruction.header.code.contains('$') || bodies.any(|heredoc| heredoc.content.contains('$'))
}

/// An instruction that changes only the configuration.
fn meta(history: String) -> (Option<Op>, Option<String>) {
    (None, Some(history))
}
