//! Docker's functions, and those of Go's templates.

use std::cmp::Ordering;

use serde_json::Value;

use super::mistake::Mistake;
use super::show;
use super::val::{Shape, Val};

const NAMES: [&str; 22] = [
    "and", "eq", "ge", "gt", "index", "join", "json", "le", "len", "lower", "lt", "ne", "not",
    "or", "pad", "print", "printf", "println", "slice", "split", "title", "truncate",
];
const UPPER: &str = "upper";

/// Whether there is a function of that name.
pub fn is_known(name: &str) -> bool {
    name == UPPER || NAMES.contains(&name)
}

/// A function with its arguments and where they are.
pub struct Call<'c> {
    /// The function.
    pub name: &'c str,
    /// Where it is.
    pub at: usize,
    /// The arguments and where they are.
    pub arguments: Vec<(Val, usize)>,
    /// Whether a table's heading is being made.
    pub header: bool,
}

impl Call<'_> {
    fn wrong(&self, message: impl Into<String>) -> Mistake {
        Mistake::new(
            format!("error calling {}: {}", self.name, message.into()),
            self.at,
        )
    }

    fn counted(&self, least: usize, most: usize) -> Result<(), Mistake> {
        let got = self.arguments.len();
        if (least..=most).contains(&got) {
            return Ok(());
        }
        let name = self.name;
        let message = match least == most {
            true => format!("wrong number of args for {name}: want {least} got {got}"),
            false => format!("wrong number of args for {name}: want at least {least} got {got}"),
        };
        Err(Mistake::new(message, self.at))
    }

    fn value(&self, n: usize) -> &Value {
        self.arguments
            .get(n)
            .map_or(&Value::Null, |(val, _)| val.value())
    }

    fn text(&self, n: usize) -> Result<&str, Mistake> {
        match self.value(n) {
            Value::String(text) => Ok(text),
            other => {
                let at = self.arguments.get(n).map_or(self.at, |(_, at)| *at);
                let kind = show::kind(other);
                Err(Mistake::new(
                    format!("wrong type for {}: expected string; got {kind}", self.name),
                    at,
                ))
            }
        }
    }

    fn int(&self, n: usize) -> Result<i64, Mistake> {
        self.value(n).as_i64().ok_or_else(|| {
            self.wrong(format!(
                "expected a number; got {}",
                show::kind(self.value(n))
            ))
        })
    }
}

/// Calls a function.
pub fn call(call: Call<'_>) -> Result<Val, Mistake> {
    // Names of columns stay what they are.
    if call.header
        && matches!(
            call.name,
            "json" | "title" | "lower" | "upper" | "truncate" | "pad" | "split" | "join"
        )
    {
        let first = call.arguments.into_iter().next();
        return Ok(first.map_or_else(|| Val::new(""), |(value, _)| value));
    }
    match call.name {
        "json" => {
            call.counted(1, 1)?;
            // Go writes <, > and & escaped only where HTML is asked for; docker does not.
            let text =
                serde_json::to_string(call.value(0)).map_err(|e| call.wrong(e.to_string()))?;
            Ok(Val::new(text))
        }
        "lower" | "upper" | "title" | "split" | "join" | "pad" | "truncate" => text(&call),
        "len" => {
            call.counted(1, 1)?;
            let length = match call.value(0) {
                Value::String(text) => text.len(),
                Value::Array(list) => list.len(),
                Value::Object(map) => map.len(),
                Value::Null if call.arguments[0].0.shape != Shape::Any => 0,
                other => {
                    let kind = show::kind(other);
                    return Err(call.wrong(format!("len of type {kind}")));
                }
            };
            Ok(Val::new(length))
        }
        "index" => index(&call),
        "slice" => slice(&call),
        "not" => {
            call.counted(1, 1)?;
            Ok(Val::new(!call.arguments[0].0.is_true()))
        }
        "eq" | "ne" | "lt" | "le" | "gt" | "ge" => comparison(&call),
        "print" | "println" | "printf" => printed(&call),
        // `and` and `or` without arguments.
        _ => Err(call.wrong("wrong number of args")),
    }
}

/// Functions from texts to texts.
fn text(call: &Call<'_>) -> Result<Val, Mistake> {
    match call.name {
        "lower" | "upper" | "title" => {
            call.counted(1, 1)?;
            let text = call.text(0)?;
            Ok(Val::new(match call.name {
                "lower" => text.to_lowercase(),
                "upper" => text.to_uppercase(),
                _ => title(text),
            }))
        }
        "split" => {
            call.counted(2, 2)?;
            let (text, separator) = (call.text(0)?, call.text(1)?);
            let parts: Vec<String> = match separator {
                "" => text.chars().map(String::from).collect(),
                separator => text.split(separator).map(str::to_owned).collect(),
            };
            Ok(Val::new(parts))
        }
        "join" => {
            call.counted(2, 2)?;
            let parts = match call.value(0) {
                Value::Array(list) => list.clone(),
                Value::Null => Vec::new(),
                other => {
                    let kind = show::kind(other);
                    return Err(call.wrong(format!("expected a list of strings; got {kind}")));
                }
            };
            let parts: Vec<String> = parts
                .into_iter()
                .map(|p| show::plain(&Val::new(p)))
                .collect();
            Ok(Val::new(parts.join(call.text(1)?)))
        }
        "pad" => {
            call.counted(3, 3)?;
            let text = call.text(0)?;
            if text.is_empty() {
                return Ok(Val::new(text));
            }
            let spaces = |n: i64| " ".repeat(usize::try_from(n).unwrap_or(0).min(1 << 16));
            Ok(Val::new(format!(
                "{}{text}{}",
                spaces(call.int(1)?),
                spaces(call.int(2)?)
            )))
        }
        "truncate" => {
            call.counted(2, 2)?;
            let length = usize::try_from(call.int(1)?).unwrap_or(0);
            let short: String = call.text(0)?.chars().take(length).collect();
            Ok(Val::new(short))
        }
        _ => Err(call.wrong("wrong number of args")),
    }
}

/// `eq` and its kin.
fn comparison(call: &Call<'_>) -> Result<Val, Mistake> {
    match call.name {
        "eq" => {
            call.counted(2, usize::MAX)?;
            let (first, others) = (call.value(0), 1..call.arguments.len());
            for n in others {
                if compare(call, first, call.value(n), true)? == Ordering::Equal {
                    return Ok(Val::new(true));
                }
            }
            Ok(Val::new(false))
        }
        "ne" | "lt" | "le" | "gt" | "ge" => {
            call.counted(2, 2)?;
            let order = compare(call, call.value(0), call.value(1), call.name == "ne")?;
            Ok(Val::new(match call.name {
                "ne" => order != Ordering::Equal,
                "lt" => order == Ordering::Less,
                "le" => order != Ordering::Greater,
                "gt" => order == Ordering::Greater,
                _ => order != Ordering::Less,
            }))
        }
        _ => Err(call.wrong("wrong number of args")),
    }
}

/// `print` and its kin.
fn printed(call: &Call<'_>) -> Result<Val, Mistake> {
    match call.name {
        "print" => {
            let mut out = String::new();
            let mut text_before = true;
            for (value, _) in &call.arguments {
                // Go puts spaces between operands when neither is a text.
                let is_text = value.value().is_string();
                if !out.is_empty() && !is_text && !text_before {
                    out.push(' ');
                }
                out.push_str(&show::plain(value));
                text_before = is_text;
            }
            Ok(Val::new(out))
        }
        "println" => {
            let parts: Vec<String> = call.arguments.iter().map(|(v, _)| show::plain(v)).collect();
            Ok(Val::new(format!("{}\n", parts.join(" "))))
        }
        "printf" => {
            call.counted(1, usize::MAX)?;
            printf(call).map(Val::new)
        }
        _ => Err(call.wrong("wrong number of args")),
    }
}

/// Every word with a capital, as Go's `strings.Title`.
fn title(text: &str) -> String {
    let mut out = String::new();
    let mut inside = false;
    for c in text.chars() {
        match inside {
            true => out.push(c),
            false => out.extend(c.to_uppercase()),
        }
        inside = c.is_alphanumeric() || c == '_' || c == '\'';
    }
    out
}

fn index(call: &Call<'_>) -> Result<Val, Mistake> {
    call.counted(1, usize::MAX)?;
    let mut value = call.arguments[0].0.clone();
    for n in 1..call.arguments.len() {
        let key = call.value(n);
        let found = match (value.value(), key) {
            (Value::Object(map), Value::String(key)) => {
                // The zero value of what the map holds; docker's maps hold texts.
                Some(map.get(key).cloned().unwrap_or_else(|| Value::from("")))
            }
            (Value::Null, Value::String(_)) => Some(Value::from("")),
            (Value::Array(list), Value::Number(i)) => {
                let at = i.as_u64().and_then(|i| usize::try_from(i).ok());
                let found = at.and_then(|i| list.get(i)).cloned();
                Some(found.ok_or_else(|| call.wrong(format!("index out of range: {i}")))?)
            }
            (Value::Null, Value::Number(i)) => {
                return Err(call.wrong(format!("index out of range: {i}")));
            }
            (other, key) => {
                let (what, by) = (show::kind(other), show::kind(key));
                return Err(call.wrong(format!("cannot index {what} with {by}")));
            }
        };
        value = Val {
            json: found,
            shape: Shape::Any,
        };
    }
    Ok(value)
}

fn slice(call: &Call<'_>) -> Result<Val, Mistake> {
    call.counted(1, 3)?;
    let length = match call.value(0) {
        Value::String(text) => text.len(),
        Value::Array(list) => list.len(),
        other => return Err(call.wrong(format!("can't slice item of type {}", show::kind(other)))),
    };
    let bound = |n: usize, default: usize| match call.arguments.len() > n {
        true => usize::try_from(call.int(n)?)
            .ok()
            .filter(|bound| *bound <= length)
            .ok_or_else(|| call.wrong(format!("index out of range: {}", call.value(n)))),
        false => Ok(default),
    };
    let (from, to) = (bound(1, 0)?, bound(2, length)?);
    let wrong = || call.wrong(format!("invalid slice index: {from} > {to}"));
    match call.value(0) {
        Value::String(text) => text.get(from..to).map(Val::new).ok_or_else(wrong),
        Value::Array(list) => list
            .get(from..to)
            .map(|part| Val::new(part.to_vec()))
            .ok_or_else(wrong),
        _ => Err(wrong()),
    }
}

fn compare(call: &Call<'_>, a: &Value, b: &Value, equality: bool) -> Result<Ordering, Mistake> {
    let unequal = |same: bool| match same {
        true => Ordering::Equal,
        false => Ordering::Less,
    };
    match (a, b) {
        (Value::String(a), Value::String(b)) => Ok(a.cmp(b)),
        (Value::Number(x), Value::Number(y)) => match (x.as_i64(), y.as_i64()) {
            (Some(x), Some(y)) => Ok(x.cmp(&y)),
            _ => {
                let (x, y) = (x.as_f64().unwrap_or(0.0), y.as_f64().unwrap_or(0.0));
                Ok(x.partial_cmp(&y).unwrap_or(Ordering::Less))
            }
        },
        (Value::Bool(a), Value::Bool(b)) if equality => Ok(unequal(a == b)),
        (Value::Null, other) | (other, Value::Null) if equality => Ok(unequal(other.is_null())),
        (Value::Array(_) | Value::Object(_) | Value::Bool(_), _)
        | (_, Value::Array(_) | Value::Object(_) | Value::Bool(_)) => {
            Err(call.wrong("invalid type for comparison"))
        }
        _ => Err(call.wrong("incompatible types for comparison")),
    }
}

/// `%s %v %d %q %t %x %f %%` with flags `-` and `0`, width and precision.
fn printf(call: &Call<'_>) -> Result<String, Mistake> {
    let mut out = String::new();
    let mut next = 1;
    let mut chars = call.text(0)?.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let (mut left, mut zeros) = (false, false);
        while let Some(flag) = chars.next_if(|c| matches!(c, '-' | '0' | '+' | ' ' | '#')) {
            left |= flag == '-';
            zeros |= flag == '0';
        }
        let mut digits = || {
            let mut number = None;
            while let Some(c) = chars.next_if(char::is_ascii_digit) {
                let digit = c.to_digit(10).unwrap_or(0) as usize;
                number = Some((number.unwrap_or(0) * 10 + digit).min(1 << 16));
            }
            number
        };
        let width = digits().unwrap_or(0);
        let precision = match chars.next_if_eq(&'.') {
            Some(_) => {
                let mut number = 0;
                while let Some(c) = chars.next_if(char::is_ascii_digit) {
                    number = (number * 10 + c.to_digit(10).unwrap_or(0) as usize).min(1 << 10);
                }
                Some(number)
            }
            None => None,
        };
        let Some(verb) = chars.next() else {
            out.push_str("%!(NOVERB)");
            break;
        };
        if verb == '%' {
            out.push('%');
            continue;
        }
        let Some((value, _)) = call.arguments.get(next) else {
            out.push_str(&format!("%!{verb}(MISSING)"));
            continue;
        };
        next += 1;
        let text = formatted(verb, value, precision);
        let spaces = width.saturating_sub(text.chars().count());
        let fill = if zeros && !left { "0" } else { " " };
        match left {
            true => out.push_str(&format!("{text}{}", fill.repeat(spaces))),
            false => out.push_str(&format!("{}{text}", fill.repeat(spaces))),
        }
    }
    Ok(out)
}

fn formatted(verb: char, value: &Val, precision: Option<usize>) -> String {
    let plain = show::plain(value);
    let cut = |text: String| match precision {
        Some(n) => text.chars().take(n).collect(),
        None => text,
    };
    match (verb, value.value()) {
        ('v', _) => plain,
        ('s', Value::String(_) | Value::Array(_) | Value::Object(_) | Value::Null) => cut(plain),
        ('q', Value::String(text)) => crate::quote::go_quote(text),
        ('d', Value::Number(n)) if !n.is_f64() => plain,
        ('t', Value::Bool(_)) => plain,
        ('x', Value::Number(n)) if n.is_i64() => format!("{:x}", n.as_i64().unwrap_or(0)),
        ('x', Value::String(text)) => text.bytes().map(|b| format!("{b:02x}")).collect(),
        ('f', Value::Number(n)) => {
            format!("{:.*}", precision.unwrap_or(6), n.as_f64().unwrap_or(0.0))
        }
        (verb, value) => format!("%!{verb}({}={plain})", show::kind(value)),
    }
}
