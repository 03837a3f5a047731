//! What a prune is about.

/// What a prune is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// Images and build cache.
    Everything,
    /// `system prune`: containers that do not run, too.
    System,
    /// `system prune --volumes`: volumes without a name, too.
    SystemAndVolumes,
    /// `image prune`
    Images,
    /// `builder prune`
    Cache,
}

impl What {
    /// Whether containers are among it.
    pub(super) fn has_containers(self) -> bool {
        matches!(self, Self::System | Self::SystemAndVolumes)
    }
}
