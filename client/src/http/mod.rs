//! HTTP below the distribution protocol: transports, links, capped bodies.

mod body;
mod link;
mod transport;

pub(crate) use body::{next_chunk, read_capped};
pub(crate) use link::next_link;
pub(crate) use transport::{Transports, classify, timed_out};
