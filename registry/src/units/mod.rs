//! Sizes and times, as people write and read them in settings and on the command line.

mod duration;
mod size;
mod time;

pub(crate) use duration::duration;
pub(crate) use size::{show_size, size};
pub(crate) use time::rfc3339;
