//! What is done with containers: requests and their results. No terminal, no printing.
//!
//! One module an action; [`Containers`] is the handle, [`Container`] what is known of one.

mod container;
mod create;
mod exec;
mod handle;
mod inspect;
mod limits;
mod list;
mod logs;
mod mounts;
mod remove;
mod security;
mod signals;
mod spec;
mod start;
mod stop;

pub use container::Container;
pub use create::{Create, Created};
pub use exec::{Exec, Executed};
pub use handle::Containers;
pub use signals::number as signal;
pub use start::Started;
