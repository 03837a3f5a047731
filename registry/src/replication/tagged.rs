//! What the tags of a repository there stand for, remembered for a moment: whoever deletes a
//! thousand tags by their digests does not ask about each of the others a thousand times.

use std::sync::Arc;
use std::time::{Duration, Instant};

use client::Error;
use oci::{Digest, ManifestDocument};
use tokio::sync::Mutex;

use super::error::Trouble;
use super::remote::Remote;
use crate::name::{ManifestRef, Tag};

/// How long an answer is believed. To ask about all tags of a large repository takes as long, so
/// that the first answers are no younger when the last one has come.
const FRESH: Duration = Duration::from_secs(10);
/// Tags that are remembered at most.
const MOST: usize = 10_000;

/// A tag there.
#[derive(Clone, Debug)]
pub(super) struct Tagged {
    /// Its name.
    pub(super) tag: Tag,
    /// What it stands for.
    pub(super) digest: Digest,
    /// What that lists, if it is an index.
    pub(super) children: Vec<Digest>,
}

/// One repository's tags, as they were a moment ago.
#[derive(Debug)]
struct Seen {
    there: String,
    at: Instant,
    tags: Arc<Vec<Tagged>>,
}

/// The tags of the repository that was asked about last.
#[derive(Debug, Default)]
pub(super) struct RecentlyTagged(Mutex<Option<Seen>>);

impl RecentlyTagged {
    /// The tags of a repository, which are looked for when they are not known; once for all who
    /// want to know.
    pub(super) async fn of<F>(
        &self,
        there: &str,
        look: impl FnOnce() -> F,
    ) -> Result<Arc<Vec<Tagged>>, Trouble>
    where
        F: Future<Output = Result<Vec<Tagged>, Trouble>>,
    {
        let mut seen = self.0.lock().await;
        if let Some(seen) = seen.as_ref()
            && seen.there == there
            && seen.at.elapsed() < FRESH
        {
            return Ok(Arc::clone(&seen.tags));
        }
        *seen = None;
        let tags = Arc::new(look().await?);
        if tags.len() <= MOST {
            *seen = Some(Seen {
                there: there.to_owned(),
                at: Instant::now(),
                tags: Arc::clone(&tags),
            });
        }
        Ok(tags)
    }

    /// Has the next one ask again: what keeps something may go at any time.
    pub(super) async fn doubt(&self) {
        *self.0.lock().await = None;
    }

    /// Takes out what was deleted.
    pub(super) async fn forget(&self, there: &str, digest: &Digest) {
        if let Some(seen) = self.0.lock().await.as_mut()
            && seen.there == there
        {
            Arc::make_mut(&mut seen.tags).retain(|tagged| tagged.digest != *digest);
        }
    }
}

impl Remote {
    /// Asks about every tag of a repository.
    pub(super) async fn tagged_there(&self, there: &str) -> Result<Vec<Tagged>, Trouble> {
        let mut all = Vec::new();
        for name in self.tags(there).await? {
            let Ok(tag) = name.parse::<Tag>() else {
                continue;
            };
            let what = ManifestRef::Tag(tag.clone());
            // What is not there any more went meanwhile.
            let Some(found) = self.look(there, &what).await? else {
                continue;
            };
            let children = match found.media_type.is_index() {
                true => self.children(there, &found.digest).await?,
                false => Vec::new(),
            };
            all.push(Tagged {
                tag,
                digest: found.digest,
                children,
            });
        }
        Ok(all)
    }

    /// What an index there lists.
    async fn children(&self, there: &str, digest: &Digest) -> Result<Vec<Digest>, Trouble> {
        let reference = self.reference(there, &ManifestRef::Digest(digest.clone()))?;
        match self.client.manifest(&reference).await {
            Ok(found) => Ok(match found.content {
                ManifestDocument::Index(index) => index
                    .manifests
                    .into_iter()
                    .map(|child| child.digest)
                    .collect(),
                ManifestDocument::Manifest(_) => Vec::new(),
            }),
            Err(Error::ManifestNotFound { .. } | Error::RepositoryNotFound { .. }) => {
                Ok(Vec::new())
            }
            Err(e) => Err(e.into()),
        }
    }
}
