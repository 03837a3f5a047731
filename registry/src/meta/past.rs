//! Where tags pointed before they moved or went.

use serde::{Deserialize, Serialize};

use super::database::Meta;
use super::engine::{query_as, query_scalar};
use super::error::MetaError;
use crate::name::{RepositoryName, Tag};
use crate::units::rfc3339;

/// Where a tag pointed, and until when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TagPast {
    /// The tag.
    pub tag: String,
    /// The manifest's digest.
    pub digest: String,
    /// The manifest's media type.
    pub media_type: String,
    /// Since when.
    #[serde(with = "rfc3339")]
    pub since: Option<i64>,
    /// When it was moved or deleted.
    #[serde(with = "rfc3339")]
    pub until: Option<i64>,
    /// Whether the tag is there now, wherever it points.
    pub moved: bool,
    /// Whether it was deleted then, and not moved.
    #[serde(default)]
    pub deleted: bool,
    /// Who had pushed it there, where that is known.
    #[serde(default)]
    pub pushed_by: Option<String>,
    /// Who deleted it, where that is known.
    #[serde(default)]
    pub deleted_by: Option<String>,
}

impl Meta {
    /// Where the tags of a repository, or one of them, pointed before; the `n` places that were
    /// left last, newest first. Ten places of a tag are known, for thirty days.
    ///
    /// # Errors
    /// [`MetaError`].
    pub async fn tag_past(
        &self,
        repository: &RepositoryName,
        tag: Option<&str>,
        n: u32,
    ) -> Result<Vec<TagPast>, MetaError> {
        type Row = (
            String,
            String,
            String,
            i64,
            i64,
            bool,
            bool,
            Option<String>,
            Option<String>,
        );
        let rows: Vec<Row> = query_as(
            // Of places from before it was noted, what is there now tells most.
            "SELECT tag, digest, media_type, since, until, now_there,
                    coalesce(gone <> 0, NOT now_there),
                    actor, deleted_by
             FROM (SELECT p.*, EXISTS (
                       SELECT 1 FROM repositories r
                       JOIN tags t ON t.repository_id = r.id AND t.name = p.tag
                       WHERE r.name = ?1) AS now_there
                   FROM tag_past p WHERE p.repository = ?1 AND (?2 IS NULL OR p.tag = ?2)
                   ORDER BY p.id DESC LIMIT ?3) AS places
             ORDER BY id DESC",
        )
        .bind(repository.as_str())
        .bind(tag.map(str::to_owned))
        .bind(n)
        .fetch_all(&self.readers)
        .await?;
        let past = |row: Row| {
            let (tag, digest, media_type, since, until, moved, deleted, pushed_by, deleted_by) =
                row;
            TagPast {
                tag,
                digest,
                media_type,
                since: Some(since),
                until: Some(until),
                moved,
                deleted,
                pushed_by,
                deleted_by,
            }
        };
        Ok(rows.into_iter().map(past).collect())
    }

    /// Who pushed a tag, where that is known.
    ///
    /// # Errors
    /// [`MetaError`].
    pub async fn tag_pushed_by(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
    ) -> Result<Option<String>, MetaError> {
        let by: Option<Option<String>> = query_scalar(
            "SELECT t.actor FROM repositories r
             JOIN tags t ON t.repository_id = r.id AND t.name = ?2 WHERE r.name = ?1",
        )
        .bind(repository.as_str())
        .bind(tag.as_str())
        .fetch_optional(&self.readers)
        .await?;
        Ok(by.flatten())
    }
}
