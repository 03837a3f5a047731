//! Which tags need a blob or a manifest.

use futures_util::TryStreamExt;
use oci::Digest;
use sqlx::AssertSqlSafe;
use sqlx::sqlite::SqliteConnection;

use super::error::MetaError;

/// The manifests of repository ?1 that need the blob ?2.
const WITH_BLOB: &str = "
    SELECT n.manifest_id FROM blobs b
    CROSS JOIN manifest_blobs n ON n.blob_id = b.id AND n.repository_id = ?1
    WHERE b.digest = ?2";

/// The manifests of repository ?1 that list the manifest ?2.
const LISTING: &str = "
    SELECT c.manifest_id FROM manifest_children c
    WHERE c.repository_id = ?1 AND c.child_digest = ?2";

/// The first tag of a repository that needs a blob and of which `counts` is true.
pub(super) async fn tag_needing_blob(
    c: &mut SqliteConnection,
    repository: i64,
    digest: &Digest,
    counts: impl Fn(&str) -> bool,
) -> Result<Option<String>, MetaError> {
    tag_above(c, WITH_BLOB, repository, digest, counts).await
}

/// The first tag of a repository that needs a manifest, since its index lists it, or lists an index
/// that does, and of which `counts` is true. The manifest's own tags are not looked at.
pub(super) async fn tag_needing_manifest(
    c: &mut SqliteConnection,
    repository: i64,
    digest: &Digest,
    counts: impl Fn(&str) -> bool,
) -> Result<Option<String>, MetaError> {
    tag_above(c, LISTING, repository, digest, counts).await
}

async fn tag_above(
    c: &mut SqliteConnection,
    first: &'static str,
    repository: i64,
    digest: &Digest,
    counts: impl Fn(&str) -> bool,
) -> Result<Option<String>, MetaError> {
    let mut tags = sqlx::query_scalar(AssertSqlSafe(format!(
        "WITH RECURSIVE above (id) AS ({first}
             UNION
             SELECT c.manifest_id FROM above
             CROSS JOIN manifests m ON m.id = above.id
             CROSS JOIN manifest_children c
                 ON c.repository_id = ?1 AND c.child_digest = m.digest)
         SELECT t.name FROM above CROSS JOIN tags t ON t.manifest_id = above.id"
    )))
    .bind(repository)
    .bind(digest.to_string())
    .fetch(c);
    while let Some(tag) = tags.try_next().await? {
        let tag: String = tag;
        if counts(&tag) {
            return Ok(Some(tag));
        }
    }
    Ok(None)
}
