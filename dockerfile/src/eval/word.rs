//! One word, one argument.

use crate::diagnostic::Diagnostic;
use crate::instruction::ArgDef;
use crate::shell::{Lexer, Variables};
use crate::span::Word;

/// Expands a word with the variables of a scope.
///
/// # Errors
/// What is wrong with it, and where.
pub fn expand_word(lexer: Lexer, word: &Word, scope: &dyn Variables) -> Result<String, Diagnostic> {
    match lexer.expand_placed(word.as_str(), scope) {
        Ok(expanded) => Ok(expanded.text),
        Err(e) => Err(Diagnostic::in_word(&e, |part| word.place(part))),
    }
}

/// Where an argument has its value from.
#[derive(Clone, Copy, Debug)]
pub enum ArgValue<'a> {
    /// It is known: `--build-arg` gives it, or the scope around.
    Known(&'a str),
    /// Its default, still to be expanded.
    Default(&'a Word),
    /// It has none.
    None,
}

/// What an ARG is set to: the value that is given, else its default, else what `around` has, which
/// is the global scope for an ARG of a stage (reference, "ARG", "Scope").
pub fn arg_value<'a>(
    def: &'a ArgDef,
    given: &'a dyn Variables,
    around: &'a dyn Variables,
) -> ArgValue<'a> {
    let name = def.name.as_str();
    match (given.value(name), &def.default) {
        (Some(given), _) => ArgValue::Known(given),
        (None, Some(default)) => ArgValue::Default(default),
        (None, None) => around.value(name).map_or(ArgValue::None, ArgValue::Known),
    }
}
