//! Go's regular expressions in the syntax of Rust's.
//!
//! moby turns a pattern into an expression of Go's and leaves what is inside of brackets as it
//! became on the way. The two languages agree on stars and groups but not on what a bracket, a
//! `&&`, a `\s` or a `\<` means, so classes and escapes are read by Go's rules and written again.

use std::iter::Peekable;
use std::str::Chars;

use golang::glob::BadPattern;

// Go's `\d`, `\s` and `\w` are ASCII, Rust's are Unicode.
const DIGIT: &str = "0-9";
const SPACE: &str = r"\t\n\x0c\r ";
const WORD: &str = "0-9A-Za-z_";

/// The same expression for the crate `regex`.
///
/// Of Go's syntax it knows what moby's expressions have: `^`, `$`, `.`, `*`, `?`, groups without
/// flags, classes and escapes; `+`, `|` and braces come escaped.
///
/// # Errors
/// When Go would refuse a class or an escape.
pub(super) fn from_go(expression: &str) -> Result<String, BadPattern> {
    let mut chars = expression.chars().peekable();
    let mut out = String::new();
    // Whether a `:]` may still come: looked for once, and not again at every bracket.
    let mut names = true;
    while let Some(c) = chars.next() {
        match c {
            '^' | '$' | '.' | '*' | '?' | '(' | ')' => out.push(c),
            '[' => class(&mut chars, &mut names, &mut out)?,
            '\\' => escape(&mut chars, &mut out)?,
            c => literal(c, &mut out),
        }
    }
    Ok(out)
}

fn literal(c: char, out: &mut String) {
    out.push_str(&format!("\\x{{{:x}}}", u32::from(c)));
}

/// What follows a backslash outside of brackets.
fn escape(chars: &mut Peekable<Chars<'_>>, out: &mut String) -> Result<(), BadPattern> {
    match chars.peek() {
        Some('A' | 'z') => out.extend(['\\'].into_iter().chain(chars.next())),
        Some('b') => {
            chars.next();
            out.push_str(r"(?-u:\b)");
        }
        Some('B') => {
            chars.next();
            out.push_str(r"\B");
        }
        Some('Q') => {
            chars.next();
            while let Some(c) = chars.next() {
                if c == '\\' && chars.next_if_eq(&'E').is_some() {
                    break;
                }
                literal(c, out);
            }
        }
        Some(_) => {
            if let Some(set) = class_escape(chars)? {
                out.push_str(&set);
            } else {
                literal(escaped(chars)?, out);
            }
        }
        None => return Err(BadPattern),
    }
    Ok(())
}

/// A class, whose bracket was read.
fn class(
    chars: &mut Peekable<Chars<'_>>,
    names: &mut bool,
    out: &mut String,
) -> Result<(), BadPattern> {
    out.push('[');
    out.extend(chars.next_if_eq(&'^'));
    let mut first = true;
    loop {
        // A bracket that comes first stands for itself.
        if !first && chars.next_if_eq(&']').is_some() {
            out.push(']');
            return Ok(());
        }
        first = false;
        if *names
            && chars.peek() == Some(&'[')
            && let Some(set) = named(chars, names)?
        {
            out.push_str(&set);
            continue;
        }
        if chars.peek() == Some(&'\\') {
            let mut ahead = chars.clone();
            ahead.next();
            if let Some(set) = class_escape(&mut ahead)? {
                *chars = ahead;
                out.push_str(&set);
                continue;
            }
        }
        let low = class_char(chars)?;
        literal(low, out);
        let mut ahead = chars.clone();
        // A hyphen at the end stands for itself.
        if ahead.next() == Some('-') && ahead.peek().is_some_and(|c| *c != ']') {
            let high = class_char(&mut ahead)?;
            if high < low {
                return Err(BadPattern);
            }
            *chars = ahead;
            out.push('-');
            literal(high, out);
        }
    }
}

fn class_char(chars: &mut Peekable<Chars<'_>>) -> Result<char, BadPattern> {
    match chars.next().ok_or(BadPattern)? {
        '\\' => escaped(chars),
        c => Ok(c),
    }
}

/// `[:alpha:]` within a class, if one comes next.
fn named(chars: &mut Peekable<Chars<'_>>, names: &mut bool) -> Result<Option<String>, BadPattern> {
    let mut ahead = chars.clone();
    if (ahead.next(), ahead.next()) != (Some('['), Some(':')) {
        return Ok(None);
    }
    let rest: String = ahead.collect();
    let Some((name, _)) = rest.split_once(":]") else {
        *names = false;
        return Ok(None);
    };
    let plain = name.strip_prefix('^').unwrap_or(name);
    if !matches!(
        plain,
        "alnum"
            | "alpha"
            | "ascii"
            | "blank"
            | "cntrl"
            | "digit"
            | "graph"
            | "lower"
            | "print"
            | "punct"
            | "space"
            | "upper"
            | "word"
            | "xdigit"
    ) {
        return Err(BadPattern);
    }
    let set = format!("[:{name}:]");
    for _ in set.chars() {
        chars.next();
    }
    Ok(Some(set))
}

/// An escape that stands for several characters, if one comes next, as a class of its own. In Go
/// they are ASCII.
fn class_escape(chars: &mut Peekable<Chars<'_>>) -> Result<Option<String>, BadPattern> {
    let set = match chars.peek() {
        Some('d') => format!("[{DIGIT}]"),
        Some('D') => format!("[^{DIGIT}]"),
        Some('s') => format!("[{SPACE}]"),
        Some('S') => format!("[^{SPACE}]"),
        Some('w') => format!("[{WORD}]"),
        Some('W') => format!("[^{WORD}]"),
        Some(p @ ('p' | 'P')) => {
            let p = *p;
            chars.next();
            match chars.peek() {
                Some(c @ ('C' | 'L' | 'M' | 'N' | 'P' | 'S' | 'Z')) => format!("[\\{p}{c}]"),
                _ => return Err(BadPattern),
            }
        }
        _ => return Ok(None),
    };
    chars.next();
    Ok(Some(set))
}

/// The one character that an escape stands for, whose backslash was read.
fn escaped(chars: &mut Peekable<Chars<'_>>) -> Result<char, BadPattern> {
    let c = chars.next().ok_or(BadPattern)?;
    let octal = |chars: &mut Peekable<Chars<'_>>| {
        chars
            .next_if(|c| ('0'..='7').contains(c))
            .and_then(|c| c.to_digit(8))
    };
    match c {
        // One digit alone would refer back, which Go's expressions can't.
        '1'..='7' if !chars.peek().is_some_and(|c| ('0'..='7').contains(c)) => Err(BadPattern),
        '0'..='7' => {
            let mut value = c.to_digit(8).unwrap_or_default();
            for _ in 0..2 {
                match octal(chars) {
                    Some(digit) => value = value * 8 + digit,
                    None => break,
                }
            }
            char::from_u32(value).ok_or(BadPattern)
        }
        'x' => {
            let mut hex = || chars.next().and_then(|c| c.to_digit(16)).ok_or(BadPattern);
            let value = hex()? * 16 + hex()?;
            char::from_u32(value).ok_or(BadPattern)
        }
        'a' => Ok('\u{7}'),
        'f' => Ok('\u{c}'),
        'n' => Ok('\n'),
        'r' => Ok('\r'),
        't' => Ok('\t'),
        'v' => Ok('\u{b}'),
        c if c.is_ascii() && !c.is_ascii_alphanumeric() => Ok(c),
        _ => Err(BadPattern),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_classes_and_escapes_as_go_does() {
        for (expression, yes, no) in [
            // A bracket within brackets is no class of its own.
            ("^[[^/]]$", "[]", "a"),
            ("^[[^/]]$", "^]", "]"),
            ("^a[[^/]*]b$", "a[^/]b", "axb"),
            ("^[]a]$", "]", "b"),
            ("^[^]a]$", "b", "]"),
            ("^[a-]$", "-", "b"),
            ("^[-a]$", "-", "b"),
            ("^[a&&b]$", "&", "c"),
            ("^[+--]$", ",", "c"),
            ("^[a~~b]$", "~", "c"),
            ("^[[:digit:]x]$", "7", "d"),
            ("^[[:^digit:]]$", "d", "7"),
            ("^[[:d]$", ":", "7"),
            (r"^\s$", "\t", "\u{a0}"),
            (r"^[\s]$", " ", "s"),
            (r"^\S$", "\u{a0}", " "),
            (r"^\d$", "1", "\u{661}"),
            (r"^\w$", "_", "é"),
            (r"^[\W]$", "é", "e"),
            (r"^\<\>\-\ \_$", "<>- _", "x"),
            (r"^\101\0\x41$", "A\0A", ""),
            (r"^a\bé$", "aé", "ab"),
            (r"^\Qa*$", "a*$", "a"),
            (r"^\Qa*\Eb$", "a*b", "aab"),
            (r"^\pL$", "é", "1"),
            (r"^[\PL]$", "1", "é"),
            ("^é&$", "é&", "e"),
            // Reads on over slashes and newlines, as negation does.
            ("^[^a]$", "/", "a"),
            ("^[^a]$", "\n", "a"),
        ] {
            let regex = from_go(expression).map(|e| regex::Regex::new(&e).unwrap());
            let regex = regex.unwrap_or_else(|_| panic!("{expression}"));
            assert!(regex.is_match(yes), "{expression} {yes:?} {regex}");
            assert!(!regex.is_match(no), "{expression} {no:?} {regex}");
        }
    }

    #[test]
    fn refuses_what_go_refuses() {
        for expression in [
            "^[a", "^[]", "^[^]", "^[a--c]", "^[b-a]", "^[a-", "^a\\", r"^\q", r"^\é", r"^\1",
            r"^\8", r"^\E", r"^\xg0", r"^\C", r"^\p\{", r"^\pX", r"[\b]", r"[\Q]", r"[\A]",
            "[[:no:]]",
        ] {
            assert_eq!(from_go(expression), Err(BadPattern), "{expression}");
        }
    }
}
