//! Manifests, tags and referrers.

use std::collections::BTreeMap;

use bytes::Bytes;
use oci::{Digest, MediaType};

use super::changes::Admit;
use super::changes::need;
use super::database::Meta;
use super::engine::{Connection, Source, query, query_as, query_scalar};
use super::error::MetaError;
use super::events::note;
use super::job::job;
use super::links::find_repository;
use super::mirrored::expect;
use super::needed::tag_needing_manifest;
use super::precondition::Precondition;
use super::sql::{from_sql, json, to_sql};
use crate::clock::now;
use crate::describe::Description;
use crate::events::Notice;
use crate::name::{ManifestRef, RepositoryName, Tag};
use crate::quota::Exceeded;

/// What a manifest is, without its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestRow {
    /// The digest, by the algorithm that it was pushed with.
    pub digest: Digest,
    /// The media type it was pushed as.
    pub media_type: MediaType,
    /// Bytes.
    pub size: u64,
}

/// A manifest to be shown, whose file has its name.
#[derive(Clone, Debug)]
pub struct NewManifest {
    /// The repository.
    pub repository: RepositoryName,
    /// What it is.
    pub row: ManifestRow,
    /// Its bytes, where its file may not be durable.
    pub content: Option<Bytes>,
    /// What referrers lists call it.
    pub artifact_type: Option<MediaType>,
    /// The manifest that it refers to.
    pub subject: Option<Digest>,
    /// Its annotations, for referrers lists.
    pub annotations: BTreeMap<String, String>,
    /// Blobs that the repository must show.
    pub blobs: Vec<Digest>,
    /// Manifests (or blobs) of an index that the repository must show.
    pub children: Vec<Digest>,
    /// An index that is put back rather than pushed: what was deleted from it may be missing.
    pub partial: bool,
    /// Of a mirrored manifest: its blobs, which come when they are asked for, and their sizes.
    pub expected: Option<Vec<(Digest, u64)>>,
    /// Tags to point here.
    pub tags: Vec<Tag>,
    /// Those of them that must not point elsewhere already.
    pub immutable: Vec<Tag>,
    /// What it is pushed as.
    pub reference: ManifestRef,
    /// What must be true of what `reference` names until then.
    pub precondition: Precondition,
    /// What it tells of itself.
    pub description: Description,
    /// What webhooks are told when it is shown.
    pub notices: Vec<Notice>,
}

/// How pushing a manifest went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Put {
    /// It is shown, and its tags point to it.
    Done,
    /// The repository does not show these, so nothing was changed.
    Missing(Vec<Digest>),
    /// This tag points elsewhere and must not move, so nothing was changed.
    Immutable(String),
    /// The precondition is not true, so nothing was changed.
    PreconditionFailed,
    /// There is no room for it, so nothing was changed.
    Quota(Exceeded),
}

/// What a deletion took away.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deleted {
    /// The manifest, when one was deleted.
    pub manifest: Option<Digest>,
    /// The tags that went.
    pub tags: Vec<String>,
}

/// How a deletion went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delete {
    /// This went.
    Done(Deleted),
    /// This tag must not go, nor what it needs, so nothing was changed.
    Immutable(String),
    /// This tag's index needs it, so nothing was changed.
    Needed(String),
    /// The precondition is not true, so nothing was changed.
    PreconditionFailed,
}

/// What deletions must leave.
pub struct Keeps<F> {
    /// Whether a tag must not go, nor what it needs.
    pub immutable: F,
    /// Whether what the index of any tag needs may go.
    pub needed_may_go: bool,
}

/// One entry of a referrers list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Referrer {
    /// The referring manifest.
    pub row: ManifestRow,
    /// Its artifact type.
    pub artifact_type: Option<String>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
}

impl NewManifest {
    /// The children that must be there.
    pub fn required(&self) -> &[Digest] {
        if self.partial { &[] } else { &self.children }
    }

    /// The blobs that must be there.
    pub fn required_blobs(&self) -> &[Digest] {
        match self.expected {
            Some(_) => &[],
            None => &self.blobs,
        }
    }
}

impl Meta {
    /// The manifest that `reference` names.
    ///
    /// # Errors
    /// [`MetaError`].
    pub async fn manifest(
        &self,
        repository: &RepositoryName,
        reference: &ManifestRef,
    ) -> Result<Option<ManifestRow>, MetaError> {
        find(&self.readers, repository, reference).await
    }

    /// Which of what a manifest needs `repository` does not show.
    ///
    /// # Errors
    /// [`MetaError`].
    pub async fn missing(
        &self,
        repository: &RepositoryName,
        blobs: &[Digest],
        children: &[Digest],
    ) -> Result<Vec<Digest>, MetaError> {
        let mut connection = self.readers.acquire().await?;
        let missing = missing(&mut connection, repository, blobs, children).await;
        self.noted(missing)
    }

    /// Shows a manifest and points its tags to it, unless something it needs is not there, its
    /// precondition is not true or `admit` refuses. It has to be [announced](Meta::announce).
    ///
    /// # Errors
    /// [`MetaError`].
    pub async fn put_manifest(
        &self,
        new: NewManifest,
        admit: Option<Admit>,
        effect: impl FnOnce(&Put) + Send + 'static,
    ) -> Result<Put, MetaError> {
        let number = new.content.as_ref().map(|c| self.unsettled.number(c));
        let replica = self.replica.clone();
        let work = job(move |c| {
            Box::pin(async move {
                if let Some(replica) = replica {
                    replica.expects(c, &new.row.digest).await?;
                }
                put(c, new, number, admit).await
            })
        });
        self.writer.run(work, effect).await
    }

    /// Deletes a tag, or a manifest with every tag that points to it, unless `keeps` holds it or
    /// `precondition` is not true of it; `None` when it is not there. `notices` says what webhooks
    /// are told.
    ///
    /// # Errors
    /// [`MetaError`].
    pub async fn delete_manifest(
        &self,
        repository: &RepositoryName,
        reference: &ManifestRef,
        precondition: Precondition,
        keeps: Keeps<impl Fn(&str) -> bool + Send + Sync + 'static>,
        notices: impl FnOnce(&Deleted) -> Vec<Notice> + Send + 'static,
        effect: impl FnOnce(&Option<Delete>) + Send + 'static,
    ) -> Result<Option<Delete>, MetaError> {
        let (repository, reference) = (repository.clone(), reference.clone());
        self.writer
            .run(
                move |c| {
                    Box::pin(async move {
                        if !precondition.is_none()
                            && let Some(row) = find(&mut *c, &repository, &reference).await?
                            && !precondition.holds(Some(&row.digest))
                        {
                            return Ok(Some(Delete::PreconditionFailed));
                        }
                        let deleted = delete(c, repository, reference, keeps).await?;
                        if let Some(Delete::Done(deleted)) = &deleted {
                            note(c, notices(deleted)).await?;
                        }
                        Ok(deleted)
                    })
                },
                effect,
            )
            .await
    }

    /// Up to `n` manifests whose subject is `subject`, those whose digests sort after `last`;
    /// only of `artifact_type` when it is given. And whether there are more.
    ///
    /// # Errors
    /// [`MetaError`].
    pub async fn referrers(
        &self,
        repository: &RepositoryName,
        subject: &Digest,
        artifact_type: Option<&str>,
        n: u32,
        last: &str,
    ) -> Result<(Vec<Referrer>, bool), MetaError> {
        type Row = (String, String, i64, Option<String>, Option<String>);
        let rows: Vec<Row> = query_as(
            "SELECT m.digest, m.media_type, m.size, m.artifact_type, m.annotations
             FROM repositories r
             JOIN manifests m ON m.repository_id = r.id
             WHERE r.name = ?1 AND m.subject = ?2 AND m.digest > ?3
               AND (?4 IS NULL OR lower(m.artifact_type) = lower(?4))
             ORDER BY m.digest LIMIT ?5",
        )
        .bind(repository.as_str())
        .bind(subject.to_string())
        .bind(last.to_owned())
        .bind(artifact_type.map(str::to_owned))
        .bind(i64::from(n) + 1)
        .fetch_all(&self.readers)
        .await?;
        let more = rows.len() > n as usize;
        let referrers = rows
            .into_iter()
            .take(n as usize)
            .map(|(digest, media_type, size, artifact_type, annotations)| {
                let annotations = match annotations {
                    Some(json) => serde_json::from_str(&json)
                        .map_err(|e| MetaError::Corrupt(format!("annotations of {digest}: {e}")))?,
                    None => BTreeMap::new(),
                };
                Ok(Referrer {
                    row: manifest_row(&digest, media_type, size)?,
                    artifact_type,
                    annotations,
                })
            })
            .collect::<Result<_, MetaError>>()?;
        Ok((referrers, more))
    }
}

/// The manifest that `reference` names.
async fn find<'c>(
    source: impl Into<Source<'c>>,
    repository: &RepositoryName,
    reference: &ManifestRef,
) -> Result<Option<ManifestRow>, MetaError> {
    let query = match reference {
        ManifestRef::Digest(digest) => query_as(
            "SELECT m.digest, m.media_type, m.size FROM repositories r
             JOIN manifests m ON m.repository_id = r.id
             WHERE r.name = ? AND m.digest = ?",
        )
        .bind(repository.as_str())
        .bind(digest.to_string()),
        ManifestRef::Tag(tag) => query_as(
            "SELECT m.digest, m.media_type, m.size FROM repositories r
             JOIN tags t ON t.repository_id = r.id
             JOIN manifests m ON m.id = t.manifest_id
             WHERE r.name = ? AND t.name = ?",
        )
        .bind(repository.as_str())
        .bind(tag.as_str()),
    };
    let row: Option<(String, String, i64)> = query.fetch_optional(source).await?;
    row.map(|(digest, media_type, size)| manifest_row(&digest, media_type, size))
        .transpose()
}

pub(super) fn manifest_row(
    digest: &str,
    media_type: String,
    size: i64,
) -> Result<ManifestRow, MetaError> {
    Ok(ManifestRow {
        digest: digest
            .parse()
            .map_err(|e| MetaError::Corrupt(format!("manifest {digest:?}: {e}")))?,
        media_type: MediaType::new(media_type),
        size: from_sql(size),
    })
}

async fn missing(
    c: &mut Connection,
    repository: &RepositoryName,
    blobs: &[Digest],
    children: &[Digest],
) -> Result<Vec<Digest>, MetaError> {
    if blobs.is_empty() && children.is_empty() {
        return Ok(Vec::new());
    }
    // Build caches are indexes whose entries are layers: for a child a blob will do as well.
    let absent: Vec<String> = query_scalar(
        "WITH needed (digest, child) AS (
             SELECT value, 0 FROM json_each(?2) UNION ALL SELECT value, 1 FROM json_each(?3))
         SELECT n.digest FROM needed n WHERE NOT EXISTS (
             SELECT 1 FROM repositories r
             JOIN repository_blobs rb ON rb.repository_id = r.id
             JOIN blobs b ON b.id = rb.blob_id
             WHERE r.name = ?1 AND b.digest = n.digest)
         AND NOT (n.child = 1 AND EXISTS (
             SELECT 1 FROM repositories r
             JOIN manifests m ON m.repository_id = r.id
             WHERE r.name = ?1 AND m.digest = n.digest))",
    )
    .bind(repository.as_str())
    .bind(json(blobs)?)
    .bind(json(children)?)
    .fetch_all(c)
    .await?;
    absent
        .iter()
        .map(|text| {
            text.parse()
                .map_err(|e| MetaError::Corrupt(format!("digest {text:?}: {e}")))
        })
        .collect()
}

async fn put(
    c: &mut Connection,
    new: NewManifest,
    number: Option<i64>,
    admit: Option<Admit>,
) -> Result<Put, MetaError> {
    let absent = missing(c, &new.repository, new.required_blobs(), new.required()).await?;
    if !absent.is_empty() {
        return Ok(Put::Missing(absent));
    }
    for tag in &new.immutable {
        let elsewhere: Option<i64> = query_scalar(
            "SELECT 1 FROM repositories r JOIN tags t ON t.repository_id = r.id
             JOIN manifests m ON m.id = t.manifest_id
             WHERE r.name = ? AND t.name = ? AND m.digest <> ?",
        )
        .bind(new.repository.as_str())
        .bind(tag.as_str())
        .bind(new.row.digest.to_string())
        .fetch_optional(&mut *c)
        .await?;
        if elsewhere.is_some() {
            return Ok(Put::Immutable(tag.as_str().to_owned()));
        }
    }
    if !new.precondition.is_none() {
        let current = find(&mut *c, &new.repository, &new.reference).await?;
        if !new.precondition.holds(current.as_ref().map(|c| &c.digest)) {
            return Ok(Put::PreconditionFailed);
        }
    }
    // Last, for it takes the room.
    if let Some(admit) = admit {
        let need = need(c, &new.repository, &new.row.digest, new.row.size).await?;
        if let Err(e) = admit(need) {
            return Ok(Put::Quota(e));
        }
    }
    let annotations = (!new.annotations.is_empty())
        .then(|| serde_json::to_string(&new.annotations))
        .transpose()
        .map_err(|e| MetaError::Corrupt(e.to_string()))?;
    let needs: Vec<Digest> = new.blobs.iter().chain(&new.children).cloned().collect();
    let tags: Vec<&str> = new.tags.iter().map(Tag::as_str).collect();
    let (words, about) = match new.description.text {
        Some(text) => (Some(text.words.to_lowercase()), Some(text.description)),
        None => (None, None),
    };
    // One call for everything: each costs a change of threads.
    query(PUT)
        .bind(new.repository.as_str())
        .bind(new.row.digest.to_string())
        .bind(to_sql(new.row.size))
        .bind(now())
        .bind(new.row.media_type.as_str().to_owned())
        .bind(new.artifact_type.as_ref().map(|t| t.as_str().to_owned()))
        .bind(new.subject.as_ref().map(ToString::to_string))
        .bind(annotations)
        .bind(json(&needs)?)
        .bind(json(&new.children)?)
        .bind(json(&tags)?)
        .bind(new.description.platforms.join(" "))
        .bind(to_sql(new.description.bytes))
        .bind(new.description.created_at)
        .bind(words)
        .bind(about)
        .bind(number)
        .bind(new.content.as_deref())
        .execute(&mut *c)
        .await?;
    if let Some(expected) = &new.expected {
        expect(c, &new.repository, &new.row.digest, expected).await?;
    }
    note(c, new.notices).await?;
    Ok(Put::Done)
}

/// $1 repository, $2 digest, $3 size, $4 now, $5 media type, $6 artifact type, $7 subject,
/// $8 annotations, $9 what it needs, $10 its children, $11 its tags, $12 platforms, $13 bytes
/// without children, $14 when it was made, $15 what the repository is found by, $16 what it is for,
/// $17 the number of its bytes and $18 these, where they are kept.
/// Not `?1`: each statement must have only those parameters that it uses, and SQLite counts the
/// gaps between numbers.
const PUT: &str = "
INSERT INTO repositories (name, created_at) VALUES ($1, $4) ON CONFLICT DO NOTHING;

INSERT INTO blobs (digest, size, created_at) VALUES ($2, $3, $4)
ON CONFLICT (digest) DO UPDATE SET size = excluded.size, stored = 1;

INSERT INTO unsettled (id, digest, content) SELECT $17, $2, $18 WHERE $17 IS NOT NULL;

INSERT INTO manifests (repository_id, blob_id, digest, media_type, size, artifact_type, subject,
                       annotations, pushed_at, untagged_at, platforms, created_at, content_bytes)
SELECT r.id, b.id, $2, $5, $3, $6, $7, $8, $4, $4, $12, $14, $13 + coalesce((
           SELECT sum(max(c.content_bytes, c.size)) FROM json_each($10) j
           CROSS JOIN manifests c ON c.repository_id = r.id AND c.digest = j.value), 0)
FROM repositories r, blobs b
WHERE r.name = $1 AND b.digest = $2
ON CONFLICT (repository_id, digest) DO UPDATE SET
    media_type = excluded.media_type, pushed_at = excluded.pushed_at,
    untagged_at = excluded.untagged_at, platforms = excluded.platforms,
    created_at = excluded.created_at, content_bytes = excluded.content_bytes;

INSERT INTO manifest_blobs (manifest_id, blob_id, repository_id)
SELECT m.id, b.id, r.id FROM repositories r
JOIN manifests m ON m.repository_id = r.id AND m.digest = $2
JOIN json_each($9) j ON true
JOIN blobs b ON b.digest = j.value
JOIN repository_blobs rb ON rb.blob_id = b.id AND rb.repository_id = r.id
WHERE r.name = $1
ON CONFLICT DO NOTHING;

INSERT INTO manifest_children (manifest_id, child_digest, repository_id)
SELECT m.id, j.value, r.id FROM repositories r
JOIN manifests m ON m.repository_id = r.id AND m.digest = $2
JOIN (SELECT DISTINCT value FROM json_each($10)) j ON true
WHERE r.name = $1
ON CONFLICT DO NOTHING;

UPDATE push_order SET last = last + 1 WHERE json_array_length($11) > 0;

INSERT INTO tags (repository_id, name, manifest_id, updated_at, sequence)
SELECT r.id, j.value, m.id, $4, o.last FROM push_order o, repositories r
JOIN manifests m ON m.repository_id = r.id AND m.digest = $2
JOIN (SELECT DISTINCT value FROM json_each($11)) j ON true
WHERE r.name = $1
ON CONFLICT (repository_id, name) DO UPDATE SET manifest_id = excluded.manifest_id, updated_at = excluded.updated_at,
    sequence = excluded.sequence;

UPDATE repository_search SET words = $15
WHERE rowid = (SELECT id FROM repositories WHERE name = $1) AND words <> $15;

UPDATE repository_list SET description = $16 WHERE name = $1 AND description <> $16;
";

async fn delete(
    c: &mut Connection,
    repository: RepositoryName,
    reference: ManifestRef,
    keeps: Keeps<impl Fn(&str) -> bool>,
) -> Result<Option<Delete>, MetaError> {
    let Some(repository) = find_repository(c, &repository).await? else {
        return Ok(None);
    };
    match reference {
        ManifestRef::Tag(tag) => {
            if (keeps.immutable)(tag.as_str()) {
                return Ok(Some(Delete::Immutable(tag.as_str().to_owned())));
            }
            let done = query("DELETE FROM tags WHERE repository_id = ? AND name = ?")
                .bind(repository)
                .bind(tag.as_str())
                .execute(&mut *c)
                .await?;
            if done.rows_affected() == 0 {
                return Ok(None);
            }
            Ok(Some(Delete::Done(Deleted {
                manifest: None,
                tags: vec![tag.as_str().to_owned()],
            })))
        }
        ManifestRef::Digest(digest) => {
            let id: Option<i64> =
                query_scalar("SELECT id FROM manifests WHERE repository_id = ? AND digest = ?")
                    .bind(repository)
                    .bind(digest.to_string())
                    .fetch_optional(&mut *c)
                    .await?;
            let Some(id) = id else { return Ok(None) };
            let tags: Vec<String> = query_scalar("SELECT name FROM tags WHERE manifest_id = ?")
                .bind(id)
                .fetch_all(&mut *c)
                .await?;
            if let Some(tag) = tags.iter().find(|tag| (keeps.immutable)(tag)) {
                return Ok(Some(Delete::Immutable(tag.clone())));
            }
            let immutable = tag_needing_manifest(c, repository, &digest, &keeps.immutable).await?;
            if let Some(tag) = immutable {
                return Ok(Some(Delete::Immutable(tag)));
            }
            if !keeps.needed_may_go
                && let Some(tag) = tag_needing_manifest(c, repository, &digest, |_| true).await?
            {
                return Ok(Some(Delete::Needed(tag)));
            }
            let tags: Vec<String> =
                query_scalar("DELETE FROM tags WHERE manifest_id = ? RETURNING name")
                    .bind(id)
                    .fetch_all(&mut *c)
                    .await?;
            query("DELETE FROM manifests WHERE id = ?")
                .bind(id)
                .execute(c)
                .await?;
            Ok(Some(Delete::Done(Deleted {
                manifest: Some(digest),
                tags,
            })))
        }
    }
}
