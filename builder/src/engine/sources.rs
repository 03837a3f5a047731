//! The content digests of what a COPY or ADD takes, without reading what is known not to have
//! changed: a context's files by their status, an image's by the identity of its layers.

use std::path::PathBuf;

use oci::Digest;

use super::copy::{self, OpenTree};
use super::{LocalEngine, lock};
use crate::files::digest::{Counted, Owners, selections};
use crate::files::index::FileIndex;
use crate::files::select::Selection;
use crate::plan::{CopyOp, CopySource};
use crate::solve::engine::{StepError, Tree};

/// Names and digests, in the order of the sources.
type Digests = Vec<(String, String)>;

impl LocalEngine {
    /// The digests of all sources of `op` but here-documents.
    pub(super) async fn source_digests(
        &self,
        op: &CopyOp,
        tree: &Tree,
    ) -> Result<Digests, StepError> {
        let mut files: Digests = Vec::new();
        for (url, download) in &self.download(op).await? {
            files.push((
                url.clone(),
                format!("{}@{}", download.digest, download.mtime),
            ));
        }
        files.sort();
        if !op.sources.iter().any(|s| matches!(s, CopySource::Path(_))) {
            return Ok(files);
        }
        let memo = self.memo_path(op, tree);
        let known = memo.as_ref().and_then(|path| std::fs::read(path).ok());
        if let Some(known) = known.and_then(|bytes| serde_json::from_slice::<Digests>(&bytes).ok())
        {
            files.extend(known);
            return Ok(files);
        }
        let digested = self.path_digests(op, tree).await?;
        if let (Some(path), Ok(bytes)) = (memo, serde_json::to_vec(&digested)) {
            // Without it the next build only reads more.
            let _ = remember(&path, &bytes);
        }
        files.extend(digested);
        Ok(files)
    }

    async fn path_digests(&self, op: &CopyOp, tree: &Tree) -> Result<Digests, StepError> {
        let path = self.index_path(tree);
        let index = path.as_ref().map(|path| {
            let known = lock(&self.shared.indexes).remove(path);
            known.unwrap_or_else(|| FileIndex::load(path))
        });
        let (work_op, kept) = (op.clone(), path.clone());
        let (digested, selected, index) = self
            .with_tree(tree, move |open| {
                let mut index = index.unwrap_or_default();
                let (digested, selected) = digest(&work_op, open, &mut index)?;
                if let Some(path) = &kept {
                    let _ = index.save(path);
                }
                Ok((digested, selected, index))
            })
            .await?;
        if let Some(path) = path {
            lock(&self.shared.indexes).insert(path, index);
        }
        *lock(&self.shared.selected) = Some((format!("{op:?}"), selected));
        Ok(digested)
    }

    /// Where the file index of a context is kept.
    fn index_path(&self, tree: &Tree) -> Option<PathBuf> {
        let identity = self.context_of(tree).ok()??.identity.clone()?;
        let name = Digest::sha256(identity.as_os_str().as_encoded_bytes());
        Some(self.store().root().join("build/files").join(name.hex()))
    }

    /// Where the digests are kept of what is taken from a stack of layers, which never changes.
    fn memo_path(&self, op: &CopyOp, tree: &Tree) -> Option<PathBuf> {
        let Tree::Layers(Some(chain)) = tree else {
            return None;
        };
        let kind = (op.parents, op.chown.is_some());
        // Names what is hashed too: attributes, since the second version.
        let taken = format!("2 {chain} {:?} {:?} {kind:?}", op.sources, op.exclude);
        let name = Digest::sha256(taken.as_bytes());
        Some(self.store().root().join("build/trees").join(name.hex()))
    }
}

fn digest(
    op: &CopyOp,
    open: &OpenTree<'_>,
    index: &mut FileIndex,
) -> Result<(Digests, Vec<Vec<Selection>>), StepError> {
    let all = copy::select(op, open)?;
    let counted = Counted {
        owners: match open.is_context || op.chown.is_some() {
            true => Owners::Root,
            false => Owners::Kept,
        },
        xattrs: !open.is_context,
        stop: open.stop.clone(),
    };
    let mut digested = Vec::new();
    for selected in &all {
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
    Ok((digested, all))
}

fn remember(path: &std::path::Path, bytes: &[u8]) -> std::io::Result<()> {
    let dir = path.parent().unwrap_or(path);
    std::fs::create_dir_all(dir)?;
    let file = tempfile::NamedTempFile::new_in(dir)?;
    std::fs::write(file.path(), bytes)?;
    file.persist(path)?;
    Ok(())
}
