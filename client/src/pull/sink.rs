//! Writing and hashing on a blocking thread, fed through a bounded channel.

use std::io::Write;
use std::sync::Arc;

use bytes::Bytes;
use oci::Digest;
use oci::blob::{BlobError, BlobStore, Expected};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::blob_error;
use crate::error::Error;

/// Pieces in flight between the network and the disk.
const DEPTH: usize = 16;

enum Message {
    Data(Bytes),
    Commit(Expected),
}

/// A blob being written. Dropped without commit, it leaves nothing behind.
pub(super) struct Sink {
    digest: Digest,
    sender: mpsc::Sender<Message>,
    task: JoinHandle<Result<(), BlobError>>,
}

impl Sink {
    pub(super) fn start(store: &Arc<dyn BlobStore>, digest: &Digest) -> Self {
        let (sender, mut receiver) = mpsc::channel(DEPTH);
        let store = Arc::clone(store);
        let shown = digest.clone();
        let task = tokio::task::spawn_blocking(move || {
            let mut writer = store.writer()?;
            while let Some(message) = receiver.blocking_recv() {
                match message {
                    Message::Data(bytes) => {
                        writer.write_all(&bytes).map_err(|cause| BlobError::Io {
                            what: format!("write blob {shown}"),
                            cause,
                        })?;
                    }
                    Message::Commit(expected) => return writer.commit(&expected).map(drop),
                }
            }
            Ok(())
        });
        Self {
            digest: digest.clone(),
            sender,
            task,
        }
    }

    /// Hands bytes over. `false`: the writer has failed, and [`Sink::finish`] says why.
    pub(super) async fn write(&self, bytes: Bytes) -> bool {
        self.sender.send(Message::Data(bytes)).await.is_ok()
    }

    /// Verifies and commits, or tells why writing failed.
    pub(super) async fn finish(self, size: u64) -> Result<(), Error> {
        let expected = Expected {
            digest: Some(self.digest.clone()),
            size: Some(size),
        };
        // Where this cannot be sent, the task has ended with the reason.
        let _ = self.sender.send(Message::Commit(expected)).await;
        drop(self.sender);
        match self.task.await {
            Ok(result) => result.map_err(|cause| blob_error(&self.digest, cause)),
            Err(_) => Err(Error::Interrupted("writing a blob")),
        }
    }
}
