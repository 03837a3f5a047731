//! `prune --filter`: which images and which records of the build cache a prune is about.

use std::collections::HashSet;

use oci::Digest;
use regex::Regex;
use store::{CacheRecord, Store};

use super::what::What;
use crate::commands::images::{has_label, labels_of};
use crate::failure::Failure;
use crate::filter::Filters;

/// Filters of docker's `image prune`, beside `until`.
const IMAGES: [&str; 3] = ["dangling", "label", "label!"];
/// Those of its `builder prune`. What a record is shared with is for `--all` to say.
const CACHE: [&str; 9] = [
    "id",
    "id!",
    "id~",
    "type",
    "type!",
    "type~",
    "description",
    "description!",
    "description~",
];

/// What filters leave of a prune.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Chosen {
    /// Only these images, by their IDs.
    pub images: Option<HashSet<Digest>>,
    /// Only these records, by their keys.
    pub cache: Option<HashSet<Digest>>,
}

/// The filters that a kind of prune knows.
pub(super) fn known(what: What) -> Vec<&'static str> {
    let images = IMAGES.iter().filter(|_| what != What::Cache);
    let cache = CACHE.iter().filter(|_| what != What::Images);
    std::iter::once(&"until")
        .chain(images)
        .chain(cache)
        .copied()
        .collect()
}

/// Looks up what the filters choose. One that is about images alone leaves the build cache as it
/// is, and the other way round.
pub(super) async fn choose(store: &Store, filters: &Filters) -> Result<Chosen, Failure> {
    let given = |names: &[&str]| names.iter().any(|name| filters.all(name).next().is_some());
    let (of_images, of_cache) = (given(&IMAGES), given(&CACHE));
    let mut chosen = Chosen::default();
    if of_images || of_cache {
        chosen.images = match (of_images, given(&["label", "label!"])) {
            (false, _) => Some(HashSet::new()),
            (true, false) => None,
            (true, true) => Some(labelled(store, filters).await?),
        };
        chosen.cache = match of_cache {
            false => Some(HashSet::new()),
            true => Some(records(store, filters).await?),
        };
    }
    Ok(chosen)
}

/// The images with all labels that are asked for, and none of the others.
async fn labelled(store: &Store, filters: &Filters) -> Result<HashSet<Digest>, Failure> {
    let mut chosen = HashSet::new();
    for content in store.contents(true).await? {
        let labels = labels_of(store, &content).await?;
        let wanted = filters.all("label").all(|label| has_label(&labels, label));
        let unwanted = filters.all("label!").any(|label| has_label(&labels, label));
        if wanted && !unwanted {
            chosen.insert(content.id().clone());
        }
    }
    Ok(chosen)
}

async fn records(store: &Store, filters: &Filters) -> Result<HashSet<Digest>, Failure> {
    let mut patterns = Vec::new();
    for name in ["id", "type", "description"] {
        for pattern in filters.all(&format!("{name}~")) {
            let regex = Regex::new(pattern)
                .map_err(|e| Failure::new(format!("invalid filter '{name}~={pattern}': {e}")))?;
            patterns.push((name, regex));
        }
    }
    let mut all = store.cache_list().await?;
    all.extend(store.cache_mounts().await?);
    let chosen = all
        .into_iter()
        .filter(|record| fits(record, filters, &patterns));
    Ok(chosen.map(|record| record.key).collect())
}

fn fits(record: &CacheRecord, filters: &Filters, patterns: &[(&str, Regex)]) -> bool {
    let texts = |name: &str| match name {
        "id" => vec![record.key.to_string(), record.key.short().to_owned()],
        "type" => vec![record.kind.name().to_owned()],
        _ => vec![record.description.clone()],
    };
    ["id", "type", "description"].iter().all(|name| {
        let texts = texts(name);
        let is = |wanted: &str| texts.iter().any(|text| text == wanted);
        let mut patterns = patterns.iter().filter(|(of, _)| of == name);
        filters.all(name).all(is)
            && !filters.all(&format!("{name}!")).any(is)
            && patterns.all(|(_, regex)| texts.iter().any(|text| regex.is_match(text)))
    })
}
