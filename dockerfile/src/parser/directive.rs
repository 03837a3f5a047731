//! Parser directives: `# syntax=`, `# escape=` and `# check=` at the top of the file.

use serde::Serialize;

use crate::span::Text;

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

impl Directives {
    /// The escape character in force, a backslash unless a directive changed it.
    pub fn escape_char(&self) -> char {
        match &self.escape {
            Some(text) if text.text == "`" => '`',
            _ => '\\',
        }
    }
}
