//! Indexes as the store knows them: one name, an image for each platform.

use oci::{Descriptor, Digest, MediaType, Platform, Reference};

use crate::image::{Image, ImageLine, RawManifest, lines};

/// An index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredIndex {
    /// The digest of its document.
    pub id: Digest,
    /// The document's media type.
    pub media_type: MediaType,
    /// Bytes of the document.
    pub document_size: u64,
    /// When the newest of its images was created, RFC 3339.
    pub created: Option<String>,
    /// Bytes of the files of its images that are here.
    pub size: u64,
    /// What it lists, in its order.
    pub entries: Vec<IndexEntry>,
    /// The tags that point to it, sorted.
    pub tags: Vec<Reference>,
    /// `repository@digest` of the indexes it is known by elsewhere, sorted.
    pub repo_digests: Vec<Reference>,
}

/// An entry of an index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexEntry {
    /// The manifest that it leads to, with the platform. Annotations stand in the document only.
    pub manifest: Descriptor,
    /// The ID of its image, when that is here.
    pub image: Option<Digest>,
    /// The manifest is a blob here.
    pub present: bool,
}

impl StoredIndex {
    /// Whether no tag points to it.
    pub fn is_dangling(&self) -> bool {
        self.tags.is_empty()
    }

    /// The images of it that are here.
    pub fn images(&self) -> impl Iterator<Item = &Digest> {
        self.entries.iter().filter_map(|entry| entry.image.as_ref())
    }

    /// The platforms that it has images for here.
    pub fn platforms(&self) -> Vec<Platform> {
        let here = self.entries.iter().filter(|entry| entry.image.is_some());
        here.filter_map(|entry| entry.manifest.platform.clone())
            .collect()
    }

    /// The image for a platform. Without one asked for it is this machine's, else the first that is
    /// here.
    pub fn select(&self, wanted: Option<&Platform>) -> Option<&Digest> {
        let host = Platform::host();
        let here = self.entries.iter().filter(|entry| entry.image.is_some());
        let listed = oci::Index {
            schema_version: 2,
            media_type: None,
            artifact_type: None,
            manifests: here.clone().map(|entry| entry.manifest.clone()).collect(),
            subject: None,
            annotations: Default::default(),
        };
        let chosen = listed.select(wanted.unwrap_or(&host)).ok();
        let entry = match (chosen, wanted) {
            (Some(chosen), _) => {
                let mut all = here.clone();
                all.find(|entry| entry.manifest.digest == chosen.digest)
            }
            (None, None) => here.clone().next(),
            (None, Some(_)) => None,
        };
        entry.and_then(|entry| entry.image.as_ref())
    }
}

/// An index to be stored.
#[derive(Clone, Debug)]
pub struct NewIndex {
    /// The document; its SHA-256 is the index's ID.
    pub document: RawManifest,
    /// The images of it that are in the store: a manifest's digest, and the image's ID.
    pub images: Vec<(Digest, Digest)>,
    /// Manifests that it lists, to be kept as blobs.
    pub manifests: Vec<RawManifest>,
    /// Blobs of the store that are needed beside its images.
    pub blobs: Vec<Digest>,
    /// Tags to point to it, wherever they pointed before.
    pub tags: Vec<Reference>,
    /// `repository@digest` under which it is known elsewhere.
    pub repo_digests: Vec<Reference>,
}

/// What a name leads to.
#[expect(
    clippy::large_enum_variant,
    reason = "few exist at a time, and both are matched by value"
)]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// An image.
    Image(Image),
    /// An index of images.
    Index(StoredIndex),
}

impl Content {
    /// The digest by which it is known: an image's configuration's, an index's own.
    pub fn id(&self) -> &Digest {
        match self {
            Self::Image(image) => &image.id,
            Self::Index(index) => &index.id,
        }
    }

    /// The time of creation, RFC 3339.
    pub fn created(&self) -> Option<&str> {
        match self {
            Self::Image(image) => image.created.as_deref(),
            Self::Index(index) => index.created.as_deref(),
        }
    }

    /// Bytes of files.
    pub fn size(&self) -> u64 {
        match self {
            Self::Image(image) => image.size,
            Self::Index(index) => index.size,
        }
    }

    /// The tags that point to it.
    pub fn tags(&self) -> &[Reference] {
        match self {
            Self::Image(image) => &image.tags,
            Self::Index(index) => &index.tags,
        }
    }

    /// What repositories elsewhere know it by.
    pub fn repo_digests(&self) -> &[Reference] {
        match self {
            Self::Image(image) => &image.repo_digests,
            Self::Index(index) => &index.repo_digests,
        }
    }

    /// Keeps the names for which it holds.
    pub fn retain_names(&mut self, keep: impl Fn(&Reference) -> bool) {
        let (tags, digests) = match self {
            Self::Image(image) => (&mut image.tags, &mut image.repo_digests),
            Self::Index(index) => (&mut index.tags, &mut index.repo_digests),
        };
        tags.retain(&keep);
        digests.retain(&keep);
    }

    /// Whether nothing leads to it.
    pub fn is_dangling(&self) -> bool {
        match self {
            Self::Image(image) => image.is_dangling(),
            Self::Index(index) => index.is_dangling(),
        }
    }

    /// Its lines in `docker images`; see [`Image::lines`].
    pub fn lines(&self, digests: bool) -> Vec<ImageLine<'_>> {
        lines(self.tags(), self.repo_digests(), digests)
    }
}
