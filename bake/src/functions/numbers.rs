//! Functions of numbers and truth.

use super::wants::{Arguments as _, World};
use crate::number::Number;
use crate::value::Value;

type Result = std::result::Result<Value, String>;

/// `absolute`
pub fn absolute(of: &[Value], _: &World) -> Result {
    Ok(Value::Number(of.number(0).absolute()))
}

/// `add`
pub fn add(of: &[Value], _: &World) -> Result {
    of.number(0).add(of.number(1)).map(Value::Number)
}

/// `ceil`
pub fn ceil(of: &[Value], _: &World) -> Result {
    Ok(Value::Number(of.number(0).ceil()))
}

/// `divide`
pub fn divide(of: &[Value], _: &World) -> Result {
    of.number(0).divide(of.number(1)).map(Value::Number)
}

/// `floor`
pub fn floor(of: &[Value], _: &World) -> Result {
    Ok(Value::Number(of.number(0).floor()))
}

/// `int`
pub fn int(of: &[Value], _: &World) -> Result {
    Ok(Value::Number(of.number(0).truncate()))
}

/// `log`
pub fn log(of: &[Value], _: &World) -> Result {
    let (number, base) = (of.number(0).to_f64(), of.number(1).to_f64());
    Number::from_f64(number.ln() / base.ln()).map(Value::Number)
}

/// `max`
pub fn max(of: &[Value], _: &World) -> Result {
    extreme(of, Iterator::max)
}

/// `min`
pub fn min(of: &[Value], _: &World) -> Result {
    extreme(of, Iterator::min)
}

fn extreme(of: &[Value], which: fn(std::vec::IntoIter<Number>) -> Option<Number>) -> Result {
    let numbers: Vec<Number> = (0..of.len()).map(|at| of.number(at)).collect();
    which(numbers.into_iter())
        .map(Value::Number)
        .ok_or_else(|| "must pass at least one number".to_owned())
}

/// `modulo`
pub fn modulo(of: &[Value], _: &World) -> Result {
    of.number(0).modulo(of.number(1)).map(Value::Number)
}

/// `multiply`
pub fn multiply(of: &[Value], _: &World) -> Result {
    of.number(0).multiply(of.number(1)).map(Value::Number)
}

/// `negate`
pub fn negate(of: &[Value], _: &World) -> Result {
    Ok(Value::Number(of.number(0).negate()))
}

/// `parseint`
pub fn parse_int(of: &[Value], _: &World) -> Result {
    let (text, base) = (of.text(0), of.whole(1)?);
    let known = u32::try_from(base)
        .ok()
        .filter(|base| (2..=36).contains(base));
    let base = known.ok_or("base must be a whole number between 2 and 36 inclusive")?;
    let number = i64::from_str_radix(text, base)
        .map_err(|_| format!("cannot parse {text:?} as a base {base} integer"))?;
    Ok(Value::Number(Number::whole(number)))
}

/// `pow`
pub fn pow(of: &[Value], _: &World) -> Result {
    let (base, power) = (of.number(0), of.number(1));
    match power.to_i64() {
        // Exact, as far as there are digits.
        Some(times @ 0..=512) => {
            let mut product = Number::whole(1);
            for _ in 0..times {
                product = product.multiply(base)?;
            }
            Ok(Value::Number(product))
        }
        _ => Number::from_f64(base.to_f64().powf(power.to_f64())).map(Value::Number),
    }
}

/// `signum`
pub fn signum(of: &[Value], _: &World) -> Result {
    Ok(Value::Number(of.number(0).sign()))
}

/// `subtract`
pub fn subtract(of: &[Value], _: &World) -> Result {
    of.number(0).subtract(of.number(1)).map(Value::Number)
}

/// `and`
pub fn and(of: &[Value], _: &World) -> Result {
    Ok(Value::Bool(of.truth(0) && of.truth(1)))
}

/// `or`
pub fn or(of: &[Value], _: &World) -> Result {
    Ok(Value::Bool(of.truth(0) || of.truth(1)))
}

/// `not`
pub fn not(of: &[Value], _: &World) -> Result {
    Ok(Value::Bool(!of.truth(0)))
}

/// `equal`
pub fn equal(of: &[Value], _: &World) -> Result {
    Ok(Value::Bool(of.any(0) == of.any(1)))
}

/// `notequal`
pub fn not_equal(of: &[Value], _: &World) -> Result {
    Ok(Value::Bool(of.any(0) != of.any(1)))
}

/// `greaterthan`
pub fn greater(of: &[Value], _: &World) -> Result {
    Ok(Value::Bool(of.number(0) > of.number(1)))
}

/// `greaterthanorequalto`
pub fn greater_or_equal(of: &[Value], _: &World) -> Result {
    Ok(Value::Bool(of.number(0) >= of.number(1)))
}

/// `lessthan`
pub fn less(of: &[Value], _: &World) -> Result {
    Ok(Value::Bool(of.number(0) < of.number(1)))
}

/// `lessthanorequalto`
pub fn less_or_equal(of: &[Value], _: &World) -> Result {
    Ok(Value::Bool(of.number(0) <= of.number(1)))
}
