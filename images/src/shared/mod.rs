//! Caches of build steps that many machines share.
//!
//! A cache has an entry for each step, named by the step's key, and is written and read entry by
//! entry: in a registry each is a small artifact with a tag of its own, in a directory the same
//! artifact in an OCI image layout, in an image a field of its configuration.
//!
//! - [`entry`]: what an entry says; [`artifact`]: the manifest that it is written as, [`inline`]:
//!   the field of a configuration
//! - [`place`]: where a cache is, as it is typed
//! - [`sources`]: looking entries up; [`targets`]: writing them
//! - [`layout`]: a cache in a directory
//! - [`buildkit`]: caches that BuildKit wrote, which are read only
//!
//! What is read is untrusted as far as it can be checked: documents by their digests and their
//! form, layers by digest and diff ID once they are fetched. That an entry belongs to its key has
//! to be believed of whoever may write to the cache.

mod artifact;
pub mod buildkit;
pub mod entry;
pub mod inline;
mod layout;
pub mod place;
pub mod sources;
pub mod targets;
