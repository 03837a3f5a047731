//! Positions in a Dockerfile: byte spans, and the lines and columns they fall on.

use std::ops::Range;

use serde::Serialize;

/// A half-open range of byte offsets into the source text.
///
/// Spans always lie inside the source and on character boundaries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize)]
pub struct Span {
    /// Offset of the first byte.
    pub start: usize,
    /// Offset one past the last byte.
    pub end: usize,
}

impl Span {
    /// The span `start..end`; an inverted pair is taken as empty at `start`.
    pub fn new(start: usize, end: usize) -> Self {
        Self {
            start,
            end: end.max(start),
        }
    }

    /// An empty span at `offset`.
    pub fn at(offset: usize) -> Self {
        Self {
            start: offset,
            end: offset,
        }
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.end - self.start
    }

    /// Whether the span covers no byte.
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// The smallest span that covers both.
    pub fn join(self, other: Self) -> Self {
        Self {
            start: self.start.min(other.start),
            end: self.end.max(other.end),
        }
    }

    /// The text covered, empty when the span is not one of `source`.
    pub fn text<'s>(&self, source: &'s str) -> &'s str {
        source.get(self.start..self.end).unwrap_or_default()
    }
}

/// An inclusive range of line numbers, counted from 1, as BuildKit reports locations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub struct LineRange {
    /// First line.
    pub start: usize,
    /// Last line, heredoc bodies included.
    pub end: usize,
}

/// A line and column, both counted from 1; the column counts characters, not bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct LineColumn {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
}

/// Offsets at which the lines of a source start, for turning offsets into lines and columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineIndex {
    starts: Vec<usize>,
}

impl LineIndex {
    /// Indexes `source`; one pass over the text.
    pub fn new(source: &str) -> Self {
        let mut starts = vec![0];
        starts.extend(
            source
                .bytes()
                .enumerate()
                .filter(|(_, b)| *b == b'\n')
                .map(|(i, _)| i + 1),
        );
        Self { starts }
    }

    /// The line (from 1) that holds the byte at `offset`.
    pub fn line(&self, offset: usize) -> usize {
        self.starts.partition_point(|start| *start <= offset)
    }

    /// The line and column of `offset` in `source`, the text the index was made from.
    pub fn line_column(&self, source: &str, offset: usize) -> LineColumn {
        let line = self.line(offset);
        let start = self.starts[line - 1];
        let column = source
            .get(start..offset)
            .map_or(0, |text| text.chars().count())
            + 1;
        LineColumn { line, column }
    }

    /// Offset of the first byte of `line` (from 1), or `None` past the end.
    pub fn line_start(&self, line: usize) -> Option<usize> {
        line.checked_sub(1)
            .and_then(|index| self.starts.get(index))
            .copied()
    }
}

/// Text taken as it stands: no variable is expanded in it and no quote removed from it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Text {
    /// The text, continuation lines joined.
    pub text: String,
    /// Where it was written.
    pub span: Span,
}

impl Text {
    /// Text with its place.
    pub fn new(text: impl Into<String>, span: Span) -> Self {
        Self {
            text: text.into(),
            span,
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// A word as written, still to be expanded: quotes, escapes and `$variables` are all in it.
///
/// Expansion depends on the ARG and ENV values at this point of the stage, so it is the
/// planner's work: [`crate::shell::Lexer::process_word`] (one word in, one word out) or, for
/// EXPOSE, [`crate::shell::Lexer::process_words`] (which splits).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Word {
    /// The raw word.
    pub raw: String,
    /// Where it was written.
    pub span: Span,
}

impl Word {
    /// A raw word with its place.
    pub fn new(raw: impl Into<String>, span: Span) -> Self {
        Self {
            raw: raw.into(),
            span,
        }
    }

    /// The raw word.
    pub fn as_str(&self) -> &str {
        &self.raw
    }

    /// Where a part of the raw word was written; the whole word's place when it was continued over
    /// lines or unquoted on the way.
    pub fn place(&self, part: &Range<usize>) -> Span {
        match self.span.len() == self.raw.len() {
            true => Span::new(self.span.start + part.start, self.span.start + part.end),
            false => self.span,
        }
    }
}
