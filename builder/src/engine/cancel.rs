//! Ending a build early: everything that runs, and whatever would begin.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use runtime::Killer;
use tokio::sync::Notify;

use crate::solve::error::StepError;
use crate::stop::Stop;

/// Lets another thread end what runs.
#[derive(Debug, Default)]
pub struct Cancel {
    stop: Stop,
    told: Notify,
    running: Mutex<Running>,
}

/// The containers that run, by number.
#[derive(Debug, Default)]
struct Running {
    next: u64,
    killers: BTreeMap<u64, Arc<Killer>>,
}

impl Cancel {
    /// Ends what runs, and lets nothing more start. Processes that want to know of it are told,
    /// and get a moment.
    pub fn cancel(&self) {
        self.stop.stop();
        self.told.notify_waiters();
        for killer in self.running().killers.values() {
            Arc::clone(killer).end();
        }
    }

    fn running(&self) -> MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the build was cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.stop.is_stopped()
    }

    /// The flag that long work looks at.
    pub fn flag(&self) -> Stop {
        self.stop.clone()
    }

    /// Waits for [`Cancel::cancel`].
    pub async fn cancelled(&self) {
        // Asked for before the flag is looked at, so that no call comes in between.
        let told = self.told.notified();
        if !self.is_cancelled() {
            told.await;
        }
    }

    /// Why a step failed: whatever it says, that it was cancelled, when it was.
    pub fn explain(&self, error: StepError) -> StepError {
        match self.is_cancelled() {
            true => StepError::Cancelled,
            false => error,
        }
    }

    /// # Errors
    /// [`StepError::Cancelled`].
    pub fn check(&self) -> Result<(), StepError> {
        if self.is_cancelled() {
            Err(StepError::Cancelled)
        } else {
            Ok(())
        }
    }

    /// A container runs, until the answer is dropped.
    pub fn watch(&self, killer: Killer) -> Watched<'_> {
        let mut running = self.running();
        let number = running.next;
        running.next += 1;
        let killer = Arc::new(killer);
        running.killers.insert(number, Arc::clone(&killer));
        drop(running);
        // It began when everything was being ended.
        if self.is_cancelled() {
            killer.end();
        }
        Watched {
            cancel: self,
            number,
        }
    }
}

/// A container that is ended with the others.
#[derive(Debug)]
pub struct Watched<'c> {
    cancel: &'c Cancel,
    number: u64,
}

impl Drop for Watched<'_> {
    fn drop(&mut self) {
        self.cancel.running().killers.remove(&self.number);
    }
}
