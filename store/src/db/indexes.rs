//! The `indexes`, `index_manifests` and `index_blobs` tables, and the names of indexes.

use std::collections::HashMap;

use oci::reference::Repository;
use oci::{Descriptor, Digest, MediaType, Platform, Reference};
use sqlx::FromRow;
use sqlx::sqlite::SqliteConnection;

use super::{parse, parse_opt, to_i64, to_u64};
use crate::error::{Error, Result};
use crate::index::{IndexEntry, StoredIndex};

/// An index with what the user is not shown.
#[derive(Clone, Debug)]
pub(crate) struct IndexRow {
    pub row_id: i64,
    pub last_used: i64,
    pub index: StoredIndex,
}

#[derive(Debug, FromRow)]
struct Row {
    id: i64,
    digest: String,
    media_type: String,
    size: i64,
    last_used: i64,
}

#[derive(Debug, FromRow)]
struct EntryRow {
    index_id: i64,
    digest: String,
    media_type: String,
    size: i64,
    os: Option<String>,
    architecture: Option<String>,
    variant: Option<String>,
    os_version: Option<String>,
    present: i64,
    image: Option<String>,
    image_created: Option<String>,
    image_size: Option<i64>,
}

impl EntryRow {
    fn entry(self) -> Result<IndexEntry> {
        let mut manifest = Descriptor::new(
            MediaType::new(self.media_type),
            parse(&self.digest)?,
            to_u64(self.size),
        );
        if let (Some(os), Some(architecture)) = (self.os, self.architecture) {
            manifest.platform = Some(Platform {
                architecture,
                os,
                os_version: self.os_version,
                os_features: Vec::new(),
                variant: self.variant,
            });
        }
        Ok(IndexEntry {
            manifest,
            image: parse_opt(self.image.as_deref())?,
            present: self.present != 0,
        })
    }
}

/// What refers to an index: its row ID, the repository, and the tag or digest.
type Pairs = Vec<(i64, String, String)>;

const ENTRIES: &str = "SELECT m.index_id, m.digest, m.media_type, m.size, m.os, m.architecture,
        m.variant, m.os_version, m.present, i.digest AS image, i.created AS image_created,
        i.size AS image_size
    FROM index_manifests m LEFT JOIN images i ON i.id = m.image_id AND i.removed = 0";

/// Puts together what several tables have of each index.
fn assemble(
    rows: Vec<Row>,
    entries: Vec<EntryRow>,
    tags: Pairs,
    digests: Pairs,
) -> Result<Vec<IndexRow>> {
    let mut entries_of: HashMap<i64, Vec<EntryRow>> = HashMap::new();
    for entry in entries {
        entries_of.entry(entry.index_id).or_default().push(entry);
    }
    let mut tags_of: HashMap<i64, Vec<Reference>> = HashMap::new();
    for (id, repository, tag) in tags {
        let repository: Repository = parse(&repository)?;
        let reference = Reference::new(repository, Some(&tag))
            .map_err(|e| Error::corrupt(format!("unexpected tag {tag:?}: {e}")))?;
        tags_of.entry(id).or_default().push(reference);
    }
    let mut digests_of: HashMap<i64, Vec<Reference>> = HashMap::new();
    for (id, repository, digest) in digests {
        let reference = parse(&format!("{repository}@{digest}"))?;
        digests_of.entry(id).or_default().push(reference);
    }
    let mut all = Vec::with_capacity(rows.len());
    for row in rows {
        let mut index = StoredIndex {
            id: parse(&row.digest)?,
            media_type: MediaType::new(row.media_type),
            document_size: to_u64(row.size),
            created: None,
            size: 0,
            entries: Vec::new(),
            tags: tags_of.remove(&row.id).unwrap_or_default(),
            repo_digests: digests_of.remove(&row.id).unwrap_or_default(),
        };
        for entry in entries_of.remove(&row.id).unwrap_or_default() {
            index.size += to_u64(entry.image_size.unwrap_or(0));
            let newer = entry.image_created.clone().max(index.created.take());
            index.created = newer;
            index.entries.push(entry.entry()?);
        }
        all.push(IndexRow {
            row_id: row.id,
            last_used: row.last_used,
            index,
        });
    }
    Ok(all)
}

/// All indexes that the user has not removed.
pub(crate) async fn all(db: &mut SqliteConnection) -> Result<Vec<IndexRow>> {
    let rows: Vec<Row> = sqlx::query_as("SELECT * FROM indexes WHERE removed = 0 ORDER BY digest")
        .fetch_all(&mut *db)
        .await?;
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let sql = format!("{ENTRIES} ORDER BY m.index_id, m.position");
    let entries = sqlx::query_as(sqlx::AssertSqlSafe(sql))
        .fetch_all(&mut *db)
        .await?;
    let tags = sqlx::query_as(
        "SELECT index_id, repository, tag FROM tags WHERE index_id IS NOT NULL
         ORDER BY repository, tag",
    )
    .fetch_all(&mut *db)
    .await?;
    let digests = sqlx::query_as(
        "SELECT index_id, repository, digest FROM repo_digests WHERE index_id IS NOT NULL
         ORDER BY repository, digest",
    )
    .fetch_all(&mut *db)
    .await?;
    assemble(rows, entries, tags, digests)
}

async fn one(db: &mut SqliteConnection, row: Option<Row>) -> Result<Option<IndexRow>> {
    let Some(row) = row else { return Ok(None) };
    let sql = format!("{ENTRIES} WHERE m.index_id = ? ORDER BY m.position");
    let entries = sqlx::query_as(sqlx::AssertSqlSafe(sql))
        .bind(row.id)
        .fetch_all(&mut *db)
        .await?;
    let tags = sqlx::query_as(
        "SELECT index_id, repository, tag FROM tags WHERE index_id = ? ORDER BY repository, tag",
    )
    .bind(row.id)
    .fetch_all(&mut *db)
    .await?;
    let digests = sqlx::query_as(
        "SELECT index_id, repository, digest FROM repo_digests WHERE index_id = ?
         ORDER BY repository, digest",
    )
    .bind(row.id)
    .fetch_all(&mut *db)
    .await?;
    Ok(assemble(vec![row], entries, tags, digests)?.pop())
}

/// The index of this digest.
pub(crate) async fn by_digest(db: &mut SqliteConnection, id: &Digest) -> Result<Option<IndexRow>> {
    let row = sqlx::query_as("SELECT * FROM indexes WHERE digest = ? AND removed = 0")
        .bind(id.to_string())
        .fetch_optional(&mut *db)
        .await?;
    one(db, row).await
}

/// The index that a tag points to.
pub(crate) async fn by_tag(
    db: &mut SqliteConnection,
    repository: &str,
    tag: &str,
) -> Result<Option<IndexRow>> {
    let row = sqlx::query_as(
        "SELECT i.* FROM indexes i JOIN tags t ON t.index_id = i.id
         WHERE t.repository = ? AND t.tag = ? AND i.removed = 0",
    )
    .bind(repository)
    .bind(tag)
    .fetch_optional(&mut *db)
    .await?;
    one(db, row).await
}

/// The index that a repository has under a digest.
pub(crate) async fn by_repo_digest(
    db: &mut SqliteConnection,
    repository: &str,
    digest: &Digest,
) -> Result<Option<IndexRow>> {
    let row = sqlx::query_as(
        "SELECT i.* FROM indexes i JOIN repo_digests r ON r.index_id = i.id
         WHERE r.repository = ? AND r.digest = ? AND i.removed = 0",
    )
    .bind(repository)
    .bind(digest.to_string())
    .fetch_optional(&mut *db)
    .await?;
    one(db, row).await
}

/// Adds an index, or brings back a removed one, with what it lists now.
pub(crate) async fn upsert(
    db: &mut SqliteConnection,
    new: &Descriptor,
    entries: &[IndexEntry],
    blobs: &[Digest],
    now: i64,
) -> sqlx::Result<i64> {
    let row_id: i64 = sqlx::query_scalar(
        "INSERT INTO indexes (digest, media_type, size, last_used) VALUES (?, ?, ?, ?)
         ON CONFLICT (digest) DO UPDATE SET last_used = excluded.last_used, removed = 0
         RETURNING id",
    )
    .bind(new.digest.to_string())
    .bind(new.media_type.as_str().to_owned())
    .bind(to_i64(new.size))
    .bind(now)
    .fetch_one(&mut *db)
    .await?;
    for (position, entry) in entries.iter().enumerate() {
        let platform = entry.manifest.platform.as_ref();
        // What is here of an index that comes again stays here.
        sqlx::query(
            "INSERT INTO index_manifests (index_id, position, digest, media_type, size, os,
                 architecture, variant, os_version, present, image_id)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, (SELECT id FROM images WHERE digest = ?))
             ON CONFLICT (index_id, position) DO UPDATE SET
                 present = max(present, excluded.present),
                 image_id = coalesce(excluded.image_id, image_id)",
        )
        .bind(row_id)
        .bind(to_i64(position as u64))
        .bind(entry.manifest.digest.to_string())
        .bind(entry.manifest.media_type.as_str().to_owned())
        .bind(to_i64(entry.manifest.size))
        .bind(platform.map(|p| p.os.clone()))
        .bind(platform.map(|p| p.architecture.clone()))
        .bind(platform.and_then(|p| p.variant.clone()))
        .bind(platform.and_then(|p| p.os_version.clone()))
        .bind(i64::from(entry.present))
        .bind(entry.image.as_ref().map(ToString::to_string))
        .execute(&mut *db)
        .await?;
    }
    for digest in blobs {
        sqlx::query("INSERT OR IGNORE INTO index_blobs (index_id, digest) VALUES (?, ?)")
            .bind(row_id)
            .bind(digest.to_string())
            .execute(&mut *db)
            .await?;
    }
    Ok(row_id)
}

/// Points a tag to an index, wherever it pointed before.
pub(crate) async fn set_tag(
    db: &mut SqliteConnection,
    repository: &str,
    tag: &str,
    row_id: i64,
) -> sqlx::Result<()> {
    sqlx::query("INSERT OR REPLACE INTO tags (repository, tag, index_id) VALUES (?, ?, ?)")
        .bind(repository)
        .bind(tag)
        .bind(row_id)
        .execute(db)
        .await?;
    Ok(())
}

/// Records under which digest a repository has an index.
pub(crate) async fn set_repo_digest(
    db: &mut SqliteConnection,
    repository: &str,
    digest: &Digest,
    row_id: i64,
) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT OR REPLACE INTO repo_digests (repository, digest, index_id) VALUES (?, ?, ?)",
    )
    .bind(repository)
    .bind(digest.to_string())
    .bind(row_id)
    .execute(db)
    .await?;
    Ok(())
}

/// Writes down a use.
pub(crate) async fn touch(db: &mut SqliteConnection, row_id: i64, now: i64) -> sqlx::Result<()> {
    sqlx::query("UPDATE indexes SET last_used = ? WHERE id = ?")
        .bind(now)
        .bind(row_id)
        .execute(db)
        .await?;
    Ok(())
}

/// Hides an index whose names are gone. Collection deletes it once it is not in use.
pub(crate) async fn remove(db: &mut SqliteConnection, row_id: i64) -> sqlx::Result<()> {
    sqlx::query("UPDATE indexes SET removed = 1 WHERE id = ?")
        .bind(row_id)
        .execute(db)
        .await?;
    Ok(())
}

/// Takes an image out of every index that lists it: they have none for its platform any more.
pub(crate) async fn forget_image(db: &mut SqliteConnection, image: i64) -> sqlx::Result<()> {
    sqlx::query("UPDATE index_manifests SET image_id = NULL, present = 0 WHERE image_id = ?")
        .bind(image)
        .execute(db)
        .await?;
    Ok(())
}

/// The images of removed indexes, by row ID and digest, that neither a name nor another index
/// holds any more.
pub(crate) async fn orphans(db: &mut SqliteConnection) -> Result<Vec<(i64, Digest)>> {
    let rows: Vec<(i64, String)> = sqlx::query_as(
        "SELECT DISTINCT i.id, i.digest FROM images i
         JOIN index_manifests m ON m.image_id = i.id
         JOIN indexes x ON x.id = m.index_id AND x.removed = 1
         WHERE i.removed = 0
             AND i.id NOT IN (SELECT image_id FROM tags WHERE image_id IS NOT NULL)
             AND i.id NOT IN (SELECT image_id FROM repo_digests WHERE image_id IS NOT NULL)
             AND i.id NOT IN (SELECT o.image_id FROM index_manifests o
                 JOIN indexes y ON y.id = o.index_id
                 WHERE y.removed = 0 AND o.image_id IS NOT NULL)
         ORDER BY i.digest",
    )
    .fetch_all(db)
    .await?;
    rows.into_iter()
        .map(|(id, digest)| Ok((id, parse(&digest)?)))
        .collect()
}
