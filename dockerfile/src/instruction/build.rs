//! Syntax tree to typed instructions.

use std::time::Duration;

use super::flags::{Flags, Takes};
use super::{
    Add, Arg, ArgDef, CommandLine, Copy, Env, Expose, Files, Header, Healthcheck, HealthcheckTest,
    Heredoc, Instruction, KeyValue, Kind, Label, Maintainer, Network, Onbuild, RawDevice, RawMount,
    Run, Security, Shell, StopSignal, User, Volume, Workdir,
};
use crate::diagnostic::{Code, Diagnostic};
use crate::parser::{Args, Node, marker};
use crate::span::{Span, Text, Word};
use crate::stage::Stage;
use crate::suggest::closest;
use crate::value::parse_duration;

/// The keywords of the language.
const KEYWORDS: [&str; 18] = [
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

/// What a node is.
pub(crate) enum Built {
    /// `FROM`: a stage without instructions yet.
    Stage(Stage),
    /// Any other instruction.
    Instruction(Instruction),
}

/// Types a node. Mistakes go to `diagnostics`; `None` when nothing sensible is left.
pub(crate) fn build(node: &Node, diagnostics: &mut Vec<Diagnostic>) -> Option<Built> {
    let errors = diagnostics.len();
    let mut builder = Builder { node, diagnostics };
    let built = match node.name().as_str() {
        "from" => builder.stage().map(Built::Stage),
        name => builder.kind(name).map(|kind| {
            Built::Instruction(Instruction {
                header: header(node),
                kind,
            })
        }),
    };
    let refused = diagnostics[errors..].iter().any(Diagnostic::is_error);
    built.filter(|built| !refused || matches!(built, Built::Stage(_)))
}

fn header(node: &Node) -> Header {
    Header {
        keyword: node.keyword.clone(),
        span: node.span,
        lines: node.lines,
        code: node.code.trim().to_owned(),
        flags: node.flags.clone(),
        comments: node
            .comments
            .iter()
            .map(|comment| comment.text.clone())
            .collect(),
    }
}

struct Builder<'a> {
    node: &'a Node,
    diagnostics: &'a mut Vec<Diagnostic>,
}

impl Builder<'_> {
    fn error(
        &mut self,
        code: Code,
        span: Span,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.diagnostics
            .push(Diagnostic::error(code, message, span).help(help));
    }

    fn argument_error(&mut self, span: Span, message: impl Into<String>, help: impl Into<String>) {
        self.error(Code::InvalidArgument, span, message, help);
    }

    fn flags(&mut self, known: &[(&'static str, Takes)]) -> Flags {
        Flags::read(self.node, known, self.diagnostics)
    }

    fn words(&self) -> &[Text] {
        match &self.node.args {
            Args::List { words, .. } => words,
            _ => &[],
        }
    }

    fn kind(&mut self, name: &str) -> Option<Kind> {
        match name {
            "add" => self.add().map(Kind::Add),
            "arg" => self.arg().map(Kind::Arg),
            "cmd" => {
                self.flags(&[]);
                Some(Kind::Cmd(self.command()))
            }
            "copy" => self.copy().map(Kind::Copy),
            "entrypoint" => {
                self.flags(&[]);
                Some(Kind::Entrypoint(self.command()))
            }
            "env" => self.pairs("ENV").map(|pairs| Kind::Env(Env { pairs })),
            "expose" => self.expose().map(Kind::Expose),
            "healthcheck" => self.healthcheck().map(Kind::Healthcheck),
            "label" => self
                .pairs("LABEL")
                .map(|pairs| Kind::Label(Label { pairs })),
            "maintainer" => {
                let name = self.one("MAINTAINER", "NAME")?;
                Some(Kind::Maintainer(Maintainer { name }))
            }
            "onbuild" => self.onbuild().map(Kind::Onbuild),
            "run" => Some(Kind::Run(self.run())),
            "shell" => self.shell().map(Kind::Shell),
            "stopsignal" => {
                let signal = self.one("STOPSIGNAL", "SIGNAL").map(word)?;
                Some(Kind::StopSignal(StopSignal { signal }))
            }
            "user" => {
                let user = self.one("USER", "USER[:GROUP]").map(word)?;
                Some(Kind::User(User { user }))
            }
            "volume" => self.volume().map(Kind::Volume),
            "workdir" => {
                let path = self.one("WORKDIR", "/PATH").map(word)?;
                Some(Kind::Workdir(Workdir { path }))
            }
            _ => {
                self.unknown_instruction();
                None
            }
        }
    }

    fn unknown_instruction(&mut self) {
        let keyword = &self.node.keyword;
        if keyword.text.is_empty() {
            let span = self.node.span;
            return self.error(
                Code::UnknownInstruction,
                span,
                "there is no instruction on this continued line",
                "remove the escape character",
            );
        }
        let help = match closest(&keyword.text, KEYWORDS, true) {
            Some(known) => format!("did you mean {known}?"),
            None => "a shell command needs RUN before it; a line is continued by an escape \
                     character at the end of the one before"
                .to_owned(),
        };
        let message = format!("unknown instruction: {}", keyword.text);
        let span = keyword.span;
        self.error(Code::UnknownInstruction, span, message, help);
    }

    fn stage(&mut self) -> Option<Stage> {
        let flags = self.flags(&[("platform", Takes::Value)]);
        let words = self.words().to_vec();
        let (base, name) = match words.as_slice() {
            [base] => (base, None),
            [base, keyword, name] if keyword.text.eq_ignore_ascii_case("as") => {
                (base, Some((keyword, name)))
            }
            _ => {
                let span = words.get(1).map_or(self.node.keyword.span, |second| {
                    words
                        .iter()
                        .skip(1)
                        .fold(second.span, |span, word| span.join(word.span))
                });
                self.argument_error(
                    span,
                    "FROM requires either one or three arguments",
                    "write `FROM image` or `FROM image AS name`",
                );
                return None;
            }
        };
        if let Some((_, name)) = name
            && !is_stage_name(&name.text)
        {
            let message = format!(
                "invalid name for build stage: {:?}, name can't start with a number or contain symbols",
                name.text
            );
            self.argument_error(
                name.span,
                message,
                "begin with a letter; then letters, digits, `-`, `_` and `.` may follow",
            );
        }
        let header = header(self.node);
        let comment = name.and_then(|(_, name)| description(&header, &name.text.to_lowercase()));
        Some(Stage {
            base: word(base.clone()),
            name_text: name.map(|(_, name)| name.clone()),
            as_keyword: name.map(|(keyword, _)| keyword.clone()),
            platform: flags.word("platform"),
            comment,
            instructions: Vec::new(),
            header,
        })
    }

    /// The only argument, of an instruction without flags.
    fn one(&mut self, keyword: &str, placeholder: &str) -> Option<Text> {
        self.flags(&[]);
        let Some(argument) = self.words().first().cloned() else {
            let span = self.node.keyword.span;
            self.argument_error(
                span,
                format!("{keyword} requires exactly one argument"),
                format!("write `{keyword} {placeholder}`"),
            );
            return None;
        };
        Some(argument)
    }

    fn missing(&mut self, keyword: &str, example: &str) {
        let span = self.node.keyword.span;
        self.argument_error(
            span,
            format!("{keyword} requires at least one argument"),
            format!("write `{keyword} {example}`"),
        );
    }

    fn pairs(&mut self, keyword: &str) -> Option<Vec<KeyValue>> {
        self.flags(&[]);
        let Args::Pairs(pairs) = &self.node.args else {
            self.missing(keyword, "NAME=VALUE");
            return None;
        };
        if let Some(blank) = pairs.iter().find(|pair| pair.key.text.is_empty()) {
            let span = blank.key.span.join(blank.value.span);
            self.argument_error(
                span,
                format!("{keyword} names can not be blank"),
                "put a name before the `=`, without spaces around it",
            );
            return None;
        }
        Some(
            pairs
                .iter()
                .map(|pair| KeyValue {
                    key: word(pair.key.clone()),
                    value: word(pair.value.clone()),
                    legacy: !pair.equals,
                })
                .collect(),
        )
    }

    fn arg(&mut self) -> Option<Arg> {
        self.flags(&[]);
        let words = self.words().to_vec();
        if words.is_empty() {
            self.missing("ARG", "NAME=DEFAULT");
            return None;
        }
        let header = header(self.node);
        let mut args = Vec::with_capacity(words.len());
        for Text { text, span } in words {
            let (name, default) = match text.split_once('=') {
                Some((name, default)) => (name, Some(default)),
                None => (text.as_str(), None),
            };
            if name.is_empty() {
                self.argument_error(
                    span,
                    "ARG names can not be blank",
                    "put a name before the `=`, without spaces around it",
                );
                return None;
            }
            let exact = span.len() == text.len();
            let name_span = if exact {
                Span::new(span.start, span.start + name.len())
            } else {
                span
            };
            args.push(ArgDef {
                name: Word::new(name, name_span),
                default: default.map(|default| {
                    let start = if exact {
                        span.end - default.len()
                    } else {
                        span.start
                    };
                    Word::new(default, Span::new(start, span.end))
                }),
                comment: description(&header, name),
            });
        }
        Some(Arg { args })
    }

    fn expose(&mut self) -> Option<Expose> {
        self.flags(&[]);
        let mut ports: Vec<Word> = self.words().iter().cloned().map(word).collect();
        if ports.is_empty() {
            self.missing("EXPOSE", "80/tcp");
            return None;
        }
        ports.sort_by(|a, b| a.raw.cmp(&b.raw));
        Some(Expose { ports })
    }

    fn volume(&mut self) -> Option<Volume> {
        self.flags(&[]);
        let words = self.words().to_vec();
        if words.is_empty() {
            self.missing("VOLUME", "/PATH");
            return None;
        }
        if let Some(empty) = words.iter().find(|word| word.text.trim().is_empty()) {
            self.argument_error(
                empty.span,
                "VOLUME specified can not be an empty string",
                "remove it, or write a path",
            );
            return None;
        }
        let paths = words
            .into_iter()
            .map(|w| Word::new(w.text.trim(), w.span))
            .collect();
        Some(Volume { paths })
    }

    fn shell(&mut self) -> Option<Shell> {
        self.flags(&[]);
        match &self.node.args {
            Args::List { words, json: true } if !words.is_empty() => Some(Shell {
                words: words.clone(),
            }),
            Args::List { words, json: false } => {
                let span = words
                    .first()
                    .map_or(self.node.keyword.span, |word| word.span);
                self.argument_error(
                    span,
                    format!(
                        "SHELL requires the arguments to be in JSON form: {}",
                        self.node.code.trim()
                    ),
                    "write `SHELL [\"/bin/sh\", \"-c\"]`, with double quotes",
                );
                None
            }
            _ => {
                self.missing("SHELL", "[\"/bin/sh\", \"-c\"]");
                None
            }
        }
    }

    fn command(&mut self) -> CommandLine {
        match &self.node.args {
            Args::List { words, json } => self.command_line(&words.clone(), *json),
            _ => CommandLine::Shell(Text::new("", Span::at(self.node.keyword.span.end))),
        }
    }

    fn command_line(&mut self, words: &[Text], json: bool) -> CommandLine {
        if json {
            return CommandLine::Exec(words.to_vec());
        }
        let text = words
            .first()
            .cloned()
            .unwrap_or_else(|| Text::new("", Span::at(self.node.span.end)));
        if looks_like_json(&text.text) {
            self.diagnostics.push(
                Diagnostic::warning(
                    Code::NotJson,
                    "this looks like a JSON array but is not one, so it is run by the shell",
                    text.span,
                )
                .help("put every element in double quotes and commas between them"),
            );
        }
        CommandLine::Shell(text)
    }

    fn run(&mut self) -> Run {
        let flags = self.flags(&[
            ("mount", Takes::Values),
            ("network", Takes::Value),
            ("security", Takes::Value),
            ("device", Takes::Values),
        ]);
        let mounts: Vec<RawMount> = flags
            .values("mount")
            .into_iter()
            .map(|value| RawMount { value })
            .collect();
        let devices: Vec<RawDevice> = flags
            .values("device")
            .into_iter()
            .map(|value| RawDevice { value })
            .collect();
        let refused = mounts
            .iter()
            .filter_map(|mount| mount.check().err())
            .chain(devices.iter().filter_map(|device| device.parse().err()));
        for error in refused {
            let mut diagnostic = Diagnostic::error(Code::InvalidFlag, error.message, error.span);
            diagnostic.help = error.help;
            self.diagnostics.push(diagnostic);
        }
        let network = self.choice(
            flags.value("network"),
            "unsupported network mode",
            &[
                ("default", Network::Default),
                ("none", Network::None),
                ("host", Network::Host),
            ],
        );
        let security = self.choice(
            flags.value("security"),
            "security mode not supported",
            &[
                ("sandbox", Security::Sandbox),
                ("insecure", Security::Insecure),
            ],
        );
        let command = self.command();
        let sole_heredoc = match &command {
            CommandLine::Shell(text) => matches!(marker(&text.text), Ok(Some(_))),
            CommandLine::Exec(_) => false,
        };
        let heredocs = self.node.heredocs.clone();
        Run {
            command,
            heredocs,
            sole_heredoc,
            mounts,
            network,
            security,
            devices,
        }
    }

    fn choice<T: core::marker::Copy + Default>(
        &mut self,
        value: Option<Text>,
        message: &str,
        options: &[(&'static str, T)],
    ) -> T {
        let Some(value) = value.filter(|value| !value.text.is_empty()) else {
            return T::default();
        };
        if let Some((_, option)) = options.iter().find(|(name, _)| *name == value.text) {
            return *option;
        }
        let names: Vec<&str> = options.iter().map(|(name, _)| *name).collect();
        let help = match closest(&value.text, names.iter().copied(), true) {
            Some(name) => format!("did you mean {name}?"),
            None => format!("use one of {}", names.join(", ")),
        };
        self.error(
            Code::InvalidFlag,
            value.span,
            format!("{message}: {:?}", value.text),
            help,
        );
        T::default()
    }

    fn copy(&mut self) -> Option<Copy> {
        let flags = self.flags(&[
            ("from", Takes::Value),
            ("chown", Takes::Value),
            ("chmod", Takes::Value),
            ("link", Takes::Bool),
            ("parents", Takes::Bool),
            ("exclude", Takes::Values),
        ]);
        let from = flags.value("from").filter(|from| !from.text.is_empty());
        if let Some(from) = &from
            && from.text.contains('$')
        {
            self.error(
                Code::InvalidFlag,
                from.span,
                "variable expansion is not supported for --from, define a new stage with FROM using ARG from global scope as a workaround",
                "write `FROM $VARIABLE AS name` above and use --from=name",
            );
        }
        Some(Copy {
            files: self.files("COPY")?,
            from,
            chown: flags.word("chown"),
            chmod: flags.word("chmod"),
            link: flags.switch("link").unwrap_or(false),
            parents: flags.switch("parents").unwrap_or(false),
            exclude: flags.values("exclude").into_iter().map(word).collect(),
        })
    }

    fn add(&mut self) -> Option<Add> {
        let flags = self.flags(&[
            ("chown", Takes::Value),
            ("chmod", Takes::Value),
            ("link", Takes::Bool),
            ("keep-git-dir", Takes::Bool),
            ("checksum", Takes::Value),
            ("unpack", Takes::Bool),
            ("exclude", Takes::Values),
        ]);
        Some(Add {
            files: self.files("ADD")?,
            chown: flags.word("chown"),
            chmod: flags.word("chmod"),
            link: flags.switch("link").unwrap_or(false),
            keep_git_dir: flags.switch("keep-git-dir"),
            checksum: flags.word("checksum"),
            unpack: flags.switch("unpack"),
            exclude: flags.values("exclude").into_iter().map(word).collect(),
        })
    }

    fn files(&mut self, keyword: &str) -> Option<Files> {
        let words = self.words().to_vec();
        let Some((dest, sources)) = words
            .split_last()
            .filter(|(_, sources)| !sources.is_empty())
        else {
            let span = words
                .first()
                .map_or(self.node.keyword.span, |word| word.span);
            self.argument_error(
                span,
                format!(
                    "{keyword} requires at least two arguments, but only {} provided. Destination could not be determined.",
                    if words.is_empty() { "none was" } else { "one was" }
                ),
                format!("write `{keyword} SOURCE DESTINATION`"),
            );
            return None;
        };
        let is_marker = |word: &Text| matches!(marker(&word.text), Ok(Some(_)));
        if is_marker(dest) {
            self.error(
                Code::MisplacedHeredoc,
                dest.span,
                format!("{keyword} cannot accept a heredoc as a destination"),
                "put the destination after the here-document's marker",
            );
            return None;
        }
        let mut files = Files {
            sources: Vec::new(),
            heredocs: Vec::new(),
            dest: word(dest.clone()),
        };
        for source in sources {
            match marker(&source.text) {
                Ok(Some(marker)) => files.heredocs.push(self.heredoc(&marker.name, source.span)),
                _ => files.sources.push(word(source.clone())),
            }
        }
        Some(files)
    }

    /// The body of a here-document by its name; the last of that name, as BuildKit has it.
    fn heredoc(&self, name: &str, word: Span) -> Heredoc {
        match self
            .node
            .heredocs
            .iter()
            .rev()
            .find(|heredoc| heredoc.name == name)
        {
            Some(heredoc) => heredoc.clone(),
            // A marker from a JSON array has no body.
            None => Heredoc {
                name: name.to_owned(),
                content: String::new(),
                expand: false,
                chomp: false,
                fd: 0,
                word,
                span: Span::at(word.end),
            },
        }
    }

    fn healthcheck(&mut self) -> Option<Healthcheck> {
        let Args::Health { kind, words, json } = &self.node.args else {
            self.missing("HEALTHCHECK", "CMD command` or `HEALTHCHECK NONE");
            return None;
        };
        let (kind, words, json) = (kind.clone(), words.clone(), *json);
        let mut check = Healthcheck {
            test: HealthcheckTest::None,
            interval: Duration::ZERO,
            timeout: Duration::ZERO,
            start_period: Duration::ZERO,
            start_interval: Duration::ZERO,
            retries: 0,
        };
        match kind.text.to_uppercase().as_str() {
            "NONE" => {
                if let Some(extra) = words.first() {
                    self.argument_error(
                        extra.span,
                        "HEALTHCHECK NONE takes no arguments",
                        "remove what is after NONE",
                    );
                }
                return Some(check);
            }
            "CMD" if words.is_empty() => {
                self.argument_error(
                    kind.span,
                    "Missing command after HEALTHCHECK CMD",
                    "write the command after CMD",
                );
                return None;
            }
            "CMD" => {}
            other => {
                let message = format!("Unknown type {other:?} in HEALTHCHECK (try CMD)");
                self.argument_error(kind.span, message, "put CMD before the command");
                return None;
            }
        }
        let flags = self.flags(&[
            ("interval", Takes::Value),
            ("timeout", Takes::Value),
            ("start-period", Takes::Value),
            ("start-interval", Takes::Value),
            ("retries", Takes::Value),
        ]);
        check.test = HealthcheckTest::Cmd(self.command_line(&words, json));
        check.interval = self.interval(&flags, "interval");
        check.timeout = self.interval(&flags, "timeout");
        check.start_period = self.interval(&flags, "start-period");
        check.start_interval = self.interval(&flags, "start-interval");
        if let Some(retries) = flags
            .value("retries")
            .filter(|value| !value.text.is_empty())
        {
            match retries.text.parse::<i32>() {
                Ok(count) if count >= 0 => check.retries = count.unsigned_abs(),
                Ok(count) => self.error(
                    Code::InvalidFlag,
                    retries.span,
                    format!("--retries cannot be negative ({count})"),
                    "write a number from 0 on",
                ),
                Err(_) => self.error(
                    Code::InvalidFlag,
                    retries.span,
                    format!("invalid value for --retries: {:?}", retries.text),
                    "write a number from 0 on",
                ),
            }
        }
        Some(check)
    }

    fn interval(&mut self, flags: &Flags, name: &str) -> Duration {
        let Some(value) = flags.value(name).filter(|value| !value.text.is_empty()) else {
            return Duration::ZERO;
        };
        let (message, help) = match parse_duration(&value.text) {
            Ok(duration) if duration.is_zero() || duration >= Duration::from_millis(1) => {
                return duration;
            }
            Ok(_) => (
                format!("Interval {name:?} cannot be less than 1ms"),
                "write 1ms or more, or 0 for the default",
            ),
            Err(error) => (
                error.to_string(),
                "write a duration such as 30s, 1m30s or 500ms",
            ),
        };
        self.error(Code::InvalidFlag, value.span, message, help);
        Duration::ZERO
    }

    fn onbuild(&mut self) -> Option<Onbuild> {
        self.flags(&[]);
        let Args::Child(child) = &self.node.args else {
            self.missing("ONBUILD", "RUN command");
            return None;
        };
        match child.name().as_str() {
            "onbuild" => {
                self.argument_error(
                    child.keyword.span,
                    "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed",
                    "remove one of the two",
                );
                return None;
            }
            name @ ("maintainer" | "from") => {
                let message = format!(
                    "{} isn't allowed as an ONBUILD trigger",
                    name.to_uppercase()
                );
                self.argument_error(
                    child.keyword.span,
                    message,
                    "an image can only be built on with other instructions",
                );
                return None;
            }
            _ => {}
        }
        let mut child = (**child).clone();
        child.heredocs.clone_from(&self.node.heredocs);
        let keyword = self.node.keyword.text.len();
        let mut trigger = self.node.code[keyword..].trim_start().to_owned();
        for heredoc in &self.node.heredocs {
            trigger.push('\n');
            trigger.push_str(&heredoc.content);
            trigger.push_str(&heredoc.name);
        }
        let instruction = match build(&child, self.diagnostics) {
            Some(Built::Instruction(instruction)) => Some(Box::new(instruction)),
            _ => None,
        };
        Some(Onbuild {
            trigger,
            instruction,
        })
    }
}

fn word(text: Text) -> Word {
    Word {
        raw: text.text,
        span: text.span,
    }
}

fn is_stage_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
}

/// What the comments above say about `name`: the first line `NAME text`.
fn description(header: &Header, name: &str) -> Option<String> {
    header
        .comments
        .iter()
        .find_map(|comment| comment.strip_prefix(name)?.strip_prefix(' '))
        .map(str::to_owned)
}

/// A shell form that was most likely meant to be an array: it begins with a bracket and a quote,
/// straight or curly.
fn looks_like_json(text: &str) -> bool {
    let Some(rest) = text.strip_prefix('[') else {
        return false;
    };
    rest.trim_start()
        .starts_with(['"', '\'', '“', '”', '‘', '’'])
        && text.ends_with(']')
}
