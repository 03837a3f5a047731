//! The variables of a build while its checks run.

use std::collections::BTreeMap;

use crate::diagnostic::Diagnostic;
use crate::shell::{Expansion, Lexer, Misplaced, Variables};
use crate::stage::Dockerfile;
use crate::suggest::nearest;

/// Variables with their values.
#[derive(Debug, Clone, Default)]
pub(super) struct Scope {
    values: BTreeMap<String, String>,
}

impl Scope {
    pub(super) fn set(&mut self, name: &str, value: &str) {
        self.values.insert(name.to_owned(), value.to_owned());
    }

    pub(super) fn expand(&self, lexer: Lexer, word: &str) -> Result<Expansion, Misplaced> {
        lexer.expand_placed(word, self)
    }

    /// The variable whose name is close to `name`.
    pub(super) fn suggest(&self, name: &str) -> Option<&str> {
        nearest(name, &self.names())
    }
}

impl Variables for Scope {
    fn value(&self, name: &str) -> Option<&str> {
        self.values.value(name)
    }

    fn names(&self) -> Vec<&str> {
        self.values.names()
    }
}

/// The automatic platform arguments, as far as they are set.
pub(super) fn automatic(target: &str, build: &str, stage: &str, given: &dyn Variables) -> Scope {
    let mut scope = Scope::default();
    let mut set = |name: String, value: &str| {
        let value = given.value(&name).unwrap_or(value).to_owned();
        scope.set(&name, &value);
    };
    for (prefix, platform) in [("BUILD", build), ("TARGET", target)] {
        let mut parts = platform.splitn(3, '/');
        set(format!("{prefix}PLATFORM"), platform);
        set(format!("{prefix}OS"), parts.next().unwrap_or_default());
        set(format!("{prefix}OSVERSION"), "");
        set(format!("{prefix}ARCH"), parts.next().unwrap_or_default());
        set(format!("{prefix}VARIANT"), parts.next().unwrap_or_default());
    }
    set("TARGETSTAGE".to_owned(), stage);
    scope
}

/// The global scope: `automatic` and the ARGs before the first FROM. A default that cannot be
/// expanded ends it.
pub(super) fn global(
    file: &Dockerfile,
    automatic: &Scope,
    given: &dyn Variables,
) -> Result<Scope, Diagnostic> {
    let lexer = Lexer::new(file.directives.escape_char());
    let mut scope = automatic.clone();
    for global in &file.global_args {
        for def in &global.arg.args {
            let name = def.name.as_str();
            match (given.value(name), &def.default) {
                (Some(value), _) => scope.set(name, value),
                (None, Some(default)) => {
                    let value = scope
                        .expand(lexer, default.as_str())
                        .map_err(|e| Diagnostic::in_word(&e, |part| default.place(part)))?;
                    scope.set(name, &value.text);
                }
                (None, None) => {}
            }
        }
    }
    Ok(scope)
}
