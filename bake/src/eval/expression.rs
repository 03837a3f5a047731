//! The walk over an expression.

use std::collections::BTreeMap;

use super::operators;
use super::scope::Scope;
use super::template::{self, LONGEST};
use crate::error::Mistake;
use crate::source::Span;
use crate::syntax::hcl;
use crate::syntax::tree::{Call, Expression, For, Kind, Step};
use crate::types;
use crate::value::Value;

/// What an expression comes to.
///
/// # Errors
/// Where it cannot be told.
pub fn evaluate(expression: &Expression, scope: Scope<'_>) -> Result<Value, Mistake> {
    let at = expression.at;
    let value = match &expression.kind {
        Kind::Literal(value) => return Ok(value.clone()),
        Kind::Template(parts) => {
            return Ok(Value::String(template::render(parts, scope, evaluate, at)?));
        }
        Kind::Variable(name) => return variable(name, at, scope),
        Kind::Tuple(list) => {
            let list = list.iter().map(|one| evaluate(one, scope));
            Value::List(list.collect::<Result<_, _>>()?)
        }
        Kind::Object(entries) => object(entries, scope)?,
        Kind::Call(call) => called(call, scope)?,
        Kind::Conditional(parts) => return conditional(parts, scope),
        Kind::Unary(operator, operand) => {
            return operators::unary(*operator, &evaluate(operand, scope)?, operand.at);
        }
        Kind::Binary(operator, sides) => {
            return operators::binary(*operator, sides, &|side| evaluate(side, scope), at);
        }
        Kind::Traversal(root, steps) => return traversed(root, steps, scope),
        Kind::For(one) => comprehension(one, scope)?,
    };
    match weight(&value) > LONGEST {
        true => Err(Mistake::at(
            at,
            format!("the value is larger than {LONGEST} bytes"),
        )),
        false => Ok(value),
    }
}

/// About how many bytes a value takes, so that no few lines come to gigabytes.
fn weight(value: &Value) -> usize {
    const EACH: usize = 24;
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => EACH,
        Value::String(text) => EACH + text.len(),
        Value::List(list) => EACH + list.iter().map(weight).sum::<usize>(),
        Value::Map(map) => {
            let each = map.iter().map(|(name, value)| name.len() + weight(value));
            EACH + each.sum::<usize>()
        }
    }
}

/// A name that stands for itself, as parameters and types do: a bare word, or, in JSON, a string
/// that is one.
pub fn keyword(expression: &Expression) -> Option<String> {
    match &expression.kind {
        Kind::Variable(name) => Some(name.clone()),
        Kind::Literal(Value::String(text)) => {
            let inner = hcl::expression(text, expression.at).ok()?;
            match inner.kind {
                Kind::Variable(name) => Some(name),
                _ => None,
            }
        }
        _ => None,
    }
}

fn variable(name: &str, at: Span, scope: Scope<'_>) -> Result<Value, Mistake> {
    match scope.own(name) {
        Some(value) => Ok(value.clone()),
        None => match scope.names.block(name, &[], at) {
            Some(found) => found.map(|(value, _)| value),
            None => scope.names.variable(name, at),
        },
    }
}

fn object(entries: &[(Expression, Expression)], scope: Scope<'_>) -> Result<Value, Mistake> {
    let mut map = BTreeMap::new();
    for (key, value) in entries {
        let name = evaluate(key, scope)?;
        let name = name.to_text().map_err(|what| {
            let text = "Incorrect key type; Can't use this value as a key";
            Mistake::at(key.at, format!("{text}: {what}."))
        })?;
        map.insert(name, evaluate(value, scope)?);
    }
    Ok(Value::Map(map))
}

fn conditional(parts: &[Expression; 3], scope: Scope<'_>) -> Result<Value, Mistake> {
    let [condition, then, otherwise] = parts;
    let value = evaluate(condition, scope)?;
    if value == Value::Null {
        let text = "Null condition; The condition value is null. Conditions must either be true \
                    or false.";
        return Err(Mistake::at(condition.at, text));
    }
    let holds = value.to_bool().map_err(|_| {
        let text = "Incorrect condition type; The condition expression must be of type bool.";
        Mistake::at(condition.at, text)
    })?;
    evaluate(if holds { then } else { otherwise }, scope)
}

/// `convert(VALUE, TYPE)`
fn converted(call: &Call, scope: Scope<'_>) -> Result<Value, Mistake> {
    let (value, to) = match call.arguments.as_slice() {
        [value, to] => (value, to),
        [_, _, more, ..] => {
            let text =
                "Too many function arguments; Function \"convert\" expects only 2 argument(s).";
            return Err(Mistake::at(more.at, text));
        }
        few => {
            let missing = if few.is_empty() { "value" } else { "type" };
            let text = format!(
                "Not enough function arguments; Function \"convert\" expects 2 argument(s). Missing \
                 value for {missing:?}."
            );
            return Err(Mistake::at(call.close_at, text));
        }
    };
    let to = types::written(to)?;
    let found = evaluate(value, scope)?;
    to.convert(&found).map_err(|what| {
        let text =
            format!("Invalid function argument; Invalid value for \"value\" parameter: {what}.");
        Mistake::at(value.at, text)
    })
}

fn called(call: &Call, scope: Scope<'_>) -> Result<Value, Mistake> {
    // These two are asked before their arguments are known to mean anything.
    match call.name.as_str() {
        "try" => {
            let mut last = None;
            for argument in &call.arguments {
                match evaluate(argument, scope) {
                    Ok(value) => return Ok(value),
                    Err(mistake) => last = Some(mistake),
                }
            }
            let why = last.map_or_else(
                || "at least one argument is required".to_owned(),
                |m| m.message,
            );
            let text = format!("Error in function call; Call to function \"try\" failed: {why}.");
            return Err(Mistake::at(call.name_at, text));
        }
        "can" if call.arguments.len() == 1 => {
            let known = call
                .arguments
                .iter()
                .all(|one| evaluate(one, scope).is_ok());
            return Ok(Value::Bool(known));
        }
        // A type is no value: nothing is asked what it means.
        "convert" => return converted(call, scope),
        _ => {}
    }
    let mut arguments = Vec::new();
    for (at, argument) in call.arguments.iter().enumerate() {
        let value = evaluate(argument, scope)?;
        let last = at + 1 == call.arguments.len();
        match value {
            Value::List(list) if call.expand && last => {
                arguments.extend(list.into_iter().map(|value| (value, argument.at)));
            }
            _ if call.expand && last => {
                let text = "Invalid expanding argument value; The expanding argument (indicated \
                            by ...) must be of a tuple, list, or set type.";
                return Err(Mistake::at(argument.at, text));
            }
            value => arguments.push((value, argument.at)),
        }
    }
    scope.names.call(call, arguments)
}

fn comprehension(one: &For, scope: Scope<'_>) -> Result<Value, Mistake> {
    let collection = evaluate(&one.collection, scope)?;
    let entries = collection.entries().ok_or_else(|| {
        let text = match collection {
            Value::Null => {
                "Iteration over null value; A null value cannot be used as the \
                            collection in a 'for' expression."
            }
            _ => {
                "Iteration over non-iterable value; A value of this type cannot be used as the \
                  collection in a 'for' expression."
            }
        };
        Mistake::at(one.collection.at, text)
    })?;
    let (mut list, mut map) = (Vec::new(), BTreeMap::new());
    for (key, value) in entries {
        let mut names = vec![(one.value.clone(), value)];
        names.extend(one.key.iter().map(|name| (name.clone(), key.clone())));
        scope.with(&names, |scope| -> Result<(), Mistake> {
            if let Some(condition) = &one.condition {
                let taken = evaluate(condition, scope)?.to_bool().map_err(|_| {
                    let text = "Invalid 'for' condition; The 'if' clause value is invalid: a bool \
                                is required.";
                    Mistake::at(condition.at, text)
                })?;
                if !taken {
                    return Ok(());
                }
            }
            let result = evaluate(&one.result, scope)?;
            let Some(key) = &one.result_key else {
                list.push(result);
                return Ok(());
            };
            let name = evaluate(key, scope)?.to_text().map_err(|what| {
                let text = "Invalid object key; The key expression produced an invalid result";
                Mistake::at(key.at, format!("{text}: {what}."))
            })?;
            match (one.grouping, map.get_mut(&name)) {
                (true, Some(Value::List(group))) => group.push(result),
                (true, _) => {
                    map.insert(name, Value::List(vec![result]));
                }
                (false, Some(_)) => {
                    let text = format!(
                        "Duplicate object key; Two different items produced the key {name:?} in \
                         this 'for' expression."
                    );
                    return Err(Mistake::at(key.at, text));
                }
                (false, None) => {
                    map.insert(name, result);
                }
            }
            Ok(())
        })?;
    }
    Ok(match one.result_key {
        Some(_) => Value::Map(map),
        None => Value::List(list),
    })
}

fn traversed(root: &Expression, steps: &[Step], scope: Scope<'_>) -> Result<Value, Mistake> {
    if let Kind::Variable(name) = &root.kind
        && scope.own(name).is_none()
    {
        let words: Vec<&str> = steps
            .iter()
            .map_while(|step| match step {
                Step::Attribute(word, _) => Some(word.as_str()),
                _ => None,
            })
            .collect();
        if let Some(found) = scope.names.block(name, &words, root.at) {
            let (value, used) = found?;
            return walk(value, steps.get(used..).unwrap_or_default(), scope);
        }
    }
    walk(evaluate(root, scope)?, steps, scope)
}

/// Follows the steps from a value.
fn walk(value: Value, steps: &[Step], scope: Scope<'_>) -> Result<Value, Mistake> {
    let mut value = value;
    let mut rest = steps;
    while let Some((step, behind)) = rest.split_first() {
        rest = behind;
        value = match step {
            Step::Attribute(name, at) => attribute(value, name, *at)?,
            Step::Index(index) => indexed(value, &evaluate(index, scope)?, index.at)?,
            Step::Splat { full } => {
                // `.*` takes attributes along, `[*]` all that follows.
                let taken = match full {
                    true => rest.len(),
                    false => rest
                        .iter()
                        .take_while(|step| matches!(step, Step::Attribute(..)))
                        .count(),
                };
                let (each, later) = rest.split_at(taken);
                rest = later;
                let list = match value {
                    Value::List(list) => list,
                    Value::Null => Vec::new(),
                    one => vec![one],
                };
                let list = list.into_iter().map(|one| walk(one, each, scope));
                Value::List(list.collect::<Result<_, _>>()?)
            }
        };
    }
    Ok(value)
}

fn attribute(value: Value, name: &str, at: Span) -> Result<Value, Mistake> {
    match value {
        Value::Map(mut map) => map.remove(name).ok_or_else(|| {
            let text = "Unsupported attribute; This object does not have an attribute named";
            Mistake::at(at, format!("{text} {name:?}."))
        }),
        Value::Null => Err(Mistake::at(
            at,
            "Attempt to get attribute from null value; This value is null, so it does not have \
             any attributes.",
        )),
        Value::List(_) if name.bytes().all(|b| b.is_ascii_digit()) => {
            let number = name.parse().map_err(|e: String| Mistake::at(at, e))?;
            indexed(value, &Value::Number(number), at)
        }
        _ => Err(Mistake::at(
            at,
            "Unsupported attribute; This value does not have any attributes.",
        )),
    }
}

fn indexed(value: Value, index: &Value, at: Span) -> Result<Value, Mistake> {
    let missing = || {
        let text = "Invalid index; The given key does not identify an element in this collection \
                    value.";
        Mistake::at(at, text)
    };
    match value {
        Value::List(mut list) => {
            let number = index.to_number().map_err(|what| {
                let text = "Invalid index; The given key does not identify an element in this \
                            collection value";
                Mistake::at(at, format!("{text}: {what}."))
            })?;
            let at = number.to_index().filter(|at| *at < list.len());
            Ok(list.swap_remove(at.ok_or_else(missing)?))
        }
        Value::Map(mut map) => {
            let name = index.to_text().map_err(|_| missing())?;
            map.remove(&name).ok_or_else(missing)
        }
        Value::Null => Err(Mistake::at(
            at,
            "Attempt to index null value; This value is null, so it does not have any indices.",
        )),
        _ => Err(Mistake::at(
            at,
            "Invalid index; This value does not have any indices.",
        )),
    }
}
