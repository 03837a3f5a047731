//! What stays and what goes: deletions, rules for tags, garbage, files that nobody knows.

mod collect;
mod collected;
mod deletions;
mod orphans;
mod retention;

pub use collected::{CollectOptions, Collected};
