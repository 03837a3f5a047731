//! Doing the same with several containers: each in its turn, the failures told, and one exit code.

use std::fmt::Display;

use crate::app::App;
use crate::failure::{Failure, Outcome};

/// Prints each name when `act` has succeeded with it, and at the end tells of those with which it
/// has not.
pub async fn named<E, F>(app: &App, names: &[String], mut act: impl FnMut(String) -> F) -> Outcome
where
    E: Display,
    F: Future<Output = Result<(), E>>,
{
    let mut failed = Vec::new();
    for name in names {
        match act(name.clone()).await {
            Ok(()) => app.printer.line(name),
            Err(error) => failed.push(error),
        }
    }
    for error in &failed {
        app.printer.error(error);
    }
    told(!failed.is_empty())
}

/// The outcome when what failed was told already.
pub fn told(failed: bool) -> Outcome {
    match failed {
        true => Err(Failure::with_code("", 1)),
        false => Ok(()),
    }
}
