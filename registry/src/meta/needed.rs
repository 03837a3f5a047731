//! Which tags need a blob or a manifest.

use oci::Digest;
use sqlx::AssertSqlSafe;

use super::engine::{Connection, query_scalar};
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
    c: &mut Connection,
    repository: i64,
    digest: &Digest,
    counts: impl Fn(&str) -> bool,
) -> Result<Option<String>, MetaError> {
    tag_above(c, WITH_BLOB, repository, digest, counts).await
}

/// The first tag of a repository that needs a manifest, since its index lists it, or lists an index
/// that does, and of which `counts` is true. The manifest's own tags are not looked at.
pub(super) async fn tag_needing_manifest(
    c: &mut Connection,
    repository: i64,
    digest: &Digest,
    counts: impl Fn(&str) -> bool,
) -> Result<Option<String>, MetaError> {
    tag_above(c, LISTING, repository, digest, counts).await
}

async fn tag_above(
    c: &mut Connection,
    first: &'static str,
    repository: i64,
    digest: &Digest,
    counts: impl Fn(&str) -> bool,
) -> Result<Option<String>, MetaError> {
    let tag = query_scalar(AssertSqlSafe(format!(
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
    .find(c, |tag: &String| counts(tag))
    .await?;
    Ok(tag)
}
