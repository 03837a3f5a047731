//! How a command ends when it fails: what is printed, and the exit code.

use builder::engine::secrets::Masker;
use oci::causes::with_causes;

/// The exit code of what SIGPIPE ends, as shells tell it.
pub const BROKEN_PIPE: u8 = 128 + 13;

/// Why a command failed: what to print, and the exit code.
#[derive(Debug)]
pub struct Failure {
    /// Where it went wrong, shown before the message: source lines with carets.
    pub excerpt: Option<String>,
    /// The message, without `error:`.
    pub message: String,
    /// The exit code, never 0.
    pub code: u8,
    /// It was ended by something else, which is told in its place.
    pub canceled: bool,
}

impl Failure {
    /// A failure with exit code 1.
    pub fn new(message: impl std::fmt::Display) -> Self {
        Self {
            excerpt: None,
            message: message.to_string(),
            code: 1,
            canceled: false,
        }
    }

    /// What reads our output has ended before everything came, as `head` does. It has seen what it
    /// wanted: this is no reason for a message, and ends with the code of what SIGPIPE ends.
    pub fn closed_pipe() -> Self {
        Self::with_code("", BROKEN_PIPE)
    }

    /// The same, with the source lines that it is about.
    pub fn at(mut self, excerpt: String) -> Self {
        self.excerpt = Some(excerpt);
        self
    }

    /// The same, without the secrets of a build.
    pub fn masked(self, masker: &Masker) -> Self {
        Self {
            excerpt: self.excerpt.map(|text| masker.text(&text)),
            message: masker.text(&self.message),
            ..self
        }
    }

    /// The same, with what a step wrote before it failed as the last lines of the excerpt.
    pub fn with_log(mut self, lines: &[String]) -> Self {
        if !lines.is_empty() {
            let excerpt = self.excerpt.get_or_insert_default();
            if !excerpt.is_empty() {
                excerpt.push_str("\n\n");
            }
            excerpt.push_str(&lines.join("\n"));
        }
        self
    }

    /// The same, of work that was ended by something else.
    pub fn canceled(self) -> Self {
        Self {
            canceled: true,
            ..self
        }
    }

    /// A failure with an exit code of its own.
    pub fn with_code(message: impl std::fmt::Display, code: u8) -> Self {
        Self {
            excerpt: None,
            message: message.to_string(),
            code: code.max(1),
            canceled: false,
        }
    }
}

impl<E: std::error::Error + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::new(with_causes(&error))
    }
}

/// What a command returns.
pub type Outcome = Result<(), Failure>;
