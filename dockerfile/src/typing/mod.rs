//! Syntax tree to typed instructions: one node at a time, with what is wrong with it.

mod config;
mod execute;
mod flags;
mod stage;
mod transfer;

use crate::diagnostic::{Code, Diagnostic};
use crate::instruction::{
    Env, Header, Instruction, Kind, Label, Maintainer, StopSignal, User, Workdir,
};
use crate::parser::{Args, Node, comment_help};
use crate::span::{Span, Text, Word};
use crate::stage::Stage;
use crate::suggest::closest;
use flags::{Flags, Takes};

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

struct Builder<'n, 'd> {
    node: &'n Node,
    diagnostics: &'d mut Vec<Diagnostic>,
}

impl<'n> Builder<'n, '_> {
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

    fn words(&self) -> &'n [Text] {
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
        self.no_comment(&argument, keyword);
        Some(argument)
    }

    /// Tells of an argument with something like a comment at its end, which belongs to it.
    fn no_comment(&mut self, argument: &Text, keyword: &str) {
        let (span, words) = (argument.span, argument.text.split_whitespace().skip(1));
        let help = comment_help(words, "");
        if help.is_empty() || keyword == "MAINTAINER" {
            return;
        }
        if keyword == "STOPSIGNAL" {
            return self.argument_error(span, "STOPSIGNAL takes one signal only", help);
        }
        let message = format!("`#` and what follows belong to the argument of {keyword}");
        let warning = Diagnostic::warning(Code::TrailingComment, message, span);
        self.diagnostics.push(warning.help(help));
    }

    fn missing(&mut self, keyword: &str, example: &str) {
        let span = self.node.keyword.span;
        self.argument_error(
            span,
            format!("{keyword} requires at least one argument"),
            format!("write `{keyword} {example}`"),
        );
    }
}

fn word(text: Text) -> Word {
    Word {
        raw: text.text,
        span: text.span,
    }
}

/// What the comments above say about `name`: the first line `NAME text`.
fn description(node: &Node, name: &str) -> Option<String> {
    node.comments
        .iter()
        .find_map(|comment| comment.text.strip_prefix(name)?.strip_prefix(' '))
        .map(str::to_owned)
}
