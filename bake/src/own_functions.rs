//! Functions that a definition makes: `function "NAME" { … }`.

use std::collections::BTreeMap;

use crate::error::Mistake;
use crate::eval::keyword;
use crate::functions;
use crate::source::Span;
use crate::syntax::tree::{Block, Call, Expression, Kind};
use crate::value::Value;

/// The functions, by name.
#[derive(Default)]
pub struct OwnFunctions<'a>(BTreeMap<&'a str, &'a Block>);

/// What a function's parameters are in a call, and what it comes to then.
pub type Bound<'a> = (Vec<(String, Value)>, &'a Expression);

impl<'a> OwnFunctions<'a> {
    /// Adds a function, in place of one of the same name.
    pub fn insert(&mut self, name: &'a str, block: &'a Block) {
        self.0.insert(name, block);
    }

    /// Whether all of them can be called.
    ///
    /// # Errors
    /// Something is missing, or they call each other in a circle.
    pub fn check(&self) -> Result<(), Mistake> {
        for (name, block) in &self.0 {
            result(name, block)?;
            parameters(block)?;
            self.check_calls(name, block, &mut vec![name])?;
        }
        Ok(())
    }

    fn check_calls(
        &self,
        name: &str,
        block: &'a Block,
        running: &mut Vec<&'a str>,
    ) -> Result<(), Mistake> {
        let mut calls = Vec::new();
        result(name, block)?.calls(&mut |call| calls.push(call));
        for call in calls {
            let Some((inner, block)) = self.0.get_key_value(call.name.as_str()) else {
                continue;
            };
            if functions::exists(inner) {
                continue;
            }
            if running.contains(inner) {
                let text = format!("Invalid expression; function cycle not allowed for {inner}");
                return Err(Mistake::at(call.name_at, text));
            }
            running.push(inner);
            self.check_calls(inner, block, running)?;
            running.pop();
        }
        Ok(())
    }

    /// Gives the arguments to the parameters; `None` when there is no such function.
    ///
    /// # Errors
    /// There are too few or too many.
    pub fn bind(
        &self,
        call: &Call,
        arguments: Vec<(Value, Span)>,
    ) -> Option<Result<Bound<'a>, Mistake>> {
        let block = self.0.get(call.name.as_str())?;
        Some(bound(call, block, arguments))
    }
}

fn bound<'a>(
    call: &Call,
    block: &'a Block,
    arguments: Vec<(Value, Span)>,
) -> Result<Bound<'a>, Mistake> {
    let name = &call.name;
    let (wanted, rest) = parameters(block)?;
    let count = wanted.len();
    if let Some(missing) = wanted.get(arguments.len()) {
        let text = format!(
            "Not enough function arguments; Function {name:?} expects {count} argument(s). \
             Missing value for {missing:?}."
        );
        return Err(Mistake::at(call.close_at, text));
    }
    if let (None, Some((_, at))) = (&rest, arguments.get(count)) {
        let text = format!(
            "Too many function arguments; Function {name:?} expects only {count} argument(s)."
        );
        return Err(Mistake::at(*at, text));
    }
    let mut values = arguments.into_iter().map(|(value, _)| value);
    let mut own: Vec<(String, Value)> = wanted.into_iter().zip(&mut values).collect();
    if let Some(rest) = rest {
        own.push((rest, Value::List(values.collect())));
    }
    Ok((own, result(name, block)?))
}

/// What a function comes to.
fn result<'a>(name: &str, block: &'a Block) -> Result<&'a Expression, Mistake> {
    let params = block.body.attribute("params");
    let at = params.map_or(block.at, |params| params.at);
    let empty = |what| {
        let text = format!("Invalid function; empty {what} not allowed for {name}");
        Mistake::at(at, text)
    };
    let result = block
        .body
        .attribute("result")
        .ok_or_else(|| empty("result"))?;
    params.ok_or_else(|| empty("params"))?;
    Ok(&result.value)
}

/// The names of a function's parameters, and of the one that takes all others.
fn parameters(block: &Block) -> Result<(Vec<String>, Option<String>), Mistake> {
    let wrong = |at| {
        let text = "Invalid param element; Each parameter name must be an identifier.";
        Mistake::at(at, text)
    };
    let name = |one: &Expression| keyword(one).ok_or_else(|| wrong(one.at));
    let names = match block.body.attribute("params").map(|params| &params.value) {
        Some(Expression {
            kind: Kind::Tuple(list),
            ..
        }) => list.iter().map(name).collect::<Result<_, _>>()?,
        Some(other) => return Err(wrong(other.at)),
        None => Vec::new(),
    };
    let rest = block.body.attribute("variadic_params");
    let rest = rest.map(|rest| name(&rest.value)).transpose()?;
    Ok((names, rest))
}
