//! Finds out why a step was not found in the cache.

use super::backend::Execute;
use super::key::{Part, StepKey};
use super::reason::{Difference, Reason};
use super::trace::Trace;
use crate::files::listing::{Listing, Named, changes};
use crate::plan::nodes::{Node, Nodes, Stack};

/// Why a step with `key` was not found; `before` has the keys of the last build.
pub async fn why<B: Execute>(
    backend: &B,
    before: &Trace,
    (node, nodes): (&Node<'_>, &Nodes<'_>),
    key: &StepKey,
) -> Reason {
    let Some(before) = before.key(&node.place) else {
        return Reason::New;
    };
    let key = &key.kept();
    let from = from(&node.parent, nodes);
    let mut differences = key.differences(before, &from);
    let files = |one: &Difference| matches!(one, Difference::Content { .. });
    if differences.iter().any(files)
        && let Some((changes, more)) = files_changed(backend, before, key).await
    {
        // In place of the first; what here-documents and downloads hold has no files to name.
        let mut told = Some(Difference::Files { changes, more });
        let listed = |path: &str| [before, key].iter().any(|key| key.lists(path));
        differences = differences
            .into_iter()
            .filter_map(|one| match one {
                Difference::Content { path } if listed(&path) => told.take(),
                other => Some(other),
            })
            .collect();
    }
    match differences.is_empty() {
        true => Reason::Removed,
        false => Reason::Changed { differences },
    }
}

/// What made the layers of a stack, in words.
fn from(stack: &Stack, nodes: &Nodes<'_>) -> String {
    match stack {
        Stack::Empty => "nothing".to_owned(),
        Stack::Image(image) => format!("FROM {}", image.name),
        Stack::Node(index) => match nodes.all.get(*index) {
            Some(node) => node.name.clone(),
            None => "another step".to_owned(),
        },
    }
}

/// Which files differ, where both lists of them are known.
async fn files_changed<B: Execute>(
    backend: &B,
    before: &StepKey,
    after: &StepKey,
) -> Option<(Vec<crate::files::listing::FileChange>, usize)> {
    let (was, is) = (before.listed(), after.listed());
    let (old, new) = (load(backend, &was).await?, load(backend, &is).await?);
    let (changes, more) = changes(&named(&old, &was), &named(&new, &is));
    (!changes.is_empty()).then_some((changes, more))
}

/// The listings of groups of sources, all or none.
async fn load<B: Execute>(backend: &B, groups: &[Vec<Part<'_>>]) -> Option<Vec<Listing>> {
    let mut loaded = Vec::new();
    for group in groups {
        let values: Vec<&str> = group.iter().map(|part| part.value).collect();
        loaded.push(backend.listing(&values).await?);
    }
    Some(loaded)
}

fn named<'n>(listings: &'n [Listing], groups: &'n [Vec<Part<'n>>]) -> Vec<Named<'n>> {
    let groups = groups.iter();
    let names = groups.map(|group| group.iter().map(|part| part.name).collect());
    listings.iter().zip(names).collect()
}
