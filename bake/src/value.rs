//! Values of expressions.

use golang::quote::json_escapes;
use std::collections::BTreeMap;

use crate::number::Number;

/// What an expression comes to.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number.
    Number(Number),
    /// A string.
    String(String),
    /// Values in an order: a list, a tuple or a set.
    List(Vec<Value>),
    /// Values by name: a map or an object.
    Map(BTreeMap<String, Value>),
}

impl Value {
    /// A string.
    pub fn text(text: impl Into<String>) -> Self {
        Self::String(text.into())
    }

    /// What kind of value it is, as messages call it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Null => "dynamic",
            Self::Bool(_) => "bool",
            Self::Number(_) => "number",
            Self::String(_) => "string",
            Self::List(_) => "tuple",
            Self::Map(_) => "object",
        }
    }

    /// As a string: what is written of strings, numbers and truth.
    ///
    /// # Errors
    /// What is required instead.
    pub fn to_text(&self) -> Result<String, &'static str> {
        match self {
            Self::String(text) => Ok(text.clone()),
            Self::Number(number) => Ok(number.to_string()),
            Self::Bool(truth) => Ok(truth.to_string()),
            Self::Null => Err("argument must not be null"),
            Self::List(_) | Self::Map(_) => Err("string required"),
        }
    }

    /// As a number; strings are read.
    ///
    /// # Errors
    /// What is required instead.
    pub fn to_number(&self) -> Result<Number, &'static str> {
        match self {
            Self::Number(number) => Ok(*number),
            Self::String(text) => text.parse().map_err(|_| "a number is required"),
            Self::Null => Err("argument must not be null"),
            Self::Bool(_) | Self::List(_) | Self::Map(_) => Err("a number is required"),
        }
    }

    /// As truth; strings are read.
    ///
    /// # Errors
    /// What is required instead.
    pub fn to_bool(&self) -> Result<bool, &'static str> {
        match self {
            Self::Bool(truth) => Ok(*truth),
            Self::String(text) => match text.as_str() {
                "true" | "1" => Ok(true),
                "false" | "0" => Ok(false),
                _ => Err("a bool is required"),
            },
            Self::Null => Err("argument must not be null"),
            Self::Number(_) | Self::List(_) | Self::Map(_) => Err("a bool is required"),
        }
    }

    /// What can be gone through, with the key of each.
    pub fn entries(&self) -> Option<Vec<(Self, Self)>> {
        match self {
            Self::List(list) => {
                let numbered = list.iter().enumerate();
                let entries =
                    numbered.map(|(at, one)| (Self::Number(Number::count(at)), one.clone()));
                Some(entries.collect())
            }
            Self::Map(map) => {
                let entries = map
                    .iter()
                    .map(|(name, one)| (Self::text(name), one.clone()));
                Some(entries.collect())
            }
            _ => None,
        }
    }

    /// From JSON.
    ///
    /// # Errors
    /// For numbers of too many digits.
    pub fn from_json(json: &serde_json::Value) -> Result<Self, String> {
        Ok(match json {
            serde_json::Value::Null => Self::Null,
            serde_json::Value::Bool(truth) => Self::Bool(*truth),
            serde_json::Value::Number(number) => Self::Number(number.to_string().parse()?),
            serde_json::Value::String(text) => Self::text(text),
            serde_json::Value::Array(list) => {
                let values = list.iter().map(Self::from_json);
                Self::List(values.collect::<Result<_, _>>()?)
            }
            serde_json::Value::Object(map) => {
                let values = map
                    .iter()
                    .map(|(name, value)| Ok((name.clone(), Self::from_json(value)?)));
                Self::Map(values.collect::<Result<_, String>>()?)
            }
        })
    }

    /// As JSON on one line, as Go writes it.
    pub fn to_json(&self) -> String {
        let mut out = String::new();
        self.write_json(&mut out);
        out
    }

    fn write_json(&self, out: &mut String) {
        match self {
            Self::Null => out.push_str("null"),
            Self::Bool(truth) => out.push_str(if *truth { "true" } else { "false" }),
            Self::Number(number) => out.push_str(&number.to_string()),
            Self::String(text) => out.push_str(&json_string(text)),
            Self::List(list) => {
                out.push('[');
                for (at, value) in list.iter().enumerate() {
                    if at > 0 {
                        out.push(',');
                    }
                    value.write_json(out);
                }
                out.push(']');
            }
            Self::Map(map) => {
                out.push('{');
                for (at, (name, value)) in map.iter().enumerate() {
                    if at > 0 {
                        out.push(',');
                    }
                    out.push_str(&json_string(name));
                    out.push(':');
                    value.write_json(out);
                }
                out.push('}');
            }
        }
    }
}

fn json_string(text: &str) -> String {
    json_escapes(&serde_json::Value::from(text).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_as_what_is_needed() {
        assert_eq!(Value::text("4").to_number(), Ok(Number::whole(4)));
        assert_eq!(Value::Bool(true).to_text().as_deref(), Ok("true"));
        assert_eq!(Value::text("true").to_bool(), Ok(true));
        assert!(Value::text("yes").to_bool().is_err());
        assert!(Value::List(Vec::new()).to_text().is_err());
        assert!(Value::Null.to_text().is_err());
    }

    #[test]
    fn json_is_written_as_go_writes_it() {
        let json: serde_json::Value = serde_json::from_str(r#"{"b":["<a>"],"a":1.50}"#).unwrap();
        let value = Value::from_json(&json).unwrap();
        assert_eq!(value.to_json(), "{\"a\":1.5,\"b\":[\"\\u003ca\\u003e\"]}");
    }
}
