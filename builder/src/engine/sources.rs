//! The content digests of what a COPY or ADD takes, without reading what is known not to have
//! changed: a context's files by their status, an image's by the identity of its layers.

use std::path::PathBuf;
use std::sync::Arc;

use oci::Digest;

use super::copy::{self, OpenTree};
use super::sharing::{TREES, taken_name};
use super::{Engine, Selected, lock};
use crate::files::digest::{Counted, Owners, selections};
use crate::files::index::FileIndex;
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
        self.with_tree(tree, move |open| {
            let mut selected = copy::select(&op, open)?;
            let Some((path, index)) = known else {
                let digests = digest(&op, open, &mut selected, &mut FileIndex::default())?;
                return Ok((digests, selected));
            };
            // One copy at a time looks at a context: what it reads the next one knows, and many
            // files are read by all cores anyway.
            let mut index = lock(&index);
            let index = index.get_or_insert_with(|| FileIndex::load(&path));
            let digests = digest(&op, open, &mut selected, index)?;
            // Without it the next build only reads more.
            let _ = index.save(&path);
            Ok((digests, selected))
        })
        .await
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
) -> Result<Digests, StepError> {
    let counted = Counted {
        owners: match open.is_context || op.chown.is_some() {
            true => Owners::Root,
            false => Owners::Kept,
        },
        xattrs: !open.is_context,
        stop: open.stop.clone(),
    };
    let mut digested = Vec::new();
    for selected in all {
        let digests = selections(open.rootfs, selected, &counted, index)?;
        for (selection, digest) in selected.iter().zip(digests) {
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
            digested.push((name, format!("{kind} {digest}")));
        }
    }
    Ok(digested)
}
