//! Image tools: what is done with whole images between the store, archives and registries.
//!
//! [`Images`] is the store and the way to registries. On it work, one module each:
//! - [`pull`] and [`push`]: from and to registries
//! - [`load`] and [`save`]: from and to archives; [`layout`]: an image of an OCI image layout
//! - [`elsewhere`]: layers that are fetched when somebody needs their files; [`shared`]: caches of
//!   build steps that many machines use
//! - [`index`]: indexes of images, whichever way they go
//! - [`import`] and [`export`]: from and to plain trees of files
//!
//! [`form`] is what becomes of layers on their way out; `compressing` makes that of them, once.
//!
//! [`progress`] is how they tell what takes time.
//!
//! Nothing here knows Dockerfiles or builds.

mod base;
mod compressing;
pub mod document;
pub mod elsewhere;
mod error;
pub mod export;
pub mod form;
pub mod fsck;
pub mod import;
pub mod index;
mod ingest;
mod layer;
pub mod layout;
pub mod load;
pub mod local;
mod making;
pub mod progress;
pub mod pull;
pub mod push;
pub mod remote;
pub mod save;
mod service;
pub mod shared;
mod unpack;

pub use document::ConfigDocument;
pub use error::ImageError;
pub use ingest::IngestError;
pub use service::{Images, StoredImage};
