//! Everything between the commands and the terminal.
//!
//! - [`printer`]: the only way to the terminal; [`style`]: colours, sizes, times
//! - [`progress`]: how a build shows what it does, [`rawjson`] to programs; [`log`]: what a step
//!   that failed has written
//! - [`transfer`]: how a push or pull shows its layers; [`fit`]: what is too wide for a line
//! - [`table`] and [`listing`]: rows and columns, and `--format`
//! - [`lines`]: output in lines; [`safe`]: foreign text on a terminal
//! - [`prompt`]: questions; [`output`]: archives to files and pipes
//! - [`terminal`]: the one that somebody sits at, given to a container

pub mod fit;
pub mod lines;
pub mod listing;
pub mod log;
pub mod output;
pub mod printer;
pub mod progress;
pub mod prompt;
pub mod rawjson;
pub mod safe;
pub mod style;
pub mod table;
pub mod terminal;
pub mod transfer;
