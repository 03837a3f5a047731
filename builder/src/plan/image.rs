//! Images, as a Dockerfile asks for them.

use std::fmt;

use oci::{Digest, Platform, Reference};

/// An image, by what finds it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ImageName {
    /// In the store, or at its registry.
    Reference(Reference),
    /// In the OCI image layout that a named context points to.
    Layout(String),
    /// In the store, under its ID.
    Stored(Digest),
}

impl fmt::Display for ImageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reference(reference) => reference.fmt(f),
            Self::Layout(name) => f.write_str(name),
            Self::Stored(id) => id.fmt(f),
        }
    }
}

/// An image for a platform. One name may lead to a different image for each platform, so an image
/// is always asked for, and known, by both.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ImageRequest {
    /// What finds it.
    pub name: ImageName,
    /// What it is to run on.
    pub platform: Platform,
}
