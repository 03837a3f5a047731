//! Images from and to other places: layouts, archives, the volume of Docker's registry.

mod archive;
mod distribution;
mod export;
mod imported;
mod layout;
mod names;
mod staging;

pub use export::{ExportOptions, Exported, Selection};
pub use imported::Imported;
pub use layout::ImportOptions;
