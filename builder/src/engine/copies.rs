//! COPY and ADD as steps: onto which stack, beside which earlier layer.

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use oci::{ChainId, Digest};

use super::copy::{self, Destination};
use super::filled::Filled;
use super::stack::Stack;
use super::{Engine, Selected, blocking, failed};
use crate::files::dest::Upper;
use crate::files::earlier::{Earlier, Record};
use crate::files::rootfs::Rootfs;
use crate::plan::CopyOp;
use crate::solve::backend::Tree;
use crate::solve::error::StepError;

impl Engine {
    /// COPY and ADD: files of a tree onto the stack.
    pub(super) async fn copy(
        &self,
        op: &CopyOp,
        tree: &Tree,
        selected: Selected,
        stack: Stack,
        parent: Option<&ChainId>,
    ) -> Result<Filled, StepError> {
        let fetched = self.fetch(op).await?;
        let kept = self.copies_path(op, tree, parent);
        let earlier = self.earlier(kept.as_deref()).await?;
        let op = op.clone();
        let (steady, made) = self
            .with_tree(tree, move |open| {
                let selected = match selected {
                    Some(selected) => selected,
                    None => copy::select(&op, open)?,
                };
                let upper = Rootfs::open(&stack.upper)
                    .map_err(|e| StepError::other("open the layer", e))?;
                let made = RefCell::default();
                let dest = Destination {
                    mount: &|| match op.link {
                        true => stack.bare(),
                        false => stack.writable(),
                    },
                    below: match op.link {
                        true => Some(&stack.readable()?),
                        false => None,
                    },
                    upper: Some(Upper {
                        tree: &upper,
                        earlier: earlier.as_ref(),
                        made: &made,
                    }),
                };
                let steady = copy::perform(&op, open, &selected, &fetched, &dest)?;
                Ok((steady, made.into_inner()))
            })
            .await?;
        Ok(Filled {
            steady,
            made: kept.map(|path| (path, made)),
        })
    }

    /// Where it is noted which files a copy made of a context, so that the next one need not make
    /// them again. Nothing is noted where layers are dated, which would date the files
    /// that others share.
    fn copies_path(&self, op: &CopyOp, tree: &Tree, parent: Option<&ChainId>) -> Option<PathBuf> {
        if self.options.epoch.is_some() || self.options.no_cache {
            return None;
        }
        let identity = self.context_of(tree).ok()??.identity.clone()?;
        let place = format!("{identity:?} {parent:?} {op:?}");
        let name = Digest::sha256(place.as_bytes());
        Some(self.store().root().join("build/copies").join(name.hex()))
    }

    /// The layer that the last copy of this place made, if it is still there.
    async fn earlier(&self, kept: Option<&Path>) -> Result<Option<Earlier>, StepError> {
        let Some(path) = kept.map(Path::to_owned) else {
            return Ok(None);
        };
        let Some((chain, record)) = blocking(move || Ok(Record::load(&path))).await? else {
            return Ok(None);
        };
        let snapshot = self.store().snapshot(&chain).await;
        let snapshot = snapshot.map_err(failed("read the store"))?;
        Ok(snapshot.and_then(|snapshot| Earlier::open(&snapshot.fs_path, record).ok()))
    }
}
