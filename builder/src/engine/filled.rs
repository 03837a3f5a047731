//! What a step has put into its layer.

use std::path::PathBuf;

use oci::ChainId;

use crate::files::earlier::Record;

/// What is known of a layer that was just filled.
pub(super) struct Filled {
    /// The step would come to the same again.
    pub steady: bool,
    /// The files that it copied, and where they are noted for the next copy.
    pub made: Option<(PathBuf, Record)>,
}

/// Notes which files a layer got; without it the next copy only takes longer.
pub(super) async fn keep_record(path: PathBuf, mut made: Record, chain: ChainId) {
    if made.is_empty() {
        return;
    }
    let _ = tokio::task::spawn_blocking(move || made.save(&chain, &path)).await;
}
