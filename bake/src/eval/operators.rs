//! What stands between operands, and before them.

use crate::error::Mistake;
use crate::number::Number;
use crate::source::Span;
use crate::syntax::tree::{Binary, Expression, Unary};
use crate::value::Value;

/// `-a`, `!a`
pub fn unary(operator: Unary, value: &Value, at: Span) -> Result<Value, Mistake> {
    let unsuitable = |what| {
        Mistake::at(
            at,
            format!("Invalid operand; Unsuitable value for unary operand: {what}."),
        )
    };
    Ok(match operator {
        Unary::Negate => Value::Number(value.to_number().map_err(unsuitable)?.negate()),
        Unary::Not => Value::Bool(!value.to_bool().map_err(unsuitable)?),
    })
}

/// `a + b`; the second is asked for when it matters.
pub fn binary(
    operator: Binary,
    sides: &[Expression; 2],
    evaluate: &dyn Fn(&Expression) -> Result<Value, Mistake>,
    whole: Span,
) -> Result<Value, Mistake> {
    let [left, right] = sides;
    let unsuitable = |side: &'static str, at: Span| {
        move |what: &str| {
            let text = format!("Invalid operand; Unsuitable value for {side} operand: {what}.");
            Mistake::at(at, text)
        }
    };
    let (first, second) = (unsuitable("left", left.at), unsuitable("right", right.at));
    let truth = |value: &Value, side: &dyn Fn(&str) -> Mistake| value.to_bool().map_err(side);
    let value = evaluate(left)?;
    match operator {
        Binary::And | Binary::Or => {
            let known = truth(&value, &first)?;
            if known == (operator == Binary::Or) {
                return Ok(Value::Bool(known));
            }
            Ok(Value::Bool(truth(&evaluate(right)?, &second)?))
        }
        Binary::Equal => Ok(Value::Bool(value == evaluate(right)?)),
        Binary::NotEqual => Ok(Value::Bool(value != evaluate(right)?)),
        _ => {
            let a = value.to_number().map_err(first)?;
            let b = evaluate(right)?.to_number().map_err(second)?;
            numbers(operator, a, b)
                .map_err(|what| Mistake::at(whole, format!("Operation failed; {what}")))
        }
    }
}

fn numbers(operator: Binary, a: Number, b: Number) -> Result<Value, String> {
    Ok(match operator {
        Binary::Less => Value::Bool(a < b),
        Binary::LessOrEqual => Value::Bool(a <= b),
        Binary::Greater => Value::Bool(a > b),
        Binary::GreaterOrEqual => Value::Bool(a >= b),
        Binary::Add => Value::Number(a.add(b)?),
        Binary::Subtract => Value::Number(a.subtract(b)?),
        Binary::Multiply => Value::Number(a.multiply(b)?),
        Binary::Divide => Value::Number(a.divide(b)?),
        Binary::Modulo => Value::Number(a.modulo(b)?),
        Binary::Equal | Binary::NotEqual => Value::Bool((a == b) == (operator == Binary::Equal)),
        Binary::And | Binary::Or => return Err("a bool is required".to_owned()),
    })
}
