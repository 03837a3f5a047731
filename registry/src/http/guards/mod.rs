//! What stands before a handler: who is let in, how often, how slowly, and what is left unread.

pub(super) mod access;
pub(super) mod mirrored;
pub(super) mod pace;
pub(super) mod read_only;
pub(super) mod throttle;
mod unread;

pub(super) use access::Caller;
pub(super) use unread::Unread;
