//! What is done with containers: requests and their results. No terminal, no printing.
//!
//! One module an action; [`Containers`] is the handle, [`Container`] what is known of one.

mod again;
mod choices;
mod commit;
mod container;
mod copy;
mod create;
mod devices;
mod exec;
mod files;
mod handle;
mod hold;
mod inspect;
mod limits;
mod links;
mod list;
mod logs;
mod mounts;
mod namespaces;
mod networks;
mod populate;
mod remove;
mod security;
mod signals;
mod spec;
mod start;
mod stop;
mod top;
mod update;
mod volumes;
mod within;

pub use choices::device_rule;
pub use commit::Commit;
pub use container::Container;
pub use copy::{Copied, CopyInto, CopyOut};
pub use create::{Create, Created};
pub use exec::{Exec, Executed};
pub use files::{Change, write_tar};
pub use handle::Containers;
pub use networks::Asked;
pub use signals::number as signal;
pub use start::Started;
pub use top::{Processes, Usage};
pub use volumes::{CreateVolume, Volume};
