//! What lists show of images that an older version stored: read and written down a slice at a time.

use oci::ManifestDocument;

use crate::describe::Description;
use crate::meta::{Fill, Undescribed};
use crate::name::Tag;
use crate::service::error::ServiceError;
use crate::service::state::Registry;

/// Rows of a slice that needs nothing but the database.
const ROWS: u32 = 1000;
/// Images of a slice that have to be read.
const IMAGES: u32 = 100;

impl Registry {
    /// Puts into the lists what is not in them yet. Returns at once when all is; ends early when
    /// the registry closes, and goes on the next time.
    ///
    /// # Errors
    /// [`ServiceError::Meta`].
    pub async fn fill_lists(&self) -> Result<(), ServiceError> {
        while let Some(fill) = self.meta.next_fill().await? {
            if self.stop.is_told() {
                return Ok(());
            }
            match fill {
                Fill::Repositories(after) => self.meta.fill_repositories(after, ROWS).await?,
                Fill::Tags(repository, name) => {
                    self.meta.fill_tags((repository, name), ROWS).await?;
                }
                Fill::Manifests(after) => {
                    let some = self.meta.undescribed_manifests(after, IMAGES).await?;
                    let described = self.read_all(some).await;
                    self.meta.describe_manifests(described).await?;
                }
                Fill::Words(after) => {
                    let some = self.meta.undescribed_repositories(after, IMAGES).await?;
                    let described = self.read_all(some).await.into_iter();
                    let texts = described.map(|(row, found)| (row, found.and_then(|d| d.text)));
                    self.meta.describe_repositories(texts.collect()).await?;
                }
            }
        }
        Ok(())
    }

    /// Reads manifests with their configurations; those whose files are gone tell nothing.
    async fn read_all(&self, some: Vec<Undescribed>) -> Vec<(i64, Option<Description>)> {
        let mut described = Vec::with_capacity(some.len());
        for one in some {
            described.push((one.row, self.describe_stored(&one).await));
        }
        described
    }

    async fn describe_stored(&self, one: &Undescribed) -> Option<Description> {
        let manifest = &one.manifest;
        let bytes = self.blobs.read(&manifest.digest).await.ok().flatten()?;
        let document = ManifestDocument::parse(&bytes, Some(&manifest.media_type)).ok()?;
        // As if it were pushed with some tag.
        let tags: Vec<Tag> = "latest".parse().into_iter().collect();
        let repository = one.repository.parse().ok()?;
        let found = self.description(&repository, &document, bytes.len(), &tags);
        Some(found.await)
    }
}
