//! Values as Go prints them.

use serde_json::Value;

use super::val::{Shape, Val};
use crate::duration::write_duration;

/// A value as `{{.}}` prints it.
pub fn plain(value: &Val) -> String {
    match (&value.json, value.shape) {
        (None, _) => "<no value>".to_owned(),
        (Some(Value::Null), Shape::Map) => "map[]".to_owned(),
        (Some(Value::Null), Shape::List) => "[]".to_owned(),
        (Some(Value::Number(length)), Shape::Duration) => duration(length),
        (Some(json), shape) => text(json, shape == Shape::Map),
    }
}

/// A length of time as Go prints one.
fn duration(nanoseconds: &serde_json::Number) -> String {
    match nanoseconds.as_u64() {
        Some(length) => write_duration(std::time::Duration::from_nanos(length)),
        None => nanoseconds.to_string(),
    }
}

fn text(value: &Value, is_map: bool) -> String {
    let joined = |parts: Vec<String>| parts.join(" ");
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::Bool(b) => b.to_string(),
        Value::Number(n) => n.to_string(),
        Value::String(s) => s.clone(),
        Value::Array(list) => {
            let parts = list.iter().map(|element| text(element, false)).collect();
            format!("[{}]", joined(parts))
        }
        Value::Object(map) if is_map => {
            let mut pairs: Vec<_> = map.iter().collect();
            pairs.sort_by_key(|(key, _)| key.as_str());
            let parts = pairs
                .into_iter()
                .map(|(key, element)| format!("{key}:{}", text(element, false)))
                .collect();
            format!("map[{}]", joined(parts))
        }
        Value::Object(fields) => {
            let parts = fields.values().map(|field| text(field, false)).collect();
            format!("{{{}}}", joined(parts))
        }
    }
}

/// What kind of value it is, in words for messages.
pub fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "nil",
        Value::Bool(_) => "bool",
        Value::Number(n) if n.is_f64() => "float64",
        Value::Number(_) => "int",
        Value::String(_) => "string",
        Value::Array(_) => "list",
        Value::Object(_) => "map",
    }
}
