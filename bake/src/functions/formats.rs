//! `format` and `formatlist`: verbs of printf, as Go has them.

use super::wants::{Arguments as _, World};
use crate::number::Number;
use crate::value::Value;

type Result<T = Value> = std::result::Result<T, String>;

/// The widest that a value is made.
const WIDEST: usize = 1 << 10;

/// `format`
pub fn format(of: &[Value], _: &World) -> Result {
    let arguments = of.get(1..).unwrap_or_default();
    written(of.text(0), arguments).map(Value::String)
}

/// `formatlist`: lists are gone through together, other arguments are the same for each.
pub fn format_list(of: &[Value], _: &World) -> Result {
    let arguments = of.get(1..).unwrap_or_default();
    let mut count = None;
    for argument in arguments {
        if let Value::List(list) = argument {
            match count {
                Some(known) if known != list.len() => {
                    return Err("all lists must have the same number of elements".to_owned());
                }
                _ => count = Some(list.len()),
            }
        }
    }
    let lines = (0..count.unwrap_or(1)).map(|at| {
        let row: Vec<Value> = arguments
            .iter()
            .map(|argument| match argument {
                Value::List(list) => list.get(at).cloned().unwrap_or(Value::Null),
                one => one.clone(),
            })
            .collect();
        written(of.text(0), &row).map(Value::String)
    });
    Ok(Value::List(lines.collect::<Result<_>>()?))
}

/// A verb with what stands before it.
#[derive(Default)]
struct Verb {
    letter: char,
    plus: bool,
    minus: bool,
    space: bool,
    sharp: bool,
    zero: bool,
    width: Option<usize>,
    precision: Option<usize>,
    /// Which argument, counted from 0.
    argument: Option<usize>,
}

fn written(format: &str, arguments: &[Value]) -> Result<String> {
    let mut out = String::new();
    let mut rest = format.chars().peekable();
    let (mut next, mut used) = (0, 0);
    while let Some(c) = rest.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        if rest.next_if_eq(&'%').is_some() {
            out.push('%');
            continue;
        }
        let verb = Verb::read(&mut rest)?;
        let at = verb.argument.unwrap_or(next);
        next = at + 1;
        used = used.max(next);
        let letter = verb.letter;
        let value = arguments.get(at).ok_or_else(|| {
            format!(
                "not enough arguments for \"%{letter}\": need index {at} but have {} total",
                arguments.len()
            )
        })?;
        out.push_str(&verb.apply(value, at)?);
    }
    match used < arguments.len() {
        true => Err(format!(
            "too many arguments; only {used} used by format string"
        )),
        false => Ok(out),
    }
}

impl Verb {
    fn read(rest: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<Self> {
        let mut verb = Self::default();
        loop {
            match rest.peek() {
                Some('+') => verb.plus = true,
                Some('-') => verb.minus = true,
                Some(' ') => verb.space = true,
                Some('#') => verb.sharp = true,
                Some('0') => verb.zero = true,
                _ => break,
            }
            rest.next();
        }
        verb.width = digits(rest);
        if rest.next_if_eq(&'.').is_some() {
            verb.precision = Some(digits(rest).unwrap_or(0));
        }
        if rest.next_if_eq(&'[').is_some() {
            let index = digits(rest).and_then(|one| one.checked_sub(1));
            match (index, rest.next()) {
                (Some(index), Some(']')) => verb.argument = Some(index),
                _ => return Err("invalid argument index in format string".to_owned()),
            }
        }
        if [verb.width, verb.precision]
            .into_iter()
            .flatten()
            .any(|n| n > WIDEST)
        {
            return Err(format!("a width or precision is above {WIDEST}"));
        }
        verb.letter = rest.next().ok_or("unterminated verb in format string")?;
        Ok(verb)
    }

    fn apply(&self, value: &Value, at: usize) -> Result<String> {
        let letter = self.letter;
        let unsupported = |what: &str| {
            let number = at + 1;
            format!("unsupported value for \"%{letter}\" at {number}: {what}")
        };
        let number = || value.to_number().map_err(unsupported);
        let whole = || {
            let number = number()?;
            number
                .to_i64()
                .ok_or_else(|| unsupported("an integer is required"))
        };
        let text = match letter {
            'v' if self.sharp => value.to_json(),
            'v' => match value {
                Value::Null | Value::List(_) | Value::Map(_) => value.to_json(),
                value => value.to_text().map_err(unsupported)?,
            },
            't' => value.to_bool().map_err(unsupported)?.to_string(),
            'd' => self.signed(whole()?, |n| n.to_string()),
            'b' => self.signed(whole()?, |n| format!("{n:b}")),
            'o' => self.signed(whole()?, |n| format!("{n:o}")),
            'x' => self.signed(whole()?, |n| format!("{n:x}")),
            'X' => self.signed(whole()?, |n| format!("{n:X}")),
            'f' | 'F' => self.plus_sign(fixed(number()?, self.precision.unwrap_or(6))),
            'e' => self.plus_sign(scientific(number()?, self.precision.unwrap_or(6), 'e')),
            'E' => self.plus_sign(scientific(number()?, self.precision.unwrap_or(6), 'E')),
            'g' | 'G' => self.plus_sign(number()?.to_string()),
            's' | 'q' => {
                let text = value.to_text().map_err(unsupported)?;
                let text = match self.precision {
                    Some(most) => text.chars().take(most).collect(),
                    None => text,
                };
                match letter {
                    'q' => serde_json::Value::from(text).to_string(),
                    _ => text,
                }
            }
            other => return Err(format!("unsupported format verb '{other}'")),
        };
        Ok(self.padded(text))
    }

    fn signed(&self, number: i64, digits: impl Fn(u64) -> String) -> String {
        let sign = match (number < 0, self.plus, self.space) {
            (true, ..) => "-",
            (false, true, _) => "+",
            (false, false, true) => " ",
            (false, false, false) => "",
        };
        format!("{sign}{}", digits(number.unsigned_abs()))
    }

    fn plus_sign(&self, text: String) -> String {
        match text.starts_with('-') {
            false if self.plus => format!("+{text}"),
            false if self.space => format!(" {text}"),
            _ => text,
        }
    }

    fn padded(&self, text: String) -> String {
        let missing = self.width.unwrap_or(0).saturating_sub(text.chars().count());
        let numeric = !matches!(self.letter, 's' | 'q' | 'v' | 't');
        match (self.minus, self.zero && numeric) {
            (true, _) => text + &" ".repeat(missing),
            (false, true) => {
                let (sign, digits) = match text.strip_prefix(['-', '+']) {
                    Some(digits) => text.split_at(text.len() - digits.len()),
                    None => ("", text.as_str()),
                };
                format!("{sign}{}{digits}", "0".repeat(missing))
            }
            (false, false) => " ".repeat(missing) + &text,
        }
    }
}

fn digits(rest: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<usize> {
    let mut number: Option<usize> = None;
    while let Some(digit) = rest.peek().and_then(|c| c.to_digit(10)) {
        let digit = usize::try_from(digit).unwrap_or(0);
        number = Some(number.unwrap_or(0).saturating_mul(10).saturating_add(digit));
        rest.next();
    }
    number
}

fn fixed(number: Number, places: usize) -> String {
    format!("{:.places$}", number.to_f64())
}

/// `1.500000e+00`: Go writes at least two digits of the exponent, and its sign.
fn scientific(number: Number, places: usize, letter: char) -> String {
    let plain = format!("{:.places$e}", number.to_f64());
    let (digits, exponent) = plain.split_once('e').unwrap_or((plain.as_str(), "0"));
    let (sign, exponent) = match exponent.strip_prefix('-') {
        Some(exponent) => ('-', exponent),
        None => ('+', exponent),
    };
    format!("{digits}{letter}{sign}{exponent:0>2}")
}
