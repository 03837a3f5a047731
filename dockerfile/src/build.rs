//! The whole way: source to stages, with all mistakes found on it.

use crate::diagnostic::{Code, Diagnostic};
use crate::instruction::{Instruction, Kind};
use crate::parser::{self, Ast};
use crate::span::Span;
use crate::stage::{Dockerfile, GlobalArg, Stage};
use crate::typing::{Built, build};

/// What parsing gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parsed {
    /// The text that spans refer to: the source given, or, for bytes with invalid UTF-8, the
    /// source with replacement characters.
    pub source: String,
    /// The syntax tree.
    pub ast: Ast,
    /// The file, typed. Where there are errors it lacks what could not be understood.
    pub dockerfile: Dockerfile,
    /// Errors and warnings in order of place. Build checks are not among them, see
    /// [`crate::lint`].
    pub diagnostics: Vec<Diagnostic>,
}

impl Parsed {
    /// Whether the file must be refused.
    pub fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(Diagnostic::is_error)
    }
}

/// Parses a Dockerfile. Goes on after mistakes, so that all of them are reported at once.
pub fn parse(source: &str) -> Parsed {
    parse_owned(source.to_owned(), Vec::new())
}

/// Parses a Dockerfile that may not be UTF-8. Invalid bytes are let pass in comments and are an
/// error elsewhere.
pub fn parse_bytes(bytes: &[u8]) -> Parsed {
    let text = String::from_utf8_lossy(bytes);
    let std::borrow::Cow::Owned(source) = text else {
        return parse(&text);
    };
    let mut diagnostics = Vec::new();
    // Offsets are in the repaired text, where each invalid sequence became one character.
    let mut offset = 0;
    for chunk in bytes.utf8_chunks() {
        offset += chunk.valid().len();
        if chunk.invalid().is_empty() {
            continue;
        }
        let line_start = source[..offset].rfind('\n').map_or(0, |at| at + 1);
        let end = offset + char::REPLACEMENT_CHARACTER.len_utf8();
        if !source[line_start..].trim_start().starts_with('#') {
            diagnostics.push(
                Diagnostic::error(
                    Code::InvalidUtf8,
                    "the Dockerfile is not valid UTF-8 here",
                    Span::new(offset, end),
                )
                .help("save the file as UTF-8"),
            );
        }
        offset = end;
    }
    // One place is enough to find the encoding by; a binary would give thousands.
    diagnostics.truncate(1);
    parse_owned(source, diagnostics)
}

/// Parses an ONBUILD trigger taken from a base image's config. The instruction is absent when the
/// trigger is refused; spans refer to `trigger`.
pub fn parse_trigger(trigger: &str) -> (Option<Instruction>, Vec<Diagnostic>) {
    let (node, mut diagnostics) = parser::parse_single(trigger);
    let Some(node) = node else {
        return (None, diagnostics);
    };
    let instruction = match build(&node, &mut diagnostics) {
        Some(Built::Instruction(instruction)) => Some(instruction),
        Some(Built::Stage(stage)) => {
            diagnostics.push(Diagnostic::error(
                Code::InvalidArgument,
                "FROM isn't allowed as an ONBUILD trigger",
                stage.header.keyword.span,
            ));
            None
        }
        None => None,
    };
    let refused = diagnostics.iter().any(Diagnostic::is_error);
    (instruction.filter(|_| !refused), diagnostics)
}

fn parse_owned(source: String, mut diagnostics: Vec<Diagnostic>) -> Parsed {
    let (ast, found) = parser::parse(&source);
    diagnostics.extend(found);
    let mut global_args = Vec::new();
    let mut stages: Vec<Stage> = Vec::new();
    let mut before_from: Option<Diagnostic> = None;
    // After a FROM that is refused, what follows belongs to it and not to the stage before.
    let mut orphaned = false;
    for node in &ast.nodes {
        let is_from = node.keyword.text.eq_ignore_ascii_case("from");
        match build(node, &mut diagnostics) {
            Some(Built::Stage(stage)) => {
                orphaned = false;
                stages.push(stage);
            }
            Some(Built::Instruction(_)) if orphaned => {}
            Some(Built::Instruction(instruction)) => match (stages.last_mut(), instruction) {
                (Some(stage), instruction) => stage.instructions.push(instruction),
                (
                    None,
                    Instruction {
                        header,
                        kind: Kind::Arg(arg),
                    },
                ) => {
                    global_args.push(GlobalArg { header, arg });
                }
                (None, instruction) => {
                    before_from.get_or_insert_with(|| missing_from(&instruction));
                }
            },
            None => orphaned |= is_from,
        }
    }
    diagnostics.extend(before_from);
    let has_from = ast
        .nodes
        .iter()
        .any(|node| node.keyword.text.eq_ignore_ascii_case("from"));
    let errors = diagnostics.iter().any(Diagnostic::is_error);
    if !has_from && !errors {
        let span = ast
            .nodes
            .last()
            .map_or(Span::at(0), |node| node.keyword.span);
        diagnostics.push(
            Diagnostic::error(
                Code::NoStage,
                "dockerfile contains no stages to build",
                span,
            )
            .help("add a base image: `FROM image`, or `FROM scratch` for an empty one"),
        );
    }
    diagnostics.sort_by_key(|diagnostic| (diagnostic.span.start, diagnostic.span.end));
    let directives = ast.directives.clone();
    let dockerfile = Dockerfile::new(directives, global_args, stages);
    Parsed {
        source,
        ast,
        dockerfile,
        diagnostics,
    }
}

fn missing_from(instruction: &Instruction) -> Diagnostic {
    let keyword = instruction.kind.keyword();
    Diagnostic::error(
        Code::MissingFrom,
        format!("no build stage in current context: {keyword} before the first FROM"),
        instruction.header.keyword.span,
    )
    .help("begin with `FROM image`; only ARG may come before it")
}
