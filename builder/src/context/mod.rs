//! The build context: the tree that COPY and ADD take from, and the Dockerfile in it.
//!
//! - [`open`](open()): a context by what was typed, with its Dockerfile; [`open_named`] without
//! - `remote` and `stream`: contexts that are fetched, or come on standard input
//! - `dated`: when what is fetched is of; `ignore`: what the ignore file leaves out

mod dated;
mod error;
mod ignore;
mod open;
mod read;
mod remote;
mod stream;

pub use dated::added_time;
pub use error::ContextError;
pub use ignore::IgnoreFilter;
pub use open::{BuildContext, Source, THIS_MACHINE, open, open_named};
pub use remote::below;
