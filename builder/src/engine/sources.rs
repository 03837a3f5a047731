//! The content digests of what a COPY or ADD takes, without reading what is known not to have
//! changed: a context's files by their status, an image's by the identity of its layers.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use oci::Digest;

use super::copy::{self, OpenTree};
use super::sharing::{TREES, taken_name};
use super::{Engine, Selected, lock};
use crate::files::digest::{Counted, Owners, selections};
use crate::files::index::FileIndex;
use crate::files::listing::{self, Listing};
use crate::files::select::Selection;
use crate::plan::{CopyOp, CopySource};
use crate::solve::backend::{Sources, Tree};
use crate::solve::error::StepError;
use crate::solve::jobs::Turn;

/// Names and digests, in the order of the sources.
type Digests = Vec<(String, String)>;

impl Engine {
    /// All sources of `op` but here-documents.
    pub(super) async fn find_sources(
        &self,
        op: &CopyOp,
        tree: &Tree,
        turn: &Turn,
    ) -> Result<Sources<Selected>, StepError> {
        let waiting = turn.waiting();
        let mut files: Digests = self.remote_digests(op).await?;
        drop(waiting);
        let mut selected = None;
        if op.sources.iter().any(|s| matches!(s, CopySource::Path(_))) {
            let paths = self.path_sources(op, tree, turn).await?;
            files.extend(paths.files);
            selected = paths.selected;
        }
        Ok(Sources { files, selected })
    }

    async fn path_sources(
        &self,
        op: &CopyOp,
        tree: &Tree,
        turn: &Turn,
    ) -> Result<Sources<Selected>, StepError> {
        let name = taken_name(op, tree);
        if let Some(name) = &name {
            let waiting = turn.waiting();
            let known = self.recall(TREES, name).await;
            drop(waiting);
            if let Some(files) = known {
                let selected = None;
                return Ok(Sources { files, selected });
            }
        }
        let (files, selected) = self.digested(op, tree).await?;
        if let Some(name) = name {
            self.keep(TREES, &name, &files).await;
        }
        let selected = Some(selected);
        Ok(Sources { files, selected })
    }

    async fn digested(
        &self,
        op: &CopyOp,
        tree: &Tree,
    ) -> Result<(Digests, Vec<Vec<Selection>>), StepError> {
        let known = self.index_path(tree).map(|path| {
            let index = Arc::clone(lock(&self.shared.indexes).entry(path.clone()).or_default());
            (path, index)
        });
        let op = op.clone();
        let listings = self.listings();
        self.with_tree(tree, move |open| {
            let mut selected = copy::select(&op, open)?;
            let Some((path, index)) = known else {
                let mut index = FileIndex::default();
                let digests = digest(&op, open, &mut selected, &mut index, &listings)?;
                return Ok((digests, selected));
            };
            // One copy at a time looks at a context: what it reads the next one knows, and many
            // files are read by all cores anyway.
            let mut index = lock(&index);
            let index = index.get_or_insert_with(|| FileIndex::load(&path));
            let digests = digest(&op, open, &mut selected, index, &listings)?;
            // Without it the next build only reads more.
            let _ = index.save(&path);
            Ok((digests, selected))
        })
        .await
    }

    /// Where it is kept which files copies took.
    fn listings(&self) -> PathBuf {
        self.store().root().join("build/listings")
    }

    /// The files of what has these digests, if they are known.
    pub(super) async fn find_listing(&self, values: &[&str]) -> Option<Listing> {
        let path = self.listings().join(listing::name(values.iter().copied()));
        let read = tokio::task::spawn_blocking(move || Listing::load(&path));
        read.await.ok().flatten()
    }

    /// Where the file index of a context is kept.
    fn index_path(&self, tree: &Tree) -> Option<PathBuf> {
        let identity = self.context_of(tree).ok()??.identity.clone()?;
        let name = Digest::sha256(identity.as_os_str().as_encoded_bytes());
        Some(self.store().root().join("build/files").join(name.hex()))
    }
}

fn digest(
    op: &CopyOp,
    open: &OpenTree<'_>,
    all: &mut [Vec<Selection>],
    index: &mut FileIndex,
    listings: &Path,
) -> Result<Digests, StepError> {
    let counted = Counted {
        owners: match open.is_context || op.chown.is_some() {
            true => Owners::Root,
            false => Owners::Kept,
        },
        xattrs: !open.is_context,
        stop: open.stop.clone(),
    };
    let mut named = Vec::new();
    let mut found = Vec::new();
    for selected in &mut *all {
        let digested = selections(open.rootfs, selected, &counted, index)?;
        for (selection, digested) in selected.iter().zip(&digested) {
            // Two names that are no text must not look alike.
            let name = match selection.named.to_str() {
                Some(name) => name.to_owned(),
                None => format!("{:?}", selection.named),
            };
            let kind = if selection.is_dir {
                "directory"
            } else {
                "file"
            };
            named.push((name, format!("{kind} {}", digested.digest)));
        }
        found.push(digested);
    }
    let values = named.iter().map(|(_, value)| value.as_str());
    // Without it the next build only says less.
    let _ = listing::keep(&listings.join(listing::name(values)), || {
        let mut listed = Listing::default();
        for (selected, digested) in all.iter().zip(&found) {
            listed.extend(Listing::of(selected, digested, counted.owners));
        }
        listed
    });
    Ok(named)
}
