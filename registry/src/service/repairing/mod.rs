//! Is all as it should be, and what to do when not: check, copy of the database, rebuild.

mod backup;
mod check;
mod rebuild;

pub use check::{CheckOptions, Checked, Problem};
pub use rebuild::Rebuilt;
