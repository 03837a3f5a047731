//! Names that mean something in a layer, and how long a path may be.

/// What the name of a whiteout begins with.
pub const WHITEOUT_PREFIX: &[u8] = b".wh.";
/// The name of the entry that makes its directory opaque.
pub const OPAQUE_WHITEOUT: &[u8] = b".wh..wh..opq";
/// How many components a path in a layer may have.
pub const MAX_DEPTH: usize = 512;
/// How many bytes a path in a layer may have: what the kernel takes in one system call.
pub const MAX_PATH: usize = 4095;
