//! What builds share that are done at the same time.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use oci::Digest;
use tokio::sync::Mutex;

use super::backend::Layer;
use super::jobs::{Bound, Jobs, Turn};

/// What the step of a key came to, once it is done; locked while it is being done.
pub(super) type Once = Rc<Mutex<Option<Layer>>>;

/// Builds of one command: they take their turns from one budget, and a step that several of them
/// have is done once.
pub struct Together {
    jobs: Jobs,
    /// By key, and whether the step is to be done anew: what comes of the cache is no answer then.
    once: RefCell<HashMap<(Digest, bool), Once>>,
}

impl Together {
    /// With so many steps at a time in all of them.
    pub fn new(bound: Bound) -> Self {
        Self {
            jobs: Jobs::new(bound),
            once: RefCell::default(),
        }
    }

    /// Waits for a turn.
    pub(super) async fn turn(&self) -> Turn {
        self.jobs.turn().await
    }

    /// The place of a step.
    pub(super) fn once(&self, key: Digest, anew: bool) -> Once {
        let mut once = self.once.borrow_mut();
        Rc::clone(once.entry((key, anew)).or_default())
    }

    /// Forgets what steps came to: layers that were promised are not to be had. What is being done
    /// goes on, and is found in the store.
    pub(super) fn forget(&self) {
        self.once.borrow_mut().clear();
    }
}
