//! `--build-context`: names that stand for something else than they would.

use std::collections::BTreeMap;

use oci::{Digest, Reference};

use super::image::ImageName;

/// What a name was given to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NamedContext {
    /// A tree of files.
    Tree,
    /// An image.
    Image(Reference),
    /// An image of the store.
    Stored(Digest),
    /// The image in an OCI image layout.
    Layout,
    /// Nothing: `docker-image://scratch`.
    Scratch,
}

impl NamedContext {
    /// The image that the context of this name is, if it is one.
    pub fn image(&self, name: &str) -> Option<ImageName> {
        match self {
            Self::Tree | Self::Scratch => None,
            Self::Image(reference) => Some(ImageName::Reference(reference.clone())),
            Self::Stored(id) => Some(ImageName::Stored(id.clone())),
            Self::Layout => Some(ImageName::Layout(name.to_owned())),
        }
    }
}

/// The contexts, by name.
#[derive(Clone, Debug, Default)]
pub struct NamedContexts(BTreeMap<String, NamedContext>);

impl NamedContexts {
    /// What `name` was given to, and the name that it was given. Names are compared as image
    /// references: `alpine` is also `docker.io/library/alpine:latest`.
    pub fn get(&self, name: &str) -> Option<(&str, &NamedContext)> {
        let found = self.0.get_key_value(&context_name(name))?;
        Some((found.0, found.1))
    }
}

impl FromIterator<(String, NamedContext)> for NamedContexts {
    fn from_iter<T: IntoIterator<Item = (String, NamedContext)>>(contexts: T) -> Self {
        let named = contexts.into_iter();
        Self(named.map(|(n, c)| (context_name(&n), c)).collect())
    }
}

/// A context's name in the form that names are compared in.
pub fn context_name(name: &str) -> String {
    let Ok(reference) = name.parse::<Reference>() else {
        return name.to_owned();
    };
    let familiar = reference.or_latest().familiar();
    match familiar.strip_suffix(":latest") {
        Some(name) => name.to_owned(),
        None => familiar,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_compared_as_references() {
        for (name, normal) in [
            ("alpine", "alpine"),
            ("alpine:latest", "alpine"),
            ("docker.io/library/alpine:latest", "alpine"),
            ("alpine:3.19", "alpine:3.19"),
            ("registry.lan:5000/a/b:latest", "registry.lan:5000/a/b"),
            ("Not A Reference", "Not A Reference"),
        ] {
            assert_eq!(context_name(name), normal);
        }
        let named: NamedContexts = [("alpine:latest".to_owned(), NamedContext::Tree)]
            .into_iter()
            .collect();
        assert_eq!(named.get("alpine"), Some(("alpine", &NamedContext::Tree)));
        assert_eq!(named.get("alpine:3"), None);
    }
}
