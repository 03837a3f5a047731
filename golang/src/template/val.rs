//! Values as templates see them: JSON, and what Go would know of it by type.

use serde_json::Value;

/// What a value is in Go, where JSON does not tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shape {
    /// As JSON has it; objects are structs.
    #[default]
    Any,
    /// A map, also when it is `null`.
    Map,
    /// A list, also when it is `null`.
    List,
    /// A length of time, which is a number of nanoseconds.
    Duration,
}

/// A value, with what Go would know of it by type.
#[derive(Clone, Debug)]
pub struct Val {
    /// The value; `None` for a key that a map does not have.
    pub json: Option<Value>,
    /// What it is when it is `null` or printed.
    pub shape: Shape,
}

impl Val {
    /// A plain value.
    pub fn new(json: impl Into<Value>) -> Self {
        Self {
            json: Some(json.into()),
            shape: Shape::Any,
        }
    }

    /// The value, `null` when there is none.
    pub fn value(&self) -> &Value {
        self.json.as_ref().unwrap_or(&Value::Null)
    }

    /// Go's idea of truth: anything that is not zero or empty.
    pub fn is_true(&self) -> bool {
        match self.value() {
            Value::Null => false,
            Value::Bool(b) => *b,
            Value::Number(n) => n.as_f64() != Some(0.0),
            Value::String(s) => !s.is_empty(),
            Value::Array(a) => !a.is_empty(),
            Value::Object(o) => self.shape != Shape::Map || !o.is_empty(),
        }
    }
}
