//! What stays and what goes: deletions, rules for tags, garbage, files that nobody knows.

mod collect;
mod collected;
mod deletions;
mod fill;
#[cfg(test)]
mod growth;
mod images;
mod orphans;
mod pace;
mod repositories;
mod retention;
mod ruled;

pub use collected::{CollectOptions, Collected};
