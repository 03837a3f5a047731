//! How each instruction splits its arguments.

use std::ops::Range;

use super::ast::{Args, Pair};
use super::json::{JsonArray, parse_array};
use super::line::{LogicalLine, is_blank, split_once_blank};
use crate::diagnostic::{Code, Diagnostic};
use crate::span::Text;

/// `--flag` words at the start of `range`: the words, and where the arguments begin.
pub(super) fn split_flags(line: &LogicalLine, range: Range<usize>) -> (Vec<Text>, Range<usize>) {
    let mut flags = Vec::new();
    let mut at = range.start;
    loop {
        let rest = &line.text[at..range.end];
        at += rest.len() - rest.trim_start().len();
        let rest = &line.text[at..range.end];
        if !rest.starts_with("--") {
            return (flags, at..range.end);
        }
        let (word, len, quoted) = flag_word(rest);
        if word == "--" {
            return (flags, at + len..range.end);
        }
        if quoted || !word.is_empty() {
            flags.push(Text::new(word, line.span(at..at + len)));
        }
        at += len;
    }
}

/// The word at the start of `rest` without its quotes and backslashes, its length in `rest`, and
/// whether any of it was quoted.
fn flag_word(rest: &str) -> (String, usize, bool) {
    let mut word = String::new();
    let mut quote = None;
    let mut quoted = false;
    let mut chars = rest.char_indices();
    while let Some((at, c)) = chars.next() {
        match (quote, c) {
            (None, c) if c.is_whitespace() => return (word, at, quoted),
            (None, '\'' | '"') => {
                quote = Some(c);
                quoted = true;
            }
            (Some(open), c) if c == open => quote = None,
            (_, '\\') => {
                if let Some((_, escaped)) = chars.next() {
                    word.push(escaped);
                }
            }
            (_, c) => word.push(c),
        }
    }
    (word, rest.len(), quoted)
}

/// Words at blanks, quotes and escapes kept; used by ENV, LABEL and ARG.
fn shell_words(
    line: &LogicalLine,
    range: Range<usize>,
    escape: char,
) -> Vec<(String, Range<usize>)> {
    let rest = &line.text[range.clone()];
    let mut words = Vec::new();
    let mut word = String::new();
    let mut start = None;
    let mut quote = None;
    let mut chars = rest.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        if quote.is_none() && c.is_whitespace() {
            if let Some(from) = start.take() {
                words.push((
                    std::mem::take(&mut word),
                    range.start + from..range.start + at,
                ));
            }
            continue;
        }
        if c == escape && quote != Some('\'') {
            // An escape at the very end stands for nothing.
            let Some((_, escaped)) = chars.next() else {
                break;
            };
            start.get_or_insert(at);
            word.push(c);
            word.push(escaped);
            continue;
        }
        start.get_or_insert(at);
        match quote {
            None if c == '\'' || c == '"' => quote = Some(c),
            Some(open) if c == open => quote = None,
            _ => {}
        }
        word.push(c);
    }
    if let Some(from) = start {
        words.push((word, range.start + from..range.end));
    }
    words
}

/// ARG: words as they are.
pub(super) fn names(line: &LogicalLine, range: Range<usize>, escape: char) -> Args {
    let words: Vec<Text> = shell_words(line, range, escape)
        .into_iter()
        .map(|(word, at)| Text::new(word, line.span(at)))
        .collect();
    if words.is_empty() {
        Args::None
    } else {
        Args::List { words, json: false }
    }
}

/// ENV and LABEL: `key=value…`, or the legacy `key value`.
pub(super) fn pairs(
    line: &LogicalLine,
    range: Range<usize>,
    escape: char,
    keyword: &str,
) -> Result<Args, Diagnostic> {
    let words = shell_words(line, range.clone(), escape);
    let Some(first) = words.first() else {
        return Ok(Args::None);
    };
    if !first.0.contains('=') {
        let (key, value) = split_once_blank(&line.text, range);
        let Some(value) = value else {
            let key = line.slice(key);
            return Err(Diagnostic::error(
                Code::InvalidArgument,
                format!("{keyword} must have two arguments"),
                key.span,
            )
            .help(format!("write `{keyword} {}=VALUE`", key.text)));
        };
        let pair = Pair {
            key: line.slice(key),
            value: line.slice(value),
            equals: false,
        };
        return Ok(Args::Pairs(vec![pair]));
    }
    let mut pairs = Vec::with_capacity(words.len());
    for (word, at) in words {
        let Some((key, value)) = word.split_once('=') else {
            return Err(Diagnostic::error(
                Code::InvalidArgument,
                format!(
                    "Syntax error - can't find = in {}. Must be of the form: name=value",
                    golang::quote::go_quote(&word)
                ),
                line.span(at),
            )
            .help(comment_help(
                [word.as_str()],
                "quote a value that has spaces: name=\"a value\"",
            )));
        };
        let equals = at.start + key.len();
        pairs.push(Pair {
            key: Text::new(key, line.span(at.start..equals)),
            value: Text::new(value, line.span(equals + 1..at.end)),
            equals: true,
        });
    }
    Ok(Args::Pairs(pairs))
}

/// One string, or nothing.
pub(super) fn string(line: &LogicalLine, range: Range<usize>) -> Args {
    if range.is_empty() {
        return Args::None;
    }
    Args::List {
        words: vec![line.slice(range)],
        json: false,
    }
}

/// Words between blanks.
pub(super) fn list(line: &LogicalLine, range: Range<usize>) -> Args {
    if range.is_empty() {
        return Args::None;
    }
    let text = &line.text[range.clone()];
    let mut words = Vec::new();
    let mut start = 0;
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        if is_blank(c) {
            words.push(line.slice(range.start + start..range.start + at));
            while chars.next_if(|(_, c)| is_blank(*c)).is_some() {}
            start = chars.peek().map_or(text.len(), |(at, _)| *at);
        }
    }
    words.push(line.slice(range.start + start..range.end));
    Args::List { words, json: false }
}

/// What stands behind an instruction's arguments and is none of them.
#[derive(Default)]
pub(super) struct Trailing {
    /// Where it begins in the line: the instruction ends there.
    pub(super) start: Option<usize>,
    /// What is to be said of it.
    pub(super) warnings: Vec<Diagnostic>,
}

/// The form that arguments have when they are no array.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Otherwise {
    /// A command line for a shell.
    Shell,
    /// Words.
    Words,
}

/// A JSON array of strings, or `None` when it is not one and the other form applies.
fn json(
    line: &LogicalLine,
    range: Range<usize>,
    otherwise: Otherwise,
    trailing: &mut Trailing,
) -> Result<Option<Vec<Text>>, Diagnostic> {
    let range = line.trim(range);
    let text = &line.text[range.clone()];
    let within = |at: Range<usize>| range.start + at.start..range.start + at.end;
    let words = match parse_array(text) {
        JsonArray::Strings(words) => words,
        JsonArray::Commented(words, comment) => {
            let span = line.span(within(comment.clone()));
            let message = "a comment after an array is left out";
            trailing.warnings.push(
                Diagnostic::warning(Code::TrailingComment, message, span).help(
                    "comments need a line of their own: BuildKit takes this line for no array",
                ),
            );
            trailing.start = Some(range.start + comment.start);
            words
        }
        JsonArray::Followed(count, end, _)
            if otherwise == Otherwise::Shell && is_test(text, count, end) =>
        {
            return Ok(None);
        }
        JsonArray::Followed(_, _, rest) => {
            let span = line.span(within(rest));
            let message = "there is other text after the array";
            let help = match otherwise {
                Otherwise::Shell => {
                    "end the line with the array; or leave brackets and commas out, and a shell \
                     runs it"
                }
                Otherwise::Words => "put everything into the array, or leave its brackets out",
            };
            return Err(Diagnostic::error(Code::InvalidJson, message, span).help(help));
        }
        JsonArray::NotStrings => {
            return Err(Diagnostic::error(
                Code::InvalidJson,
                "when using JSON array syntax, arrays must be comprised of strings only",
                line.span(range),
            )
            .help("put every element in double quotes"));
        }
        JsonArray::NotJson => return Ok(None),
    };
    let word = |(word, at): (String, Range<usize>)| Text::new(word, line.span(within(at)));
    Ok(Some(words.into_iter().map(word).collect()))
}

/// Whether what looks like an array that ends at `end` is the shell's test of one word, with
/// something that the shell does next: `[ "$DEBUG" ] && echo on`.
fn is_test(text: &str, elements: usize, end: usize) -> bool {
    let (array, behind) = text.split_at(end);
    let inner = array.get(1..array.len() - 1).unwrap_or_default();
    elements <= 1
        && inner.starts_with(is_blank)
        && inner.ends_with(is_blank)
        && behind.trim_start().starts_with(['&', '|', ';', '<', '>'])
}

/// The help for arguments, which is another one when a word like a comment is among them.
pub(crate) fn comment_help<'h>(words: impl IntoIterator<Item = &'h str>, help: &'h str) -> &'h str {
    match words.into_iter().any(|word| word.starts_with('#')) {
        true => "comments need a line of their own: put it above the instruction",
        false => help,
    }
}

/// A JSON array, or the whole text as one string.
pub(super) fn maybe_json(
    line: &LogicalLine,
    range: Range<usize>,
    trailing: &mut Trailing,
) -> Result<Args, Diagnostic> {
    if range.is_empty() {
        return Ok(Args::None);
    }
    Ok(
        match json(line, range.clone(), Otherwise::Shell, trailing)? {
            Some(words) => Args::List { words, json: true },
            None => string(line, range),
        },
    )
}

/// A JSON array, or words between blanks.
pub(super) fn maybe_json_list(
    line: &LogicalLine,
    range: Range<usize>,
    trailing: &mut Trailing,
) -> Result<Args, Diagnostic> {
    Ok(
        match json(line, range.clone(), Otherwise::Words, trailing)? {
            Some(words) => Args::List { words, json: true },
            None => list(line, range),
        },
    )
}

/// HEALTHCHECK: a type, then a command.
pub(super) fn health(
    line: &LogicalLine,
    range: Range<usize>,
    trailing: &mut Trailing,
) -> Result<Args, Diagnostic> {
    let text = &line.text[range.clone()];
    let kind_len = text.find(char::is_whitespace).unwrap_or(text.len());
    if kind_len == 0 {
        return Ok(Args::None);
    }
    let kind = line.slice(range.start..range.start + kind_len);
    let rest = text[kind_len..].trim_start();
    let command = range.end - rest.len()..range.end;
    Ok(match maybe_json(line, command, trailing)? {
        Args::List { words, json } => Args::Health { kind, words, json },
        _ => Args::Health {
            kind,
            words: Vec::new(),
            json: false,
        },
    })
}
