//! Functions of lists and maps.

use std::collections::BTreeMap;

use super::wants::{Arguments as _, World};
use crate::number::Number;
use crate::value::Value;

type Result = std::result::Result<Value, String>;

/// The most elements, or bytes, that a function makes.
pub const LARGEST: usize = 1 << 20;

/// `chunklist`: lists of a size.
pub fn chunk(of: &[Value], _: &World) -> Result {
    let (list, size) = (of.list(0), of.index(1)?);
    if list.is_empty() {
        return Ok(Value::List(Vec::new()));
    }
    let size = if size == 0 { list.len() } else { size };
    let chunks = list.chunks(size).map(|chunk| Value::List(chunk.to_vec()));
    Ok(Value::List(chunks.collect()))
}

/// `coalesce`: the first that is not null.
pub fn coalesce(of: &[Value], _: &World) -> Result {
    let mut known = of.iter().filter(|one| **one != Value::Null);
    known
        .next()
        .cloned()
        .ok_or_else(|| "no non-null arguments".to_owned())
}

/// `coalescelist`: the first list that has elements.
pub fn coalesce_list(of: &[Value], _: &World) -> Result {
    let mut known = of
        .iter()
        .filter(|one| matches!(one, Value::List(list) if !list.is_empty()));
    known
        .next()
        .cloned()
        .ok_or_else(|| "no non-null arguments".to_owned())
}

/// `compact`: without empty strings.
pub fn compact(of: &[Value], _: &World) -> Result {
    let list = of.list(0).iter().filter(|one| **one != Value::text(""));
    Ok(Value::List(list.cloned().collect()))
}

/// `concat`
pub fn concat(of: &[Value], _: &World) -> Result {
    if of.is_empty() {
        return Err("at least one argument is required".to_owned());
    }
    let all = (0..of.len()).flat_map(|at| of.list(at));
    Ok(Value::List(all.cloned().collect()))
}

/// `contains`, `sethaselement`
pub fn contains(of: &[Value], _: &World) -> Result {
    Ok(Value::Bool(of.list(0).contains(of.any(1))))
}

/// `distinct`
pub fn distinct(of: &[Value], _: &World) -> Result {
    let mut seen: Vec<Value> = Vec::new();
    for one in of.list(0) {
        if !seen.contains(one) {
            seen.push(one.clone());
        }
    }
    Ok(Value::List(seen))
}

/// `element`: an index beyond the end begins again.
pub fn element(of: &[Value], _: &World) -> Result {
    let list = of.list(0);
    let count = i64::try_from(list.len()).unwrap_or(i64::MAX);
    if count == 0 {
        return Err("cannot use element function with an empty list".to_owned());
    }
    let at = of.whole(1)?.rem_euclid(count);
    let found = usize::try_from(at).ok().and_then(|at| list.get(at));
    Ok(found.cloned().unwrap_or(Value::Null))
}

/// `flatten`: lists within lists become elements.
pub fn flatten(of: &[Value], _: &World) -> Result {
    fn gather(list: &[Value], all: &mut Vec<Value>) {
        for one in list {
            match one {
                Value::List(inner) => gather(inner, all),
                one => all.push(one.clone()),
            }
        }
    }
    let mut all = Vec::new();
    gather(of.list(0), &mut all);
    Ok(Value::List(all))
}

fn found(collection: &Value, key: &Value) -> Option<Value> {
    match collection {
        Value::List(list) => {
            let at = key.to_number().ok()?.to_index()?;
            list.get(at).cloned()
        }
        Value::Map(map) => map.get(&key.to_text().ok()?).cloned(),
        _ => None,
    }
}

/// `hasindex`
pub fn has_index(of: &[Value], _: &World) -> Result {
    Ok(Value::Bool(found(of.any(0), of.any(1)).is_some()))
}

/// `index`: the element of a key.
pub fn index(of: &[Value], _: &World) -> Result {
    found(of.any(0), of.any(1)).ok_or_else(|| "invalid index".to_owned())
}

/// `indexof`: where in the list it is.
pub fn index_of(of: &[Value], _: &World) -> Result {
    let list = of.list(0);
    if list.is_empty() {
        return Err("cannot search an empty list".to_owned());
    }
    let at = list.iter().position(|one| one == of.any(1));
    let at = at.ok_or_else(|| "item not found".to_owned())?;
    Ok(Value::Number(Number::count(at)))
}

/// `keys`
pub fn keys(of: &[Value], _: &World) -> Result {
    Ok(Value::List(of.map(0).keys().map(Value::text).collect()))
}

/// `length`
pub fn length(of: &[Value], _: &World) -> Result {
    match of.any(0) {
        Value::List(list) => Ok(Value::Number(Number::count(list.len()))),
        Value::Map(map) => Ok(Value::Number(Number::count(map.len()))),
        _ => Err("collection must be a list, a map or a tuple".to_owned()),
    }
}

/// `lookup`
pub fn lookup(of: &[Value], _: &World) -> Result {
    let found = of.map(0).get(of.text(1));
    Ok(found.unwrap_or_else(|| of.any(2)).clone())
}

/// `merge`: the last of several counts.
pub fn merge(of: &[Value], _: &World) -> Result {
    let mut all = BTreeMap::new();
    for (at, one) in of.iter().enumerate() {
        match one {
            Value::Null => {}
            Value::Map(_) => all.extend(of.map(at).clone()),
            other => {
                return Err(format!(
                    "arguments must be maps or objects, got {:?}",
                    other.kind()
                ));
            }
        }
    }
    Ok(Value::Map(all))
}

/// `range`: from 0 or the first number to below the second, in steps of the third.
pub fn range(of: &[Value], _: &World) -> Result {
    let (zero, one) = (Number::whole(0), Number::whole(1));
    let down = |start: Number, end: Number| if end < start { one.negate() } else { one };
    let (start, end, step) = match of.len() {
        1 => (zero, of.number(0), down(zero, of.number(0))),
        2 => (of.number(0), of.number(1), down(of.number(0), of.number(1))),
        3 => (of.number(0), of.number(1), of.number(2)),
        _ => return Err("must have one, two, or three arguments".to_owned()),
    };
    if step == zero {
        return Err("step must not be zero".to_owned());
    }
    if (end < start) != (step < zero) && end != start {
        return Err("the step leads away from the end".to_owned());
    }
    let mut numbers = Vec::new();
    let mut at = start;
    while if step < zero { at > end } else { at < end } {
        if numbers.len() >= 1024 {
            return Err(
                "more than 1024 values were generated; either decrease the difference \
                        between start and end or use a smaller step"
                    .to_owned(),
            );
        }
        numbers.push(Value::Number(at));
        at = at.add(step)?;
    }
    Ok(Value::List(numbers))
}

/// `reverselist`
pub fn reverse(of: &[Value], _: &World) -> Result {
    Ok(Value::List(of.list(0).iter().rev().cloned().collect()))
}

/// `slice`: from the first index to before the second.
pub fn slice(of: &[Value], _: &World) -> Result {
    let list = of.list(0);
    let (start, end) = (of.index(1)?, of.index(2)?);
    match list.get(start..end) {
        Some(part) => Ok(Value::List(part.to_vec())),
        None if start > end => Err("start index must not be greater than end index".to_owned()),
        None => Err("end index must not be greater than the length of the list".to_owned()),
    }
}

/// `sort`
pub fn sort(of: &[Value], _: &World) -> Result {
    let mut words: Vec<String> = of
        .list(0)
        .iter()
        .filter_map(|one| one.to_text().ok())
        .collect();
    words.sort();
    Ok(Value::List(words.into_iter().map(Value::String).collect()))
}

/// `values`
pub fn values(of: &[Value], _: &World) -> Result {
    Ok(Value::List(of.map(0).values().cloned().collect()))
}

/// `zipmap`
pub fn zip_map(of: &[Value], _: &World) -> Result {
    let (keys, values) = (of.list(0), of.list(1));
    if keys.len() != values.len() {
        return Err(format!(
            "number of keys ({}) does not match number of values ({})",
            keys.len(),
            values.len()
        ));
    }
    let names = keys.iter().filter_map(|key| key.to_text().ok());
    Ok(Value::Map(names.zip(values.iter().cloned()).collect()))
}
