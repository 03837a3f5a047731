//! One image as people want to see it: what it is made of, what belongs to it, what would go with
//! it.

use std::collections::{BTreeMap, HashMap};

use oci::{Descriptor, Digest, ManifestDocument};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::listing::MAX_PAGE;
use crate::describe::{self, ConfigFacts, platform_of, seconds};
use crate::meta::{Going, ManifestEntry};
use crate::name::{ManifestRef, RepositoryName};
use crate::service::error::ServiceError;
use crate::service::state::Registry;
use crate::units::rfc3339;

/// Referrers that are told of one image; the distribution API has all of them.
const REFERRERS: u32 = 100;

/// An image, an index or another artifact.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Image {
    /// The repository.
    pub repository: String,
    /// What lists show of it.
    pub manifest: ManifestEntry,
    /// The manifest that it refers to.
    pub subject: Option<String>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
    /// The tags that point to it; a thousand at most.
    pub tags: Vec<String>,
    /// The indexes that list it; a thousand at most.
    pub listed_by: Vec<String>,
    /// Its configuration; an index has none.
    pub config: Option<Config>,
    /// Its layers, from the lowest up.
    pub layers: Vec<Layer>,
    /// The steps that made it, as its configuration tells them.
    pub history: Vec<Step>,
    /// What an index lists.
    pub children: Vec<Child>,
    /// What refers to it, such as signatures; a hundred at most.
    pub referrers: Vec<ReferrerEntry>,
    /// Whether more refers to it.
    pub more_referrers: bool,
}

/// An image's configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// Its digest: docker's image ID.
    pub digest: String,
    /// Its media type.
    pub media_type: String,
    /// Bytes.
    pub bytes: u64,
    /// The configuration itself, where it is JSON of reasonable size.
    pub document: Option<Value>,
}

/// A layer of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    /// Its digest.
    pub digest: String,
    /// Its media type.
    pub media_type: String,
    /// Bytes, as they are stored.
    pub bytes: u64,
    /// The instruction that made it, as the history tells; unknown where that does not fit the
    /// layers.
    pub instruction: Option<String>,
}

/// A step that made a layer, or none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// The instruction.
    pub instruction: String,
    /// What its builder says of it; often empty.
    pub comment: String,
    /// When it was done.
    #[serde(with = "rfc3339")]
    pub created: Option<i64>,
    /// The place, from 0, of the layer that it made.
    pub layer: Option<usize>,
}

/// What an index lists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Child {
    /// Its digest.
    pub digest: String,
    /// Its media type.
    pub media_type: String,
    /// What it runs on.
    pub platform: Option<String>,
    /// What the index says of it.
    pub annotations: BTreeMap<String, String>,
    /// What lists show of it; none, when it is not in the repository.
    pub manifest: Option<ManifestEntry>,
}

/// What refers to an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReferrerEntry {
    /// Its digest.
    pub digest: String,
    /// Its media type.
    pub media_type: String,
    /// What kind of artifact it is.
    pub artifact_type: Option<String>,
    /// Bytes of its manifest.
    pub manifest_bytes: u64,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
}

/// What a deletion would take, and what keeps it from being done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preview {
    /// What it would take.
    #[serde(flatten)]
    pub going: Going,
    /// Why it would be refused; none when it would be done.
    pub refused: Option<String>,
}

impl Registry {
    /// One image with all that is known of it.
    ///
    /// # Errors
    /// [`ServiceError::ManifestUnknown`].
    pub async fn image(
        &self,
        repository: &RepositoryName,
        reference: &ManifestRef,
    ) -> Result<Image, ServiceError> {
        let unknown = || ServiceError::ManifestUnknown {
            repository: repository.clone(),
            reference: reference.clone(),
        };
        let stored = self.manifest(repository, reference).await?;
        let digest = &stored.row.digest;
        let document = ManifestDocument::parse(&stored.bytes, Some(&stored.row.media_type))
            .map_err(|e| ServiceError::ManifestInvalid(e.to_string()))?;
        let this = std::slice::from_ref(digest);
        let manifest = self.meta.manifest_entries(repository, this).await?;
        let manifest = manifest.into_iter().next().ok_or_else(unknown)?;
        let (tags, listed_by) = self.meta.pointing_to(repository, digest).await?;
        let (referrers, more_referrers) = self
            .meta
            .referrers(repository, digest, None, REFERRERS, "")
            .await?;
        let referrers = referrers
            .into_iter()
            .map(|found| ReferrerEntry {
                digest: found.row.digest.to_string(),
                media_type: found.row.media_type.as_str().to_owned(),
                artifact_type: found.artifact_type,
                manifest_bytes: found.row.size,
                annotations: found.annotations,
            })
            .collect();
        let mut image = Image {
            repository: repository.as_str().to_owned(),
            manifest,
            subject: document.subject().map(|s| s.digest.to_string()),
            annotations: document.annotations().clone(),
            tags,
            listed_by,
            config: None,
            layers: Vec::new(),
            history: Vec::new(),
            children: Vec::new(),
            referrers,
            more_referrers,
        };
        match &document {
            ManifestDocument::Manifest(manifest) => {
                let bytes = self
                    .small(&manifest.config.digest, manifest.config.size)
                    .await;
                let is_image = manifest.config.media_type.is_image_config();
                let facts = bytes.as_deref().filter(|_| is_image).map(ConfigFacts::read);
                image.history = history(facts.as_ref());
                image.layers = layers(&manifest.layers, &image.history);
                image.config = Some(Config {
                    digest: manifest.config.digest.to_string(),
                    media_type: manifest.config.media_type.as_str().to_owned(),
                    bytes: manifest.config.size,
                    document: bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()),
                });
            }
            ManifestDocument::Index(index) => {
                image.children = self.children(repository, &index.manifests).await?;
            }
        }
        Ok(image)
    }

    async fn children(
        &self,
        repository: &RepositoryName,
        listed: &[Descriptor],
    ) -> Result<Vec<Child>, ServiceError> {
        let digests: Vec<Digest> = listed.iter().map(|entry| entry.digest.clone()).collect();
        let known = self.meta.manifest_entries(repository, &digests).await?;
        let known: HashMap<String, ManifestEntry> = known
            .into_iter()
            .map(|entry| (entry.digest.clone(), entry))
            .collect();
        let child = |entry: &Descriptor| Child {
            digest: entry.digest.to_string(),
            media_type: entry.media_type.as_str().to_owned(),
            platform: platform_of(entry),
            annotations: entry.annotations.clone(),
            manifest: known.get(&entry.digest.to_string()).cloned(),
        };
        Ok(listed.iter().map(child).collect())
    }

    /// What the deletion of a tag, or of a manifest with every tag that points to it, would take.
    /// Of a tag, its manifest stays.
    ///
    /// # Errors
    /// [`ServiceError::ManifestUnknown`].
    pub async fn preview_manifest(
        &self,
        repository: &RepositoryName,
        reference: &ManifestRef,
    ) -> Result<Preview, ServiceError> {
        self.manifest(repository, reference).await?;
        let immutable = |tag: &str| self.policy().is_immutable(repository.as_str(), tag);
        let tag = match reference {
            ManifestRef::Tag(tag) => tag,
            ManifestRef::Digest(digest) => {
                let going = self.meta.manifest_going(repository, digest).await?;
                let own = going.tags.iter().find(|tag| immutable(tag)).cloned();
                let own = own.map(ServiceError::TagImmutable);
                let kept = self.meta.tag_needing(repository, digest, immutable).await?;
                let kept = kept.map(ServiceError::TagImmutable);
                let needed = match self.policy().delete_needed {
                    true => None,
                    false => self.meta.tag_needing(repository, digest, |_| true).await?,
                };
                let refused = own.or(kept).or(needed.map(ServiceError::Needed));
                return Ok(Preview {
                    going,
                    refused: refused.map(|e| e.to_string()),
                });
            }
        };
        let refused = immutable(tag.as_str())
            .then(|| ServiceError::TagImmutable(tag.as_str().to_owned()).to_string());
        Ok(Preview {
            going: Going {
                tags: vec![tag.as_str().to_owned()],
                tag_count: 1,
                ..Going::default()
            },
            refused,
        })
    }

    /// What the deletion of a whole repository would take.
    ///
    /// # Errors
    /// [`ServiceError::NameUnknown`].
    pub async fn preview_repository(
        &self,
        repository: &RepositoryName,
    ) -> Result<Preview, ServiceError> {
        let going = self.meta.repository_going(repository).await?;
        let going = going.ok_or_else(|| ServiceError::NameUnknown(repository.clone()))?;
        let refused = self.immutable_tag(repository).await?;
        Ok(Preview {
            going,
            refused: refused.map(|tag| ServiceError::TagImmutable(tag).to_string()),
        })
    }

    /// The first tag of a repository that never moves, by rule; none where there are no such rules.
    pub(in crate::service) async fn immutable_tag(
        &self,
        repository: &RepositoryName,
    ) -> Result<Option<String>, ServiceError> {
        if !self.policy().has_immutable(repository.as_str()) {
            return Ok(None);
        }
        let mut last = String::new();
        loop {
            let page = self.tags(repository, MAX_PAGE, &last).await?;
            let immutable = |tag: &&String| self.policy().is_immutable(repository.as_str(), tag);
            if let Some(tag) = page.names.iter().find(immutable) {
                return Ok(Some(tag.clone()));
            }
            match page.names.last() {
                Some(tag) if page.more => last.clone_from(tag),
                _ => return Ok(None),
            }
        }
    }
}

fn history(facts: Option<&ConfigFacts>) -> Vec<Step> {
    let steps = facts.map_or(&[][..], |facts| &facts.history);
    let mut layers = 0..;
    let step = |step: &describe::Step| Step {
        instruction: step.created_by.clone(),
        comment: step.comment.clone(),
        created: seconds(&step.created),
        layer: (!step.empty_layer).then(|| layers.next()).flatten(),
    };
    steps.iter().map(step).collect()
}

/// The layers, each with the instruction that made it: where there are as many such steps.
fn layers(layers: &[Descriptor], history: &[Step]) -> Vec<Layer> {
    let made: Vec<&Step> = history.iter().filter(|step| step.layer.is_some()).collect();
    let fits = made.len() == layers.len();
    let layer = |(at, layer): (usize, &Descriptor)| Layer {
        digest: layer.digest.to_string(),
        media_type: layer.media_type.as_str().to_owned(),
        bytes: layer.size,
        instruction: fits.then(|| made[at].instruction.clone()),
    };
    layers.iter().enumerate().map(layer).collect()
}
