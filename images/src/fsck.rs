//! Checking the store: rows, unpacked layers against their diff IDs, blobs against their digests.

use std::io::{self, BufReader};
use std::path::Path;
use std::sync::Arc;

use oci::blob::{BlobStore as _, DiskBlobs};
use oci::digest::Hashing;
use oci::layer::{TarOptions, diff};
use oci::{ChainId, DiffId, Digest};
use store::{Snapshot, StagedSnapshot, Store};

use crate::error::ImageError;
use crate::service::Images;
use crate::unpack::unpack_into;

/// What a finding is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The database.
    Database,
    /// A blob.
    Blob,
    /// An unpacked layer.
    Layer,
    /// An image.
    Image,
    /// A volume.
    Volume,
    /// Files that belong to nothing.
    Leftover,
}

impl Part {
    /// Its name for people and programs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Database => "database",
            Self::Blob => "blob",
            Self::Layer => "layer",
            Self::Image => "image",
            Self::Volume => "volume",
            Self::Leftover => "leftover",
        }
    }
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What it is about.
    pub part: Part,
    /// Which one: a digest or a path.
    pub subject: String,
    /// What is wrong with it.
    pub problem: String,
    /// What was done about it, when that mends it.
    pub repaired: Option<String>,
}

/// What a check looked at, and what it found.
#[derive(Clone, Debug, Default)]
pub struct Checked {
    /// Images.
    pub images: usize,
    /// Unpacked layers.
    pub layers: usize,
    /// Blobs.
    pub blobs: usize,
    /// What is wrong.
    pub findings: Vec<Finding>,
}

impl Checked {
    fn add(&mut self, part: Part, subject: impl ToString, problem: impl ToString) {
        self.findings.push(Finding {
            part,
            subject: subject.to_string(),
            problem: problem.to_string(),
            repaired: None,
        });
    }

    fn add_mended(
        &mut self,
        part: Part,
        subject: impl ToString,
        problem: impl ToString,
        repaired: Option<&str>,
    ) {
        self.add(part, subject, problem);
        if let Some(last) = self.findings.last_mut() {
            last.repaired = repaired.map(str::to_owned);
        }
    }
}

/// Checks everything, and with `repair` mends what it can: damaged blobs go, layers are unpacked
/// again from their blobs or forgotten so that their steps are done again, leftovers go. What
/// running processes use is told and left. Reads every byte of the store.
///
/// # Errors
/// When the store cannot be read at all.
pub async fn fsck(images: &Images, repair: bool) -> Result<Checked, ImageError> {
    let store = &images.store;
    let mut checked = Checked::default();
    for fault in store.check_database().await? {
        checked.add(Part::Database, store.root().display(), fault);
    }
    check_blobs(store, repair, &mut checked).await?;
    let snapshots = store.snapshots().await?;
    checked.layers = snapshots.len();
    for (snapshot, parent) in &snapshots {
        // What stood on a layer that was forgotten went with it.
        if store.knows_snapshot(&snapshot.chain_id).await? {
            check_layer(store, snapshot, parent.as_ref(), repair, &mut checked).await?;
        }
    }
    check_images(store, &mut checked).await?;
    for volume in store.lost_volumes(repair).await? {
        let problem = "its files are gone";
        let done = repair.then_some("made anew, empty");
        checked.add_mended(Part::Volume, volume.name, problem, done);
    }
    let leftovers = store.leftovers().await?;
    if repair && !leftovers.is_empty() {
        let nothing = store::PruneOptions {
            images: false,
            cache: false,
            ..store::PruneOptions::default()
        };
        store.prune(&nothing).await?;
    }
    for (path, size) in leftovers {
        let problem = format!("{size} bytes that belong to nothing");
        let done = (repair && !path.exists()).then_some("removed");
        checked.add_mended(Part::Leftover, path.display(), problem, done);
    }
    Ok(checked)
}

async fn check_blobs(store: &Store, repair: bool, checked: &mut Checked) -> Result<(), ImageError> {
    let blobs = Arc::clone(store.blobs());
    let there = tokio::task::spawn_blocking(move || blobs.list()).await??;
    checked.blobs = there.len();
    let mut wrong: Vec<(Digest, String)> = Vec::new();
    for digest in store.needed_blobs().await? {
        if !there.contains(&digest) {
            wrong.push((digest, "it is missing".to_owned()));
        }
    }
    for digest in there {
        let blobs = Arc::clone(store.blobs());
        let wanted = digest.clone();
        let found = tokio::task::spawn_blocking(move || content(&blobs, &wanted)).await?;
        match found {
            Ok(actual) if actual == digest => {}
            Ok(actual) => wrong.push((digest, format!("damaged: its content has {actual}"))),
            Err(e) => wrong.push((digest, format!("it cannot be read: {e}"))),
        }
    }
    for (digest, problem) in wrong {
        let done = match repair && store.drop_blob(&digest).await? {
            true => Some("forgotten; pull, load or build again what needs it"),
            false => None,
        };
        checked.add_mended(Part::Blob, &digest, problem, done);
    }
    Ok(())
}

/// The digest that a blob's content has.
fn content(blobs: &DiskBlobs, digest: &Digest) -> Result<Digest, String> {
    let mut file = blobs.open_file(digest).map_err(|e| e.to_string())?;
    if digest.algorithm() == oci::digest::Algorithm::Sha256 {
        let mut hashing = Hashing::new(&mut file);
        io::copy(&mut hashing, &mut io::sink()).map_err(|e| e.to_string())?;
        return Ok(hashing.finish().1);
    }
    let mut hasher = digest.algorithm().hasher();
    let mut buffer = vec![0; 256 << 10];
    loop {
        match io::Read::read(&mut file, &mut buffer).map_err(|e| e.to_string())? {
            0 => return Ok(hasher.finish()),
            n => hasher.update(buffer.get(..n).unwrap_or_default()),
        }
    }
}

async fn check_layer(
    store: &Store,
    snapshot: &Snapshot,
    parent: Option<&ChainId>,
    repair: bool,
    checked: &mut Checked,
) -> Result<(), ImageError> {
    let path = snapshot.fs_path.clone();
    let options = TarOptions {
        clamp_mtime: snapshot.clamp_mtime,
    };
    let found = tokio::task::spawn_blocking(move || as_made_here(&path, &options)).await?;
    if found.as_ref().ok() == Some(&snapshot.diff_id) {
        return Ok(());
    }
    if found.is_ok() && store.is_read_only() {
        // There is no place to unpack a blob to, and a layer from elsewhere cannot be told from
        // a changed one without.
        return Ok(());
    }
    // A layer that came from elsewhere has a tar that other hands wrote: what counts is whether
    // unpacking it comes to the same files.
    let fresh = unpack_again(store, &snapshot.diff_id).await?;
    let fresh = match fresh {
        Some((unpacked, fresh)) if found.as_ref().ok() == Some(&unpacked) => {
            fresh.discard().await;
            return Ok(());
        }
        fresh => fresh,
    };
    let problem = match (&found, &fresh) {
        (Ok(_), _) => "its files were changed",
        (Err(_), _) if !snapshot.fs_path.exists() => "its files are gone",
        (Err(_), _) => "its files cannot be read",
    };
    let done = match fresh {
        Some((_, fresh)) if repair => match store.take_away(&snapshot.chain_id).await? {
            true => {
                let (diff_id, clamp) = (snapshot.diff_id.clone(), snapshot.clamp_mtime);
                let (tar, disk) = (snapshot.size_tar, snapshot.size_disk);
                fresh.commit(parent, diff_id, tar, disk, clamp).await?;
                Some("unpacked again")
            }
            false => None,
        },
        None if repair && store.drop_snapshot(&snapshot.chain_id).await? => {
            Some("forgotten with what stands on it; the next build does the steps again")
        }
        _ => None,
    };
    let subject = snapshot.diff_id.to_string();
    checked.add_mended(Part::Layer, subject, problem, done);
    Ok(())
}

/// The diff ID that a layer's files come to.
fn as_made_here(path: &Path, options: &TarOptions) -> Result<DiffId, String> {
    let dir = oci::layer::open_dir(path).map_err(|e| e.to_string())?;
    let found = diff::diff_id(&dir, options).map_err(|e| e.to_string())?;
    Ok(found.0)
}

/// A layer unpacked once more from a blob of it that is whole, and what its files come to.
async fn unpack_again(
    store: &Store,
    diff_id: &DiffId,
) -> Result<Option<(DiffId, StagedSnapshot)>, ImageError> {
    for blob in store.layer_blobs(diff_id).await? {
        let staged = store.begin_snapshot().await?;
        let (blobs, upper) = (Arc::clone(store.blobs()), staged.upper().to_owned());
        let wanted = diff_id.clone();
        let unpacked = tokio::task::spawn_blocking(move || -> Result<DiffId, String> {
            let reader = blobs.open(&blob.digest).map_err(|e| e.to_string())?;
            unpack_into(BufReader::new(reader), &upper, wanted)?;
            as_made_here(&upper, &TarOptions::default())
        })
        .await?;
        match unpacked {
            Ok(found) => return Ok(Some((found, staged))),
            Err(_) => staged.discard().await,
        }
    }
    Ok(None)
}

/// Images whose layers are neither unpacked nor there as blobs.
async fn check_images(store: &Store, checked: &mut Checked) -> Result<(), ImageError> {
    let images = store.images().await?;
    checked.images = images.len();
    for image in images {
        for (diff_id, chain_id) in image.layers.iter().zip(ChainId::chain(&image.layers)) {
            let has = store.knows_snapshot(&chain_id).await?
                || !store.layer_blobs(diff_id).await?.is_empty();
            if !has {
                let names: Vec<String> = image.tags.iter().map(|tag| tag.familiar()).collect();
                let problem = format!(
                    "the store has lost its layer {diff_id}; pull, load or build {} again",
                    match names.is_empty() {
                        true => "it".to_owned(),
                        false => names.join(" and "),
                    }
                );
                checked.add(Part::Image, &image.id, problem);
                break;
            }
        }
    }
    Ok(())
}
