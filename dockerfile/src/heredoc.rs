//! Here-documents: `<<EOF` and what follows up to `EOF`.

use std::borrow::Cow;
use std::ops::Range;

use serde::Serialize;

use crate::span::Span;

/// One here-document of a RUN, COPY or ADD instruction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Heredoc {
    /// The delimiter, unquoted. COPY and ADD name the file after it.
    pub name: String,
    /// The body as written: every line with its line end, leading tabs still there.
    pub content: String,
    /// False when the delimiter was quoted: then COPY and ADD take the body literally.
    /// RUN never expands; the shell sees the same quoting.
    pub expand: bool,
    /// `<<-`: leading tabs are dropped from each line, see [`Heredoc::body`].
    pub chomp: bool,
    /// The file descriptor written before `<<`, 0 when none was.
    pub fd: u32,
    /// Where the `<<EOF` word is.
    pub word: Span,
    /// Where the body is, terminator excluded.
    pub span: Span,
}

impl Heredoc {
    /// The body as the file or script gets it: for `<<-`, without the leading tabs of each line.
    ///
    /// Variables in it are not expanded yet; when [`Heredoc::expand`] is set, COPY and ADD pass
    /// this through [`crate::shell::Lexer::heredoc`].
    pub fn body(&self) -> Cow<'_, str> {
        if !self.chomp {
            return Cow::Borrowed(&self.content);
        }
        let mut body = String::with_capacity(self.content.len());
        for line in self.content.split_inclusive('\n') {
            body.push_str(line.trim_start_matches('\t'));
        }
        Cow::Owned(body)
    }

    /// Where a part of [`Heredoc::body`] was written.
    pub fn place(&self, part: &Range<usize>) -> Span {
        let written = |offset: usize| {
            let (mut in_body, mut dropped) = (0, 0);
            for line in self.content.split_inclusive('\n') {
                let tabs = match self.chomp {
                    true => line.len() - line.trim_start_matches('\t').len(),
                    false => 0,
                };
                dropped += tabs;
                in_body += line.len() - tabs;
                if offset < in_body {
                    break;
                }
            }
            self.span.start + offset + dropped
        };
        // The end is behind the last byte, which is on the line that is meant.
        let end = match part.end.checked_sub(1) {
            Some(last) if part.end > part.start => written(last) + 1,
            _ => written(part.start),
        };
        Span::new(written(part.start), end)
    }

    /// Whether the body is a script with its own interpreter (`#!`).
    pub(crate) fn has_shebang(&self) -> bool {
        self.body().starts_with("#!")
    }
}
