//! Template text to pieces: literal text, and actions as words.

use super::mistake::Mistake;

/// A piece of a template.
#[derive(Clone, Debug, PartialEq)]
pub enum Piece {
    /// Text that stays as it is.
    Text(String),
    /// The words between `{{` and `}}`, and where it begins.
    Action(Vec<Word>, usize),
}

/// A word of an action and where it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Word {
    /// What it is.
    pub token: Token,
    /// Its offset in the template, in bytes.
    pub at: usize,
    /// Whether space, or the action's beginning, comes before it.
    pub spaced: bool,
}

/// What a word can be.
#[derive(Clone, Debug, PartialEq)]
pub enum Token {
    /// `.Name`
    Field(String),
    /// `.`
    Dot,
    /// `$` or `$name`
    Variable(String),
    /// A function, keyword or constant.
    Name(String),
    /// A quoted text.
    Text(String),
    /// A whole number.
    Int(i64),
    /// A number with a fraction.
    Float(f64),
    /// `|`
    Pipe,
    /// `(`
    Open,
    /// `)`
    Close,
    /// `,`
    Comma,
    /// `:=`
    Declare,
    /// `=`
    Assign,
}

/// Cuts a template into pieces; `{{-` and `-}}` take the space next to them away.
pub fn lex(source: &str) -> Result<Vec<Piece>, Mistake> {
    let mut pieces = Vec::new();
    let mut at = 0;
    let mut trim_next = false;
    loop {
        let rest = source.get(at..).unwrap_or_default();
        let (text, action) = match rest.split_once("{{") {
            Some((text, action)) => (text, Some(action)),
            None => (rest, None),
        };
        let mut shown = text;
        if trim_next {
            shown = shown.trim_start();
        }
        let trim_this = action.is_some_and(|a| {
            a.starts_with('-') && a[1..].starts_with(|c: char| c.is_ascii_whitespace())
        });
        if trim_this {
            shown = shown.trim_end();
        }
        if !shown.is_empty() {
            pieces.push(Piece::Text(shown.to_owned()));
        }
        if action.is_none() {
            return Ok(pieces);
        }
        let start = at + text.len();
        let inside = start + 2 + usize::from(trim_this);
        let (words, end) = words(source, inside, start)?;
        trim_next = source[..end].ends_with("-}}");
        if let Some(words) = words {
            pieces.push(Piece::Action(words, start));
        }
        at = end;
    }
}

/// The words up to `}}`, and the offset after it; no words for a comment.
fn words(source: &str, mut at: usize, start: usize) -> Result<(Option<Vec<Word>>, usize), Mistake> {
    let unclosed = || Mistake::new("unclosed action: a }} is missing", start);
    let rest = |at: usize| source.get(at..).unwrap_or_default();
    let skipped = rest(at).len() - rest(at).trim_start().len();
    if rest(at + skipped).starts_with("/*") {
        let comment = rest(at + skipped);
        let end = comment
            .find("*/")
            .ok_or_else(|| Mistake::new("unclosed comment", start))?;
        let after = at + skipped + end + 2;
        let close = rest(after).trim_start_matches([' ', '\t', '\n', '\r']);
        let close_at = source.len() - close.len();
        let length = if close.starts_with("-}}") {
            3
        } else if close.starts_with("}}") {
            2
        } else {
            return Err(Mistake::new("comment ends before closing delimiter", after));
        };
        return Ok((None, close_at + length));
    }
    let mut words: Vec<Word> = Vec::new();
    let mut spaced = true;
    loop {
        let here = rest(at);
        let Some(c) = here.chars().next() else {
            return Err(unclosed());
        };
        if here.starts_with("}}") {
            return Ok((Some(words), at + 2));
        }
        if spaced && here.starts_with("-}}") {
            return Ok((Some(words), at + 3));
        }
        if c.is_whitespace() {
            spaced = true;
            at += c.len_utf8();
            continue;
        }
        let (token, length) = token(here).map_err(|message| Mistake::new(message, at))?;
        words.push(Word { token, at, spaced });
        spaced = false;
        at += length;
    }
}

fn token(text: &str) -> Result<(Token, usize), String> {
    let name = |from: usize| {
        let rest = text.get(from..).unwrap_or_default();
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_');
        rest.get(..end.unwrap_or(rest.len())).unwrap_or_default()
    };
    let first = text.chars().next().unwrap_or_default();
    match first {
        '|' => Ok((Token::Pipe, 1)),
        '(' => Ok((Token::Open, 1)),
        ')' => Ok((Token::Close, 1)),
        ',' => Ok((Token::Comma, 1)),
        ':' if text.starts_with(":=") => Ok((Token::Declare, 2)),
        '=' => Ok((Token::Assign, 1)),
        '$' => Ok((Token::Variable(name(1).to_owned()), 1 + name(1).len())),
        '.' if name(1).is_empty() => Ok((Token::Dot, 1)),
        '.' if !name(1).starts_with(|c: char| c.is_ascii_digit()) => {
            Ok((Token::Field(name(1).to_owned()), 1 + name(1).len()))
        }
        '"' => quoted(text),
        '`' => match text[1..].find('`') {
            Some(end) => Ok((Token::Text(text[1..=end].to_owned()), end + 2)),
            None => Err("unterminated raw quoted string".to_owned()),
        },
        c if c.is_ascii_digit() || matches!(c, '-' | '+' | '.') => number(text),
        c if c.is_alphabetic() || c == '_' => Ok((Token::Name(name(0).to_owned()), name(0).len())),
        c => Err(format!("unexpected {c:?} in an action")),
    }
}

fn number(text: &str) -> Result<(Token, usize), String> {
    let sign = usize::from(text.starts_with(['-', '+']));
    let digits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_');
    let body = text.get(sign..).unwrap_or_default();
    let length = sign + body.find(|c| !digits(c)).unwrap_or(body.len());
    let word = text.get(..length).unwrap_or_default();
    if let Ok(number) = word.replace('_', "").parse() {
        return Ok((Token::Int(number), length));
    }
    match word.parse() {
        Ok(number) if sign < length => Ok((Token::Float(number), length)),
        _ => Err(format!("bad number syntax: {word:?}")),
    }
}

fn quoted(text: &str) -> Result<(Token, usize), String> {
    let mut out = String::new();
    let mut chars = text.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok((Token::Text(out), at + 1)),
            '\n' => break,
            '\\' => match chars.next().map(|(_, c)| c) {
                Some('n') => out.push('\n'),
                Some('t') => out.push('\t'),
                Some('r') => out.push('\r'),
                Some(c @ ('"' | '\\' | '\'')) => out.push(c),
                Some(kind @ ('x' | 'u' | 'U')) => {
                    let wanted = match kind {
                        'x' => 2,
                        'u' => 4,
                        _ => 8,
                    };
                    let hex: String = chars.by_ref().take(wanted).map(|(_, c)| c).collect();
                    let code = u32::from_str_radix(&hex, 16).ok();
                    let found = code
                        .and_then(char::from_u32)
                        .filter(|_| hex.len() == wanted);
                    out.push(found.ok_or_else(|| format!("bad escape \\{kind}{hex}"))?);
                }
                Some(c) => return Err(format!("unknown escape \\{c}")),
                None => break,
            },
            c => out.push(c),
        }
    }
    Err("unterminated quoted string".to_owned())
}
