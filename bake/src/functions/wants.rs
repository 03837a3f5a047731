//! What functions take, and what they are given beside it.

use std::collections::BTreeMap;

use crate::number::Number;
use crate::value::Value;

/// What functions know of the world.
#[derive(Clone, Debug)]
pub struct World {
    /// The time, for `timestamp`.
    pub now: jiff::Timestamp,
    /// The user's folder, for `homedir`.
    pub home: String,
}

/// What a parameter takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// A string, or what can be written as one.
    Text,
    /// A number, or a string that is one.
    Number,
    /// Truth, or a string that is `true` or `false`.
    Truth,
    /// A list.
    List,
    /// A list of strings.
    Texts,
    /// A map.
    Map,
    /// Anything but null.
    Any,
    /// Anything.
    Free,
}

impl Want {
    /// The argument as it is wanted.
    pub fn of(self, value: &Value) -> Result<Value, &'static str> {
        Ok(match (self, value) {
            (Self::Free, value) => value.clone(),
            (_, Value::Null) => return Err("argument must not be null"),
            (Self::Text, value) => Value::String(value.to_text()?),
            (Self::Number, value) => Value::Number(value.to_number()?),
            (Self::Truth, value) => Value::Bool(value.to_bool()?),
            (Self::List, Value::List(_)) | (Self::Map, Value::Map(_)) | (Self::Any, _) => {
                value.clone()
            }
            (Self::Texts, Value::List(list)) => {
                let list = list.iter().map(|one| one.to_text().map(Value::String));
                Value::List(list.collect::<Result<_, _>>()?)
            }
            (Self::List, _) => return Err("a list is required"),
            (Self::Texts, _) => return Err("list of string required"),
            (Self::Map, _) => return Err("a map is required"),
        })
    }
}

/// Arguments that were made what a function wants; what is not there reads as empty.
pub trait Arguments {
    /// A string.
    fn text(&self, at: usize) -> &str;
    /// A number.
    fn number(&self, at: usize) -> Number;
    /// Truth.
    fn truth(&self, at: usize) -> bool;
    /// A list.
    fn list(&self, at: usize) -> &[Value];
    /// A map.
    fn map(&self, at: usize) -> &BTreeMap<String, Value>;
    /// Anything.
    fn any(&self, at: usize) -> &Value;
    /// A whole number.
    fn whole(&self, at: usize) -> Result<i64, String>;
    /// A number from 0.
    fn index(&self, at: usize) -> Result<usize, String>;
}

static NONE: BTreeMap<String, Value> = BTreeMap::new();

impl Arguments for [Value] {
    fn text(&self, at: usize) -> &str {
        match self.get(at) {
            Some(Value::String(text)) => text,
            _ => "",
        }
    }

    fn number(&self, at: usize) -> Number {
        match self.get(at) {
            Some(Value::Number(number)) => *number,
            _ => Number::whole(0),
        }
    }

    fn truth(&self, at: usize) -> bool {
        matches!(self.get(at), Some(Value::Bool(true)))
    }

    fn list(&self, at: usize) -> &[Value] {
        match self.get(at) {
            Some(Value::List(list)) => list,
            _ => &[],
        }
    }

    fn map(&self, at: usize) -> &BTreeMap<String, Value> {
        match self.get(at) {
            Some(Value::Map(map)) => map,
            _ => &NONE,
        }
    }

    fn any(&self, at: usize) -> &Value {
        self.get(at).unwrap_or(&Value::Null)
    }

    fn whole(&self, at: usize) -> Result<i64, String> {
        let number = self.number(at);
        number.to_i64().ok_or_else(|| {
            format!(
                "value must be a whole number, between {} and {}",
                i64::MIN,
                i64::MAX
            )
        })
    }

    fn index(&self, at: usize) -> Result<usize, String> {
        let number = self.number(at);
        number
            .to_index()
            .ok_or_else(|| format!("a whole number from 0 is required, not {number}"))
    }
}
