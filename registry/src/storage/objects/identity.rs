//! Whose store it is.
//!
//! What one registry's database does not know is garbage to it. So a store says which registry's
//! it is (its object `registry`), and a registry's directory says in which store its blobs are (its
//! file `storage`): two that share a store by mistake would take each other's blobs away.

use std::io::{ErrorKind, Write};
use std::path::Path;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::store::{OBJECT, Store};
use crate::name::UploadId;
use crate::storage::error::{Context, StorageError};
use crate::storage::files::{create_new, sync_dir};
use crate::sync::blocking;

/// The file of a directory.
const FILE: &str = "storage";

/// Whose blobs are where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The registry's name for itself, which nobody else has.
    pub id: String,
    /// Where its blobs are.
    pub root: String,
}

impl From<(String, String)> for Identity {
    fn from((id, root): (String, String)) -> Self {
        Self { id, root }
    }
}

/// Refuses a directory whose blobs are in a store, to those that look for them in files.
///
/// # Errors
/// [`StorageError::Elsewhere`], [`StorageError::Io`].
pub(in crate::storage) fn is_on_disk(data_dir: &Path) -> Result<(), StorageError> {
    match read(data_dir)? {
        None => Ok(()),
        Some(there) => Err(in_store(data_dir, &there)),
    }
}

/// They are looked for in files, and are in a store.
pub(in crate::storage) fn in_store(data_dir: &Path, there: &Identity) -> StorageError {
    StorageError::Elsewhere(format!(
        "the blobs of {} are in {}: say so with storage.backend",
        data_dir.display(),
        there.root
    ))
}

/// What is known of a registry that is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Its database knows of blobs, or may.
    Known,
    /// There is nothing in its directory yet.
    Fresh,
    /// It takes the place of one whose directory or database is lost.
    Heir,
    /// Its database has said whose the store is, which was nobody's just now.
    Agreed,
}

/// Makes sure that a store and a directory belong together; whose that is. What is `known` stands
/// for what the directory says.
///
/// # Errors
/// [`StorageError::Elsewhere`], [`StorageError::Store`], [`StorageError::Io`].
pub(in crate::storage) async fn claim(
    store: &Store,
    data_dir: &Path,
    known: Option<Identity>,
    standing: Standing,
) -> Result<Identity, StorageError> {
    let dir = data_dir.to_owned();
    let here = match known {
        Some(known) => Some(known),
        None => blocking(move || read(&dir)).await?,
    };
    let key = store.key(OBJECT);
    let found = store.get(&key, None).await;
    let found = found.map_err(store.failed("read", &key))?;
    let there: Option<Identity> = match found {
        None => None,
        Some(found) => {
            let bytes = found.bytes().await.map_err(store.failed("read", &key))?;
            let read = serde_json::from_slice(&bytes);
            Some(read.map_err(|e| StorageError::Unreachable {
                place: store.place(&key),
                why: format!("it does not say whose store it is: {e}"),
            })?)
        }
    };
    let (root, dir) = (store.root(), data_dir.display());
    let elsewhere = |text: String| Err(StorageError::Elsewhere(text));
    let id = match (here, there) {
        (Some(here), Some(there)) if here.id == there.id => return Ok(here),
        (Some(here), _) if standing == Standing::Agreed => here.id,
        (_, Some(there)) if standing == Standing::Heir => there.id,
        (_, Some(_)) => {
            return elsewhere(format!(
                "{root} holds the blobs of another registry than {dir}: choose another \
                 storage.bucket or storage.prefix; if that one is gone, remove {root}{OBJECT}"
            ));
        }
        (Some(here), None) if here.root == root => here.id,
        (Some(here), None) => {
            return elsewhere(format!(
                "the blobs of {dir} are in {}, and none of them in {root}",
                here.root
            ));
        }
        (None, None) if standing != Standing::Known => UploadId::random().to_string(),
        (None, None) => {
            return elsewhere(format!(
                "the blobs of {dir} are in files of it, not in {root}: leave storage.backend out, or \
                 choose another directory"
            ));
        }
    };
    let identity = Identity {
        id,
        root: root.to_owned(),
    };
    // Of texts there is always a text.
    let text = serde_json::to_vec(&identity).unwrap_or_default();
    store.put(&key, [Bytes::from(text.clone())]).await?;
    let dir = data_dir.to_owned();
    blocking(move || write(&dir, &text)).await?;
    Ok(identity)
}

fn read(data_dir: &Path) -> Result<Option<Identity>, StorageError> {
    let path = data_dir.join(FILE);
    let text = match std::fs::read(&path) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        text => text.context("read", &path)?,
    };
    let read = serde_json::from_slice(&text).map_err(std::io::Error::other);
    read.map(Some).context("read", &path)
}

fn write(data_dir: &Path, text: &[u8]) -> Result<(), StorageError> {
    let path = data_dir.join(FILE);
    let unready = data_dir.join(format!("{FILE}.{}", UploadId::random()));
    create_new(&unready)
        .and_then(|mut file| {
            file.write_all(text)?;
            file.sync_all()
        })
        .context("write", &unready)?;
    std::fs::rename(&unready, &path).context("rename to", &path)?;
    sync_dir(data_dir)
}
