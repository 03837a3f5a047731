//! Instructions that change the image's configuration.

use super::{Builder, Built, build, description, word};
use crate::diagnostic::Severity;
use crate::instruction::{Arg, ArgDef, Expose, KeyValue, Onbuild, Volume};
use crate::parser::{Args, comment_help};
use crate::span::{Span, Text, Word};

impl Builder<'_, '_> {
    pub(super) fn pairs(&mut self, keyword: &str) -> Option<Vec<KeyValue>> {
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

    pub(super) fn arg(&mut self) -> Option<Arg> {
        self.flags(&[]);
        let words = self.words();
        if words.is_empty() {
            self.missing("ARG", "NAME=DEFAULT");
            return None;
        }
        let mut args = Vec::with_capacity(words.len());
        for Text { text, span } in words {
            let span = *span;
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
                comment: description(self.node, name),
            });
        }
        Some(Arg { args })
    }

    pub(super) fn expose(&mut self) -> Option<Expose> {
        self.flags(&[]);
        let mut ports: Vec<Word> = self.words().iter().cloned().map(word).collect();
        if ports.is_empty() {
            self.missing("EXPOSE", "80/tcp");
            return None;
        }
        if let Some(comment) = ports.iter().find(|port| port.raw.starts_with('#')) {
            let (span, help) = (comment.span, comment_help([comment.as_str()], ""));
            self.argument_error(span, "EXPOSE takes ports only", help);
            return None;
        }
        ports.sort_by(|a, b| a.raw.cmp(&b.raw));
        Some(Expose { ports })
    }

    pub(super) fn volume(&mut self) -> Option<Volume> {
        self.flags(&[]);
        let words = self.words();
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
            .iter()
            .map(|w| Word::new(w.text.trim(), w.span))
            .collect();
        Some(Volume { paths })
    }

    pub(super) fn onbuild(&mut self) -> Option<Onbuild> {
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
        let mut found = Vec::new();
        let instruction = match build(&child, &mut found) {
            Some(Built::Instruction(instruction)) => Some(Box::new(instruction)),
            _ => None,
        };
        // As BuildKit has it: the trigger is stored as it is, and fails where it fires.
        for mut diagnostic in found {
            if diagnostic.is_error() {
                diagnostic.severity = Severity::Warning;
                let message = &diagnostic.message;
                diagnostic.message = format!("images based on this one will not build: {message}");
            }
            self.diagnostics.push(diagnostic);
        }
        Some(Onbuild {
            trigger,
            instruction,
        })
    }
}
