//! The web page, as a browser without scripts asks for it.

mod access;
mod browser;
mod changes;
mod content;
mod markup;
