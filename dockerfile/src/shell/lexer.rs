//! Word expansion.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::pattern::Pattern;
use super::{ExpandError, Expansion, Misplaced, Variables};

/// How deep `${a:-${b:-…}}` may nest; beyond, it is an error rather than a stack overflow.
const MAX_DEPTH: usize = 200;

/// How many bytes variables may add to a word. The kernel takes no longer variable, and without a
/// limit `ENV a=$a$a` doubles until memory is gone.
const MAX_GROWTH: usize = 256 << 10;

/// Expands words. Cheap to make; the escape character is the file's
/// ([`crate::parser::Directives::escape_char`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lexer {
    escape: char,
    raw_quotes: bool,
    raw_escapes: bool,
    skip_quotes: bool,
    keep_unset: bool,
}

impl Lexer {
    /// A lexer that expands and removes quotes, as instructions want it.
    pub fn new(escape: char) -> Self {
        Self {
            escape,
            raw_quotes: false,
            raw_escapes: false,
            skip_quotes: false,
            keep_unset: false,
        }
    }

    /// A lexer for here-document bodies of COPY and ADD: quotes are ordinary characters and a
    /// backslash escapes, whatever the file's escape character.
    pub fn heredoc() -> Self {
        Self {
            skip_quotes: true,
            ..Self::new('\\')
        }
    }

    /// Keeps quotes in the result.
    pub fn raw_quotes(mut self) -> Self {
        self.raw_quotes = true;
        self
    }

    /// Keeps escape characters in the result.
    pub fn raw_escapes(mut self) -> Self {
        self.raw_escapes = true;
        self
    }

    /// Leaves references to unset variables as they are.
    pub fn keep_unset(mut self) -> Self {
        self.keep_unset = true;
        self
    }

    /// Expands `word` to one word.
    pub fn process_word(&self, word: &str, vars: &dyn Variables) -> Result<String, ExpandError> {
        self.expand(word, vars).map(|expansion| expansion.text)
    }

    /// Expands `word` and splits the result at unquoted white space.
    pub fn process_words(
        &self,
        word: &str,
        vars: &dyn Variables,
    ) -> Result<Vec<String>, ExpandError> {
        self.expand(word, vars).map(|expansion| expansion.words)
    }

    /// Expands `word` and tells which variables it used.
    pub fn expand(&self, word: &str, vars: &dyn Variables) -> Result<Expansion, ExpandError> {
        self.expand_placed(word, vars).map_err(|e| e.error)
    }

    /// Expands `word`, and tells where it cannot be.
    pub fn expand_placed(&self, word: &str, vars: &dyn Variables) -> Result<Expansion, Misplaced> {
        let mut run = Run {
            lexer: *self,
            rest: word,
            length: word.len(),
            failed: None,
            raw_escapes: self.raw_escapes,
            depth: 0,
            limit: word.len() + MAX_GROWTH,
            vars,
            used: BTreeSet::new(),
            unset: BTreeMap::new(),
        };
        let (text, words) = run.until(None).map_err(|error| Misplaced {
            error,
            at: run.failed.take().unwrap_or(0..word.len()),
        })?;
        Ok(Expansion {
            text,
            words,
            used: run.used,
            unset: run.unset,
        })
    }
}

/// Words being split off.
#[derive(Default)]
struct Words {
    word: String,
    words: Vec<String>,
}

impl Words {
    fn add(&mut self, c: char) {
        if !c.is_whitespace() {
            self.word.push(c);
        } else if !self.word.is_empty() {
            self.words.push(std::mem::take(&mut self.word));
        }
    }

    fn finish(mut self) -> Vec<String> {
        if !self.word.is_empty() {
            self.words.push(self.word);
        }
        self.words
    }
}

/// One expansion under way.
struct Run<'a> {
    lexer: Lexer,
    rest: &'a str,
    /// Bytes of the word.
    length: usize,
    /// The innermost part that could not be expanded.
    failed: Option<Range<usize>>,
    raw_escapes: bool,
    depth: usize,
    /// Longest result, in bytes.
    limit: usize,
    vars: &'a dyn Variables,
    used: BTreeSet<String>,
    unset: BTreeMap<String, Range<usize>>,
}

impl Run<'_> {
    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let mut chars = self.rest.chars();
        let c = chars.next();
        self.rest = chars.as_str();
        c
    }

    /// Offset in the word of what comes next.
    fn at(&self) -> usize {
        self.length - self.rest.len()
    }

    /// Remembers where `part` began if it fails.
    fn placed(
        &mut self,
        part: fn(&mut Self) -> Result<String, ExpandError>,
    ) -> Result<String, ExpandError> {
        let start = self.at();
        let result = part(self);
        if result.is_err() && self.failed.is_none() {
            self.failed = Some(start..self.at());
        }
        result
    }

    /// Up to the end, or to `stop`, which is consumed and must come.
    fn until(&mut self, stop: Option<char>) -> Result<(String, Vec<String>), ExpandError> {
        let mut text = String::new();
        let mut words = Words::default();
        while let Some(c) = self.peek() {
            if stop == Some(c) {
                self.next();
                return Ok((text, words.finish()));
            }
            match c {
                '$' => {
                    let value = self.placed(Self::dollar)?;
                    text.push_str(&value);
                    self.check_length(&text)?;
                    value.chars().for_each(|c| words.add(c));
                }
                '\'' | '"' if !self.lexer.skip_quotes => {
                    let quoted = if c == '\'' {
                        self.placed(Self::single_quoted)?
                    } else {
                        self.placed(Self::double_quoted)?
                    };
                    text.push_str(&quoted);
                    self.check_length(&text)?;
                    words.word.push_str(&quoted);
                }
                _ if c == self.lexer.escape => {
                    self.next();
                    if self.raw_escapes {
                        words.word.push(c);
                        text.push(c);
                    }
                    // An escape at the very end stands for nothing.
                    let Some(escaped) = self.next() else { break };
                    words.word.push(escaped);
                    text.push(escaped);
                }
                _ => {
                    self.next();
                    words.add(c);
                    text.push(c);
                }
            }
        }
        match stop {
            None => Ok((text, words.finish())),
            Some('/') => Err(ExpandError::MissingSlash),
            Some(_) => Err(ExpandError::MissingBrace),
        }
    }

    fn single_quoted(&mut self) -> Result<String, ExpandError> {
        let mut text = String::new();
        self.next();
        if self.lexer.raw_quotes {
            text.push('\'');
        }
        loop {
            match self.next() {
                None => return Err(ExpandError::OpenQuote("single")),
                Some('\'') => {
                    if self.lexer.raw_quotes {
                        text.push('\'');
                    }
                    return Ok(text);
                }
                Some(c) => text.push(c),
            }
        }
    }

    fn double_quoted(&mut self) -> Result<String, ExpandError> {
        let mut text = String::new();
        self.next();
        if self.lexer.raw_quotes {
            text.push('"');
        }
        loop {
            match self.peek() {
                None => return Err(ExpandError::OpenQuote("double")),
                Some('"') => {
                    self.next();
                    if self.lexer.raw_quotes {
                        text.push('"');
                    }
                    return Ok(text);
                }
                Some('$') => {
                    text.push_str(&self.placed(Self::dollar)?);
                    self.check_length(&text)?;
                }
                Some(c) => {
                    self.next();
                    if c != self.lexer.escape {
                        text.push(c);
                        continue;
                    }
                    if self.raw_escapes {
                        text.push(c);
                    }
                    match self.peek() {
                        None => {}
                        Some(escaped) if escaped == '"' || escaped == '$' || escaped == c => {
                            self.next();
                            text.push(escaped);
                        }
                        // Before any other character the escape is an ordinary one.
                        Some(_) => text.push(c),
                    }
                }
            }
        }
    }

    fn dollar(&mut self) -> Result<String, ExpandError> {
        let start = self.at();
        self.next();
        if self.peek() != Some('{') {
            let name = self.name();
            if name.is_empty() {
                return Ok("$".to_owned());
            }
            return Ok(match self.look_up(&name, start) {
                Some(value) => value,
                None if self.lexer.keep_unset => format!("${name}"),
                None => String::new(),
            });
        }
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(ExpandError::TooDeep);
        }
        self.next();
        let value = self.braces(start);
        self.depth -= 1;
        value
    }

    /// `${…}` from the name on; `start` is where its `$` is.
    fn braces(&mut self, start: usize) -> Result<String, ExpandError> {
        match self.peek() {
            None => return Err(ExpandError::MissingBrace),
            Some('{' | '}' | ':') => return Err(ExpandError::BadSubstitution),
            Some(_) => {}
        }
        let name = self.name();
        let Some(first) = self.next() else {
            return Err(ExpandError::MissingBrace);
        };
        match first {
            '}' => Ok(match self.look_up(&name, start) {
                Some(value) => value,
                None if self.lexer.keep_unset => format!("${{{name}}}"),
                None => String::new(),
            }),
            ':' => {
                let Some(modifier) = self.next() else {
                    return Err(ExpandError::MissingBrace);
                };
                self.modified(&name, modifier, true, start)
            }
            '+' | '-' | '?' | '#' | '%' => self.modified(&name, first, false, start),
            '/' => self.replaced(&name, start),
            other => Err(ExpandError::UnsupportedModifier(other.to_string())),
        }
    }

    /// `${name:-word}` and its relatives, from the word on.
    fn modified(
        &mut self,
        name: &str,
        modifier: char,
        empty_is_unset: bool,
        start: usize,
    ) -> Result<String, ExpandError> {
        let word = self.nested('}', matches!(modifier, '#' | '%'))?;
        let value = self.look_up(name, start);
        let colon = if empty_is_unset { ":" } else { "" };
        if value.is_none() && self.lexer.keep_unset {
            return Ok(format!("${{{name}{colon}{modifier}{word}}}"));
        }
        let present = value
            .as_ref()
            .is_some_and(|value| !(empty_is_unset && value.is_empty()));
        match modifier {
            '-' => Ok(value.filter(|_| present).unwrap_or(word)),
            '+' => Ok(if present { word } else { String::new() }),
            '?' => match value {
                Some(value) if present => Ok(value),
                value => {
                    let standard = match value {
                        None => "is not allowed to be unset",
                        Some(_) => "is not allowed to be empty",
                    };
                    let message = if word.is_empty() {
                        standard.to_owned()
                    } else {
                        word
                    };
                    Err(ExpandError::Required {
                        name: name.to_owned(),
                        message,
                    })
                }
            },
            '#' | '%' => {
                let longest = word.starts_with(modifier);
                let text = if longest { &word[1..] } else { word.as_str() };
                let pattern = parse_pattern(text)?;
                let value = value.unwrap_or_default();
                Ok(if modifier == '#' {
                    pattern.strip_prefix(&value, longest)
                } else {
                    pattern.strip_suffix(&value, longest)
                })
            }
            other => Err(ExpandError::UnsupportedModifier(format!("{colon}{other}"))),
        }
    }

    /// `${name/pattern/replacement}`, from the first slash on.
    fn replaced(&mut self, name: &str, start: usize) -> Result<String, ExpandError> {
        let all = self.peek() == Some('/');
        if all {
            self.next();
        }
        let pattern = self.nested('/', true)?;
        let replacement = self.nested('}', true)?;
        let value = self.look_up(name, start);
        if value.is_none() && self.lexer.keep_unset {
            return Ok(format!("${{{name}/{pattern}/{replacement}}}"));
        }
        parse_pattern(&pattern)?
            .replace(&value.unwrap_or_default(), &replacement, all, self.limit)
            .ok_or(ExpandError::TooLong)
    }

    fn check_length(&self, text: &str) -> Result<(), ExpandError> {
        if text.len() > self.limit {
            Err(ExpandError::TooLong)
        } else {
            Ok(())
        }
    }

    fn nested(&mut self, stop: char, raw_escapes: bool) -> Result<String, ExpandError> {
        let outer = std::mem::replace(&mut self.raw_escapes, raw_escapes);
        let result = self.until(Some(stop));
        self.raw_escapes = outer;
        result.map(|(text, _)| text)
    }

    /// A name, a positional parameter (`12`) or one special character (`@`); maybe nothing.
    fn name(&mut self) -> String {
        let Some(first) = self.peek() else {
            return String::new();
        };
        if matches!(first, '@' | '*' | '#' | '?' | '-' | '$' | '!') {
            self.next();
            return first.to_string();
        }
        let positional = first.is_ascii_digit();
        let end = self
            .rest
            .find(|c: char| {
                if positional {
                    !c.is_ascii_digit()
                } else {
                    !(c.is_alphabetic() || c.is_ascii_digit() || c == '_')
                }
            })
            .unwrap_or(self.rest.len());
        let (name, rest) = self.rest.split_at(end);
        let name = name.to_owned();
        self.rest = rest;
        name
    }

    /// The value of the variable that is used from `start` on.
    fn look_up(&mut self, name: &str, start: usize) -> Option<String> {
        let value = self.vars.value(name).map(str::to_owned);
        let end = self.at();
        match value {
            Some(_) => {
                self.used.insert(name.to_owned());
            }
            None => {
                self.unset.entry(name.to_owned()).or_insert(start..end);
            }
        }
        value
    }
}

fn parse_pattern(text: &str) -> Result<Pattern, ExpandError> {
    Pattern::parse(text).map_err(|reason| ExpandError::BadPattern {
        pattern: text.to_owned(),
        reason,
    })
}

#[cfg(test)]
mod tests;
