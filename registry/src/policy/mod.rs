//! What happens by rule: which tags never move, which go after a time, how much may be stored.
//! Pure.

mod companion;
mod retention;
mod rules;

pub use companion::{Owner, is_companion, owner};
pub use retention::{Retention, TagAge, seconds};
pub use rules::{Immutable, NoneImmutable, Policy};
