//! What a variable is: its default, or what the environment says, as its type has it.

use std::collections::BTreeMap;

use crate::csv;
use crate::entries::parse_bool;
use crate::number::Number;
use crate::types::Type;
use crate::value::Value;

/// The value of a variable of a type.
///
/// # Errors
/// The default or what the environment says is not of the type.
pub fn typed(
    name: &str,
    of: &Type,
    default: Option<&Value>,
    environment: &BTreeMap<String, String>,
) -> Result<Value, String> {
    let default = default.unwrap_or(&Value::Null);
    let default = of.convert(default).map_err(|what| {
        let kind = of.name();
        format!("invalid type {kind} for variable {name} default value: {what}")
    })?;
    if let Some(json) = environment.get(&format!("{name}_JSON")) {
        return from_json(of, json)
            .map_err(|why| format!("failed to convert variable {name} from JSON: {why}"));
    }
    let Some(text) = environment.get(name) else {
        return Ok(default);
    };
    match of {
        Type::Any | Type::Text => Ok(Value::text(text)),
        Type::Truth => truth(name, text),
        Type::Number => number(name, text),
        Type::Object(_) => Err(format!("unsupported type object for variable {name}")),
        Type::List(_) | Type::Set(_) | Type::Tuple(_) | Type::Map(_) => from_csv(of, text)
            .map_err(|why| format!("failed to convert variable {name} from CSV: {why}")),
    }
}

/// The value of a variable without a type, which its default has.
///
/// # Errors
/// What the environment says is not of that type.
pub fn untyped(
    name: &str,
    default: Option<&Value>,
    environment: &BTreeMap<String, String>,
) -> Result<Value, String> {
    let text = environment.get(name);
    match (default, text) {
        (None, text) => Ok(Value::text(text.cloned().unwrap_or_default())),
        (Some(default), None) => Ok(default.clone()),
        (Some(Value::Bool(_)), Some(text)) => truth(name, text),
        (Some(Value::Number(_)), Some(text)) => number(name, text),
        (Some(Value::String(_) | Value::Null), Some(text)) => Ok(Value::text(text)),
        (Some(other), Some(_)) => {
            let kind = other.kind();
            Err(format!("unsupported type {kind} for variable {name}"))
        }
    }
}

fn truth(name: &str, text: &str) -> Result<Value, String> {
    parse_bool(text).map(Value::Bool).ok_or_else(|| {
        format!(
            "failed to parse {name} as bool: strconv.ParseBool: parsing {text:?}: invalid syntax"
        )
    })
}

fn number(name: &str, text: &str) -> Result<Value, String> {
    let number: Result<Number, _> = text.parse();
    number.map(Value::Number).map_err(|_| {
        format!(
            "failed to parse {name} as number: strconv.ParseFloat: parsing {text:?}: invalid syntax"
        )
    })
}

fn from_json(of: &Type, json: &str) -> Result<Value, String> {
    let json: serde_json::Value = serde_json::from_str(json).map_err(|error| error.to_string())?;
    of.convert(&Value::from_json(&json)?)
}

fn from_csv(of: &Type, text: &str) -> Result<Value, String> {
    if text.is_empty() {
        return Err(format!("failed to parse {text} as CSV: EOF"));
    }
    let fields = csv::fields(text)?;
    if of.is_list() {
        let words = fields.into_iter().map(Value::String);
        return of
            .convert(&Value::List(words.collect()))
            .map_err(|what| format!("failed to parse element of type {}: {what}", of.name()));
    }
    let pairs = fields.iter().map(|field| match field.split_once(':') {
        Some((name, value)) => Ok((name.to_owned(), Value::text(value))),
        None => Err(format!(
            "expected one k/v pair but got 1 pieces from {field}"
        )),
    });
    of.convert(&Value::Map(pairs.collect::<Result<_, _>>()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_is_read_as_the_type_has_it() {
        let environment = |pairs: &[(&str, &str)]| {
            let pairs = pairs.iter();
            let pairs = pairs.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            pairs.collect::<BTreeMap<_, _>>()
        };
        let numbers = Type::List(Box::new(Type::Number));
        let get = |of: &Type, pairs: &[(&str, &str)]| {
            typed("L", of, None, &environment(pairs)).map(|value| value.to_json())
        };
        assert_eq!(get(&numbers, &[("L", "1,2")]).unwrap(), "[1,2]");
        assert_eq!(
            get(&numbers, &[("L_JSON", "[3]"), ("L", "1")]).unwrap(),
            "[3]"
        );
        assert_eq!(get(&numbers, &[]).unwrap(), "null");
        assert!(get(&numbers, &[("L", "a")]).is_err());
        assert_eq!(get(&Type::Truth, &[("L", "T")]).unwrap(), "true");
        let map = Type::Map(Box::new(Type::Text));
        assert_eq!(
            get(&map, &[("L", "a:1,b:2")]).unwrap(),
            "{\"a\":\"1\",\"b\":\"2\"}"
        );
        let default = Value::Number(Number::whole(1));
        let untyped = untyped("L", Some(&default), &environment(&[("L", "x")]));
        assert!(
            untyped
                .unwrap_err()
                .starts_with("failed to parse L as number")
        );
    }
}
