//! The parts of Go that Docker's users type and read without knowing it.
//!
//! - [`template`]: `--format '{{.ID}}'` is a Go template
//! - [`quote`]: history lines and syntax dumps quote as Go does
//!
//! Reading such words as Go does has nothing to do with images: this crate is pure, and knows none.

pub mod quote;
pub mod template;
