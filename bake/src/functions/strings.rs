//! Functions of strings.

use std::collections::BTreeMap;

use regex::{Captures, Regex};

use super::wants::{Arguments as _, World};
use crate::number::Number;
use crate::value::Value;

type Result = std::result::Result<Value, String>;

fn text(text: impl Into<String>) -> Result {
    Ok(Value::text(text))
}

/// `basename`: what is behind the last slash.
pub fn basename(of: &[Value], _: &World) -> Result {
    let path = of.text(0);
    let trimmed = path.trim_end_matches('/');
    text(match (path, trimmed) {
        ("", _) => ".",
        (_, "") => "/",
        (_, path) => path.rsplit('/').next().unwrap_or(path),
    })
}

/// `dirname`: what is before the last slash, cleaned.
pub fn dirname(of: &[Value], _: &World) -> Result {
    let path = of.text(0);
    let dir = path.rfind('/').and_then(|slash| path.get(..=slash));
    text(golang::path::clean(dir.unwrap_or_default()))
}

/// `chomp`: without line ends at the end.
pub fn chomp(of: &[Value], _: &World) -> Result {
    text(of.text(0).trim_end_matches(['\n', '\r']))
}

/// `homedir`
pub fn homedir(_: &[Value], world: &World) -> Result {
    text(&world.home)
}

/// `indent`: blanks at the beginning of all lines but the first.
pub fn indent(of: &[Value], _: &World) -> Result {
    let blanks = " ".repeat(of.index(0)?.min(1000));
    text(of.text(1).replace('\n', &format!("\n{blanks}")))
}

/// `join`
pub fn join(of: &[Value], _: &World) -> Result {
    if of.len() < 2 {
        return Err("at least one list is required".to_owned());
    }
    let lists = (1..of.len()).flat_map(|at| of.list(at));
    let words: Vec<&str> = lists
        .map(|one| match one {
            Value::String(text) => text.as_str(),
            _ => "",
        })
        .collect();
    text(words.join(of.text(0)))
}

/// `lower`
pub fn lower(of: &[Value], _: &World) -> Result {
    text(of.text(0).to_lowercase())
}

/// `upper`
pub fn upper(of: &[Value], _: &World) -> Result {
    text(of.text(0).to_uppercase())
}

fn pattern(text: &str) -> std::result::Result<Regex, String> {
    Regex::new(text).map_err(|_| format!("invalid regular expression pattern {text:?}"))
}

/// What a match is: the text, its groups, or its groups by name.
fn matched(pattern: &Regex, found: &Captures<'_>) -> Value {
    let group = |at: usize| match found.get(at) {
        Some(part) => Value::text(part.as_str()),
        None => Value::Null,
    };
    let names: Vec<Option<&str>> = pattern.capture_names().skip(1).collect();
    match names.as_slice() {
        [] => group(0),
        names if names.iter().any(Option::is_some) => {
            let named = names.iter().enumerate();
            let named = named.filter_map(|(at, name)| Some(((*name)?.to_owned(), group(at + 1))));
            Value::Map(named.collect::<BTreeMap<_, _>>())
        }
        names => Value::List((1..=names.len()).map(group).collect()),
    }
}

/// `regex`: the first match.
pub fn regex(of: &[Value], _: &World) -> Result {
    let pattern = pattern(of.text(0))?;
    match pattern.captures(of.text(1)) {
        Some(found) => Ok(matched(&pattern, &found)),
        None => Err("pattern did not match any part of the given string".to_owned()),
    }
}

/// `regexall`: all matches.
pub fn regex_all(of: &[Value], _: &World) -> Result {
    let pattern = pattern(of.text(0))?;
    let all = pattern.captures_iter(of.text(1));
    Ok(Value::List(
        all.map(|one| matched(&pattern, &one)).collect(),
    ))
}

/// `regex_replace`: `$1` and `${name}` stand for groups.
pub fn regex_replace(of: &[Value], _: &World) -> Result {
    let pattern = pattern(of.text(1))?;
    text(pattern.replace_all(of.text(0), of.text(2)))
}

/// `replace`
pub fn replace(of: &[Value], _: &World) -> Result {
    let (whole, from, to) = (of.text(0), of.text(1), of.text(2));
    if whole.len().saturating_mul(to.len() + 1) > super::lists::LARGEST {
        return Err("the result is too long".to_owned());
    }
    text(whole.replace(from, to))
}

/// `reverse`
pub fn reverse(of: &[Value], _: &World) -> Result {
    text(of.text(0).chars().rev().collect::<String>())
}

/// `sanitize`: what is no letter, digit, dash or underscore becomes an underscore.
pub fn sanitize(of: &[Value], _: &World) -> Result {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    let chars = of.text(0).chars();
    text(
        chars
            .map(|c| if plain(c) { c } else { '_' })
            .collect::<String>(),
    )
}

/// `split`
pub fn split(of: &[Value], _: &World) -> Result {
    let (separator, whole) = (of.text(0), of.text(1));
    let words: Vec<Value> = match separator {
        "" => whole.chars().map(|c| Value::text(c.to_string())).collect(),
        separator => whole.split(separator).map(Value::text).collect(),
    };
    Ok(Value::List(words))
}

/// `strlen`
pub fn strlen(of: &[Value], _: &World) -> Result {
    Ok(Value::Number(Number::count(of.text(0).chars().count())))
}

/// `substr`: a negative offset counts from the end, the length -1 is all.
pub fn substr(of: &[Value], _: &World) -> Result {
    let chars: Vec<char> = of.text(0).chars().collect();
    let offset = of.whole(1)?;
    let offset = match usize::try_from(offset) {
        Ok(offset) => offset,
        Err(_) => {
            let back = usize::try_from(offset.unsigned_abs()).unwrap_or(usize::MAX);
            chars.len().saturating_sub(back)
        }
    };
    let rest = chars.get(offset..).unwrap_or_default();
    let length = match of.whole(2)? {
        -1 => rest.len(),
        length => usize::try_from(length).map_err(|_| "length must be -1 or not negative")?,
    };
    text(rest.iter().take(length).collect::<String>())
}

/// `title`: every word begins with a capital.
pub fn title(of: &[Value], _: &World) -> Result {
    let mut out = String::new();
    let mut begins = true;
    for c in of.text(0).chars() {
        match begins {
            true => out.extend(c.to_uppercase()),
            false => out.push(c),
        }
        begins = !(c.is_alphanumeric() || matches!(c, '_' | '\''));
    }
    text(out)
}

/// `trim`: without any of these characters at both ends.
pub fn trim(of: &[Value], _: &World) -> Result {
    let set: Vec<char> = of.text(1).chars().collect();
    text(of.text(0).trim_matches(set.as_slice()))
}

/// `trimprefix`
pub fn trim_prefix(of: &[Value], _: &World) -> Result {
    let whole = of.text(0);
    text(whole.strip_prefix(of.text(1)).unwrap_or(whole))
}

/// `trimsuffix`
pub fn trim_suffix(of: &[Value], _: &World) -> Result {
    let whole = of.text(0);
    text(whole.strip_suffix(of.text(1)).unwrap_or(whole))
}

/// `trimspace`
pub fn trim_space(of: &[Value], _: &World) -> Result {
    text(of.text(0).trim())
}
