//! One pattern of `.dockerignore`.

use regex::Regex;

use super::expression::from_go;
use golang::glob::{BadPattern, check_while_matching, glob_match};

/// A compiled pattern.
#[derive(Debug, Clone)]
pub(super) struct Pattern {
    /// The pattern cleaned, without its `!`.
    pub(super) text: String,
    /// Whether it re-includes (`!`).
    pub(super) exclusion: bool,
    matching: Matching,
}

#[derive(Debug, Clone)]
enum Matching {
    /// The path itself.
    Exact,
    /// `dir/**`: everything that begins with this.
    Prefix(String),
    /// `**/name`: everything that ends with this.
    Suffix(String),
    /// Anything else.
    Expression(Box<Expression>),
}

/// The regular expression that moby builds, so that its oddities are ours. Most paths are none of
/// most patterns' and are told from their ends, at a fraction of its cost.
#[derive(Debug, Clone)]
struct Expression {
    regex: Regex,
    /// What all that matches begins with.
    start: String,
    /// What it ends with.
    end: String,
}

impl Expression {
    fn new(text: &str, expression: &str) -> Result<Self, BadPattern> {
        // What these characters mean is the expression's to say.
        let odd = text.contains(['\\', '[', ']', '^']);
        let meta = |c| odd || c == '*' || c == '?';
        let start = text.split(meta).next().unwrap_or_default();
        let end = text.rsplit(meta).next().unwrap_or_default();
        // The slash after a double star belongs to it.
        let spanning = text.strip_suffix(end).is_some_and(|t| t.ends_with("**"));
        let end = end.strip_prefix('/').filter(|_| spanning).unwrap_or(end);
        Ok(Self {
            regex: Regex::new(&from_go(expression)?).map_err(|_| BadPattern)?,
            start: start.to_owned(),
            end: end.to_owned(),
        })
    }

    fn is_match(&self, path: &str) -> bool {
        path.starts_with(&self.start) && path.ends_with(&self.end) && self.regex.is_match(path)
    }
}

impl Pattern {
    /// Compiles a cleaned pattern.
    pub(super) fn new(text: &str, exclusion: bool) -> Result<Self, BadPattern> {
        // moby asks Go's wildcards about a dot, and goes on with what they do not complain of.
        check_while_matching(text, ".")?;
        let matching = compile(text)?;
        Ok(Self {
            text: text.to_owned(),
            exclusion,
            matching,
        })
    }

    /// Whether the pattern matches `path` itself.
    pub(super) fn matches(&self, path: &str) -> bool {
        match &self.matching {
            Matching::Exact => path == self.text,
            Matching::Prefix(prefix) => path.starts_with(prefix),
            Matching::Suffix(suffix) => {
                path.ends_with(suffix) || suffix.strip_prefix('/').is_some_and(|rest| path == rest)
            }
            Matching::Expression(expression) => expression.is_match(path),
        }
    }

    /// Whether the pattern matches `path` or a directory above it.
    pub(super) fn matches_path_or_parent(&self, path: &str) -> bool {
        self.matches(path)
            || path
                .match_indices('/')
                .any(|(at, _)| at > 0 && self.matches(&path[..at]))
    }

    /// Whether the pattern can match something below the directory `dir`; may say yes when it
    /// cannot, never the other way round.
    pub(super) fn could_match_below(&self, dir: &str) -> bool {
        let mut dirs = dir
            .split('/')
            .filter(|part| !part.is_empty() && *part != ".");
        for part in self.text.split('/') {
            let Some(name) = dirs.next() else { return true };
            // A double star spans directories; escapes and classes mean what the regular
            // expression makes of them, which may be a slash.
            if part.contains("**") || part.contains(['\\', '[', ']', '^']) {
                return true;
            }
            if !glob_match(part, name).unwrap_or(true) {
                return false;
            }
        }
        true
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Exact,
    Prefix,
    Suffix,
    Regex,
}

fn compile(text: &str) -> Result<Matching, BadPattern> {
    let mut expression = String::from("^");
    let mut kind = Kind::Exact;
    let mut chars = text.chars().peekable();
    let mut first = true;
    while let Some(c) = chars.next() {
        match c {
            '*' if chars.next_if_eq(&'*').is_some() => {
                // The slash after a double star belongs to it.
                chars.next_if_eq(&'/');
                if chars.peek().is_some() {
                    expression.push_str("(.*/)?");
                    kind = Kind::Regex;
                } else if kind == Kind::Exact {
                    kind = Kind::Prefix;
                } else {
                    expression.push_str(".*");
                    kind = Kind::Regex;
                }
                if first {
                    kind = Kind::Suffix;
                }
            }
            '*' => {
                expression.push_str("[^/]*");
                kind = Kind::Regex;
            }
            '?' => {
                expression.push_str("[^/]");
                kind = Kind::Regex;
            }
            '.' | '+' | '(' | ')' | '|' | '{' | '}' | '$' => {
                expression.push('\\');
                expression.push(c);
            }
            '\\' => {
                expression.push('\\');
                if let Some(escaped) = chars.next() {
                    expression.push(escaped);
                    kind = Kind::Regex;
                }
            }
            '[' | ']' => {
                expression.push(c);
                kind = Kind::Regex;
            }
            c => expression.push(c),
        }
        first = false;
    }
    Ok(match kind {
        Kind::Exact => Matching::Exact,
        Kind::Prefix => Matching::Prefix(text[..text.len() - 2].to_owned()),
        Kind::Suffix => Matching::Suffix(text[2..].to_owned()),
        Kind::Regex => {
            expression.push('$');
            Matching::Expression(Box::new(Expression::new(text, &expression)?))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What begins or ends otherwise is never asked of the expression; the rest is.
    #[test]
    fn ends_are_necessary_and_not_enough() {
        for (pattern, start, end, matched, other) in [
            ("src/*.o", "src/", ".o", "src/a.o", "src/d/a.o"),
            ("**/*.log", "", ".log", "a.log", "a.log/x"),
            ("a/**/b", "a/", "b", "a/b", "a/xb"),
            ("a**/b", "a", "b", "ab", "xab"),
            ("ab*b", "ab", "b", "abb", "ab"),
            ("*/x?", "", "", "a/xy", "a/x"),
            ("x.[ch]", "", "", "x.c", "x.o"),
            ("a\\*b*", "", "", "a*bc", "axbc"),
        ] {
            let compiled = Pattern::new(pattern, false).unwrap();
            let Matching::Expression(expression) = &compiled.matching else {
                panic!("{pattern}: {compiled:?}");
            };
            assert_eq!(
                (expression.start.as_str(), expression.end.as_str()),
                (start, end),
                "{pattern}"
            );
            assert!(compiled.matches(matched), "{pattern} {matched}");
            assert!(!compiled.matches(other), "{pattern} {other}");
            assert!(!expression.regex.is_match(other), "{pattern} {other}");
        }
    }
}
