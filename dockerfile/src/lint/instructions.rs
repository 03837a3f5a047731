//! Rules for single instructions, with the values in force.

use std::ops::Range;

use super::options::Options;
use super::reporter::Reporter;
use crate::diagnostic::Diagnostic;
use crate::eval::global::Scope;
use crate::eval::stage::{StageVariables, UNSEEN};
use crate::eval::{ArgValue, arg_value};
use crate::instruction::{Add, Arg, CommandLine, Copy, Files, Instruction, KeyValue, Kind};
use crate::rule::Rule;
use crate::shell::{ExpandError, Lexer, Variables};
use crate::span::{Span, Word};
use crate::suggest::nearest;
use golang::quote::go_quote;

/// What instructions are checked with.
pub(super) struct Context<'a> {
    pub(super) lexer: Lexer,
    pub(super) options: &'a Options<'a>,
    pub(super) globals: &'a Scope,
}

/// What is known of a stage at some instruction.
#[derive(Debug, Clone, Default)]
pub(super) struct StageState {
    /// ENV, and ARGs.
    pub(super) variables: StageVariables,
    /// Nothing is known of the base.
    pub(super) unknown: bool,
    /// Nor is any variable taken for undefined because of that.
    pub(super) open: bool,
    pub(super) has_shell: bool,
    workdir_set: bool,
    /// ONBUILD triggers to fire first.
    pub(super) triggers: Vec<Instruction>,
    cmd: Option<Span>,
    entrypoint: Option<Span>,
    healthcheck: Option<Span>,
}

impl StageState {
    /// What a stage based on this one starts from.
    pub(super) fn inherit(&self) -> Self {
        Self {
            variables: self.variables.inherited(),
            triggers: Vec::new(),
            cmd: None,
            entrypoint: None,
            healthcheck: None,
            ..self.clone()
        }
    }
}

/// Checks one instruction and applies what it changes. `trigger` is the FROM that fired it.
pub(super) fn check_instruction(
    instruction: &Instruction,
    trigger: Option<Span>,
    context: &Context<'_>,
    state: &mut StageState,
    reporter: &mut Reporter,
) {
    let mut checker = Checker {
        instruction,
        trigger,
        context,
        state,
        reporter,
    };
    checker.check();
}

struct Checker<'a, 'c> {
    instruction: &'a Instruction,
    trigger: Option<Span>,
    context: &'a Context<'c>,
    state: &'a mut StageState,
    reporter: &'a mut Reporter,
}

impl Checker<'_, '_> {
    fn check(&mut self) {
        let instruction = self.instruction;
        let keyword = instruction.header.keyword.text.clone();
        match &instruction.kind {
            Kind::Env(env) => self.env(&env.pairs, &keyword),
            Kind::Label(label) => {
                for pair in &label.pairs {
                    self.legacy(pair, &keyword);
                    self.word(&pair.key);
                    self.word(&pair.value);
                }
            }
            Kind::Arg(arg) => self.arg(arg),
            Kind::Add(add) => self.add(add),
            Kind::Copy(copy) => self.copy(copy),
            Kind::Run(run) => {
                for mount in &run.mounts {
                    let span = mount.value.span;
                    // A value that cannot be resolved is the planner's to refuse.
                    let _ = mount.resolve(|word| {
                        Ok(self
                            .expand(word, |_| span, self.context.lexer)
                            .unwrap_or_default())
                    });
                }
            }
            Kind::Cmd(command) => {
                let span = place(instruction.header.span, self.trigger);
                let earlier = self.state.cmd.replace(span);
                self.used_once(earlier, &keyword);
                self.json_recommended(command, &keyword);
            }
            Kind::Entrypoint(command) => {
                let span = place(instruction.header.span, self.trigger);
                let earlier = self.state.entrypoint.replace(span);
                self.used_once(earlier, &keyword);
                self.json_recommended(command, &keyword);
            }
            Kind::Healthcheck(_) => {
                let span = place(instruction.header.span, self.trigger);
                let earlier = self.state.healthcheck.replace(span);
                self.used_once(earlier, &keyword);
            }
            Kind::Shell(_) => self.state.has_shell = true,
            Kind::Workdir(workdir) => self.workdir(&workdir.path),
            Kind::Expose(expose) => expose.ports.iter().for_each(|port| self.port(port)),
            Kind::User(user) => {
                self.word(&user.user);
            }
            Kind::StopSignal(stop) => {
                self.word(&stop.signal);
            }
            Kind::Volume(volume) => volume.paths.iter().for_each(|path| {
                self.word(path);
            }),
            Kind::Maintainer(_) | Kind::Onbuild(_) => {}
        }
    }

    fn report(&mut self, rule: Rule, span: Span, message: String, help: impl Into<String>) {
        let span = place(span, self.trigger);
        self.reporter.report(rule, span, message, help);
    }

    fn word(&mut self, word: &Word) -> Option<String> {
        self.expand(word.as_str(), |part| word.place(part), self.context.lexer)
    }

    /// Expands a text; reports variables that are not set. `at` tells where a part of it is.
    fn expand(
        &mut self,
        word: &str,
        at: impl Fn(&Range<usize>) -> Span,
        lexer: Lexer,
    ) -> Option<String> {
        let expanded = match lexer.expand_placed(word, &self.state.variables) {
            Ok(expanded) => expanded,
            // The base may have what is missing.
            Err(error)
                if self.state.unknown && matches!(error.error, ExpandError::Required { .. }) =>
            {
                return None;
            }
            Err(error) => {
                let place = |part: &Range<usize>| place(at(part), self.trigger);
                let error = Diagnostic::in_word(&error, place);
                self.reporter.error(error);
                return None;
            }
        };
        if !self.state.open {
            for (name, part) in &expanded.unset {
                self.undefined(name, at(part));
            }
        }
        Some(expanded.text)
    }

    fn undefined(&mut self, name: &str, span: Span) {
        if UNSEEN.contains(&name) || self.state.variables.is_declared(name) {
            return;
        }
        let mut message = format!("Usage of undefined variable '${name}'");
        let help = match self.known_like(name) {
            Some(known) => {
                message.push_str(&format!(" (did you mean ${known}?)"));
                format!("write ${known}, or declare ARG {name} above")
            }
            None => format!("declare it above with ARG {name} or ENV {name}=VALUE"),
        };
        self.report(Rule::UndefinedVar, span, message, help);
    }

    /// The variable whose name is close to `name`.
    fn known_like(&self, name: &str) -> Option<&str> {
        let mut names = self.state.variables.names();
        names.sort_unstable();
        nearest(name, &names)
    }

    fn env(&mut self, pairs: &[KeyValue], keyword: &str) {
        // All pairs see the variables as they were before.
        let mut values = Vec::with_capacity(pairs.len());
        for pair in pairs {
            self.legacy(pair, keyword);
            let (key, value) = (self.word(&pair.key), self.word(&pair.value));
            if let (Some(key), Some(value)) = (key, value) {
                self.secret("ENV", &key, pair.key.span);
                values.push((key, value));
            }
        }
        for (key, value) in values {
            self.state.variables.set_env(&key, &value);
        }
    }

    fn legacy(&mut self, pair: &KeyValue, keyword: &str) {
        if pair.legacy {
            self.report(
                Rule::LegacyKeyValueFormat,
                pair.key.span.join(pair.value.span),
                format!(
                    "\"{keyword} key=value\" should be used instead of legacy \"{keyword} key value\" format"
                ),
                format!("put a = after {}, and quotes around a value with spaces", pair.key.raw),
            );
        }
    }

    fn arg(&mut self, arg: &Arg) {
        for def in &arg.args {
            let name = def.name.as_str();
            self.secret("ARG", name, def.name.span);
            let context = self.context;
            let value = match arg_value(def, &context.options.build_args, context.globals) {
                ArgValue::Known(value) => Some(value.to_owned()),
                ArgValue::Default(default) => self.word(default),
                ArgValue::None => None,
            };
            self.state.variables.set_arg(name, value.as_deref());
        }
    }

    fn secret(&mut self, keyword: &str, name: &str, span: Span) {
        if names_a_secret(name) {
            self.report(
                Rule::SecretsUsedInArgOrEnv,
                span,
                format!(
                    "Do not use ARG or ENV instructions for sensitive data ({keyword} {})",
                    go_quote(name)
                ),
                "mount it where it is needed: RUN --mount=type=secret,id=NAME,env=NAME",
            );
        }
    }

    fn copy(&mut self, copy: &Copy) {
        for word in copy.chown.iter().chain(&copy.chmod).chain(&copy.exclude) {
            self.word(word);
        }
        let from_context = copy.from.is_none();
        self.files(&copy.files, from_context, "Copy");
    }

    fn add(&mut self, add: &Add) {
        let flags = add
            .chown
            .iter()
            .chain(&add.chmod)
            .chain(&add.checksum)
            .chain(&add.exclude);
        for word in flags {
            self.word(word);
        }
        self.files(&add.files, true, "Add");
    }

    fn files(&mut self, files: &Files, from_context: bool, verb: &str) {
        for source in &files.sources {
            if let Some(path) = self.word(source)
                && from_context
            {
                self.ignored(&path, source.span, verb);
            }
        }
        self.word(&files.dest);
        for heredoc in files.heredocs.iter().filter(|heredoc| heredoc.expand) {
            self.expand(
                &heredoc.body(),
                |part| heredoc.place(part),
                Lexer::heredoc(),
            );
        }
    }

    /// Whether the source is one that the context leaves out.
    fn ignored(&mut self, source: &str, span: Span, verb: &str) {
        // With patterns that re-include, only the files themselves would tell.
        let Some(ignore) = self
            .context
            .options
            .ignore
            .filter(|ignore| !ignore.has_exclusions())
        else {
            return;
        };
        if source.contains("://") || source.starts_with("git@") {
            return;
        }
        let source = golang::path::clean(source);
        let root = source == "." || source == "/";
        let ignored = if root {
            ignore
                .patterns()
                .any(|(pattern, _)| matches!(pattern, "*" | "**" | "**/*"))
        } else {
            ignore.matches(&source)
        };
        if ignored {
            self.report(
                Rule::CopyIgnoredFile,
                span,
                format!(
                    "Attempting to {verb} file {} that is excluded by .dockerignore",
                    go_quote(&source)
                ),
                "remove the pattern from .dockerignore, or the source from here",
            );
        }
    }

    fn used_once(&mut self, earlier: Option<Span>, keyword: &str) {
        // The earlier one is the one that is lost.
        if let Some(earlier) = earlier {
            self.reporter.report(
                Rule::MultipleInstructionsDisallowed,
                earlier,
                format!(
                    "Multiple {keyword} instructions should not be used in the same stage because only the last one will be used"
                ),
                "remove this one",
            );
        }
    }

    fn json_recommended(&mut self, command: &CommandLine, keyword: &str) {
        let CommandLine::Shell(text) = command else {
            return;
        };
        if self.state.has_shell {
            return;
        }
        let span = if text.span.is_empty() {
            self.instruction.header.span
        } else {
            text.span
        };
        self.report(
            Rule::JsonArgsRecommended,
            span,
            format!(
                "JSON arguments recommended for {keyword} to prevent unintended behavior related to OS signals"
            ),
            format!("write {keyword} [\"executable\", \"argument\"], or set a SHELL on purpose"),
        );
    }

    fn workdir(&mut self, path: &Word) {
        let Some(expanded) = self.word(path) else {
            return;
        };
        if !self.state.workdir_set && !expanded.starts_with('/') {
            self.report(
                Rule::WorkdirRelativePath,
                path.span,
                format!(
                    "Relative workdir {} can have unexpected results if the base image changes",
                    go_quote(&expanded)
                ),
                "write the whole path, from / on",
            );
        }
        self.state.workdir_set = true;
    }

    fn port(&mut self, port: &Word) {
        // EXPOSE splits words after expansion, and tells nobody of unset variables.
        let Ok(expanded) = self
            .context
            .lexer
            .expand_placed(port.as_str(), &self.state.variables)
        else {
            return;
        };
        for spec in expanded.words {
            let host = spec.rsplit_once(':').map_or("", |(host, _)| host);
            if !host.trim_matches(':').is_empty() {
                self.report(
                    Rule::ExposeInvalidFormat,
                    port.span,
                    format!(
                        "EXPOSE instruction should not define an IP address or host-port mapping, found '{spec}'"
                    ),
                    "write the container's port alone; publish it when you run the container",
                );
            }
            let protocol = spec.split_once('/').map_or("", |(_, protocol)| protocol);
            if protocol != protocol.to_lowercase() {
                self.report(
                    Rule::ExposeProtoCasing,
                    port.span,
                    format!("Defined protocol '{spec}' in EXPOSE instruction should be lowercase"),
                    format!("write {}", spec.to_lowercase()),
                );
            }
        }
    }
}

/// Where to point for an instruction: itself, or the FROM whose base left it as a trigger.
fn place(own: Span, trigger: Option<Span>) -> Span {
    trigger.unwrap_or(own)
}

/// Whether a variable's name has a word in it that secrets are called by.
pub fn names_a_secret(name: &str) -> bool {
    const SECRET: [&str; 10] = [
        "apikey",
        "auth",
        "credential",
        "credentials",
        "key",
        "password",
        "pword",
        "passwd",
        "secret",
        "token",
    ];
    const HARMLESS: [&str; 3] = ["public", "file", "version"];
    let name = name.to_lowercase();
    let has = |words: &[&str]| name.split('_').any(|part| words.contains(&part));
    has(&SECRET) && !has(&HARMLESS)
}

#[cfg(test)]
mod tests {
    use super::names_a_secret;

    #[test]
    fn tells_secrets_by_their_names() {
        for name in [
            "API_KEY",
            "password",
            "GITHUB_TOKEN",
            "secret_message",
            "AUTH",
        ] {
            assert!(names_a_secret(name), "{name}");
        }
        for name in [
            "KEYBOARD",
            "TOKENIZER",
            "PUBLIC_KEY",
            "PASSWORD_FILE",
            "KEY_VERSION",
            "X",
        ] {
            assert!(!names_a_secret(name), "{name}");
        }
    }
}
