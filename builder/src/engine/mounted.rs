//! What a step's mounts hold while it runs.

use runtime::Mount;
use store::CacheDir;
use tempfile::TempDir;
use tokio::task::JoinHandle;

/// The mounts of one step, for as long as it runs.
#[derive(Default)]
pub(super) struct Mounts {
    /// As the container takes them.
    pub(super) mounts: Vec<Mount>,
    /// Variables with secrets, `NAME=value`.
    pub(super) env: Vec<String>,
    pub(super) held: Vec<Held>,
}

/// What goes when the step has ended.
#[allow(dead_code, reason = "held until it is dropped")]
pub(super) enum Held {
    Cache(CacheDir),
    Dir(TempDir),
    Forwarded(Forwarded),
}

/// Takes connections to a socket for as long as it is there.
pub(super) struct Forwarded(pub(super) JoinHandle<()>);

impl Drop for Forwarded {
    fn drop(&mut self) {
        self.0.abort();
    }
}
