//! Layers: filesystem changes as tar (OCI image-spec, layer.md).
//!
//! On disk a layer is in *overlay form*, as the kernel's overlay file system keeps an upper
//! directory: a removed file is a character device 0:0, and a directory that hides what lies
//! below it carries the xattr `trusted.overlay.opaque` (`user.overlay.opaque` without
//! privileges). In a tar the same are the entries `.wh.NAME` and `.wh..wh..opq`.
//!
//! | module | what it does |
//! |---|---|
//! | [`diff`] | overlay upper directory to tar, and to its diff ID without writing anything |
//! | [`clamp`] | no time in an upper directory later than the layer will say |
//! | [`holes`] | the parts of a file that have no data |
//! | [`toc`] | compressing with a table of contents |
//! | [`tree`] | whole root filesystem to tar |
//! | [`unpack`] | tar to directory: a layer to overlay form, or an archive into a filesystem |
//! | [`reader`] | the entries of an untrusted tar |
//! | [`compression`] | detecting, decompressing, compressing reproducibly |
//! | [`verify`] | the diff ID and size of what is being read |

pub mod clamp;
pub mod compression;
pub mod diff;
pub(crate) mod header;
pub mod holes;
mod names;
pub mod reader;
mod sink;
pub mod toc;
pub mod tree;
pub mod unpack;
pub mod verify;
mod walk;
mod xattr;

pub use names::{MAX_DEPTH, MAX_PATH, OPAQUE_WHITEOUT, WHITEOUT_PREFIX};
pub use walk::{GoOn, TarError, TarOptions, open_dir};
pub use xattr::is_portable as is_portable_xattr;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
