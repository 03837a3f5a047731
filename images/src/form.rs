//! The form that layers and manifests have outside the store: buildx's attributes of an exporter.

use std::collections::BTreeMap;

use oci::media_type::LayerCompression;

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
    pub compression: Option<LayerCompression>,
    /// The compression's own level; the customary one without.
    pub level: Option<i32>,
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

/// How one layer is to be compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Choice {
    pub(crate) compression: Option<LayerCompression>,
    pub(crate) level: Option<i32>,
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
    pub(crate) fn of_layer(&self, at: usize) -> Choice {
        if at < self.base_layers && !self.force {
            return Choice {
                compression: None,
                level: None,
            };
        }
        Choice {
            compression: self.compression,
            level: self.level,
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

    #[test]
    fn layers_of_the_base_keep_their_form_unless_forced() {
        let mut form = Form {
            compression: Some(LayerCompression::Zstd),
            level: Some(9),
            base_layers: 1,
            ..Form::default()
        };
        assert_eq!(form.of_layer(0).compression, None);
        assert_eq!(form.of_layer(0).level, None);
        assert_eq!(form.of_layer(1).compression, Some(LayerCompression::Zstd));
        form.force = true;
        assert_eq!(form.of_layer(0).level, Some(9));
    }
}
