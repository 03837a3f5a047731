//! Strings with parts that are put in.

use super::scope::Scope;
use crate::error::Mistake;
use crate::source::Span;
use crate::syntax::tree::{Expression, Part};
use crate::value::Value;

/// How expressions within a template are evaluated.
pub type Evaluate = fn(&Expression, Scope<'_>) -> Result<Value, Mistake>;

/// The most bytes that a string may come to.
pub const LONGEST: usize = 8 << 20;

/// The string that a template comes to.
pub fn render(
    parts: &[Part],
    scope: Scope<'_>,
    evaluate: Evaluate,
    at: Span,
) -> Result<String, Mistake> {
    let mut out = String::new();
    write(&mut out, parts, scope, evaluate, at)?;
    Ok(out)
}

fn write(
    out: &mut String,
    parts: &[Part],
    scope: Scope<'_>,
    evaluate: Evaluate,
    at: Span,
) -> Result<(), Mistake> {
    for part in parts {
        match part {
            Part::Text(text) => out.push_str(text),
            Part::Insert(expression) => {
                let value = evaluate(expression, scope)?;
                out.push_str(&inserted(&value, expression.at)?);
            }
            Part::If {
                condition,
                then,
                otherwise,
            } => {
                let holds = evaluate(condition, scope)?;
                let holds = holds.to_bool().map_err(|_| {
                    let text = "Incorrect condition type; The if directive's condition must be \
                                of type bool.";
                    Mistake::at(condition.at, text)
                })?;
                let parts = if holds { then } else { otherwise };
                write(out, parts, scope, evaluate, at)?;
            }
            Part::For {
                key,
                value,
                collection,
                body,
            } => {
                let entries = evaluate(collection, scope)?.entries();
                let entries = entries.ok_or_else(|| {
                    let text = "Iteration over non-iterable value; Only lists, tuples, maps and \
                                objects can be gone through.";
                    Mistake::at(collection.at, text)
                })?;
                for (of, one) in entries {
                    let mut names = vec![(value.clone(), one)];
                    names.extend(key.iter().map(|key| (key.clone(), of.clone())));
                    scope.with(&names, |scope| write(out, body, scope, evaluate, at))?;
                }
            }
        }
        if out.len() > LONGEST {
            return Err(Mistake::at(
                at,
                format!("the string is longer than {LONGEST} bytes"),
            ));
        }
    }
    Ok(())
}

fn inserted(value: &Value, at: Span) -> Result<String, Mistake> {
    match value {
        Value::Null => Err(Mistake::at(
            at,
            "Invalid template interpolation value; The expression result is null. Cannot include \
             a null value in a string template.",
        )),
        value => value.to_text().map_err(|what| {
            let text = "Invalid template interpolation value; Cannot include the given value in \
                        a string template";
            Mistake::at(at, format!("{text}: {what}."))
        }),
    }
}
