//! Ctrl-C and SIGTERM while a build runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use builder::engine::cancel::Cancel;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::failure::Failure;

/// Ends the build in order when it is interrupted, and at once the second time. Until it is
/// dropped.
pub struct Interrupts {
    task: JoinHandle<()>,
    cancel: Arc<Cancel>,
    code: Arc<AtomicU8>,
    told: Arc<Notify>,
    /// One of several builds has failed.
    given_up: AtomicBool,
}

impl Interrupts {
    /// Watches from now on.
    pub fn watch(cancel: Arc<Cancel>) -> Self {
        let code = Arc::new(AtomicU8::new(0));
        let told = Arc::<Notify>::default();
        let task =
            cancel_when_interrupted(Arc::clone(&cancel), Arc::clone(&code), Arc::clone(&told));
        Self {
            task: tokio::spawn(task),
            cancel,
            code,
            told,
            given_up: AtomicBool::new(false),
        }
    }

    /// Ends all builds that are watched: one of them has failed.
    pub fn give_up(&self) {
        self.given_up.store(true, Ordering::SeqCst);
        self.cancel.cancel();
        self.told.notify_waiters();
    }

    /// Waits for an interruption, or until another build has failed; how the build then ends. A
    /// build that was cancelled because a step of its own failed was not interrupted.
    pub async fn interrupted(&self) -> Failure {
        // Asked for before the code is looked at, so that no signal comes in between.
        let told = self.told.notified();
        if !self.came() && !self.given_up.load(Ordering::SeqCst) {
            told.await;
        }
        self.code(Failure::new(builder::stop::Stopped).canceled())
    }

    /// Waits for work, or for an interruption: the work is dropped then, with what it has made.
    ///
    /// # Errors
    /// How the build ends when it was interrupted.
    pub async fn unless<T>(&self, work: impl Future<Output = T>) -> Result<T, Failure> {
        tokio::select! {
            done = work => Ok(done),
            failure = self.interrupted() => Err(failure),
        }
    }

    /// What stops the build.
    pub fn cancel(&self) -> Arc<Cancel> {
        Arc::clone(&self.cancel)
    }

    /// What tells, on any thread, that there was one.
    pub fn asked(&self) -> impl Fn() -> bool + Send + Sync + 'static {
        let cancel = Arc::clone(&self.cancel);
        move || cancel.is_cancelled()
    }

    /// Whether there was one.
    pub fn came(&self) -> bool {
        self.code.load(Ordering::SeqCst) != 0
    }

    /// The failure with the exit code of the signal that led to it: 128 and its number.
    pub fn code(&self, failure: Failure) -> Failure {
        match self.code.load(Ordering::SeqCst) {
            0 => failure,
            code => Failure { code, ..failure },
        }
    }
}

impl Drop for Interrupts {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn cancel_when_interrupted(cancel: Arc<Cancel>, code: Arc<AtomicU8>, told: Arc<Notify>) {
    let (Ok(mut interrupt), Ok(mut terminate)) = (
        signal(SignalKind::interrupt()),
        signal(SignalKind::terminate()),
    ) else {
        return;
    };
    loop {
        let came = tokio::select! {
            _ = interrupt.recv() => 130,
            _ = terminate.recv() => 143,
        };
        if code.swap(came, Ordering::SeqCst) != 0 {
            std::process::exit(came.into());
        }
        cancel.cancel();
        told.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever it waits for: the disk, a registry, a repository.
    #[tokio::test]
    async fn an_interruption_ends_any_wait() {
        let interrupts = Interrupts::watch(Arc::default());
        assert_eq!(interrupts.unless(async { 7 }).await.unwrap(), 7);
        // A step that fails cancels the others: that is no interruption.
        interrupts.cancel.cancel();
        assert_eq!(interrupts.unless(async { 8 }).await.unwrap(), 8);
        let idle = interrupts.unless(tokio::task::yield_now()).await;
        assert!(idle.is_ok());
        let held = Arc::new(());
        let work = {
            let held = Arc::clone(&held);
            async move {
                let _held = held;
                std::future::pending::<()>().await;
            }
        };
        let interrupt = async {
            interrupts.code.store(143, Ordering::SeqCst);
            interrupts.told.notify_waiters();
        };
        let (ended, ()) = tokio::join!(interrupts.unless(work), interrupt);
        assert_eq!(ended.unwrap_err().code, 143);
        assert_eq!(Arc::strong_count(&held), 1, "what it made is kept");
        // Nor does anything begin after that.
        let late = interrupts.unless(std::future::pending::<()>()).await;
        assert_eq!(late.unwrap_err().code, 143);
    }
}
