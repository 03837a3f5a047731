//! Logical lines: continuations joined, with the way back to the source.

use std::ops::Range;

use crate::span::{Span, Text};

/// An instruction's text on one line, and where each part of it came from.
#[derive(Debug, Clone, Default)]
pub(crate) struct LogicalLine {
    pub(crate) text: String,
    /// Offset in `text` and in the source at which each piece starts.
    pieces: Vec<(usize, usize)>,
}

impl LogicalLine {
    /// A line that is a whole source by itself.
    pub(crate) fn push(&mut self, piece: &str, offset: usize) {
        self.pieces.push((self.text.len(), offset));
        self.text.push_str(piece);
    }

    /// Where the byte at `offset` of the text is in the source.
    fn source_offset(&self, offset: usize) -> usize {
        let index = self.pieces.partition_point(|(start, _)| *start <= offset);
        match index
            .checked_sub(1)
            .and_then(|index| self.pieces.get(index))
        {
            Some((start, source)) => source + (offset - start),
            None => offset,
        }
    }

    /// The source span of a range of the text.
    pub(crate) fn span(&self, range: Range<usize>) -> Span {
        if range.is_empty() {
            // After the last byte rather than before the next piece, which may be lines below.
            let at = match range.start.checked_sub(1) {
                Some(before) => self.source_offset(before) + 1,
                None => self.source_offset(0),
            };
            return Span::at(at);
        }
        Span::new(
            self.source_offset(range.start),
            self.source_offset(range.end - 1) + 1,
        )
    }

    /// The text of a range with its span.
    pub(crate) fn slice(&self, range: Range<usize>) -> Text {
        let span = self.span(range.clone());
        Text::new(&self.text[range], span)
    }

    /// `range` without the white space at both ends.
    pub(crate) fn trim(&self, range: Range<usize>) -> Range<usize> {
        let text = &self.text[range.clone()];
        let start = range.start + (text.len() - text.trim_start().len());
        start..start + text.trim().len()
    }
}

/// White space between words: blanks, but neither a newline nor other Unicode spaces.
pub(crate) fn is_blank(c: char) -> bool {
    matches!(c, '\t' | '\u{b}' | '\u{c}' | '\r' | ' ')
}

/// Splits `range` at its first run of blanks.
pub(crate) fn split_once_blank(
    text: &str,
    range: Range<usize>,
) -> (Range<usize>, Option<Range<usize>>) {
    let part = &text[range.clone()];
    match part.find(is_blank) {
        None => (range, None),
        Some(at) => {
            let after = part[at..]
                .find(|c| !is_blank(c))
                .map_or(part.len(), |skip| at + skip);
            (
                range.start..range.start + at,
                Some(range.start + after..range.end),
            )
        }
    }
}
