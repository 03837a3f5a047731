//! Images as the store knows them, and as lines of `docker images`.

use oci::reference::Repository;
use oci::{ChainId, Descriptor, DiffId, Digest, MediaType, Platform, Reference};

/// An image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// The digest of its configuration.
    pub id: Digest,
    /// The configuration's time of creation, RFC 3339.
    pub created: Option<String>,
    /// What it runs on.
    pub platform: Platform,
    /// Bytes of the files in its layers.
    pub size: u64,
    /// The manifest that came with it, as a blob; `None` for an image built here.
    pub manifest: Option<Descriptor>,
    /// Its layers, bottom first.
    pub layers: Vec<DiffId>,
    /// The tags that point to it, sorted.
    pub tags: Vec<Reference>,
    /// `repository@digest` of the manifests it is known by elsewhere, sorted.
    pub repo_digests: Vec<Reference>,
    /// An index of the store lists it.
    pub listed: bool,
}

impl Image {
    /// The chain ID of its topmost layer; `None` without layers.
    pub fn chain_id(&self) -> Option<ChainId> {
        ChainId::chain(&self.layers).pop()
    }

    /// Whether no tag and no index leads to it: what `docker images` shows as `<none>`.
    pub fn is_dangling(&self) -> bool {
        self.tags.is_empty() && !self.listed
    }
}

/// A manifest as the bytes that came.
#[derive(Clone, Debug)]
pub struct RawManifest {
    /// Its media type.
    pub media_type: MediaType,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// An image to be stored.
#[derive(Clone, Debug, Default)]
pub struct NewImage {
    /// The configuration as bytes; their SHA-256 is the image ID. Its `rootfs` names the layers.
    pub config: Vec<u8>,
    /// The manifest, for an image that came with one.
    pub manifest: Option<RawManifest>,
    /// Bytes of the files in its layers; `None` adds up its snapshots.
    pub size: Option<u64>,
    /// Tags to point to it, wherever they pointed before. `latest` where a tag is missing.
    pub tags: Vec<Reference>,
    /// `repository@digest` under which it is known elsewhere.
    pub repo_digests: Vec<Reference>,
    /// The image that it was committed on.
    pub parent: Option<Digest>,
}

/// One line of `docker images`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageLine<'a> {
    /// The repository, familiar; `<none>` for a dangling image without repository digests.
    pub repository: String,
    /// The tag, or `<none>`.
    pub tag: &'a str,
    /// The repository digest, or `<none>`.
    pub digest: String,
}

const NONE: &str = "<none>";

impl Image {
    /// Its lines in `docker images`: one a tag, and one a repository that has it only by digest.
    /// With `digests` (`--digests`) there is one for each digest that the repository knows.
    pub fn lines(&self, digests: bool) -> Vec<ImageLine<'_>> {
        lines(&self.tags, &self.repo_digests, digests)
    }
}

/// The lines of what has these names.
pub(crate) fn lines<'n>(
    tags: &'n [Reference],
    repo_digests: &'n [Reference],
    digests: bool,
) -> Vec<ImageLine<'n>> {
    let line = |repository: String, tag, digest: Option<String>| ImageLine {
        repository,
        tag,
        digest: digest.unwrap_or_else(|| NONE.to_owned()),
    };
    let known_by = |repository: &Repository| -> Vec<Option<String>> {
        let of = repo_digests.iter();
        let of = of.filter(|r| digests && r.repository() == repository);
        let of: Vec<_> = of.map(|r| r.digest().map(ToString::to_string)).collect();
        if of.is_empty() { vec![None] } else { of }
    };
    let mut lines = Vec::new();
    for tag in tags {
        for digest in known_by(tag.repository()) {
            let repository = tag.repository().familiar();
            lines.push(line(repository, tag.tag().unwrap_or(NONE), digest));
        }
    }
    let tagged = |repository| tags.iter().any(|tag| tag.repository() == repository);
    let mut untagged: Vec<&Repository> = repo_digests.iter().map(Reference::repository).collect();
    untagged.dedup();
    for repository in untagged {
        if !tagged(repository) {
            for digest in known_by(repository) {
                lines.push(line(repository.familiar(), NONE, digest));
            }
        }
    }
    if lines.is_empty() {
        lines.push(line(NONE.to_owned(), NONE, None));
    }
    lines
}

/// Seconds since the epoch; what has no readable time of creation is the oldest.
pub(crate) fn seconds(created: Option<&str>) -> i64 {
    created
        .and_then(|text| text.parse::<jiff::Timestamp>().ok())
        .map_or(i64::MIN, jiff::Timestamp::as_second)
}
