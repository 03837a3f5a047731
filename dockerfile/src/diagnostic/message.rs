//! One mistake: what, where, how to mend it.

use std::ops::Range;

use serde::Serialize;

use super::code::{Code, Severity};
use crate::shell::Misplaced;
use crate::span::{LineIndex, Span};

/// A further place that belongs to a diagnostic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Note {
    /// Where.
    pub span: Span,
    /// What is there.
    pub label: String,
}

/// An error or warning about a Dockerfile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// What kind it is.
    pub code: Code,
    /// One sentence: what is wrong.
    pub message: String,
    /// The exact place.
    pub span: Span,
    /// Further places.
    pub notes: Vec<Note>,
    /// One sentence: how to mend it.
    pub help: Option<String>,
    /// Where to read more.
    pub url: Option<String>,
}

impl Diagnostic {
    /// An error at `span`.
    pub fn error(code: Code, message: impl Into<String>, span: Span) -> Self {
        Self::new(Severity::Error, code, message, span)
    }

    /// A word that cannot be expanded, at the place that `place` gives for a part of it.
    pub fn in_word(wrong: &Misplaced, place: impl Fn(&Range<usize>) -> Span) -> Self {
        let span = place(&wrong.at);
        Self::error(Code::InvalidWord, wrong.error.to_string(), span).help(wrong.error.help())
    }

    /// A warning at `span`.
    pub fn warning(code: Code, message: impl Into<String>, span: Span) -> Self {
        Self::new(Severity::Warning, code, message, span)
    }

    fn new(severity: Severity, code: Code, message: impl Into<String>, span: Span) -> Self {
        let url = match code {
            Code::Rule(rule) => rule.url(),
            _ => None,
        };
        let message = message.into();
        Self {
            severity,
            code,
            message,
            span,
            notes: Vec::new(),
            help: None,
            url,
        }
    }

    /// Says how to mend it.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Points to a further place.
    #[must_use]
    pub fn also(mut self, span: Span, label: impl Into<String>) -> Self {
        self.notes.push(Note {
            span,
            label: label.into(),
        });
        self
    }

    /// Whether the file is refused because of it.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }

    /// The JSON form, stable: severity, code, message, help, url, and the place as file, lines and
    /// columns (from 1, columns in characters; the end is exclusive).
    pub fn to_json(&self, file: &str, source: &str) -> serde_json::Value {
        let index = LineIndex::new(source);
        let place = |span: Span| {
            let start = index.line_column(source, span.start);
            let end = index.line_column(source, span.end);
            serde_json::json!({
                "file": file,
                "start": { "line": start.line, "column": start.column, "offset": span.start },
                "end": { "line": end.line, "column": end.column, "offset": span.end },
            })
        };
        let notes: Vec<_> = self
            .notes
            .iter()
            .map(|note| serde_json::json!({ "label": note.label, "location": place(note.span) }))
            .collect();
        let mut value = serde_json::json!({
            "severity": self.severity,
            "code": self.code.name(),
            "message": self.message,
            "location": place(self.span),
        });
        if let Some(fields) = value.as_object_mut() {
            if let Some(help) = &self.help {
                fields.insert("help".to_owned(), help.as_str().into());
            }
            if let Some(url) = &self.url {
                fields.insert("url".to_owned(), url.as_str().into());
            }
            if !notes.is_empty() {
                fields.insert("notes".to_owned(), notes.into());
            }
        }
        value
    }
}
