//! Lists in pages, straight from an index: the cost of a page does not grow with the list.

use super::database::Meta;
use super::engine::{query_as, query_scalar};
use super::error::MetaError;
use super::sql::{from_sql, json};
use crate::name::RepositoryName;

/// One page of names, in byte order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The names.
    pub names: Vec<String>,
    /// Whether there are more after the last one.
    pub more: bool,
}

impl Page {
    /// Of names that a query gave line by line, one more than `n` where there are more. One value,
    /// since each row of an answer changes threads.
    fn cut(lines: Option<String>, n: u32) -> Self {
        let lines = lines.unwrap_or_default();
        let mut names: Vec<String> = lines.lines().map(str::to_owned).collect();
        let more = names.len() > n as usize;
        names.truncate(n as usize);
        Self { names, more }
    }

    /// Up to `n` of all names, in byte order, that come after `last`.
    pub fn after(all: &[String], n: u32, last: &str) -> Self {
        let from = all.partition_point(|name| name.as_str() <= last);
        let left = all.get(from..).unwrap_or_default();
        let wanted = left.len().min(n as usize);
        Self {
            names: left.get(..wanted).unwrap_or_default().to_vec(),
            more: wanted < left.len(),
        }
    }
}

/// How much there is of everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Repositories.
    pub repositories: u64,
    /// Manifests, counted in each repository.
    pub manifests: u64,
    /// Tags.
    pub tags: u64,
    /// Blobs stored, manifests included.
    pub blobs: u64,
    /// Bytes of the blobs stored.
    pub bytes: u64,
}

impl Meta {
    /// Counts everything.
    ///
    /// # Errors
    /// [`MetaError`].
    pub async fn usage(&self) -> Result<Usage, MetaError> {
        let (repositories, manifests, tags, blobs, bytes): (i64, i64, i64, i64, i64) = query_as(
            "SELECT (SELECT count(*) FROM repositories), (SELECT count(*) FROM manifests),
                        (SELECT count(*) FROM tags), count(*),
                    CAST(coalesce(sum(size), 0) AS BIGINT)
                 FROM blobs WHERE stored = 1",
        )
        .fetch_one(&self.readers)
        .await?;
        Ok(Usage {
            repositories: from_sql(repositories),
            manifests: from_sql(manifests),
            tags: from_sql(tags),
            blobs: from_sql(blobs),
            bytes: from_sql(bytes),
        })
    }

    /// Up to `n` repositories whose names sort after `last`, of those from `first` to `end`.
    ///
    /// # Errors
    /// [`MetaError`].
    pub async fn repositories(
        &self,
        n: u32,
        last: &str,
        first: &str,
        end: &str,
    ) -> Result<Page, MetaError> {
        let names: Option<String> = query_scalar(
            "SELECT group_concat(name, '\n') FROM (
                 SELECT name FROM repositories
                 WHERE name > ?1 AND name >= ?2 AND name <= ?3 AND emptied = 0
                 ORDER BY name LIMIT ?4) AS page",
        )
        .bind(last.to_owned())
        .bind(last.max(first).to_owned())
        .bind(end.to_owned())
        .bind(i64::from(n) + 1)
        .fetch_one(&self.readers)
        .await?;
        Ok(Page::cut(names, n))
    }

    /// Up to `n` tags that sort after `last`; `None` when there is no such repository.
    ///
    /// # Errors
    /// [`MetaError`].
    pub async fn tags(
        &self,
        repository: &RepositoryName,
        n: u32,
        last: &str,
    ) -> Result<Option<Page>, MetaError> {
        let found: Option<(i64, Option<String>)> = query_as(
            "SELECT r.id, (SELECT group_concat(name, '\n') FROM (
                 SELECT t.name FROM tags t WHERE t.repository_id = r.id AND t.name > ?2
                 ORDER BY t.name LIMIT ?3) AS page)
             FROM repositories r WHERE r.name = ?1",
        )
        .bind(repository.as_str())
        .bind(last.to_owned())
        .bind(i64::from(n) + 1)
        .fetch_optional(&self.readers)
        .await?;
        Ok(found.map(|(_, names)| Page::cut(names, n)))
    }

    /// Those of `names` that are no tags of a repository here, in the same order.
    ///
    /// # Errors
    /// [`MetaError`].
    pub async fn tags_not_here(
        &self,
        repository: &RepositoryName,
        names: &[String],
    ) -> Result<Vec<String>, MetaError> {
        let missing: String = query_scalar(
            "SELECT json_group_array(value) FROM (
                 SELECT j.value FROM json_each(?2) j WHERE NOT EXISTS (
                     SELECT 1 FROM repositories r
                     JOIN tags t ON t.repository_id = r.id AND t.name = j.value
                     WHERE r.name = ?1)
                 ORDER BY j.key) AS missing",
        )
        .bind(repository.as_str())
        .bind(json(names)?)
        .fetch_one(&self.readers)
        .await?;
        serde_json::from_str(&missing).map_err(|e| MetaError::Corrupt(e.to_string()))
    }
}
