//! Storing images, finding them, and tagging them.

use std::io::Write;

use oci::blob::{BlobStore, Expected};
use oci::{ChainId, Descriptor, Digest, ImageConfig, Reference};

use crate::db::Durability;
use crate::db::images::{self as table, NewRow};
use crate::db::indexes;
use crate::db::sqlite::Connection;
use crate::error::{Error, Result};
use crate::image::{Image, NewImage, RawManifest, seconds};
use crate::lock::TOUCH_SECONDS;
use crate::store::{Store, blocking};

/// The largest configuration that is read into memory, in bytes.
const MAX_CONFIG_SIZE: u64 = oci::manifest::MAX_MANIFEST_SIZE as u64;

impl Store {
    /// Stores an image with its tags, durably: when this returns it outlives a power cut, and
    /// with it all snapshots committed before. An image that is there already with the same tags
    /// costs no write.
    ///
    /// # Errors
    /// [`Error::BadConfig`], [`Error::TagWithDigest`], [`Error::DiskFull`]; those of the database
    /// and the blob store. On failure no tag has moved.
    pub async fn put_image(&self, new: NewImage) -> Result<Image> {
        let config: ImageConfig = serde_json::from_slice(&new.config).map_err(Error::BadConfig)?;
        let id = Digest::sha256(&new.config);
        if new.tags.iter().any(|tag| tag.digest().is_some()) {
            return Err(Error::TagWithDigest);
        }
        let tags: Vec<Reference> = new.tags.into_iter().map(Reference::or_latest).collect();
        let manifest = new.manifest.as_ref().map(|raw| {
            let digest = Digest::sha256(&raw.bytes);
            Descriptor::new(raw.media_type.clone(), digest, raw.bytes.len() as u64)
        });
        if let Some(there) = self.image_in_use(&id).await?
            && (manifest.is_none() || there.manifest == manifest)
            && tags.iter().all(|tag| there.tags.contains(tag))
            && new
                .repo_digests
                .iter()
                .all(|r| there.repo_digests.contains(r))
        {
            return Ok(there);
        }

        self.put_blob(new.config).await?;
        if let Some(raw) = new.manifest {
            self.put_blob(raw.bytes).await?;
        }
        self.make_durable().await?;

        let mut db = self.0.db.lock().await;
        let mut tx = db.begin(Durability::Full).await?;
        // Looked at inside the transaction: blobs are only removed in one, too.
        self.require_blob(&id).await?;
        if let Some(manifest) = &manifest {
            self.require_blob(&manifest.digest).await?;
        }
        let layers = &config.rootfs.diff_ids;
        let size = match new.size {
            Some(size) => size,
            None => table::unpacked_size(&mut tx, &ChainId::chain(layers)).await?,
        };
        let row = NewRow {
            id: &id,
            created: config.created.as_deref(),
            platform: &config.platform(),
            size,
            manifest: manifest.as_ref(),
            layers,
            now: self.now(),
        };
        let row_id = table::upsert(&mut tx, &row).await?;
        for tag in &tags {
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
        if let Some(parent) = &new.parent {
            table::set_parent(&mut tx, row_id, parent).await?;
        }
        let stored = table::by_digest(&mut tx, &id).await?;
        tx.commit().await?;
        match stored {
            Some(stored) => Ok(stored.image),
            None => Err(Error::corrupt(format!("image {id} vanished while stored"))),
        }
    }

    /// The image that another was committed on, which may be gone; nothing for what was made
    /// otherwise.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn parent(&self, id: &Digest) -> Result<Option<Digest>> {
        let mut db = self.0.db.lock().await;
        table::parent(&mut db, id).await
    }

    /// An image that, while a lease is held, stays from now on.
    async fn image_in_use(&self, id: &Digest) -> Result<Option<Image>> {
        let _gate = self.looking().await?;
        let mut db = self.0.db.lock().await;
        // Before it is there: it may be about to be made.
        self.announce([id])?;
        let Some(stored) = table::by_digest(&mut db, id).await? else {
            return Ok(None);
        };
        self.note_use(&mut db, &stored).await?;
        Ok(Some(stored.image))
    }

    /// While a lease is held, writes down the time of an image's use if that is due.
    pub(crate) async fn note_use(
        &self,
        db: &mut Connection,
        stored: &table::StoredImage,
    ) -> Result<()> {
        let now = self.now();
        if self.has_lease() && stored.last_used + TOUCH_SECONDS <= now {
            table::touch(db, stored.row_id, now).await?;
        }
        Ok(())
    }

    /// Writes a small blob unless it is there. No row refers to it yet: it stays while a lease is
    /// held.
    ///
    /// # Errors
    /// Those of the blob store.
    pub async fn put_blob(&self, bytes: Vec<u8>) -> Result<()> {
        let digest = Digest::sha256(&bytes);
        if self.use_blob(&digest).await? == Some(bytes.len() as u64) {
            return Ok(());
        }
        let blobs = self.0.blobs.clone();
        blocking(move || {
            let mut writer = blobs.writer()?;
            let path = blobs.path(&digest);
            writer
                .write_all(&bytes)
                .map_err(Error::io("writing", path))?;
            writer.commit(&Expected {
                digest: Some(digest),
                size: Some(bytes.len() as u64),
            })?;
            Ok(())
        })
        .await
    }

    /// The image of exactly this ID.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn image(&self, id: &Digest) -> Result<Option<Image>> {
        let mut db = self.0.db.lock().await;
        let stored = table::by_digest(&mut db, id).await?;
        Ok(stored.map(|stored| stored.image))
    }

    /// All images, the latest created first, as `docker images` has them.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn images(&self) -> Result<Vec<Image>> {
        let stored = table::all(&mut *self.0.db.lock().await).await?;
        let mut images: Vec<Image> = stored.into_iter().map(|stored| stored.image).collect();
        images.sort_by_cached_key(|image| {
            let created = std::cmp::Reverse(seconds(image.created.as_deref()));
            (created, image.id.clone())
        });
        Ok(images)
    }

    /// The bytes of an image's configuration.
    ///
    /// # Errors
    /// [`Error::Blob`] when it is not there, [`Error::DamagedBlob`] when it is not what its digest
    /// says.
    pub async fn config(&self, id: &Digest) -> Result<Vec<u8>> {
        self.small_blob(id).await
    }

    /// The bytes of an image's manifest, if it came with one.
    ///
    /// # Errors
    /// As [`config`](Self::config).
    pub async fn manifest(&self, image: &Image) -> Result<Option<RawManifest>> {
        match &image.manifest {
            None => Ok(None),
            Some(descriptor) => Ok(Some(RawManifest {
                media_type: descriptor.media_type.clone(),
                bytes: self.small_blob(&descriptor.digest).await?,
            })),
        }
    }

    pub(crate) async fn small_blob(&self, digest: &Digest) -> Result<Vec<u8>> {
        let (blobs, digest) = (self.0.blobs.clone(), digest.clone());
        blocking(move || {
            use std::io::Read;
            let mut bytes = Vec::new();
            blobs
                .open(&digest)?
                .take(MAX_CONFIG_SIZE)
                .read_to_end(&mut bytes)
                .map_err(Error::io("reading", blobs.path(&digest)))?;
            let actual = digest.algorithm().digest(&bytes);
            if actual != digest {
                return Err(Error::DamagedBlob { digest, actual });
            }
            Ok(bytes)
        })
        .await
    }

    /// Points a tag, `latest` if the reference has none, to an image or index.
    ///
    /// # Errors
    /// [`Error::TagWithDigest`]; [`Error::NoSuchImage`] when there is none (any more).
    pub async fn tag(&self, id: &Digest, reference: &Reference) -> Result<()> {
        if reference.digest().is_some() {
            return Err(Error::TagWithDigest);
        }
        let mut db = self.0.db.lock().await;
        let mut tx = db.begin(Durability::Full).await?;
        let repository = reference.repository().to_string();
        let tag = reference.tag().unwrap_or(oci::reference::DEFAULT_TAG);
        match indexes::by_digest(&mut tx, id).await? {
            Some(index) => indexes::set_tag(&mut tx, &repository, tag, index.row_id).await?,
            None => {
                let row_id = self.row_of(&mut tx, id).await?;
                table::set_tag(&mut tx, &repository, tag, row_id).await?;
            }
        }
        tx.commit().await?;
        Ok(())
    }

    /// Records, after a push or pull, under which manifest digest a repository has an image.
    ///
    /// # Errors
    /// [`Error::NoSuchImage`] when the image is gone.
    pub async fn record_repo_digest(&self, id: &Digest, reference: &Reference) -> Result<()> {
        let Some(digest) = reference.digest() else {
            return Ok(());
        };
        let repository = reference.repository().to_string();
        let mut db = self.0.db.lock().await;
        let mut tx = db.begin(Durability::Full).await?;
        let row_id = self.row_of(&mut tx, id).await?;
        table::set_repo_digest(&mut tx, &repository, digest, row_id).await?;
        tx.commit().await?;
        Ok(())
    }

    pub(crate) async fn row_of(&self, db: &mut Connection, id: &Digest) -> Result<i64> {
        match table::by_digest(db, id).await? {
            Some(stored) => Ok(stored.row_id),
            None => Err(Error::NoSuchImage {
                given: id.to_string(),
                familiar: id.to_string(),
            }),
        }
    }

    /// Removes a tag (or `repository@digest`) and leaves the image; false when it was not there.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn untag(&self, reference: &Reference) -> Result<bool> {
        let mut db = self.0.db.lock().await;
        let mut tx = db.begin(Durability::Full).await?;
        let removed = table::remove_reference(&mut tx, &reference.clone().or_latest()).await?;
        tx.commit().await?;
        Ok(removed)
    }
}
