//! Values inside arguments, once expanded: ports, signals, modes, owners, sources.

mod chmod;
mod owner;
mod ports;
mod signal;
mod source;

pub use chmod::{Chmod, ChmodError};
pub use owner::{Owner, OwnerError};
pub use ports::{Port, PortError, parse_ports};
pub use signal::is_stop_signal;
pub use source::{AddSource, GitSource, SourceError};
