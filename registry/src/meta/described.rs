//! Lists with what people want to know of each entry, in the order they ask for. Each page comes
//! from an index and begins where the last one ended, so that its cost does not grow with the list.

use serde::{Deserialize, Serialize};
use sqlx::AssertSqlSafe;

use super::database::Meta;
use super::engine::{Parts, Sql, query_as, query_scalar};
use super::error::MetaError;
use super::sql::from_sql;
use crate::name::RepositoryName;
use crate::units::rfc3339;

/// What a list is sorted by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sort {
    /// Names, in byte order.
    #[default]
    Name,
    /// When something was last pushed.
    Time,
    /// Bytes.
    Size,
}

/// The entry that a page ended with. As text it is for clients to send back as it came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// What the entry is sorted by; 0 where that is its name.
    pub key: i64,
    /// The entry's name.
    pub name: String,
}

/// Which page of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListQuery {
    /// What it is sorted by.
    pub sort: Sort,
    /// From the last to the first.
    pub descending: bool,
    /// Only names with this in them, whatever the case.
    pub filter: String,
    /// The entry that the last page ended with.
    pub after: Option<Cursor>,
    /// Entries wanted.
    pub n: u32,
}

/// One page of a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listing<T> {
    /// The entries.
    pub entries: Vec<T>,
    /// Where the next page goes on; none when this is the last one.
    pub next: Option<Cursor>,
}

/// A repository as lists show it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepositoryEntry {
    /// Its name.
    pub name: String,
    /// What its newest image says it is for; often empty.
    pub description: String,
    /// How many tags it has.
    pub tags: u64,
    /// Bytes of its blobs and manifests, each counted once.
    pub bytes: u64,
    /// When a manifest last came.
    #[serde(with = "rfc3339")]
    pub pushed: Option<i64>,
    /// When one was last pulled; known a minute later.
    #[serde(with = "rfc3339")]
    pub pulled: Option<i64>,
}

/// A manifest as lists show it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestEntry {
    /// Its digest.
    pub digest: String,
    /// The media type it was pushed as.
    pub media_type: String,
    /// What kind of artifact it is, where it says so; of an image, its configuration's media type.
    pub artifact_type: Option<String>,
    /// Bytes of the manifest itself.
    pub manifest_bytes: u64,
    /// Bytes of the manifest and all that it brings along; of an index, with its children.
    pub bytes: u64,
    /// What it runs on, as `os/architecture` or `os/architecture/variant`.
    pub platforms: Vec<String>,
    /// When it was made, as it says itself.
    #[serde(with = "rfc3339")]
    pub created: Option<i64>,
    /// When it was last pushed.
    #[serde(with = "rfc3339")]
    pub pushed: Option<i64>,
    /// When it was last pulled; known a minute later.
    #[serde(with = "rfc3339")]
    pub pulled: Option<i64>,
}

/// A tag as lists show it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TagEntry {
    /// Its name.
    pub name: String,
    /// When it was last pushed.
    #[serde(with = "rfc3339")]
    pub tagged: Option<i64>,
    /// Who pushed it, where that is known.
    #[serde(default)]
    pub pushed_by: Option<String>,
    /// Whether there is a signature of what it points to: cosign's tag, or a referrer of cosign's,
    /// sigstore's or notation's.
    pub signed: bool,
    /// What it points to.
    pub manifest: ManifestEntry,
}

impl Cursor {
    /// The text that [`Cursor::parse`] reads.
    pub fn text(&self) -> String {
        format!("{}:{}", self.key, self.name)
    }

    /// Reads what a client sent back; `None` when it is none.
    pub fn parse(text: &str) -> Option<Self> {
        let (key, name) = text.split_once(':')?;
        Some(Self {
            key: key.parse().ok()?,
            name: name.to_owned(),
        })
    }
}

impl ListQuery {
    fn order(&self) -> (&'static str, &'static str) {
        match self.descending {
            false => (">", "ASC"),
            true => ("<", "DESC"),
        }
    }

    /// The entry that comes before the page's first one. No name has a tilde.
    fn start(&self) -> (i64, String) {
        match &self.after {
            Some(after) => (after.key, after.name.clone()),
            None if self.descending => (i64::MAX, "~".to_owned()),
            None => (i64::MIN, String::new()),
        }
    }

    /// One more tells whether there is another page.
    fn limit(&self) -> i64 {
        i64::from(self.n) + 1
    }

    fn cut<T>(&self, mut rows: Vec<(i64, T)>, name: impl Fn(&T) -> &str) -> Listing<T> {
        let more = rows.len() > self.n as usize;
        rows.truncate(self.n as usize);
        let last = rows.last().filter(|_| more);
        let next = last.map(|(key, entry)| Cursor {
            key: *key,
            name: name(entry).to_owned(),
        });
        Listing {
            entries: rows.into_iter().map(|(_, entry)| entry).collect(),
            next,
        }
    }
}

/// A time that may be unknown, as it is stored.
pub(super) fn known(time: i64) -> Option<i64> {
    (time != 0).then_some(time)
}

/// What is shown of a manifest `m`.
pub(super) const MANIFEST: &str = "m.digest, m.media_type, m.artifact_type, m.size,
    m.content_bytes, m.platforms, m.created_at, m.pushed_at, m.pulled_at";

/// The columns of [`MANIFEST`].
pub(super) type ManifestColumns = (
    String,
    String,
    Option<String>,
    i64,
    i64,
    Option<String>,
    Option<i64>,
    i64,
    Option<i64>,
);

pub(super) fn manifest_entry(row: ManifestColumns) -> ManifestEntry {
    let (digest, media_type, artifact_type, size, bytes, platforms, created, pushed, pulled) = row;
    let platforms = platforms.unwrap_or_default();
    ManifestEntry {
        digest,
        media_type,
        artifact_type,
        manifest_bytes: from_sql(size),
        bytes: from_sql(bytes.max(size)),
        platforms: platforms.split_whitespace().map(str::to_owned).collect(),
        created,
        pushed: Some(pushed),
        pulled,
    }
}

/// Whether there is a signature of the manifest `m`.
const SIGNED: &str = "EXISTS (
        SELECT 1 FROM tags s WHERE s.repository_id = m.repository_id
          AND s.name = replace(m.digest, ':', '-') || '.sig')
    OR EXISTS (
        SELECT 1 FROM manifests s WHERE s.repository_id = m.repository_id AND s.subject = m.digest
          AND (lower(s.artifact_type) LIKE 'application/vnd.dev.cosign.%sig%'
            OR lower(s.artifact_type) LIKE 'application/vnd.dev.sigstore.bundle%'
            OR lower(s.artifact_type) LIKE 'application/vnd.cncf.notary.signature%'))";

/// What a tag is sorted by, its name, when it was pushed, who did it, whether it is signed; and the
/// manifest.
type TagColumns = Parts<(i64, String, i64, Option<String>, bool), ManifestColumns>;

fn tag_entry(row: TagColumns) -> (i64, TagEntry) {
    let Parts((key, name, updated_at, actor, signed), manifest) = row;
    let entry = TagEntry {
        name,
        tagged: Some(updated_at),
        pushed_by: actor,
        signed,
        manifest: manifest_entry(manifest),
    };
    (key, entry)
}

impl Meta {
    /// A page of the repositories whose names are from `first` to `end`.
    ///
    /// # Errors
    /// [`MetaError`].
    pub async fn repository_entries(
        &self,
        query: &ListQuery,
        first: &str,
        end: &str,
    ) -> Result<Listing<RepositoryEntry>, MetaError> {
        let (than, order) = query.order();
        let key = match query.sort {
            Sort::Name => "0",
            Sort::Time => "pushed_at",
            Sort::Size => "bytes",
        };
        // What has a plus is compared and enters no index: each is entered at one place.
        let (within, by) = match query.sort {
            Sort::Name if query.descending => (
                "name <= ?7 AND +name < ?2 AND name >= ?3".to_owned(),
                "name DESC".to_owned(),
            ),
            Sort::Name => (
                "name >= ?7 AND +name > ?2 AND name <= ?4".to_owned(),
                "name ASC".to_owned(),
            ),
            Sort::Time | Sort::Size => (
                format!("({key}, name) {than} (?1, ?2) AND +name >= ?3 AND +name <= ?4"),
                format!("{key} {order}, name {order}"),
            ),
        };
        let (after_key, after_name) = query.start();
        let from = match query.descending {
            true => after_name.as_str().min(end),
            false => after_name.as_str().max(first),
        };
        let from = from.to_owned();
        type Row = (i64, String, String, i64, i64, i64, i64);
        let text = format!(
            "SELECT {key}, name, description, tags, bytes, pushed_at, pulled_at
             FROM repository_list
             WHERE {within} AND (?5 = '' OR instr(name, ?5) > 0) AND ?1 IS NOT NULL
               AND ?7 IS NOT NULL
             ORDER BY {by} LIMIT ?6"
        );
        // PostgreSQL weighs for itself where to enter.
        let plain = text.replace("+name", "name");
        let rows: Vec<Row> = query_as(Sql::each(AssertSqlSafe(text), AssertSqlSafe(plain)))
            .bind(after_key)
            .bind(after_name)
            .bind(first.to_owned())
            .bind(end.to_owned())
            .bind(query.filter.to_lowercase())
            .bind(query.limit())
            .bind(from)
            .fetch_all(&self.readers)
            .await?;
        let rows = rows
            .into_iter()
            .map(|(key, name, description, tags, bytes, pushed, pulled)| {
                let entry = RepositoryEntry {
                    name,
                    description,
                    tags: from_sql(tags),
                    bytes: from_sql(bytes),
                    pushed: known(pushed),
                    pulled: known(pulled),
                };
                (key, entry)
            })
            .collect();
        Ok(query.cut(rows, |entry: &RepositoryEntry| &entry.name))
    }

    /// One repository as lists show it; `None` when it is not listed.
    ///
    /// # Errors
    /// [`MetaError`].
    pub async fn repository_entry(
        &self,
        repository: &RepositoryName,
    ) -> Result<Option<RepositoryEntry>, MetaError> {
        let query = ListQuery {
            n: 1,
            ..ListQuery::default()
        };
        let name = repository.as_str();
        let page = self.repository_entries(&query, name, name).await?;
        Ok(page.entries.into_iter().next())
    }

    /// A page of a repository's tags; `None` when there is no such repository.
    ///
    /// # Errors
    /// [`MetaError`].
    pub async fn tag_entries(
        &self,
        repository: &RepositoryName,
        query: &ListQuery,
    ) -> Result<Option<Listing<TagEntry>>, MetaError> {
        let id: Option<i64> =
            query_scalar("SELECT id FROM repositories WHERE name = ? AND emptied = 0")
                .bind(repository.as_str())
                .fetch_optional(&self.readers)
                .await?;
        let Some(id) = id else { return Ok(None) };
        let (than, order) = query.order();
        // By name from the tags themselves: those of an older version may not be sorted yet.
        let (from, key, within, by) = match query.sort {
            Sort::Name => (
                "tags t",
                "0",
                format!("t.repository_id = ?1 AND t.name {than} ?3"),
                format!("t.name {order}"),
            ),
            Sort::Time | Sort::Size => {
                let key = match query.sort {
                    Sort::Size => "l.bytes",
                    _ => "l.sequence",
                };
                (
                    "tag_list l CROSS JOIN tags t
                         ON t.repository_id = l.repository_id AND t.name = l.name",
                    key,
                    format!("l.repository_id = ?1 AND ({key}, l.name) {than} (?2, ?3)"),
                    format!("{key} {order}, l.name {order}"),
                )
            }
        };
        let (after_key, after_name) = query.start();
        let rows: Vec<TagColumns> = query_as(AssertSqlSafe(format!(
            "SELECT {key}, t.name, t.updated_at, t.actor, {SIGNED}, {MANIFEST}
             FROM {from} CROSS JOIN manifests m ON m.id = t.manifest_id
             WHERE {within} AND (?4 = '' OR instr(lower(t.name), ?4) > 0) AND ?2 IS NOT NULL
             ORDER BY {by} LIMIT ?5"
        )))
        .bind(id)
        .bind(after_key)
        .bind(after_name)
        .bind(query.filter.to_lowercase())
        .bind(query.limit())
        .fetch_all(&self.readers)
        .await?;
        let rows = rows.into_iter().map(tag_entry).collect();
        Ok(Some(query.cut(rows, |entry: &TagEntry| &entry.name)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_comes_back() {
        for (key, name) in [(0, "team/app"), (i64::MIN, "v1.0"), (1_700_000_000, "")] {
            let cursor = Cursor {
                key,
                name: name.to_owned(),
            };
            assert_eq!(Cursor::parse(&cursor.text()), Some(cursor));
        }
        for bad in ["", "app", "x:app", "9223372036854775808:app"] {
            assert_eq!(Cursor::parse(bad), None, "{bad}");
        }
    }
}
