//! What builds on this machine have in common that go on at the same time, and what steps leave for
//! later ones.

use std::collections::{HashMap, HashSet};
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use oci::ChainId;
use store::CacheName;
use tokio::sync::OnceCell;

use super::fetched;
use super::network::Networks;
use crate::files::index::FileIndex;

/// Shared by the engines of builds that go on at the same time.
#[derive(Clone, Default)]
pub struct Common(Arc<Things>);

/// The indexes of contexts, once they are read, by where they are kept.
type Indexes = HashMap<PathBuf, Arc<Mutex<Option<FileIndex>>>>;

/// What they share, for the engines alone.
#[derive(Default)]
pub struct Things {
    pub(super) networks: Networks,
    pub(super) stub: OnceCell<PathBuf>,
    pub(super) indexes: Mutex<Indexes>,
    pub(super) remote: fetched::Known,
    /// Layers of files that changed while they were copied: their keys may tell of others.
    pub(super) unsteady: Mutex<HashSet<ChainId>>,
    /// The cache mounts that `--no-cache` has emptied already.
    pub(super) emptied: Mutex<HashSet<CacheName>>,
    /// A layer was needed that nobody has: steps count only with their layers.
    pub(super) solid: AtomicBool,
    /// A layer that a shared cache promised could not be had: none is looked up any more.
    pub(super) lost: AtomicBool,
}

impl Deref for Common {
    type Target = Things;

    fn deref(&self) -> &Things {
        &self.0
    }
}
