//! Whether a server can be reached, as the one who keeps its connection knows it.

use std::sync::RwLock;

use sqlx::Error;
use tokio::sync::Notify;

use super::lost::is_lost;
use crate::sync::{read, write};

/// What readers and the writer tell each other of a server.
#[derive(Debug, Default)]
pub(in crate::meta) struct Standing {
    down: RwLock<Option<String>>,
    doubted: Notify,
}

impl Standing {
    /// Why nobody needs to ask the server now; `None` when it may be asked.
    pub(in crate::meta) fn down(&self) -> Option<String> {
        read(&self.down).clone()
    }

    pub(in crate::meta) fn set_down(&self, why: &str) {
        let known = write(&self.down).replace(why.to_owned());
        if known.is_none() {
            tracing::error!(error = why, "the database does not answer");
        }
    }

    pub(in crate::meta) fn set_up(&self) {
        if write(&self.down).take().is_some() {
            tracing::info!("the database answers again");
        }
    }

    /// Has the writer look whether the server is still there, if an error says that it may not be.
    pub(super) fn note(&self, e: &Error) {
        if is_lost(e) {
            self.doubted.notify_one();
        }
    }

    /// Waits until somebody doubts that the server is there.
    pub(in crate::meta) async fn doubted(&self) {
        self.doubted.notified().await;
    }
}
