//! The comma-separated options of `--mount` and `--device`.

use super::run::MountError;
use crate::span::{Span, Text};

/// One of the comma-separated options.
pub(super) struct Field {
    pub(super) text: String,
    /// What is before the `=` in lower case, or all of it.
    pub(super) key: String,
    pub(super) span: Span,
}

impl Field {
    pub(super) fn pair(&self) -> Option<(&str, &str)> {
        self.text
            .split_once('=')
            .map(|(_, value)| (self.key.as_str(), value))
    }
}

/// Splits a value at its commas, as CSV.
pub(super) fn fields(value: &Text) -> Result<Vec<Field>, MountError> {
    let malformed = |reason: &str| MountError {
        message: format!("failed to parse csv mounts: {reason}"),
        help: Some("separate the options by commas; quote an option that has one in it".to_owned()),
        span: value.span,
    };
    // With quotes or continuations in the flag, only the whole flag's place is known.
    let exact = value.span.len() == value.text.len();
    let mut fields = Vec::new();
    let mut push = |text: String, start: usize, end: usize| {
        let span = if exact {
            Span::new(value.span.start + start, value.span.start + end)
        } else {
            value.span
        };
        let key = text.split('=').next().unwrap_or_default().to_lowercase();
        fields.push(Field { text, key, span });
    };
    let mut at = 0;
    loop {
        let rest = &value.text[at..];
        let (text, len) = match rest.strip_prefix('"') {
            None => {
                let len = rest.find(',').unwrap_or(rest.len());
                if rest[..len].contains('"') {
                    return Err(malformed("bare \" in non-quoted field"));
                }
                (rest[..len].to_owned(), len)
            }
            Some(quoted) => {
                let (text, len) =
                    quoted_field(quoted).ok_or_else(|| malformed("extraneous or missing \""))?;
                (text, len + 1)
            }
        };
        push(text, at, at + len);
        at += len;
        match value.text[at..].chars().next() {
            None => return Ok(fields),
            Some(',') => at += 1,
            Some(_) => return Err(malformed("extraneous or missing \"")),
        }
    }
}

/// A quoted field, from after its first quote: the text, and the length with the closing quote.
fn quoted_field(rest: &str) -> Option<(String, usize)> {
    let mut text = String::new();
    let mut chars = rest.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        if c != '"' {
            text.push(c);
        } else if chars.next_if(|(_, c)| *c == '"').is_some() {
            text.push('"');
        } else {
            return Some((text, at + 1));
        }
    }
    None
}
