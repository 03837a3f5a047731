//! Whether the database was ever found damaged.

use std::sync::{Arc, OnceLock};

use sqlx::Error;

/// SQLite's codes for a damaged file, and for one that is no database.
const DAMAGED: [&str; 2] = ["11", "26"];

/// Whether the database was ever seen to be damaged: it does not get better by itself, even though
/// many queries never meet the damage.
#[derive(Clone, Debug, Default)]
pub(super) struct Damage(Arc<OnceLock<String>>);

impl Damage {
    /// Remembers an error, if it is one of these.
    pub(super) fn note(&self, e: &Error) {
        if is_damage(e) {
            self.say(&e.to_string());
        }
    }

    pub(super) fn say(&self, what: &str) {
        if self.0.set(what.to_owned()).is_ok() {
            tracing::error!(error = what, "the metadata is damaged");
        }
    }

    /// What SQLite said first.
    pub(super) fn seen(&self) -> Option<&str> {
        self.0.get().map(String::as_str)
    }
}

/// Whether an error says that the file is damaged, as opposed to out of reach.
pub(super) fn is_damage(e: &Error) -> bool {
    e.as_database_error()
        .and_then(|e| e.code())
        // The low byte of an extended code is the code.
        .and_then(|code| code.parse::<u32>().ok())
        .is_some_and(|code| DAMAGED.contains(&(code & 0xff).to_string().as_str()))
}
