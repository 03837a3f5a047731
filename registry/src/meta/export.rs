//! A repository as a whole.

use oci::Digest;

use super::database::Meta;
use super::engine::query_as;
use super::error::MetaError;
use super::manifests::ManifestRow;
use super::manifests::manifest_row;
use crate::name::RepositoryName;

/// A manifest, and how it hangs together with others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exportable {
    /// What it is.
    pub row: ManifestRow,
    /// The manifest that it refers to.
    pub subject: Option<Digest>,
    /// What referrers lists call it.
    pub artifact_type: Option<String>,
    /// The tags that point to it.
    pub tags: Vec<String>,
}

impl Meta {
    /// Every manifest of a repository with its tags, in the order of digests.
    ///
    /// # Errors
    /// [`MetaError`].
    pub async fn exportable(
        &self,
        repository: &RepositoryName,
    ) -> Result<Vec<Exportable>, MetaError> {
        type Row = (String, String, i64, Option<String>, Option<String>, String);
        let rows: Vec<Row> = query_as(
            "SELECT m.digest, m.media_type, m.size, m.subject, m.artifact_type,
                    (SELECT json_group_array(t.name ORDER BY t.name) FROM tags t
                     WHERE t.manifest_id = m.id)
             FROM repositories r JOIN manifests m ON m.repository_id = r.id
             WHERE r.name = ? ORDER BY m.digest",
        )
        .bind(repository.as_str())
        .fetch_all(&self.readers)
        .await?;
        rows.into_iter()
            .map(|(digest, media_type, size, subject, artifact_type, tags)| {
                let corrupt = |what: &str| MetaError::Corrupt(format!("{what} of {digest}"));
                Ok(Exportable {
                    row: manifest_row(&digest, media_type, size)?,
                    subject: subject
                        .map(|text| text.parse())
                        .transpose()
                        .map_err(|_| corrupt("the subject"))?,
                    artifact_type,
                    tags: serde_json::from_str(&tags).map_err(|_| corrupt("the tags"))?,
                })
            })
            .collect()
    }
}
