//! The physical lines of a source.

/// A line with its line end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Line<'s> {
    pub(super) text: &'s str,
    /// Offset of its first byte.
    pub(super) start: usize,
}

impl<'s> Line<'s> {
    /// The line without its line end.
    pub(super) fn content(&self) -> &'s str {
        self.text.trim_end_matches(['\r', '\n'])
    }

    /// Whether it is a comment, indented or not.
    pub(super) fn is_comment(&self) -> bool {
        self.content().trim_start().starts_with('#')
    }
}

/// Reads a source line by line, counting.
#[derive(Debug)]
pub(super) struct Lines<'s> {
    source: &'s str,
    offset: usize,
    number: usize,
}

impl<'s> Lines<'s> {
    pub(super) fn new(source: &'s str) -> Self {
        Self {
            source,
            offset: 0,
            number: 0,
        }
    }

    pub(super) fn source(&self) -> &'s str {
        self.source
    }

    /// Offset of the next line.
    pub(super) fn offset(&self) -> usize {
        self.offset
    }

    /// Number of lines read so far.
    pub(super) fn number(&self) -> usize {
        self.number
    }

    pub(super) fn next_line(&mut self) -> Option<Line<'s>> {
        let start = self.offset;
        let rest = &self.source[start..];
        if rest.is_empty() {
            return None;
        }
        let len = rest.find('\n').map_or(rest.len(), |at| at + 1);
        self.offset += len;
        self.number += 1;
        let mut line = Line {
            text: &rest[..len],
            start,
        };
        if start == 0
            && let Some(text) = line.text.strip_prefix('\u{feff}')
        {
            line = Line {
                text,
                start: '\u{feff}'.len_utf8(),
            };
        }
        Some(line)
    }
}
