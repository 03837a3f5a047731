//! A whole repository taken away, a slice at a time.

use super::database::Meta;
use super::engine::{Connection, query, query_scalar};
use super::error::MetaError;
use super::events::note;
use super::links::find_repository;
use super::manifests::Deleted;
use super::sql::json;
use crate::events::Notice;
use crate::name::RepositoryName;

/// What became of a slice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Removed {
    /// This went, and there may be more.
    Some(Vec<Deleted>),
    /// Nothing was left: the repository is not listed any more.
    All,
    /// This tag must not go, so nothing was changed.
    Immutable(String),
}

impl Meta {
    /// Takes away `n` tags of a repository or, when it has none, `n` manifests; unless a tag among
    /// them must not go. `notices` says what webhooks are told.
    ///
    /// # Errors
    /// [`MetaError`].
    pub async fn remove_some(
        &self,
        repository: &RepositoryName,
        n: u32,
        immutable: impl Fn(&str) -> bool + Send + Sync + 'static,
        notices: impl Fn(&Deleted) -> Vec<Notice> + Send + 'static,
        effect: impl FnOnce(&Removed) + Send + 'static,
    ) -> Result<Removed, MetaError> {
        let repository = repository.clone();
        self.writer
            .run(
                move |c| {
                    Box::pin(async move {
                        let removed = remove(c, &repository, n, immutable).await?;
                        if let Removed::Some(gone) = &removed {
                            for gone in gone {
                                note(c, notices(gone)).await?;
                            }
                        }
                        Ok(removed)
                    })
                },
                effect,
            )
            .await
    }
}

async fn remove(
    c: &mut Connection,
    repository: &RepositoryName,
    n: u32,
    immutable: impl Fn(&str) -> bool,
) -> Result<Removed, MetaError> {
    let Some(id) = find_repository(c, repository).await? else {
        return Ok(Removed::All);
    };
    let tags: Vec<String> =
        query_scalar("SELECT name FROM tags WHERE repository_id = ? ORDER BY name LIMIT ?")
            .bind(id)
            .bind(n)
            .fetch_all(&mut *c)
            .await?;
    if let Some(tag) = tags.iter().find(|tag| immutable(tag)) {
        return Ok(Removed::Immutable(tag.clone()));
    }
    if !tags.is_empty() {
        query(
            "DELETE FROM tags WHERE repository_id = ?
               AND name IN (SELECT value FROM json_each(?))",
        )
        .bind(id)
        .bind(json(&tags)?)
        .execute(c)
        .await?;
        let gone = |tag| Deleted {
            manifest: None,
            tags: vec![tag],
        };
        return Ok(Removed::Some(tags.into_iter().map(gone).collect()));
    }
    let digests: Vec<String> = query_scalar(
        "SELECT digest FROM manifests WHERE repository_id = ? ORDER BY digest LIMIT ?",
    )
    .bind(id)
    .bind(n)
    .fetch_all(&mut *c)
    .await?;
    if digests.is_empty() {
        // One that never had a manifest is not listed either.
        for sql in [
            "UPDATE repositories SET emptied = 1 WHERE id = ?",
            "DELETE FROM repository_list WHERE repository_id = ?",
        ] {
            query(sql).bind(id).execute(&mut *c).await?;
        }
        return Ok(Removed::All);
    }
    query(
        "DELETE FROM manifests WHERE repository_id = ?
           AND digest IN (SELECT value FROM json_each(?))",
    )
    .bind(id)
    .bind(json(&digests)?)
    .execute(c)
    .await?;
    let gone = |digest: String| {
        let manifest = digest
            .parse()
            .map_err(|e| MetaError::Corrupt(format!("manifest {digest:?}: {e}")))?;
        Ok(Deleted {
            manifest: Some(manifest),
            tags: Vec::new(),
        })
    };
    let gone = digests
        .into_iter()
        .map(gone)
        .collect::<Result<_, MetaError>>()?;
    Ok(Removed::Some(gone))
}
