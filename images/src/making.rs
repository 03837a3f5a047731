//! What is being compressed: seen by whoever waits for it, and by whoever makes it.

use std::collections::HashMap;
use std::fs::File;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use client::{Growing, Growth};
use oci::layer::compression::Compression;
use oci::{Descriptor, DiffId};
use tokio::sync::{Semaphore, watch};

use crate::error::ImageError;

/// How often it is told how far one has come: what eyes can follow.
const TELL: Duration = Duration::from_millis(100);

/// One form of one layer.
pub(crate) type Form = (DiffId, Compression);

/// All that one process compresses.
pub(crate) struct Compressing {
    /// A compressor has all processors to itself.
    pub(crate) turn: Arc<Semaphore>,
    forms: Mutex<HashMap<Form, State>>,
    /// Those that a build will want: nobody waits for them yet.
    ahead: Mutex<Vec<Arc<Making>>>,
}

enum State {
    Running(Weak<Making>),
    Done(Box<Compressed>),
}

impl Default for Compressing {
    fn default() -> Self {
        Self {
            turn: Arc::new(Semaphore::new(1)),
            forms: Mutex::default(),
            ahead: Mutex::default(),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Compressing {
    /// What there is of a form, in this process.
    pub(crate) fn find(&self, form: &Form) -> Option<Found> {
        match lock(&self.forms).get(form)? {
            State::Done(made) => Some(Found::Done(made.clone())),
            State::Running(making) => making.upgrade().map(Found::Making),
        }
    }

    /// Notes that a form is being made; or what there is of it, if somebody else was first.
    pub(crate) fn begin(&self, form: &Form, making: &Arc<Making>) -> Option<Found> {
        let mut forms = lock(&self.forms);
        let found = match forms.get(form) {
            Some(State::Done(made)) => Some(Found::Done(made.clone())),
            Some(State::Running(other)) => other.upgrade().map(Found::Making),
            None => None,
        };
        if found.is_none() {
            forms.insert(form.clone(), State::Running(Arc::downgrade(making)));
        }
        found
    }

    /// Notes that a form is there.
    pub(crate) fn done(&self, form: Form, made: Compressed) {
        lock(&self.forms).insert(form, State::Done(Box::new(made)));
    }

    /// Forgets a form: it could not be made, or is gone.
    pub(crate) fn forget(&self, form: &Form) {
        lock(&self.forms).remove(form);
    }

    /// Holds what a build will want.
    pub(crate) fn hold(&self, making: Arc<Making>) {
        lock(&self.ahead).push(making);
    }

    /// Lets go of what a build would have wanted. What nobody else wants ends, and tells so.
    pub(crate) fn let_go(&self) -> Vec<watch::Receiver<Outcome>> {
        let ahead = std::mem::take(&mut *lock(&self.ahead));
        let ending = ahead.into_iter().filter_map(|making| {
            let outcome = making.outcome.clone();
            Arc::into_inner(making).map(|_| outcome)
        });
        ending.collect()
    }
}

/// A form of a layer.
pub(crate) enum Found {
    /// It is there.
    Done(Box<Compressed>),
    /// It is being made.
    Making(Arc<Making>),
}

/// What making came to, once it has ended.
pub(crate) type Outcome = Option<Result<Compressed, Arc<ImageError>>>;

/// A form that is being made. When nobody holds it any more, making ends.
pub(crate) struct Making {
    growing: Growing,
    outcome: watch::Receiver<Outcome>,
    count: Arc<AtomicU64>,
    /// Bytes of the tar; 0 when nobody knows.
    total: u64,
    stop: Arc<AtomicBool>,
}

impl Drop for Making {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

impl Making {
    /// One whose blob grows in a file, of a tar of so many bytes, if they are known; and what its
    /// maker tells the outcome by.
    pub(crate) fn new(file: File, total: u64) -> (Self, Observed, watch::Sender<Outcome>) {
        let (grown, growth) = watch::channel(Growth::SoFar(0));
        let (ended, outcome) = watch::channel(None);
        let observed = Observed {
            count: Arc::default(),
            grown: Arc::new(grown),
            stop: Arc::default(),
        };
        let making = Self {
            growing: Growing {
                file: Arc::new(file),
                growth,
            },
            outcome,
            count: Arc::clone(&observed.count),
            total,
            stop: Arc::clone(&observed.stop),
        };
        (making, observed, ended)
    }

    /// The blob, as it grows.
    pub(crate) fn growing(&self) -> &Growing {
        &self.growing
    }

    /// Waits until it is made; `tell` is told how many bytes of the tar are done, of how many.
    ///
    /// # Errors
    /// What stopped it.
    pub(crate) async fn whole(
        &self,
        tell: &(dyn Fn(u64, u64) + Sync),
    ) -> Result<Compressed, ImageError> {
        let mut outcome = self.outcome.clone();
        let mut ticks = tokio::time::interval(TELL);
        let ended = outcome.wait_for(Option::is_some);
        tokio::pin!(ended);
        loop {
            tokio::select! {
                ended = &mut ended => return match ended.as_deref() {
                    Ok(Some(Ok(made))) => Ok(made.clone()),
                    Ok(Some(Err(cause))) => Err(ImageError::Compressing(Arc::clone(cause))),
                    Ok(None) | Err(_) => Err(ImageError::Stopped),
                },
                _ = ticks.tick() => tell(self.count.load(Ordering::Relaxed), self.total),
            }
        }
    }
}

/// A layer's blob, as registries and archives hold it.
#[derive(Clone, Debug)]
pub(crate) struct Compressed {
    /// The blob.
    pub(crate) blob: Descriptor,
    /// Of what it decompresses to.
    pub(crate) diff_id: DiffId,
}

/// What others see of a layer that is compressed, and how they stop it.
pub(crate) struct Observed {
    /// Bytes of the tar that are done.
    pub(crate) count: Arc<AtomicU64>,
    /// Bytes of the blob that are in its file.
    pub(crate) grown: Arc<watch::Sender<Growth>>,
    /// Set when nobody wants it any more.
    pub(crate) stop: Arc<AtomicBool>,
}
