//! Lists of the tags of mirrored repositories: what the upstream lists, not what was pulled so far.
//! A list is as fresh, and as stale, as a tag; where none can be had, what is here is listed.

use std::sync::Arc;

use super::error::{MirrorError, Unavailable};
use super::manifests::{Stale, key};
use super::memory::Listed;
use super::sources::Verdict;
use super::whole::{Failed, Mirror};
use crate::meta::Page;
use crate::name::RepositoryName;
use crate::service::ServiceError;

/// A page of tags to be served.
#[derive(Debug)]
pub struct ShownTags {
    /// It.
    pub page: Page,
    /// Why it may not be what the upstream has by now.
    pub stale: Option<Stale>,
}

impl Mirror {
    /// Up to `n` tags of a mirrored repository, after `last`.
    ///
    /// # Errors
    /// [`ServiceError::NameUnknown`], [`MirrorError::Unavailable`].
    pub async fn tags(
        self: &Arc<Self>,
        name: &RepositoryName,
        n: u32,
        last: &str,
    ) -> Result<ShownTags, MirrorError> {
        let sources = self.sources_of(name);
        let Some((first, _)) = sources.first().filter(|_| !self.settings.offline) else {
            return self.tags_here(name, n, last, None, None).await;
        };
        let (ttl, stale) = (first.settings.ttl, first.settings.stale);
        let shown = |listed: &Listed, stale| ShownTags {
            page: Page::after(&listed.tags, n, last),
            stale,
        };
        let known = self.lists.get(name.as_str());
        match &known {
            Some((age, listed)) if *age < ttl => return Ok(shown(listed, None)),
            Some((age, listed)) if *age < ttl.saturating_add(stale) => {
                drop(self.list(name));
                let stale = match listed.failed {
                    true => Stale::Unanswered,
                    false => Stale::Asking,
                };
                return Ok(shown(listed, Some(stale)));
            }
            _ => {}
        }
        let list_key = key(name, LIST);
        if known.is_none() && self.is_missing(name, &list_key) {
            return self.tags_here(name, n, last, None, None).await;
        }
        match self.list(name).await {
            Some(Ok(true)) => match self.lists.get(name.as_str()) {
                Some((_, listed)) => Ok(shown(&listed, None)),
                // Too many others came meanwhile.
                None => {
                    self.tags_here(name, n, last, Some(Stale::Asking), None)
                        .await
                }
            },
            Some(Ok(false)) => self.tags_here(name, n, last, None, None).await,
            failed => match known {
                Some((_, listed)) => Ok(shown(&listed, Some(Stale::Unanswered))),
                None => {
                    let why = match failed {
                        Some(Err(Failed::Unavailable(why))) => why,
                        _ => self.broken("the registry is closing"),
                    };
                    let stale = Some(Stale::Unanswered);
                    self.tags_here(name, n, last, stale, Some(why)).await
                }
            },
        }
    }

    /// What was pulled so far; where that is nothing, why the upstream's list cannot be had.
    async fn tags_here(
        &self,
        name: &RepositoryName,
        n: u32,
        last: &str,
        stale: Option<Stale>,
        why: Option<Unavailable>,
    ) -> Result<ShownTags, MirrorError> {
        match (self.registry.tags(name, n, last).await, why) {
            (Ok(page), _) => Ok(ShownTags { page, stale }),
            (Err(ServiceError::NameUnknown(_)), Some(why)) => Err(why.into()),
            (Err(e), _) => Err(e.into()),
        }
    }

    /// Asks the upstreams for their list, once for all who ask; whether any has one.
    fn list(
        self: &Arc<Self>,
        name: &RepositoryName,
    ) -> super::flights::Flight<Result<bool, Failed>> {
        let list_key = key(name, LIST);
        self.flights.join(&list_key.clone(), || {
            let (this, name) = (Arc::clone(self), name.clone());
            async move {
                let listed = this.ask_for_list(&name).await;
                match &listed {
                    Ok(true) => this.missing.forget(&list_key),
                    Ok(false) => {
                        this.lists.forget(name.as_str());
                        this.missing.put(&list_key, ());
                    }
                    Err(_) => this
                        .lists
                        .update(name.as_str(), |listed| listed.failed = true),
                }
                listed
            }
        })
    }

    async fn ask_for_list(&self, name: &RepositoryName) -> Result<bool, Failed> {
        let mut silent = None;
        for (source, path) in self.sources_of(name) {
            match source.ask(source.client.tags(&path)).await {
                Verdict::Found(mut tags) => {
                    tags.sort_unstable();
                    tags.dedup();
                    let listed = Listed {
                        tags: tags.into(),
                        failed: false,
                    };
                    self.lists.put(name.as_str(), listed);
                    return Ok(true);
                }
                Verdict::Missing => {}
                Verdict::Unavailable(why) => {
                    silent.get_or_insert(why);
                }
            }
        }
        match silent {
            None => Ok(false),
            Some(why) => Err(Failed::Unavailable(why)),
        }
    }
}

/// What a list is remembered under, as against tags and digests.
const LIST: &str = "tags/list";
