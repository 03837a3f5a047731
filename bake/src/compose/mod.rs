//! Compose files: every service that is built becomes a target.
//!
//! - [`node`]: YAML with places; [`interpolate`]: `${NAME}`; [`dotenv`]: `.env`
//! - [`services`]: from services to targets

pub mod dotenv;
mod interpolate;
mod node;
mod services;

use std::collections::BTreeMap;

use crate::config::Config;
use crate::error::Mistake;
use crate::source::Span;
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
    if let Some(include) = root.get("include") {
        let text = "include is not read here: name the files with -f, one after the other";
        return Err(Mistake::at(include.at, text));
    }
    let known = |name: &str| root.get(name).is_some();
    match known("services") || known("secrets") {
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
    environment: &BTreeMap<String, String>,
    config: &mut Config,
) -> Result<Vec<String>, Mistake> {
    let mut missing = Vec::new();
    let mut whole: Option<Node> = None;
    for Compose(mut root) in files {
        interpolate::interpolate(&mut root, "", environment, &mut missing)?;
        services::canonical(&mut root)?;
        match &mut whole {
            Some(whole) => whole.merge(root),
            None => whole = Some(root),
        }
    }
    if let Some(whole) = whole {
        services::add(&whole, environment, config)?;
    }
    Ok(missing)
}
