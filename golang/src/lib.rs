//! The parts of Go that Docker's users type and read without knowing it.
//!
//! - [`template`]: `--format '{{.ID}}'` is a Go template
//! - [`glob`]: wildcards of paths and names, as in `COPY *.go` and `--filter reference=`
//! - [`duration`]: `1m30s`, as in HEALTHCHECK
//! - [`size`]: `64m`, as docker reads it
//! - [`boolean`]: `true`, `T` and `1`, as switches read them
//! - [`errno`]: `no such file or directory`, as messages have it
//! - [`path`]: cleaned, as in ignore files and bake files
//! - [`quote`]: history lines and syntax dumps quote as Go does
//!
//! Reading such words as Go does has nothing to do with images: this crate is pure, and knows none.

pub mod boolean;
pub mod duration;
pub mod errno;
pub mod glob;
pub mod path;
pub mod quote;
pub mod size;
pub mod template;
