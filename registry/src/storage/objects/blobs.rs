//! Blobs by digest in an object store: `blobs/<algorithm>/<first two hex digits>/<hex>`.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use oci::{Algorithm, Digest};

use super::filling::{hashed, save};
use super::reading::{ObjectReader, ObjectStream};
use super::session::Session;
use super::store::{PART, Store};
use crate::name::UploadId;
use crate::storage::blobs::{Flaw, Staged};
use crate::storage::error::{Context, StorageError};
use crate::storage::shard::{Listed, Shard};
use crate::sync::blocking;

/// Parts of one file that are on their way at once.
const AHEAD: usize = 3;
/// How long a client may take until it asks the store.
const SIGNED: Duration = Duration::from_secs(20 * 60);
/// Times that a blob is read that is not what its digest says.
const ATTEMPTS: u32 = 3;

/// A verified file, as far as it is in the store: what is left is to name it.
#[derive(Debug)]
pub(in crate::storage) struct Prepared {
    staged: Staged,
    /// Where it has several parts: the record of them, what the store calls them together, and
    /// each.
    parts: Option<(UploadId, String, Vec<String>)>,
}

/// Brings the parts of a file into the store.
///
/// # Errors
/// [`StorageError`].
pub(in crate::storage) async fn prepare(
    store: &Store,
    staged: Staged,
    digest: &Digest,
) -> Result<Prepared, StorageError> {
    let size = staged.size();
    if size <= PART as u64 {
        let parts = None;
        return Ok(Prepared { staged, parts });
    }
    let key = store.blob(digest);
    let begun = store.begin(&key).await?;
    // Written down, so that whoever finds it later can give it up.
    let id = UploadId::random();
    let mut record = Session::new(None, digest.algorithm());
    record.key = Some(key.as_ref().to_owned());
    record.upload = Some(begun.clone());
    save(store, id, &record, Bytes::new()).await?;
    let count = size.div_ceil(PART as u64);
    let parts = stream::iter(0..count).map(|number| {
        let (key, begun, staged) = (&key, &begun, &staged);
        async move {
            let content = part(store, staged, number * PART as u64).await?;
            let number = usize::try_from(number).unwrap_or(usize::MAX);
            store.put_part(key, begun, number, content).await
        }
    });
    let parts = parts.buffered(AHEAD).try_collect().await?;
    Ok(Prepared {
        staged,
        parts: Some((id, begun, parts)),
    })
}

/// A part of a file.
async fn part(store: &Store, staged: &Staged, at: u64) -> Result<Bytes, StorageError> {
    let mut buffer = store.slot().await;
    let path = staged.path().to_owned();
    let len = staged.size().saturating_sub(at).min(PART as u64);
    blocking(move || {
        use std::os::unix::fs::FileExt;
        let file = std::fs::File::open(&path).context("open", &path)?;
        let bytes = buffer.writable(usize::try_from(len).unwrap_or(PART));
        file.read_exact_at(bytes, at).context("read", &path)?;
        Ok(buffer.freeze())
    })
    .await
}

impl Store {
    /// Gives what was prepared its name; its size.
    pub(in crate::storage) async fn adopt(
        &self,
        prepared: Prepared,
        digest: &Digest,
    ) -> Result<u64, StorageError> {
        let Prepared { staged, parts } = prepared;
        let (key, size) = (self.blob(digest), staged.size());
        match parts {
            None => {
                let content = part(self, &staged, 0).await?;
                self.put(&key, [content]).await?;
            }
            Some((id, begun, parts)) => {
                self.complete(&key, &begun, &parts, size).await?;
                let record = self.of_upload(id, super::session::SESSION);
                if let Err(e) = self.remove(vec![record]).await {
                    tracing::warn!(error = %e, "the record of an upload stays until it expires");
                }
            }
        }
        Ok(size)
    }

    /// Writes a whole blob that is in memory.
    pub(in crate::storage) async fn put_blob(
        &self,
        digest: &Digest,
        content: &Bytes,
    ) -> Result<(), StorageError> {
        self.put(&self.blob(digest), [content.clone()]).await
    }

    /// Reads a whole blob, and verifies it; `None` when there is none, or it has more than `most`
    /// bytes.
    pub(in crate::storage) async fn read_blob(
        &self,
        digest: &Digest,
        most: u64,
    ) -> Result<Option<Bytes>, StorageError> {
        let key = self.blob(digest);
        let mut why = String::new();
        for _ in 0..ATTEMPTS {
            let found = self.get(&key, None).await;
            let Some(found) = found.map_err(self.failed("read", &key))? else {
                return Ok(None);
            };
            let size = found.meta.size;
            if size > most {
                return Ok(None);
            }
            let content = match found.bytes().await {
                Ok(content) if content.len() as u64 == size => content,
                _ => match ObjectStream::new(self, key.clone(), 0, size).all().await {
                    Ok(content) => content,
                    Err(e) => {
                        why = e.to_string();
                        continue;
                    }
                },
            };
            let hasher = digest.algorithm().hasher();
            let actual = hashed(hasher, content.clone()).await?.finish();
            if actual == *digest {
                return Ok(Some(content));
            }
            why = format!("its digest is {actual}");
        }
        let place = self.place(&key);
        Err(StorageError::Unreachable { place, why })
    }

    /// A part of a blob as a stream.
    pub(in crate::storage) fn stream_blob(
        &self,
        digest: &Digest,
        at: u64,
        end: u64,
    ) -> ObjectStream {
        ObjectStream::new(self, self.blob(digest), at, end)
    }

    /// A URL by which whoever has it may read a blob for some time, where clients are sent there.
    pub(in crate::storage) async fn sign(
        &self,
        digest: &Digest,
    ) -> Result<Option<String>, StorageError> {
        if !self.settings().redirect {
            return Ok(None);
        }
        let key = self.blob(digest);
        let signed = self
            .signer()
            .signed_url(reqwest::Method::GET, &key, SIGNED)
            .await;
        let signed = signed.map_err(self.failed("sign a URL of", &key))?;
        Ok(Some(signed.into()))
    }

    /// A blob, to be read on a thread that may block; `None` when there is none.
    pub(in crate::storage) async fn open_blob(
        &self,
        digest: &Digest,
    ) -> Result<Option<ObjectReader>, StorageError> {
        let key = self.blob(digest);
        let found = self.head(&key).await?;
        Ok(found.map(|found| ObjectReader::new(self, key, found.size)))
    }

    /// What is wrong with a blob, if anything.
    pub(in crate::storage) async fn verify(
        &self,
        digest: &Digest,
        size: u64,
        deep: bool,
    ) -> Result<Option<Flaw>, StorageError> {
        let key = self.blob(digest);
        let Some(found) = self.head(&key).await? else {
            return Ok(Some(Flaw::Missing));
        };
        if found.size != size {
            let why = format!("the object has {} bytes instead of {size}", found.size);
            return Ok(Some(Flaw::Damaged(why)));
        }
        if !deep {
            return Ok(None);
        }
        let mut stream = self.stream_blob(digest, 0, size);
        let mut hasher = digest.algorithm().hasher();
        loop {
            let next = stream.next().await.map_err(|e| StorageError::Unreachable {
                place: self.place(&key),
                why: e.to_string(),
            })?;
            match next {
                Some(bytes) => hasher = hashed(hasher, bytes).await?,
                None => break,
            }
        }
        let actual = hasher.finish();
        Ok((actual != *digest).then(|| Flaw::Damaged(format!("the object's digest is {actual}"))))
    }

    /// One page of the blobs of a shard.
    pub(in crate::storage) async fn list_blobs(
        &self,
        shard: &Shard,
        after: Option<&Digest>,
    ) -> Result<Vec<Listed>, StorageError> {
        if !self.is_s3() {
            return self.list_folders(shard, after).await;
        }
        let prefix = self.key(&format!("blobs/{}", shard.algorithm));
        let begin = format!("{prefix}/{}", shard.name);
        let mut after = match after {
            Some(digest) => self.blob(digest),
            None => Path::from(begin.as_str()),
        };
        loop {
            let page = self.list(&prefix, Some(&after)).await?;
            let inside = page.iter();
            let inside = inside.take_while(|found| found.location.as_ref().starts_with(&begin));
            let found: Vec<Listed> = inside.filter_map(|found| listed(shard, found)).collect();
            match page.last() {
                // A page of what is not ours.
                Some(last) if found.is_empty() && last.location.as_ref().starts_with(&begin) => {
                    after = last.location.clone();
                }
                _ => return Ok(found),
            }
        }
    }

    /// The same where no listing begins at a key: each folder is listed from its beginning.
    async fn list_folders(
        &self,
        shard: &Shard,
        after: Option<&Digest>,
    ) -> Result<Vec<Listed>, StorageError> {
        let after = after.map(|digest| self.blob(digest));
        for digit in 0..16 {
            let (algorithm, first) = (shard.algorithm, &shard.name);
            let folder = self.key(&format!("blobs/{algorithm}/{first}{digit:x}"));
            let mut after = after.clone();
            if after
                .as_ref()
                .is_some_and(|after| *after > folder && !after.prefix_matches(&folder))
            {
                continue;
            }
            loop {
                let page = self.list(&folder, after.as_ref()).await?;
                let found: Vec<_> = page.iter().filter_map(|it| listed(shard, it)).collect();
                if !found.is_empty() {
                    return Ok(found);
                }
                // None, or a page of what is not ours.
                match page.last() {
                    Some(last) => after = Some(last.location.clone()),
                    None => break,
                }
            }
        }
        Ok(Vec::new())
    }

    /// Removes blobs.
    pub(in crate::storage) async fn remove_blobs(
        &self,
        digests: &[Digest],
    ) -> Result<(), StorageError> {
        let keys = digests.iter().map(|digest| self.blob(digest)).collect();
        self.remove(keys).await
    }

    /// Whether there is any blob.
    pub(in crate::storage) async fn has_blobs(&self) -> Result<bool, StorageError> {
        Ok(!self.list(&self.key("blobs"), None).await?.is_empty())
    }

    /// Where a blob is, for people.
    pub(in crate::storage) fn place_of(&self, digest: &Digest) -> std::path::PathBuf {
        self.place(&self.blob(digest))
    }
}

fn listed(shard: &Shard, found: &object_store::ObjectMeta) -> Option<Listed> {
    let name = found.location.filename()?;
    Some(Listed {
        digest: Digest::new(shard.algorithm, name).ok()?,
        size: found.size,
        named: found.last_modified.timestamp(),
    })
}

/// All parts that blobs can be in: a digit of hex each. A listing is asked for from any key on, so
/// that these need no folders of their own.
pub(in crate::storage) fn shards() -> Vec<Shard> {
    let all = [Algorithm::Sha256, Algorithm::Sha512].map(|algorithm| {
        (0..16).map(move |number| Shard {
            algorithm,
            name: format!("{number:x}"),
        })
    });
    all.into_iter().flatten().collect()
}
