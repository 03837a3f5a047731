//! What a container has said: docker's json-file format.
//!
//! - [`entry`]: a line of the file
//! - [`writer`]: the monitor's side, with rotation
//! - [`reader`]: reading back, and following
//! - `rotated`: the files that were put aside
//! - `times`: what tells a line from all others

pub mod entry;
pub mod reader;
mod rotated;
mod times;
pub mod writer;

use serde::{Deserialize, Serialize};

/// How a container's output is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogSettings {
    /// It is kept at all.
    pub kept: bool,
    /// Bytes after which another file is begun; nothing is no limit.
    pub max_size: Option<u64>,
    /// How many files there are at most, with the one that is written.
    pub max_file: u32,
    /// Those that are no longer written are compressed.
    pub compress: bool,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self {
            kept: true,
            max_size: None,
            max_file: 1,
            compress: false,
        }
    }
}
