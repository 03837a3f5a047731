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
    /// Anything else. The expression is the one moby builds, so that its oddities are ours.
    Regex(Regex),
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
            Matching::Regex(regex) => regex.is_match(path),
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
            Matching::Regex(Regex::new(&from_go(&expression)?).map_err(|_| BadPattern)?)
        }
    })
}
