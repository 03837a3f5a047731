//! The OCI and Docker vocabulary, and the pure formats built on it.
//!
//! Synchronous, without tokio or SQL: everything here can be used from the builder, the client
//! and the registry alike, and tested without any of them.
//!
//! | module | what it holds |
//! |---|---|
//! | [`digest`] | content digests, and hashing while reading or writing |
//! | [`reference`] | image references with Docker's normalisation |
//! | [`media_type`] | OCI and Docker schema 2 media types |
//! | [`descriptor`] | the pointer from one piece of content to another |
//! | [`manifest`] | image manifests, indexes, and telling them apart safely |
//! | [`config`] | the image configuration and its history |
//! | [`platform`] | os, architecture and variant |
//! | [`layer`] | overlay directories to tar and back, whiteouts, compression |
//! | [`archive`] | `docker save` archives and OCI image layouts |
//! | [`blob`] | the `BlobStore` trait, and its disk and memory implementations |
//! | [`causes`] | errors with what caused them |
//! | [`mapped`] | files that are mapped, on a full disk |

pub mod archive;
pub mod blob;
pub mod causes;
pub mod config;
pub mod descriptor;
pub mod digest;
pub mod layer;
pub mod manifest;
pub mod mapped;
pub mod media_type;
mod null;
pub mod platform;
pub mod reference;
mod select;
mod sync;

pub use config::ImageConfig;
pub use descriptor::Descriptor;
pub use digest::{Algorithm, ChainId, DiffId, Digest};
pub use manifest::{Index, Manifest, ManifestDocument};
pub use media_type::MediaType;
pub use platform::Platform;
pub use reference::Reference;
