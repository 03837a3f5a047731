//! What a pull or push reports while it runs; rendering it is the caller's business.

use std::fmt;
use std::time::Duration;

use oci::Descriptor;

/// Where one layer stands. `Display` gives docker's words, without figures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LayerState {
    /// Pull: the layer is wanted.
    PullingFsLayer,
    /// Queued behind other layers.
    Waiting,
    /// Pull: bytes come in.
    Downloading {
        /// Bytes so far.
        current: u64,
        /// Bytes in all.
        total: u64,
    },
    /// Pull: all bytes are here; digest and size are compared and the blob made durable.
    VerifyingChecksum,
    /// Pull: the blob is in the store.
    DownloadComplete,
    /// Pull: the blob was in the store already.
    AlreadyExists,
    /// Pull: the layer is unpacked.
    Extracting {
        /// Bytes of the blob so far.
        current: u64,
        /// Bytes in all.
        total: u64,
    },
    /// Pull: the layer can be used.
    PullComplete,
    /// Push: the layer is made ready to be sent.
    Compressing {
        /// Bytes of its tar so far.
        current: u64,
        /// Bytes in all; 0 when that is not known.
        total: u64,
    },
    /// Push: about to ask whether the registry has it.
    Preparing,
    /// Push: bytes go out.
    Pushing {
        /// Bytes so far.
        current: u64,
        /// Bytes in all.
        total: u64,
    },
    /// Push: the registry has acknowledged it.
    Pushed,
    /// Push: the registry took it from another repository of its own.
    MountedFrom(String),
    /// Push: the repository had it already.
    LayerAlreadyExists,
    /// Push: a layer that registries do not hold.
    SkippedForeignLayer,
    /// Either way: something transient failed, and the next attempt comes after a pause.
    Retrying {
        /// The pause.
        after: Duration,
        /// What failed.
        reason: String,
    },
}

impl fmt::Display for LayerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PullingFsLayer => f.write_str("Pulling fs layer"),
            Self::Waiting => f.write_str("Waiting"),
            Self::Downloading { .. } => f.write_str("Downloading"),
            Self::VerifyingChecksum => f.write_str("Verifying Checksum"),
            Self::DownloadComplete => f.write_str("Download complete"),
            Self::AlreadyExists => f.write_str("Already exists"),
            Self::Extracting { .. } => f.write_str("Extracting"),
            Self::PullComplete => f.write_str("Pull complete"),
            Self::Preparing | Self::Compressing { .. } => f.write_str("Preparing"),
            Self::Pushing { .. } => f.write_str("Pushing"),
            Self::Pushed => f.write_str("Pushed"),
            Self::MountedFrom(repository) => write!(f, "Mounted from {repository}"),
            Self::LayerAlreadyExists => f.write_str("Layer already exists"),
            Self::SkippedForeignLayer => f.write_str("Skipped foreign layer"),
            Self::Retrying { after, .. } => {
                write!(f, "Retrying in {} seconds", after.as_secs().max(1))
            }
        }
    }
}

/// Whoever wants to know. Called from any thread, and often: it must not block.
pub trait Events: Send + Sync {
    /// A layer has come to a new state, or further in it.
    fn layer(&self, layer: &Descriptor, state: &LayerState);
}

/// Tells nobody.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Events for Silent {
    fn layer(&self, _: &Descriptor, _: &LayerState) {}
}
