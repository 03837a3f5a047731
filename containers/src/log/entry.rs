//! A line of the file: `{"log":"hello\n","stream":"stdout","time":"2026-11-27T12:00:00.1Z"}`.

use std::fmt::Write as _;

use serde::Deserialize;

/// Which stream a line came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    /// Standard output, or a terminal.
    Stdout,
    /// Standard error.
    Stderr,
}

/// A line as it is read.
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub struct Entry {
    /// What was written, with its line break if it had one.
    pub log: String,
    /// From where.
    pub stream: Stream,
    /// When, RFC 3339.
    pub time: String,
}

/// Appends a line to `out`. What is not UTF-8 becomes U+FFFD, as with docker.
pub(super) fn append(out: &mut String, text: &[u8], stream: Stream, time: &str) {
    out.push_str("{\"log\":\"");
    for part in text.utf8_chunks() {
        escape(out, part.valid());
        if !part.invalid().is_empty() {
            out.push_str("\\ufffd");
        }
    }
    let stream = match stream {
        Stream::Stdout => "stdout",
        Stream::Stderr => "stderr",
    };
    // Writing to a string cannot fail.
    let _ = writeln!(out, "\",\"stream\":\"{stream}\",\"time\":\"{time}\"}}");
}

/// As Go's encoder does it: also what HTML or JavaScript would act upon.
fn escape(out: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\0'..='\u{1f}' => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_dockers() {
        let mut out = String::new();
        append(
            &mut out,
            b"a\"\\<\x1b[1m\xff\xc3\xa9\r\n",
            Stream::Stderr,
            "2026-11-27T12:00:00Z",
        );
        assert_eq!(
            out,
            "{\"log\":\"a\\\"\\\\\\u003c\\u001b[1m\\ufffd\u{e9}\\r\\n\",\"stream\":\"stderr\",\
             \"time\":\"2026-11-27T12:00:00Z\"}\n"
        );
        let entry: Entry = serde_json::from_str(&out).unwrap();
        assert_eq!(entry.log, "a\"\\<\u{1b}[1m\u{fffd}\u{e9}\r\n");
        assert_eq!(entry.stream, Stream::Stderr);
    }
}
