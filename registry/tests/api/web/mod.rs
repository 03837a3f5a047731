//! The web page, as a browser without scripts asks for it.

mod access;
pub mod browser;
mod changes;
mod content;
mod markup;
