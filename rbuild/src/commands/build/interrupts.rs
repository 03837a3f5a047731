//! Ctrl-C and SIGTERM while a build runs.

use std::sync::Arc;

use builder::engine::run::Cancel;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;

/// Ends the build in order when it is interrupted, and at once the second time. Until it is
/// dropped.
pub struct Interrupts(JoinHandle<()>);

impl Interrupts {
    /// Watches from now on.
    pub fn watch(cancel: Arc<Cancel>) -> Self {
        Self(tokio::spawn(cancel_when_interrupted(cancel)))
    }
}

impl Drop for Interrupts {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn cancel_when_interrupted(cancel: Arc<Cancel>) {
    let (Ok(mut interrupt), Ok(mut terminate)) = (
        signal(SignalKind::interrupt()),
        signal(SignalKind::terminate()),
    ) else {
        return;
    };
    let mut asked = false;
    loop {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        if asked {
            std::process::exit(130);
        }
        asked = true;
        cancel.cancel();
    }
}
