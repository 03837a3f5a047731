//! Parser directives: `# syntax=`, `# escape=` and `# check=` at the top of the file.

use serde::Serialize;

use crate::diagnostic::{Code, Diagnostic};
use crate::span::{Span, Text};

/// The parser directives of a file.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Directives {
    /// `# syntax=`: the frontend image the author asked for. Nothing is fetched because of it.
    pub syntax: Option<Text>,
    /// `# escape=`: a backslash or a backtick.
    pub escape: Option<Text>,
    /// `# check=`: options of the build checks, see [`crate::lint`].
    pub check: Option<Text>,
}

/// Which directives a line can be. BuildKit reads them twice: `escape` on lines without the blanks
/// before them, the others on lines as they are and also below a `#!` line.
#[derive(Debug, Clone, Copy)]
pub(super) struct Honoured {
    pub(super) escape: bool,
    pub(super) others: bool,
}

impl Directives {
    /// The escape character in force, a backslash unless a directive changed it.
    pub fn escape_char(&self) -> char {
        match &self.escape {
            Some(text) if text.text == "`" => '`',
            _ => '\\',
        }
    }

    /// Takes a comment line (trimmed, `#` included, at `offset`) as a directive. False ends the
    /// directives: the line is an ordinary comment, and so are all that follow.
    pub(super) fn take(
        &mut self,
        line: &str,
        offset: usize,
        honoured: Honoured,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> bool {
        let Some((name, value, value_at)) = split(line) else {
            return false;
        };
        let value = Text::new(
            value,
            Span::new(offset + value_at, offset + value_at + value.len()),
        );
        let name = name.to_ascii_lowercase();
        let slot = match name.as_str() {
            "escape" if !honoured.escape => return false,
            "syntax" | "check" if !honoured.others => return true,
            "syntax" => &mut self.syntax,
            "escape" => &mut self.escape,
            "check" => &mut self.check,
            _ => return false,
        };
        let span = Span::new(offset, offset + line.len());
        if let Some(first) = slot {
            diagnostics.push(
                Diagnostic::error(
                    Code::DuplicateDirective,
                    format!("only one {name} parser directive can be used"),
                    span,
                )
                .also(first.span, "the first one is here")
                .help("remove one of the two"),
            );
            return true;
        }
        if name == "escape" && value.text != "`" && value.text != "\\" {
            diagnostics.push(
                Diagnostic::error(
                    Code::InvalidEscape,
                    format!(
                        "invalid escape token '{}' does not match ` or \\",
                        value.text
                    ),
                    value.span,
                )
                .help("write `# escape=\\` or `# escape=``, nothing else"),
            );
            return true;
        }
        *slot = Some(value);
        true
    }
}

/// Splits `# name = value`, giving the offset of the value as well.
fn split(line: &str) -> Option<(&str, &str, usize)> {
    let body = line.strip_prefix('#')?.trim_start();
    let (name, value) = body.split_once('=')?;
    let name = name.trim_end();
    let value = value.trim();
    let named = name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(|c| c.is_ascii_alphanumeric());
    if !named || value.is_empty() {
        return None;
    }
    Some((name, value, line.trim_end().len() - value.len()))
}
