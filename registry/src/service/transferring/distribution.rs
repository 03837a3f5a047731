//! Takes over the volume of Docker's registry (distribution's file system layout, version 2).
//!
//! Blobs become hard links where both are on one file system, unless copies are asked for, and each
//! is read once to make sure that it is what its digest says. The old volume is only read, and may
//! not be written to afterwards while its files are the registry's too. What is there already is
//! kept, so that an import that was interrupted can be started again.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use oci::Digest;

use super::imported::Imported;
use super::taking::{Elsewhere, Source};
use crate::name::Tag;
use crate::service::error::ServiceError;
use crate::service::state::Registry;
use crate::storage::{BlobFiles, Context, Staged, StorageError};
use crate::sync::blocking;

/// The old volume.
#[derive(Debug)]
struct Volume {
    v2: PathBuf,
    /// Its files become ours too, where that can be.
    link: bool,
}

impl Source for Volume {
    fn bring(&self, files: &BlobFiles, digest: &Digest) -> Result<Option<Staged>, StorageError> {
        let source = data(&self.v2, digest);
        if self.link {
            files.link(&source, digest)
        } else {
            files.import(&source, digest)
        }
    }

    fn open(&self, digest: &Digest) -> Result<Box<dyn Read + '_>, StorageError> {
        let path = data(&self.v2, digest);
        let file = fs::File::open(&path).context("open", &path)?;
        Ok(Box::new(file))
    }
}

impl Registry {
    /// Imports the volume in `root`, such as `/var/lib/registry`; with `link` by hard links where
    /// that can be.
    ///
    /// # Errors
    /// [`ServiceError`] when the disk or the database fails or is full; single things that cannot
    /// be taken over are listed instead.
    pub async fn import_distribution(
        self: &Arc<Self>,
        root: &Path,
        link: bool,
    ) -> Result<Imported, ServiceError> {
        let v2 = root.join("docker/registry/v2");
        let mut imported = Imported::default();
        let from = v2.join("repositories");
        let (repositories, skipped) = blocking(move || repositories(&from)).await?;
        imported.skipped = skipped;
        let source: Arc<dyn Source> = Arc::new(Volume { v2, link });
        for old in repositories {
            self.take_repository(&source, old, &mut imported).await?;
        }
        Ok(imported)
    }
}

/// Where the old volume has a blob's content.
fn data(v2: &Path, digest: &Digest) -> PathBuf {
    let mut path = v2.join("blobs");
    path.push(digest.algorithm().as_str());
    path.push(&digest.hex()[..2]);
    path.push(digest.hex());
    path.push("data");
    path
}

/// Every repository below `root`, and what is none.
fn repositories(root: &Path) -> Result<(Vec<Elsewhere>, Vec<String>), StorageError> {
    let mut found = Vec::new();
    let mut skipped = Vec::new();
    let mut open = vec![(root.to_owned(), String::new())];
    while let Some((dir, name)) = open.pop() {
        if dir.join("_layers").is_dir() || dir.join("_manifests").is_dir() {
            match name.parse() {
                Ok(name) => found.push(Elsewhere {
                    name,
                    layers: links(&dir.join("_layers"))?,
                    manifests: manifests(&dir.join("_manifests"), &name_of(&dir), &mut skipped)?,
                }),
                Err(e) => skipped.push(format!("{name}: {e}")),
            }
        }
        for entry in fs::read_dir(&dir).context("list", &dir)? {
            let entry = entry.context("list", &dir)?;
            let part = name_of(&entry.path());
            if !part.starts_with('_') && entry.path().is_dir() {
                let name = if name.is_empty() {
                    part
                } else {
                    format!("{name}/{part}")
                };
                open.push((entry.path(), name));
            }
        }
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok((found, skipped))
}

fn name_of(path: &Path) -> String {
    path.file_name()
        .map_or_else(String::new, |n| n.to_string_lossy().into_owned())
}

/// The digests below `dir/<algorithm>/<hex>`; one whose link is gone was deleted.
fn links(dir: &Path) -> Result<Vec<Digest>, StorageError> {
    let mut digests = Vec::new();
    for algorithm in list(dir)? {
        for hex in list(&algorithm)? {
            let text = format!("{}:{}", name_of(&algorithm), name_of(&hex));
            if let Ok(digest) = text.parse()
                && hex.join("link").is_file()
            {
                digests.push(digest);
            }
        }
    }
    Ok(digests)
}

fn manifests(
    dir: &Path,
    repository: &str,
    skipped: &mut Vec<String>,
) -> Result<BTreeMap<Digest, Vec<Tag>>, StorageError> {
    let mut manifests: BTreeMap<Digest, Vec<Tag>> = links(&dir.join("revisions"))?
        .into_iter()
        .map(|digest| (digest, Vec::new()))
        .collect();
    for path in list(&dir.join("tags"))? {
        let link = path.join("current/link");
        let (tag, text) = match fs::read_to_string(&link) {
            Ok(text) => (name_of(&path), text),
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            Err(e) => return Err(e).context("read", &link),
        };
        match (tag.parse(), text.trim().parse::<Digest>()) {
            (Ok(tag), Ok(digest)) if manifests.contains_key(&digest) => {
                manifests.entry(digest).or_default().push(tag);
            }
            _ => skipped.push(format!("{repository}: tag {tag}: it points to no manifest")),
        }
    }
    Ok(manifests)
}

/// The entries of a directory; none when there is no such directory.
fn list(dir: &Path) -> Result<Vec<PathBuf>, StorageError> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(e).context("list", dir),
    };
    entries
        .map(|entry| Ok(entry.context("list", dir)?.path()))
        .collect()
}
