//! Which blobs a repository shows.

use bytes::Bytes;
use oci::Digest;

use super::changes::Admit;
use super::changes::need;
use super::database::Meta;
use super::engine::{Connection, query, query_as, query_scalar};
use super::error::MetaError;
use super::events::note;
use super::job::job;
use super::needed::tag_needing_blob;
use super::sql::{from_sql, to_sql};
use crate::clock::now;
use crate::events::Notice;
use crate::name::RepositoryName;
use crate::quota::Exceeded;

/// How taking a blob out of a repository went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unlink {
    /// It is not shown any more.
    Done,
    /// It was not there.
    Unknown,
    /// This tag needs it and must not change, so nothing was changed.
    Immutable(String),
}

/// A blob to be shown, whose file has its name.
#[derive(Clone, Debug)]
pub struct NewBlob {
    /// What it is.
    pub digest: Digest,
    /// Bytes.
    pub size: u64,
    /// Its content, where its file may not be durable.
    pub content: Option<Bytes>,
}

impl NewBlob {
    /// One whose file is durable.
    pub fn durable(digest: &Digest, size: u64) -> Self {
        Self {
            digest: digest.clone(),
            size,
            content: None,
        }
    }
}

impl Meta {
    /// The size of a blob that `repository` shows.
    ///
    /// # Errors
    /// [`MetaError`].
    pub async fn blob_size(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<Option<u64>, MetaError> {
        let size: Option<i64> = query_scalar(
            "SELECT b.size FROM repositories r
             JOIN repository_blobs rb ON rb.repository_id = r.id
             JOIN blobs b ON b.id = rb.blob_id
             WHERE b.digest = ?2 AND r.name = ?1",
        )
        .bind(repository.as_str())
        .bind(digest.to_string())
        .fetch_optional(&self.readers)
        .await?;
        Ok(size.map(from_sql))
    }

    /// Has a blob that `repository` shows stay for as long as one that was just pushed: where its
    /// link is older than `before`, it is made anew. Whether it is shown.
    ///
    /// # Errors
    /// [`MetaError`].
    pub async fn keep_link(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        before: i64,
    ) -> Result<bool, MetaError> {
        let fresh: Option<bool> = query_scalar(
            "SELECT rb.linked_at >= ?3 FROM repositories r
             JOIN repository_blobs rb ON rb.repository_id = r.id
             JOIN blobs b ON b.id = rb.blob_id
             WHERE b.digest = ?2 AND r.name = ?1",
        )
        .bind(repository.as_str())
        .bind(digest.to_string())
        .bind(before)
        .fetch_optional(&self.readers)
        .await?;
        match fresh {
            None => return Ok(false),
            Some(true) => return Ok(true),
            Some(false) => {}
        }
        let (repository, digest) = (repository.clone(), digest.clone());
        let work = job(move |c| {
            Box::pin(async move {
                let done = query(
                    "UPDATE repository_blobs SET linked_at = ?3
                     WHERE repository_id = (SELECT id FROM repositories WHERE name = ?1)
                       AND blob_id = (SELECT id FROM blobs WHERE digest = ?2)",
                )
                .bind(repository.as_str())
                .bind(digest.to_string())
                .bind(now())
                .execute(c)
                .await?;
                Ok(done.rows_affected() > 0)
            })
        });
        self.writer.run(work, |_| {}).await
    }

    /// The first of these blobs that `repository` shows with another size than is told of it, and
    /// the size that it has.
    ///
    /// # Errors
    /// [`MetaError`].
    pub async fn wrong_size(
        &self,
        repository: &RepositoryName,
        told: &[(Digest, u64)],
    ) -> Result<Option<(Digest, u64)>, MetaError> {
        let told: Vec<(String, i64)> = told
            .iter()
            .map(|(digest, size)| (digest.to_string(), to_sql(*size)))
            .collect();
        let told = serde_json::to_string(&told)
            .map_err(|e| MetaError::Corrupt(format!("sizes as JSON: {e}")))?;
        let wrong: Option<(String, i64)> = query_as(
            "WITH told (place, digest, size) AS (
                 SELECT key, value ->> 0, CAST(value ->> 1 AS BIGINT) FROM json_each(?2))
             SELECT t.digest, b.size FROM told t
             JOIN blobs b ON b.digest = t.digest
             JOIN repository_blobs rb ON rb.blob_id = b.id
             JOIN repositories r ON r.id = rb.repository_id
             WHERE r.name = ?1 AND b.size <> t.size ORDER BY t.place LIMIT 1",
        )
        .bind(repository.as_str())
        .bind(told)
        .fetch_optional(&self.readers)
        .await?;
        let Some((text, size)) = wrong else {
            return Ok(None);
        };
        let digest = text
            .parse()
            .map_err(|e| MetaError::Corrupt(format!("digest {text:?}: {e}")))?;
        Ok(Some((digest, from_sql(size))))
    }

    /// The repositories that show a blob; a thousand of them at most.
    ///
    /// # Errors
    /// [`MetaError`].
    pub async fn blob_anywhere(&self, digest: &Digest) -> Result<Vec<String>, MetaError> {
        Ok(query_scalar(
            "SELECT r.name FROM blobs b
             JOIN repository_blobs rb ON rb.blob_id = b.id
             JOIN repositories r ON r.id = rb.repository_id
             WHERE b.digest = ? LIMIT 1000",
        )
        .bind(digest.to_string())
        .fetch_all(&self.readers)
        .await?)
    }

    /// Shows a blob, durable by its file or by its content, in `repository`, unless `admit`
    /// refuses, and notes what webhooks are told. It has to be [announced](Meta::announce).
    ///
    /// # Errors
    /// [`MetaError`].
    pub async fn link_blob(
        &self,
        repository: &RepositoryName,
        blob: NewBlob,
        admit: Option<Admit>,
        notices: Vec<Notice>,
        effect: impl FnOnce() + Send + 'static,
    ) -> Result<Result<(), Exceeded>, MetaError> {
        let NewBlob {
            digest,
            size,
            content,
        } = blob;
        let repository = repository.clone();
        let number = content.as_ref().map(|c| self.unsettled.number(c));
        let replica = self.replica.clone();
        self.writer
            .run(
                move |c| {
                    Box::pin(async move {
                        if let Some(replica) = replica {
                            replica.expects(c, &digest).await?;
                        }
                        if let Some(admit) = admit {
                            let need = need(c, &repository, &digest, size).await?;
                            if let Err(e) = admit(need) {
                                return Ok(Err(e));
                            }
                        }
                        // One call for all of them: each costs a change of threads.
                        query(
                            "INSERT INTO repositories (name, created_at) VALUES ($1, $4)
                             ON CONFLICT DO NOTHING;
                             INSERT INTO blobs (digest, size, created_at) VALUES ($2, $3, $4)
                             ON CONFLICT (digest) DO UPDATE SET size = excluded.size, stored = 1;
                             INSERT INTO repository_blobs (repository_id, blob_id, linked_at)
                             SELECT r.id, b.id, $4 FROM repositories r, blobs b
                             WHERE r.name = $1 AND b.digest = $2
                             ON CONFLICT (repository_id, blob_id)
                             DO UPDATE SET linked_at = excluded.linked_at;
                             INSERT INTO unsettled (id, digest, content)
                             SELECT $5, $2, $6 WHERE $5 IS NOT NULL;",
                        )
                        .bind(repository.as_str())
                        .bind(digest.to_string())
                        .bind(to_sql(size))
                        .bind(now())
                        .bind(number)
                        .bind(content.as_deref())
                        .execute(&mut *c)
                        .await?;
                        note(c, notices).await?;
                        Ok(Ok(()))
                    })
                },
                move |_| effect(),
            )
            .await
    }

    /// Shows in `to` a blob that `from` shows, unless `admit` refuses; its size, or `None` when
    /// `from` does not show it (any more). `notices` says what webhooks are told of a blob of its
    /// size.
    ///
    /// # Errors
    /// [`MetaError`].
    pub async fn mount_blob(
        &self,
        from: &RepositoryName,
        to: &RepositoryName,
        digest: &Digest,
        admit: Option<Admit>,
        notices: impl FnOnce(u64) -> Vec<Notice> + Send + 'static,
        effect: impl FnOnce() + Send + 'static,
    ) -> Result<Result<Option<u64>, Exceeded>, MetaError> {
        let (from, to, digest) = (from.clone(), to.clone(), digest.clone());
        self.writer
            .run(
                move |c| {
                    Box::pin(async move {
                        let found: Option<(i64, i64)> = query_as(
                            "SELECT b.id, b.size FROM repositories r
                             JOIN repository_blobs rb ON rb.repository_id = r.id
                             JOIN blobs b ON b.id = rb.blob_id
                             WHERE b.digest = ?2 AND r.name = ?1",
                        )
                        .bind(from.as_str())
                        .bind(digest.to_string())
                        .fetch_optional(&mut *c)
                        .await?;
                        let Some((blob, size)) = found else {
                            return Ok(Ok(None));
                        };
                        if let Some(admit) = admit {
                            let need = need(c, &to, &digest, from_sql(size)).await?;
                            if let Err(e) = admit(need) {
                                return Ok(Err(e));
                            }
                        }
                        let repository = repository_id(c, &to).await?;
                        link(c, repository, blob).await?;
                        note(c, notices(from_sql(size))).await?;
                        Ok(Ok(Some(from_sql(size))))
                    })
                },
                move |_| effect(),
            )
            .await
    }

    /// Takes a blob out of `repository`, unless a tag of which `immutable` is true needs it. Other
    /// repositories keep it. `notices` are what webhooks are told.
    ///
    /// # Errors
    /// [`MetaError`].
    pub async fn unlink_blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        immutable: Option<impl Fn(&str) -> bool + Send + Sync + 'static>,
        notices: Vec<Notice>,
        effect: impl FnOnce() + Send + 'static,
    ) -> Result<Unlink, MetaError> {
        let (repository, digest) = (repository.clone(), digest.clone());
        self.writer
            .run(
                move |c| {
                    Box::pin(async move {
                        if let Some(immutable) = immutable
                            && let Some(id) = find_repository(c, &repository).await?
                            && let Some(tag) = tag_needing_blob(c, id, &digest, immutable).await?
                        {
                            return Ok(Unlink::Immutable(tag));
                        }
                        let done = query(
                            "DELETE FROM repository_blobs
                             WHERE repository_id = (SELECT id FROM repositories WHERE name = ?)
                               AND blob_id = (SELECT id FROM blobs WHERE digest = ?)",
                        )
                        .bind(repository.as_str())
                        .bind(digest.to_string())
                        .execute(&mut *c)
                        .await?;
                        if done.rows_affected() == 0 {
                            return Ok(Unlink::Unknown);
                        }
                        note(c, notices).await?;
                        Ok(Unlink::Done)
                    })
                },
                move |unlinked| {
                    if *unlinked == Unlink::Done {
                        effect();
                    }
                },
            )
            .await
    }
}

/// The repository's row, made when needed.
async fn repository_id(c: &mut Connection, name: &RepositoryName) -> Result<i64, MetaError> {
    if let Some(id) = find_repository(c, name).await? {
        return Ok(id);
    }
    Ok(
        query_scalar("INSERT INTO repositories (name, created_at) VALUES (?, ?) RETURNING id")
            .bind(name.as_str())
            .bind(now())
            .fetch_one(c)
            .await?,
    )
}

impl Meta {
    /// The row of a repository; `None` when there is none.
    ///
    /// # Errors
    /// [`MetaError`].
    pub async fn id_of(&self, repository: &RepositoryName) -> Result<Option<i64>, MetaError> {
        let mut connection = self.readers.acquire().await?;
        let id = find_repository(&mut connection, repository).await;
        self.noted(id)
    }
}

pub(super) async fn find_repository(
    c: &mut Connection,
    name: &RepositoryName,
) -> Result<Option<i64>, MetaError> {
    Ok(query_scalar("SELECT id FROM repositories WHERE name = ?")
        .bind(name.as_str())
        .fetch_optional(c)
        .await?)
}

async fn link(c: &mut Connection, repository: i64, blob: i64) -> Result<(), MetaError> {
    query(
        "INSERT INTO repository_blobs (repository_id, blob_id, linked_at) VALUES (?, ?, ?)
         ON CONFLICT (repository_id, blob_id)
                             DO UPDATE SET linked_at = excluded.linked_at",
    )
    .bind(repository)
    .bind(blob)
    .bind(now())
    .execute(c)
    .await?;
    Ok(())
}
