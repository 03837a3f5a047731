//! Output that comes in pieces, taken apart into lines with work and memory that do not grow with
//! their length.

use std::collections::VecDeque;

use crate::term::fit::plain;

/// The longest line that is waited for, in bytes; a longer one comes in parts.
const MAX_LINE: usize = 1 << 20;
/// How much of the last line is looked at to show it, in bytes.
const SHOWN: usize = 4 << 10;

/// Lines in the making.
#[derive(Debug, Default)]
pub struct Lines {
    partial: Vec<u8>,
}

impl Lines {
    /// Takes a piece, and gives every line that is complete by it, with its end. Each byte is
    /// looked at once.
    pub fn feed(&mut self, bytes: &[u8], mut line: impl FnMut(&[u8])) {
        for part in bytes.split_inclusive(|b| *b == b'\n') {
            let room = MAX_LINE.saturating_sub(self.partial.len());
            let (now, later) = part.split_at(part.len().min(room));
            self.partial.extend_from_slice(now);
            if self.partial.ends_with(b"\n") || !later.is_empty() {
                line(&self.partial);
                self.partial.clear();
                for piece in later.chunks(MAX_LINE) {
                    match piece.ends_with(b"\n") || piece.len() == MAX_LINE {
                        true => line(piece),
                        false => self.partial.extend_from_slice(piece),
                    }
                }
            }
        }
    }

    /// What has no end yet.
    pub fn rest(&self) -> &[u8] {
        &self.partial
    }
}

/// The last lines of some output, as a terminal would show them.
#[derive(Debug)]
pub struct Tail {
    lines: Lines,
    last: VecDeque<String>,
    count: usize,
}

impl Tail {
    /// Keeps this many lines.
    pub fn new(count: usize) -> Self {
        Self {
            lines: Lines::default(),
            last: VecDeque::new(),
            count,
        }
    }

    /// Takes a piece.
    pub fn feed(&mut self, bytes: &[u8]) {
        let (last, count) = (&mut self.last, self.count);
        self.lines.feed(bytes, |line| {
            last.push_back(visible(line));
            if last.len() > count {
                last.pop_front();
            }
        });
    }

    /// The last lines, the one in the making too.
    pub fn shown(&self) -> Vec<String> {
        let rest = self.lines.rest();
        let whole = self.last.iter().cloned();
        let all: Vec<String> = match rest.is_empty() {
            true => whole.collect(),
            false => whole.chain([visible(rest)]).collect(),
        };
        let skip = all.len().saturating_sub(self.count);
        all.into_iter().skip(skip).collect()
    }
}

/// What a line shows: what follows its last carriage return, without whatever would move the
/// cursor.
fn visible(line: &[u8]) -> String {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let end = line.get(line.len().saturating_sub(SHOWN)..).unwrap_or(line);
    let start = line.get(..line.len().min(SHOWN)).unwrap_or(line);
    let shown = match end.iter().rposition(|b| *b == b'\r') {
        Some(at) => end.get(at + 1..).unwrap_or_default(),
        None => start,
    };
    plain(&String::from_utf8_lossy(shown))
        .chars()
        .take(300)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_take_bounded_memory_and_lose_nothing() {
        for size in [3 << 20, 30 << 20] {
            let mut lines = Lines::default();
            let (mut seen, mut most) = (0, 0);
            let chunk = vec![b'x'; 32 << 10];
            for _ in 0..size / chunk.len() {
                lines.feed(&chunk, |line| {
                    assert!(line.len() <= MAX_LINE);
                    seen += line.len();
                });
                most = most.max(lines.rest().len());
            }
            assert_eq!(seen + lines.rest().len(), size);
            assert!(most <= MAX_LINE, "{most}");
        }
        let mut lines = Lines::default();
        let mut lengths = Vec::new();
        let mut huge = vec![b'y'; 5 * MAX_LINE / 2];
        huge.extend(b"\nnext\n");
        lines.feed(&huge, |line| lengths.push(line.len()));
        assert_eq!(lengths, [MAX_LINE, MAX_LINE, MAX_LINE / 2 + 1, 5]);
    }

    #[test]
    fn pieces_come_to_the_same_lines() {
        let text = b"one\ntwo\r\n\nlast";
        for size in 1..text.len() {
            let mut lines = Lines::default();
            let mut found = Vec::new();
            for piece in text.chunks(size) {
                lines.feed(piece, |line| found.push(line.to_vec()));
            }
            assert_eq!(found, [&b"one\n"[..], b"two\r\n", b"\n"], "{size}");
            assert_eq!(lines.rest(), b"last");
        }
    }

    #[test]
    fn the_tail_cannot_move_the_cursor() {
        let mut tail = Tail::new(3);
        tail.feed(b"gone\n\x1b[2J\x1b[31mred\x1b[0m\n10%\r20%\r\nfirst\x07\x1b]0;title\x07\n");
        tail.feed("\u{9b}2Jla\x1b".as_bytes());
        tail.feed(b"[1Ast");
        assert_eq!(tail.shown(), ["20%", "first]0;title", "2Jlast"]);
    }
}
