//! Here-document markers, and the bodies that follow.

use super::line::LogicalLine;
use super::lines::Lines;
use crate::heredoc::Heredoc;
use crate::shell::{ExpandError, Lexer, NoVariables};
use crate::span::Span;

/// A `<<EOF` word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Marker {
    pub(crate) name: String,
    pub(crate) expand: bool,
    pub(crate) chomp: bool,
    pub(crate) fd: u32,
}

/// Reads `word` as a here-document marker: `[fd]<<[-]delimiter`.
pub(crate) fn marker(word: &str) -> Result<Option<Marker>, ExpandError> {
    let digits = word.bytes().take_while(u8::is_ascii_digit).count();
    let Some(rest) = word[digits..].strip_prefix("<<") else {
        return Ok(None);
    };
    let (chomp, delimiter) = match rest.strip_prefix('-') {
        Some(delimiter) => (true, delimiter),
        None => (false, rest),
    };
    if delimiter.is_empty() || delimiter.contains('<') {
        return Ok(None);
    }
    let lexer = Lexer::new('\\').keep_unset();
    let words = lexer.process_words(delimiter, &NoVariables)?;
    let [name] = words.as_slice() else {
        return Ok(None);
    };
    let raw = lexer.raw_quotes().process_words(delimiter, &NoVariables)?;
    let quotes = |words: &[String]| -> usize {
        words
            .iter()
            .map(|word| word.matches(['\'', '"']).count())
            .sum()
    };
    Ok(Some(Marker {
        name: name.clone(),
        expand: quotes(&words) == quotes(&raw),
        chomp,
        fd: word[..digits].parse().unwrap_or(0),
    }))
}

/// The markers in an instruction's text, in order, each with its place.
pub(super) fn markers(line: &LogicalLine) -> Result<Vec<(Marker, Span)>, ExpandError> {
    if !line.text.contains("<<") {
        return Ok(Vec::new());
    }
    let lexer = Lexer::new('\\').raw_quotes().raw_escapes().keep_unset();
    // A line whose quotes do not pair up has no here-documents; the shell will complain.
    let words = lexer
        .process_words(&line.text, &NoVariables)
        .unwrap_or_default();
    let mut markers = Vec::new();
    let mut at = 0;
    for word in words {
        let found = line.text[at..].find(&word).map(|skip| at + skip);
        if let Some(marker) = marker(&word)? {
            let start = found.or_else(|| line.text[at..].find("<<").map(|skip| at + skip));
            let start = start.unwrap_or(at);
            let end = if found.is_some() {
                start + word.len()
            } else {
                line.text.len()
            };
            markers.push((marker, line.span(start..end)));
        }
        if let Some(found) = found {
            at = found + word.len();
        }
    }
    Ok(markers)
}

/// Reads the body of `marker`; `Err` holds what there is when the end never comes.
pub(super) fn body(marker: Marker, word: Span, lines: &mut Lines<'_>) -> Result<Heredoc, Heredoc> {
    let start = lines.offset();
    let mut end = start;
    let mut terminated = false;
    while let Some(line) = lines.next_line() {
        let text = line.text.trim_end_matches(['\r', '\n']);
        let text = if marker.chomp {
            text.trim_start_matches('\t')
        } else {
            text
        };
        if text == marker.name {
            terminated = true;
            break;
        }
        end = line.start + line.text.len();
    }
    let heredoc = Heredoc {
        content: lines.source()[start..end].to_owned(),
        name: marker.name,
        expand: marker.expand,
        chomp: marker.chomp,
        fd: marker.fd,
        word,
        span: Span::new(start, end),
    };
    if terminated {
        Ok(heredoc)
    } else {
        Err(heredoc)
    }
}
