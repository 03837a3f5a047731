//! What a prune is about.

/// What a prune is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// Images and build cache.
    Everything,
    /// `image prune`
    Images,
    /// `builder prune`
    Cache,
}
