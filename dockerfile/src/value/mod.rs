//! Values inside arguments, once expanded: ports, durations, signals, modes, owners, sources.

mod chmod;
mod duration;
mod owner;
mod ports;
mod signal;
mod size;
mod source;

pub use chmod::{Chmod, ChmodError};
pub use duration::{DurationError, parse_duration};
pub use owner::{Owner, OwnerError};
pub use ports::{Port, PortError, parse_ports};
pub use signal::is_stop_signal;
pub use size::parse_size;
pub use source::{AddSource, Checksum, ChecksumError, GitSource};
