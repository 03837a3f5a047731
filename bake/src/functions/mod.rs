//! The functions that every definition has, by the names and meanings that buildx gives them.
//!
//! - [`table`]: which there are, and what they take
//! - the rest: what they do, by what they are about

mod addresses;
mod dates;
mod encoding;
mod formats;
mod lists;
mod numbers;
mod sets;
mod strings;
mod table;
mod wants;

use crate::error::Mistake;
use crate::source::Span;
use crate::syntax::tree::Call;
use crate::value::Value;

pub use wants::World;

/// Whether there is a function of that name.
pub fn exists(name: &str) -> bool {
    table::find(name).is_some()
}

/// Calls a function.
///
/// # Errors
/// There is none of that name, the arguments are not what it takes, or it fails.
pub fn call(call: &Call, arguments: &[(Value, Span)], world: &World) -> Result<Value, Mistake> {
    let name = &call.name;
    let Some(function) = table::find(name) else {
        let text = format!("Call to unknown function; There is no function named {name:?}.");
        return Err(Mistake::at(call.name_at, text));
    };
    let wanted = function.takes.len();
    if let Some((missing, _)) = function.takes.get(arguments.len()) {
        let least = if function.rest.is_some() {
            "at least "
        } else {
            ""
        };
        let text = format!(
            "Not enough function arguments; Function {name:?} expects {least}{wanted} \
             argument(s). Missing value for {missing:?}."
        );
        return Err(Mistake::at(call.close_at, text));
    }
    let mut converted = Vec::new();
    for (at, (value, place)) in arguments.iter().enumerate() {
        let Some((parameter, want)) = function.takes.get(at).or(function.rest.as_ref()) else {
            let text = format!(
                "Too many function arguments; Function {name:?} expects only {wanted} argument(s)."
            );
            return Err(Mistake::at(*place, text));
        };
        converted.push(want.of(value).map_err(|what| {
            let text = format!(
                "Invalid function argument; Invalid value for {parameter:?} parameter: {what}."
            );
            Mistake::at(*place, text)
        })?);
    }
    (function.run)(&converted, world).map_err(|what| {
        let text = format!("Error in function call; Call to function {name:?} failed: {what}.");
        Mistake::at(call.name_at, text)
    })
}
