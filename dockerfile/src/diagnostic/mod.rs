//! What is wrong with a Dockerfile, where, and how to mend it.

mod code;
mod message;
mod render;

pub use code::{Code, Severity};
pub use message::{Diagnostic, Note};
pub use render::{render, render_all};
