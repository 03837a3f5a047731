//! `--build-context`: names for further contexts.

use std::collections::BTreeMap;
use std::sync::Arc;

use builder::auth::Auth;
use builder::context::{self, BuildContext, ContextError};
use builder::plan::named::{NamedContext, NamedContexts, context_name};
use images::layout::LayoutPlace;
use oci::{Digest, Reference};

use crate::failure::Failure;

/// `--build-context`, by name.
pub type Places = BTreeMap<String, ContextPlace>;

/// Named contexts that were opened, by name.
pub type Trees = BTreeMap<String, Arc<BuildContext>>;
/// Where named layouts are, by name.
pub type Layouts = BTreeMap<String, LayoutPlace>;

/// Where a named context is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ContextPlace {
    /// A folder or something to fetch, as it was typed.
    Tree(String),
    /// An image.
    Image(Reference),
    /// An image of the store, by its ID.
    Stored(Digest),
    /// An image of an OCI image layout.
    Layout(LayoutPlace),
    /// Nothing, as in FROM scratch.
    Scratch,
}

/// How an ID begins.
const ID: &str = "sha256:";

fn named_context(text: &str) -> Result<(String, ContextPlace), String> {
    let Some((name, place)) = text
        .split_once('=')
        .filter(|(n, p)| !n.is_empty() && !p.is_empty())
    else {
        return Err(format!("invalid context value: {text:?}; write NAME=PLACE"));
    };
    let place = match place.split_once("://") {
        Some(("docker-image", "scratch")) => ContextPlace::Scratch,
        Some(("docker-image", id)) if id.starts_with(ID) && id.parse::<Digest>().is_ok() => {
            let id = id.parse::<Digest>();
            ContextPlace::Stored(id.map_err(|e| format!("invalid context {text:?}: {e}"))?)
        }
        Some(("docker-image", reference)) => {
            let parsed = reference.parse::<Reference>();
            let reference = parsed.map_err(|e| format!("invalid context {text:?}: {e}"))?;
            ContextPlace::Image(reference.or_latest())
        }
        Some(("oci-layout", place)) => {
            let parsed = LayoutPlace::parse(place);
            ContextPlace::Layout(parsed.map_err(|e| format!("invalid context {text:?}: {e}"))?)
        }
        _ => ContextPlace::Tree(place.to_owned()),
    };
    // Names stand where images do, in any way that one can be written.
    let lower = name.to_lowercase();
    lower
        .parse::<Reference>()
        .map_err(|e| format!("invalid context name {name:?}: {e}"))?;
    Ok((context_name(&lower), place))
}

/// `--build-context`, by name.
pub fn contexts(given: &[String]) -> Result<Places, Failure> {
    let mut contexts = Places::new();
    for context in given {
        let (name, place) = named_context(context).map_err(|e| Failure::with_code(e, 125))?;
        contexts.insert(name, place);
    }
    Ok(contexts)
}

/// Opens the trees among the contexts, and tells where the layouts are.
pub async fn open(contexts: &Places, auth: &Auth) -> Result<(Trees, Layouts), ContextError> {
    let (mut trees, mut layouts) = (Trees::new(), Layouts::new());
    for (name, place) in contexts {
        match place {
            ContextPlace::Tree(place) => {
                let opened = context::open_named(place.clone(), auth).await?;
                trees.insert(name.clone(), Arc::new(opened));
            }
            ContextPlace::Layout(place) => {
                layouts.insert(name.clone(), place.clone());
            }
            ContextPlace::Image(_) | ContextPlace::Stored(_) | ContextPlace::Scratch => {}
        }
    }
    Ok((trees, layouts))
}

/// The contexts as the planner sees them.
pub fn named(contexts: &Places) -> NamedContexts {
    let named = contexts.iter().map(|(name, place)| {
        let context = match place {
            ContextPlace::Tree(_) => NamedContext::Tree,
            ContextPlace::Image(reference) => NamedContext::Image(reference.clone()),
            ContextPlace::Stored(id) => NamedContext::Stored(id.clone()),
            ContextPlace::Layout(_) => NamedContext::Layout,
            ContextPlace::Scratch => NamedContext::Scratch,
        };
        (name.clone(), context)
    });
    named.collect()
}
