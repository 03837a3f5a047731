//! The `images`, `image_layers`, `tags` and `repo_digests` tables.

use std::collections::{HashMap, HashSet};

use oci::reference::Repository;
use oci::{ChainId, Descriptor, DiffId, Digest, MediaType, Platform, Reference};
use sqlx::FromRow;
use sqlx::sqlite::SqliteConnection;

use super::{parse, to_i64, to_u64};
use crate::error::{Error, Result};
use crate::image::Image;

#[derive(Debug, FromRow)]
struct ImageRow {
    id: i64,
    digest: String,
    created: Option<String>,
    os: String,
    architecture: String,
    variant: Option<String>,
    size: i64,
    manifest_digest: Option<String>,
    manifest_media_type: Option<String>,
    manifest_size: Option<i64>,
    last_used: i64,
}

/// An image with what the user is not shown.
#[derive(Clone, Debug)]
pub(crate) struct StoredImage {
    pub row_id: i64,
    pub last_used: i64,
    pub image: Image,
}

/// Layers, tags and repository digests of one image.
type Parts = (Vec<DiffId>, Vec<Reference>, Vec<Reference>);
/// What refers to an image: its row ID, the repository, and the tag or digest.
type Pairs = Vec<(i64, String, String)>;

fn assemble(
    rows: Vec<ImageRow>,
    layers: Vec<(i64, String)>,
    tags: Pairs,
    digests: Pairs,
    listed: &HashSet<i64>,
) -> Result<Vec<StoredImage>> {
    let mut by_id: HashMap<i64, Parts> = HashMap::new();
    for (id, diff_id) in layers {
        by_id.entry(id).or_default().0.push(parse(&diff_id)?);
    }
    for (id, repository, tag) in tags {
        let repository: Repository = parse(&repository)?;
        let reference = Reference::new(repository, Some(&tag))
            .map_err(|e| Error::corrupt(format!("unexpected tag {tag:?}: {e}")))?;
        by_id.entry(id).or_default().1.push(reference);
    }
    for (id, repository, digest) in digests {
        let reference: Reference = parse(&format!("{repository}@{digest}"))?;
        by_id.entry(id).or_default().2.push(reference);
    }
    rows.into_iter()
        .map(|row| {
            let (layers, tags, repo_digests) = by_id.remove(&row.id).unwrap_or_default();
            let manifest = match (
                row.manifest_digest,
                row.manifest_media_type,
                row.manifest_size,
            ) {
                (Some(digest), Some(media_type), Some(size)) => Some(Descriptor::new(
                    MediaType::new(media_type),
                    parse(&digest)?,
                    to_u64(size),
                )),
                _ => None,
            };
            Ok(StoredImage {
                row_id: row.id,
                last_used: row.last_used,
                image: Image {
                    id: parse(&row.digest)?,
                    created: row.created,
                    platform: Platform {
                        architecture: row.architecture,
                        os: row.os,
                        os_version: None,
                        os_features: Vec::new(),
                        variant: row.variant,
                    },
                    size: to_u64(row.size),
                    manifest,
                    layers,
                    tags,
                    repo_digests,
                    listed: listed.contains(&row.id),
                },
            })
        })
        .collect()
}

/// All images that the user has not removed.
pub(crate) async fn all(db: &mut SqliteConnection) -> Result<Vec<StoredImage>> {
    let rows = sqlx::query_as("SELECT * FROM images WHERE removed = 0")
        .fetch_all(&mut *db)
        .await?;
    let layers =
        sqlx::query_as("SELECT image_id, diff_id FROM image_layers ORDER BY image_id, position")
            .fetch_all(&mut *db)
            .await?;
    let tags = sqlx::query_as(
        "SELECT image_id, repository, tag FROM tags WHERE image_id IS NOT NULL
             ORDER BY repository, tag",
    )
    .fetch_all(&mut *db)
    .await?;
    let digests = sqlx::query_as(
        "SELECT image_id, repository, digest FROM repo_digests WHERE image_id IS NOT NULL
         ORDER BY repository, digest",
    )
    .fetch_all(&mut *db)
    .await?;
    let listed: Vec<i64> = sqlx::query_scalar(
        "SELECT m.image_id FROM index_manifests m JOIN indexes i ON i.id = m.index_id
         WHERE m.image_id IS NOT NULL AND i.removed = 0",
    )
    .fetch_all(&mut *db)
    .await?;
    let listed = listed.into_iter().collect();
    assemble(rows, layers, tags, digests, &listed)
}

async fn one(db: &mut SqliteConnection, row: Option<ImageRow>) -> Result<Option<StoredImage>> {
    let Some(row) = row else { return Ok(None) };
    let layers = sqlx::query_as(
        "SELECT image_id, diff_id FROM image_layers WHERE image_id = ? ORDER BY position",
    )
    .bind(row.id)
    .fetch_all(&mut *db)
    .await?;
    let tags = sqlx::query_as(
        "SELECT image_id, repository, tag FROM tags WHERE image_id = ? ORDER BY repository, tag",
    )
    .bind(row.id)
    .fetch_all(&mut *db)
    .await?;
    let digests = sqlx::query_as(
        "SELECT image_id, repository, digest FROM repo_digests WHERE image_id = ?
         ORDER BY repository, digest",
    )
    .bind(row.id)
    .fetch_all(&mut *db)
    .await?;
    let listed: Option<i64> = sqlx::query_scalar(
        "SELECT m.image_id FROM index_manifests m JOIN indexes i ON i.id = m.index_id
         WHERE m.image_id = ? AND i.removed = 0 LIMIT 1",
    )
    .bind(row.id)
    .fetch_optional(&mut *db)
    .await?;
    let listed = listed.into_iter().collect();
    Ok(assemble(vec![row], layers, tags, digests, &listed)?.pop())
}

/// The image of this ID.
pub(crate) async fn by_digest(
    db: &mut SqliteConnection,
    id: &Digest,
) -> Result<Option<StoredImage>> {
    let row = sqlx::query_as("SELECT * FROM images WHERE digest = ? AND removed = 0")
        .bind(id.to_string())
        .fetch_optional(&mut *db)
        .await?;
    one(db, row).await
}

/// Notes what an image was committed on.
pub(crate) async fn set_parent(
    db: &mut SqliteConnection,
    image: i64,
    parent: &Digest,
) -> Result<()> {
    sqlx::query("INSERT OR REPLACE INTO parents (image_id, parent) VALUES (?, ?)")
        .bind(image)
        .bind(parent.to_string())
        .execute(db)
        .await?;
    Ok(())
}

/// What an image was committed on.
pub(crate) async fn parent(db: &mut SqliteConnection, id: &Digest) -> Result<Option<Digest>> {
    let sql = "SELECT parent FROM parents JOIN images ON id = image_id WHERE digest = ?";
    let parent: Option<String> = sqlx::query_scalar(sql)
        .bind(id.to_string())
        .fetch_optional(db)
        .await?;
    parent.map(|text| parse(&text)).transpose()
}

/// The images and indexes, two at most, whose ID begins so; `prefix` is `algorithm:` and hex
/// digits.
pub(crate) async fn by_prefix(db: &mut SqliteConnection, prefix: &str) -> Result<Vec<Digest>> {
    // `g` follows the last hex digit.
    let rows: Vec<String> = sqlx::query_scalar(
        "SELECT digest FROM images WHERE digest >= ?1 AND digest < ?1 || 'g' AND removed = 0
         UNION SELECT digest FROM indexes WHERE digest >= ?1 AND digest < ?1 || 'g'
             AND removed = 0
         LIMIT 2",
    )
    .bind(prefix)
    .fetch_all(db)
    .await?;
    rows.iter().map(|text| parse(text)).collect()
}

/// The image that a tag points to.
pub(crate) async fn by_tag(
    db: &mut SqliteConnection,
    repository: &str,
    tag: &str,
) -> Result<Option<StoredImage>> {
    let row = sqlx::query_as(
        "SELECT i.* FROM images i JOIN tags t ON t.image_id = i.id
         WHERE t.repository = ? AND t.tag = ? AND i.removed = 0",
    )
    .bind(repository)
    .bind(tag)
    .fetch_optional(&mut *db)
    .await?;
    one(db, row).await
}

/// The image that a repository has under a manifest digest.
pub(crate) async fn by_repo_digest(
    db: &mut SqliteConnection,
    repository: &str,
    digest: &Digest,
) -> Result<Option<StoredImage>> {
    let row = sqlx::query_as(
        "SELECT i.* FROM images i JOIN repo_digests r ON r.image_id = i.id
         WHERE r.repository = ? AND r.digest = ? AND i.removed = 0",
    )
    .bind(repository)
    .bind(digest.to_string())
    .fetch_optional(&mut *db)
    .await?;
    one(db, row).await
}

/// A row to be.
#[derive(Debug)]
pub(crate) struct NewRow<'a> {
    pub id: &'a Digest,
    pub created: Option<&'a str>,
    pub platform: &'a Platform,
    pub size: u64,
    pub manifest: Option<&'a Descriptor>,
    pub layers: &'a [DiffId],
    pub now: i64,
}

/// Adds an image, or brings back a removed one; a manifest given replaces the one there.
pub(crate) async fn upsert(db: &mut SqliteConnection, new: &NewRow<'_>) -> sqlx::Result<i64> {
    let row_id: i64 = sqlx::query_scalar(
        "INSERT INTO images (digest, created, os, architecture, variant, size, manifest_digest,
                             manifest_media_type, manifest_size, last_used)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT (digest) DO UPDATE SET
             manifest_digest = coalesce(excluded.manifest_digest, manifest_digest),
             manifest_media_type = coalesce(excluded.manifest_media_type, manifest_media_type),
             manifest_size = coalesce(excluded.manifest_size, manifest_size),
             last_used = excluded.last_used, removed = 0
         RETURNING id",
    )
    .bind(new.id.to_string())
    .bind(new.created)
    .bind(&new.platform.os)
    .bind(&new.platform.architecture)
    .bind(new.platform.variant.as_deref())
    .bind(to_i64(new.size))
    .bind(new.manifest.map(|m| m.digest.to_string()))
    .bind(new.manifest.map(|m| m.media_type.as_str().to_owned()))
    .bind(new.manifest.map(|m| to_i64(m.size)))
    .bind(new.now)
    .fetch_one(&mut *db)
    .await?;
    for (position, (diff_id, chain_id)) in new
        .layers
        .iter()
        .zip(ChainId::chain(new.layers))
        .enumerate()
    {
        sqlx::query(
            "INSERT OR REPLACE INTO image_layers (image_id, position, diff_id, chain_id)
             VALUES (?, ?, ?, ?)",
        )
        .bind(row_id)
        .bind(to_i64(position as u64))
        .bind(diff_id.to_string())
        .bind(chain_id.to_string())
        .execute(&mut *db)
        .await?;
    }
    Ok(row_id)
}

/// Bytes of the unpacked layers of a chain, as far as they are there.
pub(crate) async fn unpacked_size(
    db: &mut SqliteConnection,
    chain: &[ChainId],
) -> sqlx::Result<u64> {
    let size: i64 = sqlx::query_scalar(
        "SELECT coalesce(sum(size_disk), 0) FROM snapshots
         WHERE chain_id IN (SELECT value FROM json_each(?))",
    )
    .bind(super::json_list(chain))
    .fetch_one(db)
    .await?;
    Ok(to_u64(size))
}

/// Points a tag to an image, wherever it pointed before.
pub(crate) async fn set_tag(
    db: &mut SqliteConnection,
    repository: &str,
    tag: &str,
    row_id: i64,
) -> sqlx::Result<()> {
    sqlx::query("INSERT OR REPLACE INTO tags (repository, tag, image_id) VALUES (?, ?, ?)")
        .bind(repository)
        .bind(tag)
        .bind(row_id)
        .execute(db)
        .await?;
    Ok(())
}

/// Records under which digest a repository has an image.
pub(crate) async fn set_repo_digest(
    db: &mut SqliteConnection,
    repository: &str,
    digest: &Digest,
    row_id: i64,
) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT OR REPLACE INTO repo_digests (repository, digest, image_id) VALUES (?, ?, ?)",
    )
    .bind(repository)
    .bind(digest.to_string())
    .bind(row_id)
    .execute(db)
    .await?;
    Ok(())
}

/// Removes a tag or repository digest; false when it was not there.
pub(crate) async fn remove_reference(
    db: &mut SqliteConnection,
    reference: &Reference,
) -> sqlx::Result<bool> {
    let repository = reference.repository().to_string();
    let query = match (reference.digest(), reference.tag()) {
        (Some(digest), _) => {
            sqlx::query("DELETE FROM repo_digests WHERE repository = ? AND digest = ?")
                .bind(repository)
                .bind(digest.to_string())
        }
        (None, tag) => sqlx::query("DELETE FROM tags WHERE repository = ? AND tag = ?")
            .bind(repository)
            .bind(tag.unwrap_or(oci::reference::DEFAULT_TAG).to_owned()),
    };
    Ok(query.execute(db).await?.rows_affected() > 0)
}

/// Writes down a use.
pub(crate) async fn touch(db: &mut SqliteConnection, row_id: i64, now: i64) -> sqlx::Result<bool> {
    let done = sqlx::query("UPDATE images SET last_used = ? WHERE id = ? AND removed = 0")
        .bind(now)
        .bind(row_id)
        .execute(db)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// Hides an image whose references are gone. Collection deletes it once it is not in use.
pub(crate) async fn remove(db: &mut SqliteConnection, row_id: i64) -> sqlx::Result<()> {
    sqlx::query("UPDATE images SET removed = 1 WHERE id = ?")
        .bind(row_id)
        .execute(db)
        .await?;
    Ok(())
}
