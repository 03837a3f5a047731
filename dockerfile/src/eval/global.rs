//! The global scope: what FROM lines see, and what stages let in by declaring it.

use std::collections::BTreeMap;

use crate::diagnostic::Diagnostic;
use crate::shell::{Lexer, NoVariables, Variables};
use crate::stage::Dockerfile;

use super::word::{ArgValue, arg_value, expand_word};

/// Variables by name.
pub type Scope = BTreeMap<String, String>;

/// The global scope: the automatic arguments, then the ARGs before the first FROM, one by one. One
/// whose default cannot be expanded is left out, and its mistake told.
pub fn global(
    file: &Dockerfile,
    automatic: &Scope,
    given: &dyn Variables,
) -> (Scope, Vec<Diagnostic>) {
    let lexer = Lexer::new(file.directives.escape_char());
    let mut scope = automatic.clone();
    let mut mistakes = Vec::new();
    for def in file.global_args.iter().flat_map(|global| &global.arg.args) {
        let value = match arg_value(def, given, &NoVariables) {
            ArgValue::Known(value) => Some(value.to_owned()),
            ArgValue::Default(default) => match expand_word(lexer, default, &scope) {
                Ok(value) => Some(value),
                Err(mistake) => {
                    mistakes.push(mistake);
                    None
                }
            },
            ArgValue::None => None,
        };
        if let Some(value) = value {
            scope.insert(def.name.as_str().to_owned(), value);
        }
    }
    (scope, mistakes)
}
