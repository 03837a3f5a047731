//! The shell lexer: quotes, escapes and variables in the words of an instruction.
//!
//! Follows BuildKit's lexer rather than POSIX where they differ: a name is letters, digits and
//! `_` of any script, `$1` and `$@` are variables that are never set, and patterns know `*`, `?`
//! and backslash only.

mod expansion;
mod lexer;
mod pattern;
mod variables;

pub use expansion::{ExpandError, Expansion, Misplaced};
pub use lexer::Lexer;
pub use variables::{NoVariables, Variables};
