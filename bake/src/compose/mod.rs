//! Compose files: every service that is built becomes a target.
//!
//! - [`node`]: YAML with places; [`interpolate`]: `${NAME}`; [`dotenv`]: `.env`
//! - [`load`]: `include` and `extends.file`
//! - [`paths`]: where folders are
//! - [`services`]: from services to targets

pub mod dotenv;
mod interpolate;
mod load;
mod node;
mod paths;
mod services;

use crate::config::Config;
use crate::error::Mistake;
use crate::source::{Definition, Other, Span};
use load::{Environment, Loader};
use node::{Kind, Node};
pub use services::attest_flag;

/// A compose file that was read.
pub struct Compose(Node);

/// Reads a file.
///
/// # Errors
/// Where it is no YAML, or no compose file.
pub fn parse(text: &str, file: usize) -> Result<Compose, Mistake> {
    let root = node::parse(text, file)?;
    if !matches!(root.kind, Kind::Map(_) | Kind::Null) {
        return Err(Mistake::at(root.at, "top-level object must be a mapping"));
    }
    let known = |name: &str| root.get(name).is_some();
    match known("services") || known("secrets") || known("include") {
        true => Ok(Compose(root)),
        false => Err(Mistake::at(
            Span {
                file,
                ..Span::default()
            },
            "empty compose file: it has neither services nor secrets",
        )),
    }
}

/// Adds the targets of all compose files, which are read as one. Variables that the environment
/// does not have are returned.
///
/// # Errors
/// Where a service cannot be built.
pub fn add(
    files: Vec<Compose>,
    environment: &Environment,
    given: &[Definition],
    others: &[Other],
    config: &mut Config,
) -> Result<Vec<String>, Mistake> {
    let mut loader = Loader::new(given, others, false);
    let mut whole: Option<Node> = None;
    for Compose(root) in files {
        let root = loader.load(root, environment)?;
        match &mut whole {
            Some(whole) => whole.merge(root),
            None => whole = Some(root),
        }
    }
    if let Some(whole) = whole {
        services::add(&whole, environment, config)?;
    }
    Ok(loader.missing)
}

/// The files that compose files name and nobody has read yet; what else is wrong is told later.
pub fn wanted(
    files: Vec<Compose>,
    environment: &Environment,
    given: &[Definition],
    others: &[Other],
) -> Vec<String> {
    let mut loader = Loader::new(given, others, true);
    for Compose(root) in files {
        if loader.load(root, environment).is_err() {
            break;
        }
    }
    loader.wanted
}
