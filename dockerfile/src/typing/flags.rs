//! `--flag[=value]` words checked against what an instruction knows.

use crate::diagnostic::{Code, Diagnostic};
use crate::parser::Node;
use crate::span::{Span, Text, Word};
use crate::suggest::closest;

/// How a flag takes its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Takes {
    /// `--flag` or `--flag=true`.
    Bool,
    /// `--flag=value`, once.
    Value,
    /// `--flag=value`, any number of times.
    Values,
}

/// The flags of one instruction, checked.
#[derive(Debug, Default)]
pub(super) struct Flags {
    values: Vec<(&'static str, Text)>,
}

impl Flags {
    /// Reads the node's flags; mistakes go to `diagnostics` and the flag is left out.
    pub(super) fn read(
        node: &Node,
        known: &[(&'static str, Takes)],
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Self {
        let mut flags = Self::default();
        let mut seen: Vec<(&str, Span)> = Vec::new();
        for flag in &node.flags {
            let body = flag.text.strip_prefix("--").unwrap_or(&flag.text);
            let (name, value) = match body.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (body, None),
            };
            let Some((name, takes)) = known.iter().copied().find(|(known, _)| *known == name)
            else {
                diagnostics.push(unknown(node, flag, name, known));
                continue;
            };
            if takes != Takes::Values
                && let Some((_, first)) = seen.iter().find(|(seen, _)| *seen == name)
            {
                diagnostics.push(
                    Diagnostic::error(
                        Code::DuplicateFlag,
                        format!("duplicate flag specified: --{name}"),
                        flag.span,
                    )
                    .also(*first, "first given here")
                    .help("keep one of the two"),
                );
                continue;
            }
            seen.push((name, flag.span));
            let wrong = |message: String, help: String| {
                Diagnostic::error(Code::InvalidFlag, message, flag.span).help(help)
            };
            match (takes, value) {
                (Takes::Bool, Some("")) | (Takes::Value | Takes::Values, None) => {
                    diagnostics.push(wrong(
                        format!("missing a value on flag: --{name}"),
                        format!("write --{name}=VALUE"),
                    ));
                }
                (Takes::Bool, value) => {
                    let value = value.unwrap_or("true").to_ascii_lowercase();
                    if value == "true" || value == "false" {
                        flags.values.push((name, Text::new(value, flag.span)));
                    } else {
                        diagnostics.push(wrong(
                            format!("expecting boolean value for flag --{name}, not: {value}"),
                            format!("write --{name} or --{name}=false"),
                        ));
                    }
                }
                (_, Some(value)) => {
                    flags
                        .values
                        .push((name, Text::new(value, value_span(flag, value))));
                }
            }
        }
        flags
    }

    /// The value of a flag.
    pub(super) fn value(&self, name: &str) -> Option<Text> {
        self.values
            .iter()
            .find(|(own, _)| *own == name)
            .map(|(_, value)| value.clone())
    }

    /// The value of a flag that is expanded later; an empty one counts as not given.
    pub(super) fn word(&self, name: &str) -> Option<Word> {
        self.value(name)
            .filter(|value| !value.text.is_empty())
            .map(|value| Word::new(value.text, value.span))
    }

    /// All values of a flag.
    pub(super) fn values(&self, name: &str) -> Vec<Text> {
        let own = self.values.iter().filter(|(own, _)| *own == name);
        own.map(|(_, value)| value.clone()).collect()
    }

    /// A boolean flag, if it was given.
    pub(super) fn switch(&self, name: &str) -> Option<bool> {
        self.value(name).map(|value| value.text == "true")
    }
}

/// Where the value is: exact when the flag has no quotes, else the whole flag.
fn value_span(flag: &Text, value: &str) -> Span {
    if flag.span.len() == flag.text.len() {
        Span::new(flag.span.end - value.len(), flag.span.end)
    } else {
        flag.span
    }
}

fn unknown(node: &Node, flag: &Text, name: &str, known: &[(&'static str, Takes)]) -> Diagnostic {
    let keyword = node.keyword.text.to_uppercase();
    let diagnostic = Diagnostic::error(
        Code::UnknownFlag,
        format!("unknown flag: --{name}"),
        flag.span,
    );
    match closest(name, known.iter().map(|(known, _)| *known), true) {
        Some(known) => diagnostic.help(format!("did you mean --{known}?")),
        None if known.is_empty() => diagnostic.help(format!("{keyword} has no flags")),
        None => {
            let names: Vec<String> = known.iter().map(|(name, _)| format!("--{name}")).collect();
            diagnostic.help(format!("{keyword} knows {}", names.join(", ")))
        }
    }
}
