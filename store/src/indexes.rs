//! Storing indexes, and what names lead to.

use std::collections::HashMap;

use oci::manifest::ManifestDocument;
use oci::{Descriptor, Digest, Reference};

use crate::db::sqlite::Connection;
use crate::db::{Durability, images, indexes as table};
use crate::error::{Error, Result};
use crate::image::{RawManifest, seconds};
use crate::index::{Content, IndexEntry, NewIndex, StoredIndex};
use crate::lock::TOUCH_SECONDS;
use crate::store::Store;

impl Store {
    /// Stores an index with its tags, durably. Its images have to be in the store already, and
    /// stay as long as it does. What is here of an index that comes again stays here.
    ///
    /// # Errors
    /// [`Error::BadIndex`], [`Error::TagWithDigest`], [`Error::NoSuchImage`],
    /// [`Error::BlobMissing`]; those of the database and the blob store. On failure no tag has
    /// moved.
    pub async fn put_index(&self, new: NewIndex) -> Result<StoredIndex> {
        if new.tags.iter().any(|tag| tag.digest().is_some()) {
            return Err(Error::TagWithDigest);
        }
        let RawManifest { media_type, bytes } = new.document;
        let ManifestDocument::Index(document) =
            ManifestDocument::parse(&bytes, Some(&media_type)).map_err(Error::BadIndex)?
        else {
            return Err(Error::NoIndex);
        };
        let id = Digest::sha256(&bytes);
        let descriptor = Descriptor::new(media_type, id.clone(), bytes.len() as u64);
        self.announce(std::iter::once(&id).chain(new.images.iter().map(|(_, image)| image)))?;
        self.put_blob(bytes).await?;
        let mut needed = vec![id.clone()];
        for manifest in new.manifests {
            needed.push(Digest::sha256(&manifest.bytes));
            self.put_blob(manifest.bytes).await?;
        }
        self.make_durable().await?;

        let of: HashMap<&Digest, &Digest> = new.images.iter().map(|(m, i)| (m, i)).collect();
        let entries: Vec<IndexEntry> = document
            .manifests
            .into_iter()
            .map(|manifest| IndexEntry {
                image: of.get(&manifest.digest).map(|image| (*image).clone()),
                present: needed.contains(&manifest.digest),
                manifest,
            })
            .collect();
        let mut db = self.0.db.lock().await;
        let mut tx = db.begin(Durability::Full).await?;
        // Looked at inside the transaction: blobs are only removed in one, too.
        for blob in needed.iter().chain(&new.blobs) {
            self.require_blob(blob).await?;
        }
        for (_, image) in &new.images {
            self.row_of(&mut tx, image).await?;
        }
        let now = self.now();
        let row_id = table::upsert(&mut tx, &descriptor, &entries, &new.blobs, now).await?;
        for tag in new.tags.into_iter().map(Reference::or_latest) {
            let repository = tag.repository().to_string();
            let name = tag.tag().unwrap_or(oci::reference::DEFAULT_TAG);
            table::set_tag(&mut tx, &repository, name, row_id).await?;
        }
        for reference in &new.repo_digests {
            if let Some(digest) = reference.digest() {
                let repository = reference.repository().to_string();
                table::set_repo_digest(&mut tx, &repository, digest, row_id).await?;
            }
        }
        let stored = table::by_digest(&mut tx, &id).await?;
        tx.commit().await?;
        match stored {
            Some(stored) => Ok(stored.index),
            None => Err(Error::corrupt(format!("index {id} vanished while stored"))),
        }
    }

    /// While a lease is held, writes down the time of an index's use if that is due.
    pub(crate) async fn note_index_use(
        &self,
        db: &mut Connection,
        stored: &table::IndexRow,
    ) -> Result<()> {
        let now = self.now();
        if self.has_lease() && stored.last_used + TOUCH_SECONDS <= now {
            table::touch(db, stored.row_id, now).await?;
        }
        Ok(())
    }

    /// All indexes, by digest.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn indexes(&self) -> Result<Vec<StoredIndex>> {
        let stored = table::all(&mut *self.0.db.lock().await).await?;
        Ok(stored.into_iter().map(|stored| stored.index).collect())
    }

    /// All that names can lead to, the latest created first: images, and indexes in the place of
    /// images that only they lead to. With `all` these too.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn contents(&self, all: bool) -> Result<Vec<Content>> {
        let mut db = self.0.db.lock().await;
        let indexes = table::all(&mut db).await?;
        let found = images::all(&mut db).await?;
        drop(db);
        let mut contents: Vec<Content> = found
            .into_iter()
            .map(|stored| stored.image)
            .filter(|image| all || !image.listed || !image.tags.is_empty())
            .map(Content::Image)
            .collect();
        contents.extend(indexes.into_iter().map(|row| Content::Index(row.index)));
        contents.sort_by_cached_key(|content| {
            let created = std::cmp::Reverse(seconds(content.created()));
            (created, content.id().clone())
        });
        Ok(contents)
    }

    /// The bytes of an index.
    ///
    /// # Errors
    /// As [`config`](Self::config).
    pub async fn index_document(&self, index: &StoredIndex) -> Result<RawManifest> {
        Ok(RawManifest {
            media_type: index.media_type.clone(),
            bytes: self.small_blob(&index.id).await?,
        })
    }

    /// The bytes of a manifest that an index lists, when it is here.
    ///
    /// # Errors
    /// As [`config`](Self::config).
    pub async fn entry_document(&self, entry: &IndexEntry) -> Result<Option<RawManifest>> {
        if !entry.present {
            return Ok(None);
        }
        Ok(Some(RawManifest {
            media_type: entry.manifest.media_type.clone(),
            bytes: self.small_blob(&entry.manifest.digest).await?,
        }))
    }

    /// Records, after a push or pull, under which digest a repository has an index.
    ///
    /// # Errors
    /// [`Error::NoSuchImage`] when the index is gone.
    pub async fn record_index_digest(&self, id: &Digest, reference: &Reference) -> Result<()> {
        let Some(digest) = reference.digest() else {
            return Ok(());
        };
        let repository = reference.repository().to_string();
        let mut db = self.0.db.lock().await;
        let mut tx = db.begin(Durability::Full).await?;
        let Some(stored) = table::by_digest(&mut tx, id).await? else {
            return Err(Error::NoSuchImage {
                given: id.to_string(),
                familiar: id.to_string(),
            });
        };
        table::set_repo_digest(&mut tx, &repository, digest, stored.row_id).await?;
        tx.commit().await?;
        Ok(())
    }
}
