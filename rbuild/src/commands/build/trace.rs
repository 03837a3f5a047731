//! The keys of the last build of the same Dockerfile and target, kept beside the store. They only
//! explain why a step missed the cache: without them nothing is built differently.

use std::path::{Path, PathBuf};

use builder::derived;
use builder::solve::trace::Trace;
use oci::Digest;

/// What the last build left.
pub struct LastBuild {
    /// Where it is kept; nowhere when nothing would find it again.
    path: Option<PathBuf>,
    trace: Trace,
}

impl LastBuild {
    /// `context` is what names a build context for good, if anything does; `root` the store's.
    pub async fn load(root: &Path, context: Option<&Path>, dockerfile: &str, target: &str) -> Self {
        let path = context.map(|context| {
            let which = format!("{}\0{dockerfile}\0{target}", context.display());
            let name = Digest::sha256(which.as_bytes());
            root.join("build/traces").join(name.hex())
        });
        let trace = match path.clone() {
            Some(path) => derived::load(path).await.unwrap_or_default(),
            None => Trace::default(),
        };
        Self { path, trace }
    }

    /// Its keys.
    pub fn trace(&self) -> Trace {
        self.trace.clone()
    }

    /// Keeps the keys of this build for the next one.
    pub async fn replace(&self, now: Trace) {
        let mut trace = self.trace.clone();
        trace.update(now);
        if let Some(path) = self.path.clone()
            && trace != self.trace
        {
            derived::save(path, &trace).await;
        }
    }
}
