//! Images as files: what `docker save` writes and `docker load` reads, and the OCI image layout
//! (image-spec, image-layout.md), as a directory or as a tar.
//!
//! [`write`] makes archives that are both at once, as today's `docker save` does: tools that look
//! for `manifest.json` and tools that look for `index.json` find what they want. [`read`] takes
//! either kind from anyone, and believes nothing in it that it has not checked. [`raw`] takes a
//! layout as blobs and an index, whatever they are.

mod documents;
mod error;
mod files;
mod held;
mod index;
mod indexes;
mod layout;
mod names;
pub mod pick;
pub mod raw;
pub mod read;
mod share;
pub mod write;

pub use error::ArchiveError;
pub use indexes::{ArchivedBlob, ArchivedIndex};
pub use names::{IMAGE_NAME, REF_NAME};
pub use raw::{LayoutReader, LayoutWriter};
pub use read::{ArchivedImage, ArchivedLayer, ImageArchive};
pub use write::{Format, ImageSource, IndexSource, LayerSource};

#[cfg(test)]
mod tests;
