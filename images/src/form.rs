//! The form that layers and manifests have outside the store: buildx's attributes of an exporter.

use std::collections::BTreeMap;

use oci::layer::compression::Compression;

/// Whose media types a manifest has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vocabulary {
    /// Docker's, wherever it has a word.
    Docker,
    /// OCI's.
    Oci,
}

/// How an image is to look.
#[derive(Clone, Debug, Default)]
pub struct Form {
    /// How layers are compressed; without it they keep the form that is there, else gzip.
    pub compression: Option<Compression>,
    /// So many layers at the bottom came with a base image. They keep the form that they came in
    /// unless [`force`](Self::force) says otherwise.
    pub base_layers: usize,
    /// Layers of base images are to have this compression too.
    pub force: bool,
    /// The media types; Docker's without, where they suffice.
    pub vocabulary: Option<Vocabulary>,
    /// The manifest's annotations.
    pub annotations: BTreeMap<String, String>,
}

impl Form {
    /// The same for an image that has so many layers of a base.
    #[must_use]
    pub fn for_base(self, base_layers: usize) -> Self {
        Self {
            base_layers,
            ..self
        }
    }

    /// What becomes of the layer in this place, from the bottom.
    pub(crate) fn of_layer(&self, at: usize) -> Option<Compression> {
        match at < self.base_layers && !self.force {
            true => None,
            false => self.compression,
        }
    }

    /// Whether only OCI's manifests will do: Docker's have no annotations.
    pub(crate) fn needs_oci(&self) -> bool {
        self.vocabulary == Some(Vocabulary::Oci) || !self.annotations.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use oci::layer::compression::Kind;

    #[test]
    fn layers_of_the_base_keep_their_form_unless_forced() {
        let zstd = Compression::new(Kind::Zstd, Some(9)).unwrap();
        let mut form = Form {
            compression: Some(zstd),
            base_layers: 1,
            ..Form::default()
        };
        assert_eq!(form.of_layer(0), None);
        assert_eq!(form.of_layer(1), Some(zstd));
        form.force = true;
        assert_eq!(form.of_layer(0), Some(zstd));
    }
}
