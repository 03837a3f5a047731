//! Where tags pointed before.

use oci::Digest;

use super::database::Meta;
use super::error::MetaError;
use crate::name::{RepositoryName, Tag};

/// Where a tag pointed, and how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PastTag {
    /// The manifest.
    pub digest: Digest,
    /// Since when, in seconds since 1970.
    pub since: i64,
    /// Until when.
    pub until: i64,
    /// Whether the manifest is still in the repository.
    pub there: bool,
}

impl Meta {
    /// Where a tag pointed before, the last place first.
    ///
    /// # Errors
    /// [`MetaError`].
    pub async fn past_of_tag(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
    ) -> Result<Vec<PastTag>, MetaError> {
        let rows: Vec<(String, i64, i64, bool)> = sqlx::query_as(
            "SELECT p.digest, p.since, p.until, EXISTS (
                 SELECT 1 FROM repositories r JOIN manifests m ON m.repository_id = r.id
                 WHERE r.name = p.repository AND m.digest = p.digest)
             FROM tag_past p WHERE p.repository = ? AND p.tag = ? ORDER BY p.id DESC",
        )
        .bind(repository.as_str())
        .bind(tag.as_str())
        .fetch_all(&self.readers)
        .await?;
        rows.into_iter()
            .map(|(digest, since, until, there)| {
                let digest = digest
                    .parse()
                    .map_err(|e| MetaError::Corrupt(format!("past of a tag: {digest:?}: {e}")))?;
                Ok(PastTag {
                    digest,
                    since,
                    until,
                    there,
                })
            })
            .collect()
    }

    /// The row of a repository; `None` when there is none.
    ///
    /// # Errors
    /// [`MetaError`].
    pub async fn id_of(&self, repository: &RepositoryName) -> Result<Option<i64>, MetaError> {
        Ok(
            sqlx::query_scalar("SELECT id FROM repositories WHERE name = ?")
                .bind(repository.as_str())
                .fetch_optional(&self.readers)
                .await?,
        )
    }
}
