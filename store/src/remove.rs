//! Removing an image as `docker rmi` does.

use std::collections::HashSet;
use std::fmt;

use oci::{Digest, Reference};

use crate::collect::{BlobCandidates, Freed};
use crate::db::sqlite::Connection;
use crate::db::{Durability, containers, images as table, indexes};
use crate::error::{Error, Result};
use crate::image::Image;
use crate::index::StoredIndex;
use crate::lock::{Gate, InUse};
use crate::resolve::{Found, look_up};
use crate::store::Store;

/// One line of what `docker rmi` prints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Removal {
    /// A tag or repository digest is gone.
    Untagged(Reference),
    /// An image, by its ID, or a layer, by its chain ID, is gone.
    Deleted(Digest),
}

impl fmt::Display for Removal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Untagged(reference) => write!(f, "Untagged: {}", reference.familiar()),
            Self::Deleted(digest) => write!(f, "Deleted: {digest}"),
        }
    }
}

/// How the image to remove was named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Named {
    ById,
    By(Reference),
}

/// What removing comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub untag: Vec<Reference>,
    pub delete: bool,
}

/// Whether `text`, which was resolved to the image `id`, is the beginning of that ID.
fn named(text: &str, id: &Digest) -> Named {
    if id.to_string().starts_with(text) || id.hex().starts_with(text) {
        return Named::ById;
    }
    match text.parse::<Reference>() {
        Ok(reference) => Named::By(reference.or_latest()),
        Err(_) => Named::ById,
    }
}

/// The names of an image or index.
pub(crate) struct Names<'n> {
    id: &'n Digest,
    tags: &'n [Reference],
    repo_digests: &'n [Reference],
}

impl Names<'_> {
    /// The image's, or the index's.
    pub(crate) fn id(&self) -> &Digest {
        self.id
    }
}

impl<'n> From<&'n Image> for Names<'n> {
    fn from(image: &'n Image) -> Self {
        Self {
            id: &image.id,
            tags: &image.tags,
            repo_digests: &image.repo_digests,
        }
    }
}

impl<'n> From<&'n StoredIndex> for Names<'n> {
    fn from(index: &'n StoredIndex) -> Self {
        Self {
            id: &index.id,
            tags: &index.tags,
            repo_digests: &index.repo_digests,
        }
    }
}

/// Docker's rules: by reference, that one goes, with the digests of its repository if it was the
/// last tag there, and the image goes with its last reference; by ID, all references go if they
/// amount to one, or by force.
pub(crate) fn plan(named: &Named, image: &Names<'_>, force: bool) -> Result<Plan> {
    let all = || image.tags.iter().chain(image.repo_digests).cloned();
    match named {
        Named::By(reference) => {
            let mut untag = vec![reference.clone()];
            let last_tag = reference.digest().is_none()
                && !image
                    .tags
                    .iter()
                    .any(|tag| tag != reference && tag.repository() == reference.repository());
            if last_tag {
                let digests = image.repo_digests.iter();
                untag.extend(
                    digests
                        .filter(|r| r.repository() == reference.repository())
                        .cloned(),
                );
            }
            let delete = all().all(|r| same_or_listed(&r, &untag));
            Ok(Plan { untag, delete })
        }
        Named::ById if force || is_single(image) => Ok(Plan {
            untag: all().collect(),
            delete: true,
        }),
        Named::ById => Err(Error::MultipleReferences {
            short_id: image.id.short().to_owned(),
        }),
    }
}

/// A `repository:tag@digest` given by the user means the digest.
fn same_or_listed(reference: &Reference, list: &[Reference]) -> bool {
    list.iter().any(|r| {
        r == reference
            || (r.digest().is_some()
                && r.digest() == reference.digest()
                && r.repository() == reference.repository())
    })
}

pub(crate) fn is_single(image: &Names<'_>) -> bool {
    match (image.tags, image.repo_digests) {
        ([], []) | ([_], []) => true,
        ([], [first, rest @ ..]) => rest.iter().all(|r| r.repository() == first.repository()),
        ([tag], digests) => digests.iter().all(|r| r.repository() == tag.repository()),
        _ => false,
    }
}

impl Store {
    /// Removes what `text` means (see [`resolve`](Self::resolve)): a reference, and the image
    /// with its last one. Frees what no other image, cache record or process needs. Returns the
    /// lines that `docker rmi` prints, in its order.
    ///
    /// # Errors
    /// [`Error::MultipleReferences`] by ID without `force`; those of resolving.
    pub async fn remove_image(&self, text: &str, force: bool) -> Result<Vec<Removal>> {
        let gate = self.gate().await?;
        let mut db = self.0.db.lock().await;
        // Under the gate the answer cannot be removed by anybody else.
        let image = match look_up(&mut db, text).await? {
            Found::Image(stored) => stored.image,
            Found::Index(stored) => {
                let plan = plan(
                    &named(text, &stored.index.id),
                    &Names::from(&stored.index),
                    force,
                )?;
                let mut tx = db.begin(Durability::Full).await?;
                let in_use = self.in_use(&gate)?;
                let (removals, freed) = self
                    .remove_index(&mut tx, &in_use, &stored.index, plan)
                    .await?;
                tx.commit().await?;
                drop(db);
                return self.finish_removal(gate, removals, freed).await;
            }
        };
        let named = named(text, &image.id);
        let plan = plan(&named, &Names::from(&image), force)?;

        let mut removals = Vec::new();
        let mut tx = db.begin(Durability::Full).await?;
        let in_use = self.in_use(&gate)?;
        let names = Names::from(&image);
        self.check_containers(&mut tx, (&named, &names), (text, force))
            .await?;
        if image.listed && named == Named::ById && !force {
            return Err(listed(&mut tx, &image.id).await?);
        }
        for reference in plan.untag {
            if table::remove_reference(&mut tx, &reference).await? {
                removals.push(Removal::Untagged(reference));
            }
        }
        // A tag may have been added by another process after we looked.
        let left = table::by_digest(&mut tx, &image.id).await?;
        let left = left.filter(|s| s.image.tags.is_empty() && s.image.repo_digests.is_empty());
        // What an index lists goes with the index, or by its own ID.
        // By name it goes only where no container needs it; by ID that was asked already.
        let needed = named != Named::ById && is_needed(&mut tx, &image.id).await?;
        let delete = plan.delete && !needed && (!image.listed || named == Named::ById);
        let (Some(left), true) = (left, delete) else {
            tx.commit().await?;
            return Ok(removals);
        };
        indexes::forget_image(&mut tx, left.row_id).await?;
        table::remove(&mut tx, left.row_id).await?;
        removals.push(Removal::Deleted(image.id.clone()));
        // An index that the image was pulled by; its own blobs are found with its row.
        let digests = image.repo_digests.iter();
        let blobs = digests.filter_map(|r| r.digest().cloned()).collect();
        let freed = self
            .collect(&mut tx, &in_use, BlobCandidates::These(blobs))
            .await?;
        tx.commit().await?;
        drop(db);
        for layer in image.layers_of(&freed.snapshots) {
            removals.push(Removal::Deleted(layer));
        }
        self.finish_removal(gate, removals, Some(freed)).await
    }

    async fn finish_removal(
        &self,
        gate: Gate,
        removals: Vec<Removal>,
        freed: Option<Freed>,
    ) -> Result<Vec<Removal>> {
        if let Some(freed) = freed {
            self.free(gate, freed).await?;
            self.empty_trash().await?;
        }
        Ok(removals)
    }

    /// Takes an index's names away, and with the last of them itself and the images that only it
    /// led to.
    async fn remove_index(
        &self,
        tx: &mut Connection,
        in_use: &InUse,
        index: &StoredIndex,
        plan: Plan,
    ) -> Result<(Vec<Removal>, Option<Freed>)> {
        let mut removals = Vec::new();
        for reference in plan.untag {
            if table::remove_reference(tx, &reference).await? {
                removals.push(Removal::Untagged(reference));
            }
        }
        let left = indexes::by_digest(tx, &index.id).await?;
        let left = left.filter(|s| s.index.tags.is_empty() && s.index.repo_digests.is_empty());
        let (Some(left), true) = (left, plan.delete) else {
            return Ok((removals, None));
        };
        indexes::remove(tx, left.row_id).await?;
        removals.push(Removal::Deleted(index.id.clone()));
        let images = remove_orphans(tx, &mut removals).await?;
        let digests = index.repo_digests.iter();
        let blobs = digests.filter_map(|r| r.digest().cloned()).collect();
        let freed = self
            .collect(tx, in_use, BlobCandidates::These(blobs))
            .await?;
        let mut told = HashSet::new();
        for layer in images.iter().flat_map(|i| i.layers_of(&freed.snapshots)) {
            if told.insert(layer.clone()) {
                removals.push(Removal::Deleted(layer));
            }
        }
        Ok((removals, Some(freed)))
    }
}

/// Removes the images that only removed indexes led to, and tells so.
pub(crate) async fn remove_orphans(
    tx: &mut Connection,
    removals: &mut Vec<Removal>,
) -> Result<Vec<Image>> {
    let mut images = Vec::new();
    for (row_id, id) in indexes::orphans(tx).await? {
        if let Some(stored) = table::by_digest(tx, &id).await? {
            images.push(stored.image);
        }
        table::remove(tx, row_id).await?;
        removals.push(Removal::Deleted(id));
    }
    Ok(images)
}

/// Whether a container was made of an image.
async fn is_needed(tx: &mut Connection, id: &Digest) -> Result<bool> {
    Ok(!containers::of_image(tx, id).await?.is_empty())
}

/// Who lists an image that is not to be removed therefore.
async fn listed(tx: &mut Connection, id: &Digest) -> Result<Error> {
    let all = indexes::all(tx).await?;
    let of = all.iter().map(|row| &row.index);
    let of = of.filter(|index| index.images().any(|image| image == id));
    let names = of.map(|index| match &index.tags[..] {
        [] => index.id.to_string(),
        [first, ..] => first.familiar(),
    });
    Ok(Error::Listed {
        short_id: id.short().to_owned(),
        indexes: names.collect(),
    })
}

impl Image {
    /// The chain IDs of its layers that are among the dead, topmost first.
    pub(crate) fn layers_of(&self, dead: &[crate::db::collect::DeadSnapshot]) -> Vec<Digest> {
        let mut chain = oci::ChainId::chain(&self.layers);
        chain.retain(|id| dead.iter().any(|snapshot| snapshot.chain_id == *id));
        chain.reverse();
        chain.into_iter().map(|id| id.0).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(tags: &[&str], digests: &[&str]) -> Image {
        let parse = |list: &[&str]| list.iter().map(|t| t.parse().unwrap()).collect();
        let digests: Vec<String> = digests
            .iter()
            .map(|repository| format!("{repository}@{}", Digest::sha256(repository.as_bytes())))
            .collect();
        let digests: Vec<&str> = digests.iter().map(String::as_str).collect();
        Image {
            id: Digest::empty(),
            created: None,
            platform: oci::Platform::host(),
            size: 0,
            manifest: None,
            layers: Vec::new(),
            tags: parse(tags),
            repo_digests: parse(&digests),
            listed: false,
        }
    }

    #[test]
    fn follows_dockers_rules() {
        // Named so, with these tags and digests: how many references go, and does the image?
        for (text, tags, digests, untagged, delete) in [
            ("app:v1", &["app:v1"][..], &[][..], 1, true),
            ("app", &["app:latest"], &[], 1, true),
            ("app:v1", &["app:v1", "app:v2"], &[], 1, false),
            ("app:v1", &["app:v1"], &["app"], 2, true),
            ("app:v1", &["app:v1"], &["app", "other"], 2, false),
            ("app:v1", &["app:v1", "app:v2"], &["app"], 1, false),
            ("e3b0c4", &["app:v1"], &[], 1, true),
            ("e3b0c4", &[], &[], 0, true),
            ("sha256:e3b0", &["app:v1"], &["app"], 2, true),
        ] {
            let image = image(tags, digests);
            let plan = plan(&named(text, &image.id), &Names::from(&image), false).unwrap();
            assert_eq!(
                (plan.untag.len(), plan.delete),
                (untagged, delete),
                "{text} {tags:?}"
            );
        }
    }

    #[test]
    fn several_references_need_force_when_removed_by_id() {
        for (tags, digests) in [
            (&["app:v1", "app:v2"][..], &[][..]),
            (&["app:v1", "b:v1"], &[]),
            (&["app:v1"], &["other"]),
        ] {
            let image = image(tags, digests);
            let error = plan(&Named::ById, &Names::from(&image), false).unwrap_err();
            assert_eq!(
                error.to_string(),
                "conflict: unable to delete e3b0c44298fc (must be forced) - \
                 image is referenced in multiple repositories"
            );
            let forced = plan(&Named::ById, &Names::from(&image), true).unwrap();
            assert_eq!(forced.untag.len(), tags.len() + digests.len());
        }
    }
}
