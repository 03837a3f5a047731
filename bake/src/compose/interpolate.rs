//! `${NAME:-default}` in compose files.

use std::collections::BTreeMap;

use super::node::{Kind, Node};
use crate::error::Mistake;

/// Puts the environment's values into every string of a tree. Names that it does not have are
/// noted.
///
/// # Errors
/// Where a string cannot be read, or a value is required and missing.
pub fn interpolate(
    node: &mut Node,
    path: &str,
    environment: &BTreeMap<String, String>,
    missing: &mut Vec<String>,
) -> Result<(), Mistake> {
    let at = node.at;
    match &mut node.kind {
        Kind::Text(text) => {
            if text.contains('$') {
                let mut writer = Writer {
                    environment,
                    missing,
                };
                *text = writer.whole(text).map_err(|why| {
                    Mistake::at(at, format!("error while interpolating {path}: {why}"))
                })?;
            }
        }
        Kind::List(list) => {
            for (number, one) in list.iter_mut().enumerate() {
                interpolate(one, &format!("{path}.[{number}]"), environment, missing)?;
            }
        }
        Kind::Map(entries) => {
            for (name, one) in entries {
                let path = match path {
                    "" => name.clone(),
                    path => format!("{path}.{name}"),
                };
                interpolate(one, &path, environment, missing)?;
            }
        }
        Kind::Null | Kind::Bool(_) | Kind::Number(_) => {}
    }
    Ok(())
}

struct Writer<'a> {
    environment: &'a BTreeMap<String, String>,
    missing: &'a mut Vec<String>,
}

fn name_length(text: &str) -> usize {
    let letter = |c: char| c.is_ascii_alphabetic() || c == '_';
    match text.starts_with(letter) {
        true => text
            .find(|c: char| !letter(c) && !c.is_ascii_digit())
            .unwrap_or(text.len()),
        false => 0,
    }
}

impl Writer<'_> {
    fn whole(&mut self, text: &str) -> Result<String, String> {
        let mut out = String::new();
        let mut rest = text;
        while let Some((before, behind)) = rest.split_once('$') {
            out.push_str(before);
            rest = behind;
            if let Some(behind) = rest.strip_prefix('$') {
                out.push('$');
                rest = behind;
            } else if let Some(behind) = rest.strip_prefix('{') {
                let end = closing(behind)
                    .ok_or_else(|| format!("invalid interpolation format: {text:?}"))?;
                let (inner, behind) = behind.split_at_checked(end).unwrap_or((behind, ""));
                out.push_str(&self.braced(inner, text)?);
                rest = behind.strip_prefix('}').unwrap_or(behind);
            } else {
                let (name, behind) = rest
                    .split_at_checked(name_length(rest))
                    .unwrap_or(("", rest));
                if name.is_empty() {
                    return Err(format!(
                        "invalid interpolation format: {text:?}; a dollar of its own is $$"
                    ));
                }
                out.push_str(&self.value(name));
                rest = behind;
            }
        }
        out.push_str(rest);
        Ok(out)
    }

    fn value(&mut self, name: &str) -> String {
        match self.environment.get(name) {
            Some(value) => value.clone(),
            None => {
                if !self.missing.iter().any(|known| known == name) {
                    self.missing.push(name.to_owned());
                }
                String::new()
            }
        }
    }

    /// What is between braces: a name, and what to do without a value, or with one.
    fn braced(&mut self, inner: &str, whole: &str) -> Result<String, String> {
        let (name, rest) = inner
            .split_at_checked(name_length(inner))
            .unwrap_or(("", inner));
        if name.is_empty() {
            return Err(format!("invalid interpolation format: {whole:?}"));
        }
        let known = self.environment.get(name).cloned();
        let (filled, rest) = match rest.strip_prefix(':') {
            Some(rest) => (known.clone().filter(|value| !value.is_empty()), rest),
            None => (known.clone(), rest),
        };
        let mut operators = rest.chars();
        match operators.next() {
            None => Ok(self.value(name)),
            Some('-') => match filled {
                Some(value) => Ok(value),
                None => self.whole(operators.as_str()),
            },
            Some('+') => match filled {
                Some(_) => self.whole(operators.as_str()),
                None => Ok(String::new()),
            },
            Some('?') => match filled {
                Some(value) => Ok(value),
                None => {
                    let why = self.whole(operators.as_str())?;
                    Err(format!(
                        "required variable {name} is missing a value: {why}"
                    ))
                }
            },
            Some(_) => Err(format!("invalid interpolation format: {whole:?}")),
        }
    }
}

/// Where the brace closes that was opened before the text.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 0;
    let mut before = ' ';
    for (at, c) in text.char_indices() {
        match c {
            '{' if before == '$' => depth += 1,
            '}' if depth == 0 => return Some(at),
            '}' => depth -= 1,
            _ => {}
        }
        before = c;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_defaults_and_requirements_are_put_in() {
        let environment = BTreeMap::from([
            ("A".to_owned(), "a".to_owned()),
            ("E".to_owned(), String::new()),
        ]);
        let mut missing = Vec::new();
        let mut whole = |text: &str| {
            let mut writer = Writer {
                environment: &environment,
                missing: &mut missing,
            };
            writer.whole(text)
        };
        for (text, told) in [
            ("$A-${A}$$x", "a-a$x"),
            ("${E:-d}${E-d}${N-d}", "dd"),
            ("${N:-x${A}y}", "xay"),
            ("${A:+yes}${E:+yes}${E+yes}", "yesyes"),
            ("${N}|$N", "|"),
        ] {
            assert_eq!(whole(text).as_deref(), Ok(told), "{text}");
        }
        for text in ["${N?why}", "${", "$ ", "${1}", "${A*}"] {
            assert!(whole(text).is_err(), "{text}");
        }
        assert_eq!(missing, ["N"]);
    }
}
