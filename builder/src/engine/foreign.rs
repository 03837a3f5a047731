//! Steps that BuildKit has cached for others. Stacks are known by the records that stand for them:
//! a step's are found by those of what it stands on and takes from, whether it has layers there or
//! is done here.

use std::collections::BTreeSet;
use std::sync::Arc;

use images::StoredImage;
use images::shared::buildkit::{BuildKitCache, Found, Known};
use oci::{ChainId, DiffId, Digest, Platform, Reference};

use super::sharing::Records;
use super::{Engine, copy, lock};
use crate::buildkit::ops::{Input, Keyed, keyed};
use crate::buildkit::{content, image_key, manifest_key};
use crate::plan::{CopyOp, CopySource};
use crate::solve::backend::{Asked, Layer, Outcome, Tree};
use crate::solve::error::StepError;

impl Engine {
    /// The layer that one of BuildKit's caches has for a step.
    pub(super) async fn step_of_buildkit(&self, asked: &Asked<'_>) -> Option<Layer> {
        let caches = self.buildkits().await;
        let records = self.records_of_step(&caches, asked).await?;
        let parent = asked.parent;
        let fits = |layers: &[(DiffId, _)]| {
            let below = layers.split_last().map(|(_, below)| below);
            let below: Vec<DiffId> = below
                .into_iter()
                .flatten()
                .map(|(id, _)| id.clone())
                .collect();
            ChainId::chain(&below).last() == parent
        };
        let mut found = caches.iter().zip(&records);
        let (cache, found): (_, Found) =
            found.find_map(|(cache, records)| Some((cache, cache.result(records, fits)?)))?;
        let (diff_id, blob) = found.layers.into_iter().next_back()?;
        let place = cache.place.clone();
        let chain_id = self.images.layer_elsewhere(parent, &diff_id, blob, place);
        let layer = Layer {
            diff_id,
            chain_id,
            created: found.created,
        };
        self.note_found(asked, &layer);
        Some(layer)
    }

    /// What a step came to is known by the step's records, for what is done to it.
    pub(super) async fn note_for_buildkit(&self, outcome: &Outcome<'_>) {
        let caches = self.buildkits().await;
        let Some(records) = self.records_of_step(&caches, &outcome.asked).await else {
            return;
        };
        let mut stacks = lock(&self.foreign.stacks);
        let chain = outcome.layer.chain_id.clone();
        let known = stacks
            .entry(chain)
            .or_insert_with(|| vec![BTreeSet::new(); records.len()]);
        for (known, records) in known.iter_mut().zip(records) {
            known.extend(records);
        }
    }

    /// An image was found: BuildKit knows it by its layers, or by its manifest alone.
    pub(super) async fn note_image(
        &self,
        reference: &Reference,
        platform: &Platform,
        image: &StoredImage,
    ) {
        if self.buildkits().await.is_empty() {
            return;
        }
        let manifest = self.images.manifest_digest(reference, platform, image);
        let key = manifest
            .await
            .and_then(|digest| manifest_key(&digest, platform));
        let top = ChainId::chain(&image.config.rootfs.diff_ids).pop();
        if let (Some(key), Some(top)) = (key, top) {
            let mut images = lock(&self.foreign.images);
            images.entry(top).or_default().push(key);
        }
    }

    async fn buildkits(&self) -> Vec<Arc<BuildKitCache>> {
        match self.asks_elsewhere() {
            true => self.options.sharing.sources.buildkits().await,
            false => Vec::new(),
        }
    }

    /// The records of a step in each cache; `None` where there can be none.
    async fn records_of_step(
        &self,
        caches: &[Arc<BuildKitCache>],
        asked: &Asked<'_>,
    ) -> Option<Records> {
        if caches.is_empty() {
            return None;
        }
        if let Some(known) = lock(&self.foreign.steps).get(asked.key) {
            return Some(known.clone());
        }
        let on_layers = asked.parent.is_some();
        let step = keyed(asked.op, on_layers, asked.platform, asked.run_flags)?;
        let mut records = Records::new();
        let mut taken = None;
        for (at, cache) in caches.iter().enumerate() {
            records.push(match cache.has(&step.key) {
                true => {
                    self.matching(cache, (at, caches), asked, &step, &mut taken)
                        .await
                }
                false => BTreeSet::new(),
            });
        }
        let mut steps = lock(&self.foreign.steps);
        steps.insert(asked.key.clone(), records.clone());
        Some(records)
    }

    /// The records of a step in one cache. `taken` is the key of the files that it takes, once that
    /// is known.
    async fn matching(
        &self,
        cache: &BuildKitCache,
        (at, caches): (usize, &[Arc<BuildKitCache>]),
        asked: &Asked<'_>,
        step: &Keyed,
        taken: &mut Option<Option<Digest>>,
    ) -> BTreeSet<usize> {
        let of_stack = |chain: Option<&ChainId>| {
            let records = self.records_of_stack(caches, chain);
            records.into_iter().nth(at).unwrap_or_default()
        };
        let tree = asked.trees.first();
        let mut content = None;
        for input in &step.inputs {
            if let Input::Files { paths, .. } = input {
                if taken.is_none() {
                    *taken = Some(self.content(tree, paths).await);
                }
                content = taken.clone().flatten();
            }
        }
        let inputs: Vec<Known<'_>> = step
            .inputs
            .iter()
            .map(|input| match input {
                Input::Parent { selector } => Known {
                    records: of_stack(asked.parent),
                    selector: selector.as_ref(),
                    content: None,
                },
                Input::Made { key, selector } => Known {
                    records: cache.roots(key),
                    selector: Some(selector),
                    content: None,
                },
                Input::Files { selector, .. } => Known {
                    records: match tree {
                        // BuildKit counts one input where both are the same.
                        Some(Tree::Layers(chain)) if chain.as_ref() != asked.parent => {
                            of_stack(chain.as_ref())
                        }
                        _ => BTreeSet::new(),
                    },
                    selector: Some(selector),
                    content: content.as_ref(),
                },
            })
            .collect();
        cache.matching(&step.key, &inputs)
    }

    /// The records that stand for a stack: those of the steps that came to it, and of an image that
    /// has these layers.
    fn records_of_stack(&self, caches: &[Arc<BuildKitCache>], chain: Option<&ChainId>) -> Records {
        let Some(chain) = chain else {
            return Records::new();
        };
        let mut keys = vec![image_key(chain)];
        keys.extend(
            lock(&self.foreign.images)
                .get(chain)
                .into_iter()
                .flatten()
                .cloned(),
        );
        let known = lock(&self.foreign.stacks)
            .get(chain)
            .cloned()
            .unwrap_or_default();
        let images = caches
            .iter()
            .map(|cache| keys.iter().flat_map(|key| cache.roots(key)).collect());
        let mut all: Records = images.collect();
        for (all, known) in all.iter_mut().zip(known) {
            all.extend(known);
        }
        all
    }

    /// The key of the files of a context at these paths. What cannot be read has none: the step
    /// itself says why.
    async fn content(&self, tree: Option<&Tree>, paths: &[String]) -> Option<Digest> {
        let tree = tree.filter(|tree| !matches!(tree, Tree::Layers(_)))?;
        let paths = apart(paths);
        let wild: Vec<bool> = paths.iter().map(|path| is_wild(path)).collect();
        let op = CopyOp {
            sources: paths.into_iter().map(CopySource::Path).collect(),
            ..CopyOp::default()
        };
        let digest = self.with_tree(tree, move |open| {
            let mut digests = Vec::new();
            for (selected, wild) in copy::select(&op, open)?.iter().zip(wild) {
                digests.push(match (wild, selected.as_slice()) {
                    (false, [one]) => content::digest(open.rootfs, one, open.stop)?,
                    (_, all) => content::digest_all(open.rootfs, all, open.stop)?,
                });
            }
            Ok::<_, StepError>(content::key(&digests))
        });
        digest.await.ok()
    }
}

/// Whether it is a pattern.
fn is_wild(path: &str) -> bool {
    path.contains(['*', '?', '['])
}

/// The paths and patterns, sorted, without paths that lie in another.
fn apart(paths: &[String]) -> Vec<String> {
    let plain = || paths.iter().filter(|path| !is_wild(path));
    let inside = |path: &str| {
        plain().any(|above| match above.as_str() {
            "/" => path != "/",
            above => path
                .strip_prefix(above)
                .is_some_and(|rest| rest.starts_with('/')),
        })
    };
    let kept = paths.iter().filter(|path| is_wild(path) || !inside(path));
    let mut apart: Vec<String> = kept.cloned().collect();
    apart.sort();
    apart.dedup();
    apart
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_within_others_are_left_out() {
        let apart = |paths: &[&str]| {
            let paths: Vec<String> = paths.iter().map(|path| (*path).to_owned()).collect();
            apart(&paths)
        };
        assert_eq!(apart(&["/b", "/a", "/a"]), ["/a", "/b"]);
        assert_eq!(apart(&["/a", "/a/x", "/ab"]), ["/a", "/ab"]);
        assert_eq!(apart(&["/a", "/a/*"]), ["/a", "/a/*"]);
        assert_eq!(apart(&["/", "/x"]), ["/"]);
    }
}
