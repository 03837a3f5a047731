//! What is inside layers: their files, in one layer and in several together. Pure.
//!
//! A layer is read once, as a stream; what its [`Listing`] keeps is enough for everything else but
//! the bytes of a file, which it knows the place of.
//!
//! | module | what it holds |
//! |---|---|
//! | [`reading`] | the listing of a layer, from its blob |
//! | [`tree`] | the files of several layers together |
//! | [`waste`] | bytes that lower layers hold for nothing |
//! | [`difference`] | what changed between two trees |
//! | [`packages`] | what package managers say is installed |
//! | [`entry`] | one file, and the listing of a layer |

mod difference;
mod entry;
mod packages;
mod reading;
#[cfg(test)]
mod testing;
mod tree;
mod waste;

pub use difference::{Change, Changed, Changes, difference};
pub use entry::{FileEntry, Kind, Listing};
pub use packages::{Database, Package};
pub use reading::list;
pub use tree::{Child, Placed, Tree};
pub use waste::{Waste, Wasted, waste};
