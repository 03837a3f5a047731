//! Tags and manifests that go by rule, and when they were last pulled.

use std::collections::HashMap;
use std::time::Duration;

use oci::Digest;
use sqlx::AssertSqlSafe;

use super::collection::{Collection, Slice};
use super::database::Meta;
use super::engine::{Connection, query, query_as, query_scalar};
use super::error::MetaError;
use super::job::job;
use super::sql::json;
use crate::name::RepositoryName;
use crate::policy::TagAge;

/// A manifest `m` that no tag, no index and no subject keeps, and that has been without tag since
/// before ?1.
const UNTAGGED: &str = "m.untagged_at < ?1
    AND NOT EXISTS (SELECT 1 FROM tags t WHERE t.manifest_id = m.id)
    AND NOT EXISTS (
        SELECT 1 FROM manifest_children c
        WHERE c.repository_id = m.repository_id AND c.child_digest = m.digest)
    AND NOT EXISTS (
        SELECT 1 FROM manifests s
        WHERE s.repository_id = m.repository_id AND s.digest = m.subject)";

/// Pulls written down in one transaction.
const PULLS: usize = 200;
/// Writes down when manifests were pulled, and their repositories: ? are lists of repository,
/// digest and time.
const PULLED: [&str; 2] = [
    "UPDATE manifests SET pulled_at = p.at FROM (
         SELECT m.id, CAST(j.value ->> 2 AS BIGINT) AS at FROM json_each(?) j
         CROSS JOIN repositories r ON r.name = j.value ->> 0
         CROSS JOIN manifests m ON m.repository_id = r.id AND m.digest = j.value ->> 1) p
     WHERE p.id = manifests.id",
    "UPDATE repository_list SET pulled_at = max(pulled_at, p.at) FROM (
         SELECT j.value ->> 0 AS name, max(CAST(j.value ->> 2 AS BIGINT)) AS at FROM json_each(?) j
         GROUP BY 1) p
     WHERE p.name = repository_list.name",
];
/// Sorts after every digest.
const AFTER_DIGESTS: &str = "~";

/// A tag and the push that set it: one that was pushed again meanwhile is another.
pub type TagPush = (String, i64);

/// What went with manifests that nothing kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expired {
    /// Their digests.
    pub manifests: Vec<String>,
    /// The tags that belonged to them, such as those of their signatures.
    pub tags: Vec<String>,
    /// Rows of manifests that may have been kept only by those.
    pub freed: Vec<i64>,
}

impl Collection<'_> {
    /// Up to `n` repositories, row and name, whose names sort after `after`.
    ///
    /// # Errors
    /// [`MetaError`].
    pub async fn repositories(
        &self,
        after: String,
        n: u32,
    ) -> Result<Vec<(i64, String)>, MetaError> {
        self.look(move |c| {
            Box::pin(async move {
                Ok(query_as(
                    "SELECT id, name FROM repositories WHERE name > ? ORDER BY name LIMIT ?",
                )
                .bind(after)
                .bind(n)
                .fetch_all(c)
                .await?)
            })
        })
        .await
    }

    /// Up to `n` tags of a repository that sort after `after`, with their times.
    ///
    /// # Errors
    /// [`MetaError`].
    pub async fn tag_ages(
        &self,
        repository: i64,
        after: String,
        n: u32,
    ) -> Result<Vec<TagAge>, MetaError> {
        type Row = (String, String, Option<String>, i64, i64, Option<i64>);
        self.look(move |c| {
            Box::pin(async move {
                let rows: Vec<Row> = query_as(
                    "SELECT t.name, m.digest,
                            (SELECT s.digest FROM manifests s
                             WHERE s.repository_id = m.repository_id AND s.digest = m.subject),
                            t.updated_at, t.sequence, m.pulled_at
                     FROM tags t CROSS JOIN manifests m ON m.id = t.manifest_id
                     WHERE t.repository_id = ? AND t.name > ? ORDER BY t.name LIMIT ?",
                )
                .bind(repository)
                .bind(after)
                .bind(n)
                .fetch_all(c)
                .await?;
                Ok(rows
                    .into_iter()
                    .map(
                        |(name, digest, subject, pushed_at, sequence, pulled_at)| TagAge {
                            name,
                            digest,
                            subject,
                            pushed_at,
                            sequence,
                            pulled_at,
                        },
                    )
                    .collect())
            })
        })
        .await
    }

    /// Which digests of manifests of a repository begin with one of `prefixes`, by prefix.
    ///
    /// # Errors
    /// [`MetaError`].
    pub async fn shown(
        &self,
        repository: i64,
        prefixes: Vec<String>,
    ) -> Result<HashMap<String, String>, MetaError> {
        self.look(move |c| {
            Box::pin(async move {
                let rows: Vec<(String, String)> = query_as(
                    "SELECT j.value, m.digest FROM json_each(?) j
                     CROSS JOIN manifests m ON m.repository_id = ?
                       AND m.digest >= j.value AND m.digest < j.value || 'g'",
                )
                .bind(json(&prefixes)?)
                .bind(repository)
                .fetch_all(c)
                .await?;
                Ok(rows.into_iter().collect())
            })
        })
        .await
    }

    /// Those of `prefixes` with which the digest of a manifest begins, in any repository.
    ///
    /// # Errors
    /// [`MetaError`].
    pub async fn shown_anywhere(&self, prefixes: Vec<String>) -> Result<Vec<String>, MetaError> {
        self.look(move |c| {
            Box::pin(async move {
                Ok(query_scalar(
                    "SELECT j.value FROM json_each(?) j WHERE EXISTS (
                         SELECT 1 FROM blobs b CROSS JOIN manifests m ON m.blob_id = b.id
                         WHERE b.digest >= j.value AND b.digest < j.value || 'g')",
                )
                .bind(json(&prefixes)?)
                .fetch_all(c)
                .await?)
            })
        })
        .await
    }

    /// What manifests of a repository list, and what refers to them; with that manifest's digest.
    ///
    /// # Errors
    /// [`MetaError`].
    pub async fn belonging(
        &self,
        repository: i64,
        digests: Vec<String>,
    ) -> Result<Vec<(String, String)>, MetaError> {
        self.look(move |c| {
            Box::pin(async move {
                Ok(query_as(
                    "SELECT j.value, n.child_digest FROM json_each(?1) j
                     CROSS JOIN manifests m ON m.repository_id = ?2 AND m.digest = j.value
                     CROSS JOIN manifest_children n ON n.manifest_id = m.id
                     UNION ALL
                     SELECT j.value, s.digest FROM json_each(?1) j
                     CROSS JOIN manifests s ON s.repository_id = ?2 AND s.subject = j.value",
                )
                .bind(json(&digests)?)
                .bind(repository)
                .fetch_all(c)
                .await?)
            })
        })
        .await
    }

    /// Deletes those groups of tags of which none was pushed again meanwhile; which tags went.
    ///
    /// # Errors
    /// [`MetaError`].
    pub async fn expire_tags(
        &self,
        repository: i64,
        groups: Vec<Vec<TagPush>>,
        effect: impl FnOnce(&Vec<String>) + Send + 'static,
    ) -> Result<(Vec<String>, Duration), MetaError> {
        let work = job(move |c| {
            Box::pin(async move {
                let names: Vec<&str> = groups.iter().flatten().map(|(n, _)| n.as_str()).collect();
                let current: Vec<TagPush> = query_as(
                    "SELECT t.name, t.sequence FROM json_each(?) j
                     CROSS JOIN tags t ON t.repository_id = ? AND t.name = j.value",
                )
                .bind(json(&names)?)
                .bind(repository)
                .fetch_all(&mut *c)
                .await?;
                let current: HashMap<String, i64> = current.into_iter().collect();
                let same = |group: &Vec<TagPush>| {
                    group
                        .iter()
                        .all(|(name, push)| current.get(name) == Some(push))
                };
                let gone: Vec<String> = groups
                    .into_iter()
                    .filter(same)
                    .flatten()
                    .map(|(name, _)| name)
                    .collect();
                delete_tags(c, repository, &gone).await?;
                Ok(gone)
            })
        });
        self.change(work, effect).await
    }

    /// Those of the `n` manifests of a repository after the digest `after` that nothing keeps and
    /// that have had no tag since before `cutoff`.
    ///
    /// # Errors
    /// [`MetaError`].
    pub async fn untagged(
        &self,
        repository: i64,
        cutoff: i64,
        after: String,
        n: u32,
    ) -> Result<Slice<Vec<i64>, String>, MetaError> {
        self.look(move |c| {
            Box::pin(async move {
                let next: Option<String> = query_scalar(
                    "SELECT digest FROM manifests WHERE repository_id = ? AND digest > ?
                     ORDER BY digest LIMIT 1 OFFSET ?",
                )
                .bind(repository)
                .bind(&after)
                .bind(n.saturating_sub(1))
                .fetch_optional(&mut *c)
                .await?;
                let found = query_scalar(AssertSqlSafe(format!(
                    "SELECT m.id FROM manifests m
                     WHERE m.repository_id = ?2 AND m.digest > ?3 AND m.digest <= ?4
                       AND {UNTAGGED} ORDER BY m.digest"
                )))
                .bind(cutoff)
                .bind(repository)
                .bind(&after)
                .bind(next.as_deref().unwrap_or(AFTER_DIGESTS))
                .fetch_all(c)
                .await?;
                Ok(Slice { found, next })
            })
        })
        .await
    }

    /// Deletes those of the manifests `ids` that nothing keeps and that have had no tag since
    /// before `cutoff`. The tags of what belongs to them go too, but for those that `keeps` holds;
    /// what they pointed to counts as being without tag for as long as that which it belonged to.
    ///
    /// # Errors
    /// [`MetaError`].
    pub async fn expire_manifests(
        &self,
        repository: i64,
        ids: Vec<i64>,
        cutoff: i64,
        keeps: impl Fn(&str) -> bool + Send + 'static,
        effect: impl FnOnce(&Expired) + Send + 'static,
    ) -> Result<(Expired, Duration), MetaError> {
        let work = job(move |c| {
            Box::pin(async move {
                let gone: Vec<(i64, String, i64)> = query_as(AssertSqlSafe(format!(
                    "SELECT m.id, m.digest, m.untagged_at FROM json_each(?2) j
                     CROSS JOIN manifests m ON m.id = CAST(j.value AS BIGINT)
                     WHERE {UNTAGGED}"
                )))
                .bind(cutoff)
                .bind(json(&ids)?)
                .fetch_all(&mut *c)
                .await?;
                if gone.is_empty() {
                    return Ok(Expired::default());
                }
                let mut freed = held_by(c, repository, &gone).await?;
                let tags = take_companions(c, repository, &gone, keeps, &mut freed).await?;
                let ids: Vec<i64> = gone.iter().map(|(id, ..)| *id).collect();
                query(
                    "DELETE FROM manifests
                     WHERE id IN (SELECT CAST(value AS BIGINT) FROM json_each(?))",
                )
                .bind(json(&ids)?)
                .execute(c)
                .await?;
                Ok(Expired {
                    manifests: gone.into_iter().map(|(_, digest, _)| digest).collect(),
                    tags,
                    freed,
                })
            })
        });
        self.change(work, effect).await
    }
}

/// What these manifests list, and what refers to them.
async fn held_by(
    c: &mut Connection,
    repository: i64,
    gone: &[(i64, String, i64)],
) -> Result<Vec<i64>, MetaError> {
    Ok(query_scalar(
        "SELECT m.id FROM json_each(?1) j
         CROSS JOIN manifest_children n ON n.manifest_id = CAST(j.value ->> 0 AS BIGINT)
         CROSS JOIN manifests m ON m.repository_id = ?2 AND m.digest = n.child_digest
         UNION
         SELECT s.id FROM json_each(?1) j
         CROSS JOIN manifests s ON s.repository_id = ?2 AND s.subject = j.value ->> 1",
    )
    .bind(json(gone)?)
    .bind(repository)
    .fetch_all(c)
    .await?)
}

/// Deletes the tags of what belongs to manifests that go: those named by their digests, as cosign
/// names them, and those of what refers to them. Which went; their manifests are added to `freed`.
async fn take_companions(
    c: &mut Connection,
    repository: i64,
    gone: &[(i64, String, i64)],
    keeps: impl Fn(&str) -> bool,
    freed: &mut Vec<i64>,
) -> Result<Vec<String>, MetaError> {
    // 71 characters are an algorithm and 64 digits, which is what such tags have of a digest. The
    // dot before their suffix is followed by the slash, which no tag has.
    let companions: Vec<(String, i64, i64)> = query_as(
        "WITH gone (digest, untagged_at, tag) AS MATERIALIZED (
             SELECT value ->> 1, CAST(value ->> 2 AS BIGINT),
                    replace(substr(value ->> 1, 1, 71), ':', '-')
             FROM json_each(?1))
         SELECT t.name, t.manifest_id, g.untagged_at FROM gone g
         CROSS JOIN tags t ON t.repository_id = ?2 AND t.name >= g.tag AND t.name < g.tag || '/'
         WHERE t.name = g.tag OR substr(t.name, length(g.tag) + 1, 1) = '.'
         UNION
         SELECT t.name, t.manifest_id, g.untagged_at FROM gone g
         CROSS JOIN manifests s ON s.repository_id = ?2 AND s.subject = g.digest
         CROSS JOIN tags t ON t.manifest_id = s.id",
    )
    .bind(json(gone)?)
    .bind(repository)
    .fetch_all(&mut *c)
    .await?;
    let companions: Vec<_> = companions
        .into_iter()
        .filter(|(name, ..)| !keeps(name))
        .collect();
    let mut names: Vec<String> = companions.iter().map(|(name, ..)| name.clone()).collect();
    names.dedup();
    delete_tags(c, repository, &names).await?;
    for (_, manifest, untagged_at) in companions {
        query(
            "UPDATE manifests SET untagged_at = ?
             WHERE id = ?2 AND NOT EXISTS (SELECT 1 FROM tags WHERE manifest_id = ?2)",
        )
        .bind(untagged_at)
        .bind(manifest)
        .execute(&mut *c)
        .await?;
        freed.push(manifest);
    }
    Ok(names)
}

async fn delete_tags(
    c: &mut Connection,
    repository: i64,
    names: &[String],
) -> Result<(), MetaError> {
    if names.is_empty() {
        return Ok(());
    }
    query(
        "DELETE FROM tags
         WHERE repository_id = ? AND name IN (SELECT value FROM json_each(?))",
    )
    .bind(repository)
    .bind(json(names)?)
    .execute(c)
    .await?;
    Ok(())
}

impl Meta {
    /// Notes when manifests were last pulled, so many in one transaction.
    ///
    /// # Errors
    /// [`MetaError`].
    pub async fn mark_pulled(
        &self,
        pulls: &[(RepositoryName, Digest, i64)],
    ) -> Result<(), MetaError> {
        for some in pulls.chunks(PULLS) {
            let list: Vec<(&str, String, i64)> = some
                .iter()
                .map(|(name, digest, at)| (name.as_str(), digest.to_string(), *at))
                .collect();
            let list = json(&list)?;
            self.writer
                .run(
                    move |c| {
                        Box::pin(async move {
                            for sql in PULLED {
                                query(sql).bind(&list).execute(&mut *c).await?;
                            }
                            Ok(())
                        })
                    },
                    |()| {},
                )
                .await?;
        }
        Ok(())
    }
}
