//! What lists show of that which was there before they were: put in a slice at a time.
//!
//! Every slice is one transaction, which also says how far it got, so that a process that ends
//! loses nothing. What is pushed meanwhile lists itself.

use super::database::Meta;
use super::engine::{Connection, query, query_as};
use super::error::MetaError;
use super::manifests::{ManifestRow, manifest_row};
use super::sql::{json, to_sql};
use crate::describe::{Description, Text};

/// What is to be put in next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fill {
    /// Repositories, which need nothing but what is in the database.
    Repositories(i64),
    /// Manifests after this row, which have to be read.
    Manifests(i64),
    /// Tags after this one of this repository.
    Tags(i64, String),
    /// What the repositories after this one can be found by: their newest image has to be read.
    Words(i64),
}

/// A manifest whose bytes are to be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undescribed {
    /// The row of what is described: a manifest, or for words a repository.
    pub row: i64,
    /// The repository's name.
    pub repository: String,
    /// The manifest.
    pub manifest: ManifestRow,
}

impl Meta {
    /// What is to be put in next; `None` when all is.
    ///
    /// # Errors
    /// [`MetaError`].
    pub async fn next_fill(&self) -> Result<Option<Fill>, MetaError> {
        let row: Option<(String, i64, String)> =
            query_as("SELECT kind, repository_id, name FROM list_fill ORDER BY step LIMIT 1")
                .fetch_optional(&self.readers)
                .await?;
        Ok(row.map(|(kind, id, name)| match kind.as_str() {
            "repositories" => Fill::Repositories(id),
            "manifests" => Fill::Manifests(id),
            "tags" => Fill::Tags(id, name),
            _ => Fill::Words(id),
        }))
    }

    /// Lists the `n` repositories after row `after`.
    ///
    /// # Errors
    /// [`MetaError`].
    pub async fn fill_repositories(&self, after: i64, n: u32) -> Result<(), MetaError> {
        self.writer
            .run(
                move |c| {
                    Box::pin(async move {
                        query(
                            "INSERT INTO repository_list (repository_id, name, bytes)
                             SELECT id, name, bytes FROM repositories
                             WHERE id > $1 AND emptied = 0 ORDER BY id LIMIT $2
                             ON CONFLICT DO NOTHING;
                             UPDATE list_fill SET repository_id = (
                                 SELECT max(id) FROM (SELECT id FROM repositories
                                     WHERE id > $1 AND emptied = 0 ORDER BY id LIMIT $2) AS next)
                             WHERE kind = 'repositories' AND EXISTS (
                                 SELECT 1 FROM repositories WHERE id > $1 AND emptied = 0);
                             DELETE FROM list_fill
                             WHERE kind = 'repositories' AND repository_id = $1;",
                        )
                        .bind(after)
                        .bind(n)
                        .execute(c)
                        .await?;
                        Ok(())
                    })
                },
                |()| {},
            )
            .await
    }

    /// Lists the `n` tags after one, by repository and name.
    ///
    /// # Errors
    /// [`MetaError`].
    pub async fn fill_tags(&self, after: (i64, String), n: u32) -> Result<(), MetaError> {
        self.writer
            .run(
                move |c| {
                    Box::pin(async move {
                        let last: Option<(i64, String)> = query_as(
                            "SELECT repository_id, name FROM tags
                             WHERE (repository_id, name) > (?1, ?2)
                             ORDER BY repository_id, name LIMIT 1 OFFSET ?3",
                        )
                        .bind(after.0)
                        .bind(after.1.clone())
                        .bind(n.saturating_sub(1))
                        .fetch_optional(&mut *c)
                        .await?;
                        // No name has a tilde.
                        let end = last.clone().unwrap_or((i64::MAX, "~".to_owned()));
                        query(
                            "INSERT INTO tag_list (repository_id, name, sequence, bytes)
                             SELECT t.repository_id, t.name, t.sequence, m.content_bytes
                             FROM tags t CROSS JOIN manifests m ON m.id = t.manifest_id
                             WHERE (t.repository_id, t.name) > (?1, ?2)
                               AND (t.repository_id, t.name) <= (?3, ?4)
                             ON CONFLICT DO NOTHING",
                        )
                        .bind(after.0)
                        .bind(after.1)
                        .bind(end.0)
                        .bind(end.1)
                        .execute(&mut *c)
                        .await?;
                        match last {
                            Some((repository, name)) => query(
                                "UPDATE list_fill SET repository_id = ?, name = ?
                                 WHERE kind = 'tags'",
                            )
                            .bind(repository)
                            .bind(name),
                            None => query("DELETE FROM list_fill WHERE kind = 'tags'"),
                        }
                        .execute(c)
                        .await?;
                        Ok(())
                    })
                },
                |()| {},
            )
            .await
    }

    /// The `n` manifests after row `after`.
    ///
    /// # Errors
    /// [`MetaError`].
    pub async fn undescribed_manifests(
        &self,
        after: i64,
        n: u32,
    ) -> Result<Vec<Undescribed>, MetaError> {
        let rows: Vec<Row> = query_as(
            "SELECT m.id, r.name, m.digest, m.media_type, m.size
             FROM manifests m CROSS JOIN repositories r ON r.id = m.repository_id
             WHERE m.id > ? ORDER BY m.id LIMIT ?",
        )
        .bind(after)
        .bind(n)
        .fetch_all(&self.readers)
        .await?;
        undescribed(rows)
    }

    /// The newest tagged manifests of the `n` listed repositories after row `after`.
    ///
    /// # Errors
    /// [`MetaError`].
    pub async fn undescribed_repositories(
        &self,
        after: i64,
        n: u32,
    ) -> Result<Vec<Undescribed>, MetaError> {
        let rows: Vec<Row> = query_as(
            "SELECT r.repository_id, r.name, m.digest, m.media_type, m.size
             FROM (SELECT repository_id, name FROM repository_list WHERE repository_id > ?1 AND tags > 0
                   ORDER BY repository_id LIMIT ?2) r
             CROSS JOIN tags t ON t.repository_id = r.repository_id AND t.name = (
                 SELECT l.name FROM tag_list l WHERE l.repository_id = r.repository_id
                 ORDER BY l.sequence DESC, l.name DESC LIMIT 1)
             CROSS JOIN manifests m ON m.id = t.manifest_id
             ORDER BY r.repository_id",
        )
        .bind(after)
        .bind(n)
        .fetch_all(&self.readers)
        .await?;
        undescribed(rows)
    }

    /// Writes down what these manifests tell of themselves, and goes on after the last; with none,
    /// this is done. Children were pushed, and so are described, before the indexes that list them.
    ///
    /// # Errors
    /// [`MetaError`].
    pub async fn describe_manifests(
        &self,
        described: Vec<(i64, Option<Description>)>,
    ) -> Result<(), MetaError> {
        let last = described.last().map(|(row, _)| *row);
        self.writer
            .run(
                move |c| {
                    Box::pin(async move {
                        let rows: Vec<i64> = described.iter().map(|(row, _)| *row).collect();
                        query(
                            "UPDATE repository_list SET
                                 pushed_at = max(repository_list.pushed_at, m.pushed),
                                 pulled_at = max(repository_list.pulled_at, m.pulled)
                             FROM (
                                 SELECT repository_id AS id, max(pushed_at) AS pushed,
                                        max(coalesce(pulled_at, 0)) AS pulled
                                 FROM manifests WHERE id IN (
                                     SELECT CAST(value AS BIGINT) FROM json_each(?))
                                 GROUP BY 1) m
                             WHERE m.id = repository_list.repository_id",
                        )
                        .bind(json(&rows)?)
                        .execute(&mut *c)
                        .await?;
                        for (row, found) in described {
                            let Some(found) = found else { continue };
                            query(
                                "UPDATE manifests SET platforms = ?2, created_at = ?4,
                                     content_bytes = ?3 + coalesce((
                                         SELECT sum(max(c.content_bytes, c.size))
                                         FROM manifest_children l CROSS JOIN manifests c
                                             ON c.repository_id = l.repository_id
                                            AND c.digest = l.child_digest
                                         WHERE l.manifest_id = ?1), 0)
                                 WHERE id = ?1",
                            )
                            .bind(row)
                            .bind(found.platforms.join(" "))
                            .bind(to_sql(found.bytes))
                            .bind(found.created_at)
                            .execute(&mut *c)
                            .await?;
                        }
                        advance(c, "manifests", last).await
                    })
                },
                |()| {},
            )
            .await
    }

    /// Writes down what these repositories can be found by, and goes on after the last; with none,
    /// this is done.
    ///
    /// # Errors
    /// [`MetaError`].
    pub async fn describe_repositories(
        &self,
        described: Vec<(i64, Option<Text>)>,
    ) -> Result<(), MetaError> {
        let last = described.last().map(|(row, _)| *row);
        self.writer
            .run(
                move |c| {
                    Box::pin(async move {
                        let texts: Vec<(i64, String, String)> = described
                            .into_iter()
                            .filter_map(|(row, text)| {
                                let text = text?;
                                Some((row, text.words.to_lowercase(), text.description))
                            })
                            .collect();
                        let texts = json(&texts)?;
                        for sql in [
                            "UPDATE repository_search SET words = j.value ->> 1 FROM json_each(?) j
                             WHERE repository_search.rowid = CAST(j.value ->> 0 AS BIGINT)",
                            "UPDATE repository_list SET description = j.value ->> 2 FROM json_each(?) j
                             WHERE repository_id = CAST(j.value ->> 0 AS BIGINT)",
                        ] {
                            query(sql).bind(&texts).execute(&mut *c).await?;
                        }
                        advance(c, "words", last).await
                    })
                },
                |()| {},
            )
            .await
    }
}

/// Row, repository, and the manifest's digest, media type and size.
type Row = (i64, String, String, String, i64);

fn undescribed(rows: Vec<Row>) -> Result<Vec<Undescribed>, MetaError> {
    rows.into_iter()
        .map(|(row, repository, digest, media_type, size)| {
            Ok(Undescribed {
                row,
                repository,
                manifest: manifest_row(&digest, media_type, size)?,
            })
        })
        .collect()
}

/// Says how far a step got, or that it is done.
async fn advance(
    c: &mut Connection,
    kind: &'static str,
    last: Option<i64>,
) -> Result<(), MetaError> {
    match last {
        Some(last) => query("UPDATE list_fill SET repository_id = ? WHERE kind = ?")
            .bind(last)
            .bind(kind),
        None => query("DELETE FROM list_fill WHERE kind = ?").bind(kind),
    }
    .execute(c)
    .await?;
    Ok(())
}
