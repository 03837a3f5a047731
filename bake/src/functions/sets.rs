//! Functions of sets: lists in a fixed order, each value once.

use std::cmp::Ordering;

use super::lists::LARGEST;
use super::wants::{Arguments as _, World};
use crate::value::Value;

type Result = std::result::Result<Value, String>;

fn order(a: &Value, b: &Value) -> Ordering {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a.cmp(b),
        (Value::String(a), Value::String(b)) => a.cmp(b),
        (a, b) => a.to_json().cmp(&b.to_json()),
    }
}

fn set(values: impl IntoIterator<Item = Value>) -> Value {
    let mut all: Vec<Value> = values.into_iter().collect();
    all.sort_by(order);
    all.dedup();
    Value::List(all)
}

/// `setunion`
pub fn union(of: &[Value], _: &World) -> Result {
    Ok(set((0..of.len()).flat_map(|at| of.list(at)).cloned()))
}

/// `setintersection`
pub fn intersection(of: &[Value], _: &World) -> Result {
    let common = of.list(0).iter();
    let common = common.filter(|one| (1..of.len()).all(|at| of.list(at).contains(one)));
    Ok(set(common.cloned()))
}

/// `setsubtract`
pub fn subtract(of: &[Value], _: &World) -> Result {
    let left = of.list(0).iter().filter(|one| !of.list(1).contains(one));
    Ok(set(left.cloned()))
}

/// `setsymmetricdifference`: what is in one of two, and so on with the next.
pub fn symmetric_difference(of: &[Value], _: &World) -> Result {
    let mut known = of.list(0).to_vec();
    for at in 1..of.len() {
        let other = of.list(at);
        let mut next: Vec<Value> = Vec::new();
        next.extend(known.iter().filter(|one| !other.contains(one)).cloned());
        next.extend(other.iter().filter(|one| !known.contains(one)).cloned());
        known = next;
    }
    Ok(set(known))
}

/// `setproduct`: every combination, in the order of the arguments.
pub fn product(of: &[Value], _: &World) -> Result {
    if of.len() < 2 {
        return Err("at least two arguments are required".to_owned());
    }
    let mut all = vec![Vec::new()];
    for at in 0..of.len() {
        let list = of.list(at);
        if all.len().saturating_mul(list.len()) > LARGEST {
            return Err("there are too many combinations".to_owned());
        }
        let longer = all.iter().flat_map(|begun| {
            list.iter().map(move |one| {
                let mut longer = begun.clone();
                longer.push(one.clone());
                longer
            })
        });
        all = longer.collect();
    }
    Ok(Value::List(all.into_iter().map(Value::List).collect()))
}
