//! Telling long work that the registry is about to close.

use tokio::sync::watch;

/// Told once; what runs long asks between its slices, what waits is woken.
#[derive(Debug)]
pub(in crate::service) struct Stop(watch::Sender<bool>);

impl Stop {
    pub(super) fn new() -> Self {
        Self(watch::Sender::new(false))
    }

    pub(in crate::service) fn tell(&self) {
        self.0.send_replace(true);
    }

    /// Whether it was told.
    pub(in crate::service) fn is_told(&self) -> bool {
        *self.0.borrow()
    }

    /// The same question for work on another thread.
    pub(in crate::service) fn flag(&self) -> impl Fn() -> bool + Send + use<> {
        let told = self.0.subscribe();
        move || *told.borrow()
    }

    /// What `work` comes to; `None` when it is told to stop before that.
    pub(in crate::service) async fn unless<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut told = self.0.subscribe();
        tokio::select! {
            biased;
            // The sender lives as long as this.
            _ = told.wait_for(|told| *told) => None,
            done = work => Some(done),
        }
    }
}
