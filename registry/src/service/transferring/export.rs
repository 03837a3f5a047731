//! Repositories as an OCI image layout.
//!
//! Everything that belongs together goes along: the manifests of an index, however deep, and what
//! refers to any of them. What has no tag and is in no index is listed without a name, so that an
//! import finds it.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use oci::archive::{LayoutWriter, REF_NAME};
use oci::{Descriptor, Digest, ManifestDocument};
use serde::{Deserialize, Serialize};

use super::names::REPOSITORY;
use crate::meta::Exportable;
use crate::name::{ManifestRef, NameError, RepositoryName};
use crate::service::error::ServiceError;
use crate::service::pushing::needs;
use crate::service::state::Registry;
use crate::sync::blocking;

/// A repository, or one manifest of it: `app`, `app:v1`, `app@sha256:…`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    /// The repository.
    pub repository: RepositoryName,
    /// Only this manifest, and what belongs to it.
    pub reference: Option<ManifestRef>,
}

/// What to export, and where to.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ExportOptions {
    /// Repositories, or manifests of them, as text.
    pub what: Vec<String>,
    /// A directory, or a file whose name ends with `.tar`.
    pub output: PathBuf,
    /// Files in a directory may be hard links to the registry's own: who writes into them damages
    /// it.
    #[serde(default)]
    pub link: bool,
}

/// What was exported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exported {
    /// Tags.
    pub tags: u64,
    /// Manifests.
    pub manifests: u64,
    /// Blobs, manifests included.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl FromStr for Selection {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let (repository, reference) = if let Some((name, digest)) = text.split_once('@') {
            let digest = digest.parse().map_err(|_| NameError::Tag)?;
            (name, Some(ManifestRef::Digest(digest)))
        } else if let Some((name, tag)) = text.rsplit_once(':') {
            (name, Some(ManifestRef::Tag(tag.parse()?)))
        } else {
            (text, None)
        };
        Ok(Self {
            repository: repository.parse()?,
            reference,
        })
    }
}

impl fmt::Display for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.repository;
        match &self.reference {
            None => write!(f, "{name}"),
            Some(ManifestRef::Tag(tag)) => write!(f, "{name}:{tag}"),
            Some(ManifestRef::Digest(digest)) => write!(f, "{name}@{digest}"),
        }
    }
}

/// All that is to be written.
#[derive(Debug, Default)]
struct Plan {
    entries: Vec<Descriptor>,
    blobs: BTreeMap<Digest, u64>,
    manifests: BTreeSet<Digest>,
    tags: u64,
}

impl Registry {
    /// Writes what `options` select. Garbage is not collected meanwhile.
    ///
    /// # Errors
    /// [`ServiceError::Output`], [`ServiceError::Name`], [`ServiceError::NameUnknown`],
    /// [`ServiceError::ManifestUnknown`], [`ServiceError::Archive`].
    pub async fn export(&self, options: &ExportOptions) -> Result<Exported, ServiceError> {
        if is_other_archive(&options.output) {
            return Err(ServiceError::Output(options.output.clone()));
        }
        let _alone = self.collecting.lock().await;
        let mut selected: BTreeMap<RepositoryName, Vec<Option<ManifestRef>>> = BTreeMap::new();
        for text in &options.what {
            let Selection {
                repository,
                reference,
            } = text.parse()?;
            selected.entry(repository).or_default().push(reference);
        }
        let several = selected.len() > 1;
        let mut plan = Plan::default();
        for (repository, references) in &selected {
            self.plan_export(repository, references, several, &mut plan)
                .await?;
        }
        let exported = Exported {
            tags: plan.tags,
            manifests: plan.manifests.len() as u64,
            blobs: plan.blobs.len() as u64,
            bytes: plan.blobs.values().sum(),
        };
        // Links to files that a power cut could empty would be no export.
        self.settle().await?;
        let (files, output, link) = (self.blobs.clone(), options.output.clone(), options.link);
        blocking(move || {
            let mut writer = if is_tar(&output) {
                LayoutWriter::tar(&output)?
            } else {
                LayoutWriter::directory(&output)?
            };
            if link {
                writer = writer.linked();
            }
            for (digest, size) in &plan.blobs {
                let found = files.in_file(digest)?;
                let place = files.place(digest);
                // What is missing is for the writer to say.
                let path = found.as_ref().map_or(place.as_path(), |found| found.path());
                writer.blob(digest, *size, path)?;
            }
            writer.finish(plan.entries).map_err(ServiceError::from)
        })
        .await?;
        Ok(exported)
    }

    async fn plan_export(
        &self,
        repository: &RepositoryName,
        references: &[Option<ManifestRef>],
        several: bool,
        plan: &mut Plan,
    ) -> Result<(), ServiceError> {
        let known = self.meta.exportable(repository).await?;
        if known.is_empty() {
            return Err(ServiceError::NameUnknown(repository.clone()));
        }
        let all = references.contains(&None);
        let by_digest: HashMap<&Digest, &Exportable> =
            known.iter().map(|m| (&m.row.digest, m)).collect();
        let by_tag: HashMap<&str, &Exportable> = known
            .iter()
            .flat_map(|m| m.tags.iter().map(move |tag| (tag.as_str(), m)))
            .collect();
        let by_subject = by_subject(&known);
        let mut wanted: VecDeque<Digest> = VecDeque::new();
        let mut tags_asked: HashSet<&str> = HashSet::new();
        for reference in references.iter().flatten() {
            let found = match reference {
                ManifestRef::Digest(digest) => by_digest.get(digest),
                ManifestRef::Tag(tag) => {
                    tags_asked.insert(tag.as_str());
                    by_tag.get(tag.as_str())
                }
            };
            let found = found.ok_or_else(|| ServiceError::ManifestUnknown {
                repository: repository.clone(),
                reference: reference.clone(),
            })?;
            wanted.push_back(found.row.digest.clone());
        }
        if all {
            wanted.extend(known.iter().map(|m| m.row.digest.clone()));
        }
        let mut chosen: BTreeSet<Digest> = BTreeSet::new();
        let mut children: BTreeSet<Digest> = BTreeSet::new();
        while let Some(digest) = wanted.pop_front() {
            let Some(manifest) = by_digest.get(&digest) else {
                continue;
            };
            if !chosen.insert(digest.clone()) {
                continue;
            }
            let (blobs, listed) = self.read_needs(repository, manifest).await?;
            plan.blobs.insert(digest.clone(), manifest.row.size);
            plan.manifests.insert(digest.clone());
            for blob in blobs {
                self.plan_blob(repository, blob, plan).await?;
            }
            for child in listed {
                if by_digest.contains_key(&child) {
                    wanted.push_back(child.clone());
                    children.insert(child);
                } else {
                    // Build caches list layers; what was deleted on its own is not there.
                    self.plan_blob(repository, child, plan).await?;
                }
            }
            if let Some(referring) = by_subject.get(&digest) {
                wanted.extend(referring.iter().map(|digest| (*digest).clone()));
            }
        }
        let every = all || tags_asked.is_empty();
        for manifest in known.iter().filter(|m| chosen.contains(&m.row.digest)) {
            // One tag was asked for: the others of the same manifest stay out of it.
            let tags = manifest.tags.iter();
            let tags = tags.filter(|tag| every || tags_asked.contains(tag.as_str()));
            let mut named = false;
            for tag in tags {
                named = true;
                plan.tags += 1;
                plan.entries
                    .push(entry(manifest, repository, Some(tag), several));
            }
            if !named && !children.contains(&manifest.row.digest) {
                plan.entries
                    .push(entry(manifest, repository, None, several));
            }
        }
        Ok(())
    }

    async fn read_needs(
        &self,
        repository: &RepositoryName,
        manifest: &Exportable,
    ) -> Result<(Vec<Digest>, Vec<Digest>), ServiceError> {
        let digest = &manifest.row.digest;
        let unknown = || ServiceError::ManifestUnknown {
            repository: repository.clone(),
            reference: ManifestRef::Digest(digest.clone()),
        };
        let bytes = self.blobs.read(digest).await?.ok_or_else(unknown)?;
        let document = ManifestDocument::parse(&bytes, Some(&manifest.row.media_type))
            .map_err(|e| ServiceError::ManifestInvalid(format!("{repository}@{digest}: {e}")))?;
        Ok(needs(&document))
    }

    async fn plan_blob(
        &self,
        repository: &RepositoryName,
        digest: Digest,
        plan: &mut Plan,
    ) -> Result<(), ServiceError> {
        if !plan.blobs.contains_key(&digest)
            && let Some(size) = self.meta.blob_size(repository, &digest).await?
        {
            plan.blobs.insert(digest, size);
        }
        Ok(())
    }
}

fn entry(
    manifest: &Exportable,
    repository: &RepositoryName,
    tag: Option<&String>,
    several: bool,
) -> Descriptor {
    let row = &manifest.row;
    let mut entry = Descriptor::new(row.media_type.clone(), row.digest.clone(), row.size);
    if manifest.subject.is_some() {
        entry.artifact_type = manifest.artifact_type.as_deref().map(Into::into);
    }
    if let Some(tag) = tag {
        // Tools take the whole text for the name; with several repositories a tag is not enough.
        let name = if several {
            format!("{repository}:{tag}")
        } else {
            tag.clone()
        };
        entry.annotations.insert(REF_NAME.to_owned(), name);
    }
    if several {
        entry
            .annotations
            .insert(REPOSITORY.to_owned(), repository.to_string());
    }
    entry
}

/// What refers to each manifest, here or not.
fn by_subject(known: &[Exportable]) -> HashMap<&Digest, Vec<&Digest>> {
    let mut referring: HashMap<&Digest, Vec<&Digest>> = HashMap::new();
    for manifest in known {
        if let Some(subject) = &manifest.subject {
            referring
                .entry(subject)
                .or_default()
                .push(&manifest.row.digest);
        }
    }
    referring
}

/// Whether an output has the name of an archive that is not written here: nobody wants a directory
/// of that name. One that is there was made on purpose.
pub(super) fn is_other_archive(output: &Path) -> bool {
    const ENDINGS: [&str; 13] = [
        "tar", "tgz", "tbz", "tbz2", "txz", "tzst", "gz", "bz2", "xz", "zst", "lz4", "zip", "7z",
    ];
    let ending = output
        .extension()
        .map(|e| e.to_string_lossy().to_ascii_lowercase());
    ending.is_some_and(|e| ENDINGS.contains(&e.as_str())) && !is_tar(output) && !output.is_dir()
}

/// Whether an output is to be a tar: by its name, since it need not be there yet.
pub fn is_tar(output: &Path) -> bool {
    !output.is_dir() && output.extension().is_some_and(|e| e == "tar")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_other_archives_are_told_apart() {
        for name in [
            "x.tgz",
            "x.tar.gz",
            "a/x.tar.zst",
            "x.TAR",
            "x.zip",
            "x.tgz/",
        ] {
            assert!(is_other_archive(name.as_ref()), "{name}");
        }
        let dir = tempfile::tempdir().unwrap();
        let there = dir.path().join("there.zip");
        std::fs::create_dir(&there).unwrap();
        for path in [
            "x.tar".as_ref(),
            "x".as_ref(),
            "v1.2".as_ref(),
            there.as_path(),
        ] {
            assert!(!is_other_archive(path), "{path:?}");
        }
    }

    #[test]
    fn selections_are_read_as_they_are_written() {
        let digest = Digest::empty();
        for text in [
            "app".to_owned(),
            "team/app:v1".to_owned(),
            format!("team/app@{digest}"),
        ] {
            let selection: Selection = text.parse().unwrap();
            assert_eq!(selection.to_string(), text);
        }
        for bad in ["", ":v1", "app:", "App", "app@sha256:12", "app:v1@x"] {
            assert!(bad.parse::<Selection>().is_err(), "{bad}");
        }
    }
}
