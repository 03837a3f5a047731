//! What the names of an expression stand for.

use crate::error::Mistake;
use crate::source::Span;
use crate::syntax::tree::Call;
use crate::value::Value;

/// What all expressions of a definition can name.
pub trait Names {
    /// The value of a variable.
    ///
    /// # Errors
    /// There is none of that name, or it cannot be told.
    fn variable(&self, name: &str, at: Span) -> Result<Value, Mistake>;

    /// An attribute of a block (`target.app.tags`), or all of it; `None` when `root` names no
    /// blocks. The number is how many words behind `root` were used.
    ///
    /// # Errors
    /// There is no such block, or it cannot be told.
    fn block(
        &self,
        root: &str,
        words: &[&str],
        at: Span,
    ) -> Option<Result<(Value, usize), Mistake>>;

    /// What a function gives.
    ///
    /// # Errors
    /// There is no such function, or it cannot do with the arguments.
    fn call(&self, call: &Call, arguments: Vec<(Value, Span)>) -> Result<Value, Mistake>;
}

/// Names that hold within a part of an expression, before those of the definition.
#[derive(Clone, Copy)]
pub struct Scope<'a> {
    /// Those of the definition.
    pub names: &'a dyn Names,
    own: Option<&'a Own<'a>>,
}

struct Own<'a> {
    names: &'a [(String, Value)],
    outer: Option<&'a Own<'a>>,
}

impl<'a> Scope<'a> {
    /// The names of the definition alone.
    pub fn new(names: &'a dyn Names) -> Self {
        Self { names, own: None }
    }

    /// Does something where further names hold.
    pub fn with<T>(self, names: &[(String, Value)], then: impl FnOnce(Scope<'_>) -> T) -> T {
        let own = Own {
            names,
            outer: self.own,
        };
        then(Scope {
            names: self.names,
            own: Some(&own),
        })
    }

    /// The value of a name that holds here alone.
    pub fn own(&self, name: &str) -> Option<&Value> {
        let mut at = self.own;
        while let Some(own) = at {
            if let Some((_, value)) = own.names.iter().find(|(known, _)| known == name) {
                return Some(value);
            }
            at = own.outer;
        }
        None
    }
}
