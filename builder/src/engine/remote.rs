//! What ADD takes from elsewhere: files by URL and git repositories, each fetched once a build.

use std::future::Future;
use std::sync::Arc;

use oci::Digest;

use super::Engine;
use super::fetched::{Fetched, name, once};
use crate::download::Download;
use crate::git::{self, Checkout};
use crate::kept::Kept;
use crate::plan::{CopyOp, CopySource, GitAdd};
use crate::solve::error::StepError;

impl Engine {
    /// What the key of a copy says of its remote sources: the content of files, and the commit of
    /// repositories, which are not fetched for that.
    pub(super) async fn remote_digests(
        &self,
        op: &CopyOp,
    ) -> Result<Vec<(String, String)>, StepError> {
        let mut digests = Vec::new();
        for source in &op.sources {
            digests.push(match source {
                CopySource::Url(url) => {
                    let download = self.download(url, op.checksum.as_ref()).await?;
                    let time = download.modified.unwrap_or(0);
                    (url.clone(), format!("{}@{time}", download.digest))
                }
                CopySource::Git(git) => {
                    let commit = self.commit_of(git).await?;
                    (git.source.remote.clone(), format!("commit {commit}"))
                }
                _ => continue,
            });
        }
        digests.sort();
        Ok(digests)
    }

    /// Fetches what a copy takes from elsewhere.
    pub(super) async fn fetch(&self, op: &CopyOp) -> Result<Fetched, StepError> {
        let mut fetched = Fetched::default();
        for source in &op.sources {
            match source {
                CopySource::Url(url) => {
                    let download = self.download(url, op.checksum.as_ref()).await?;
                    fetched.downloads.insert(url.clone(), download);
                }
                CopySource::Git(git) => {
                    let checkout = self.checkout(git).await?;
                    fetched.checkouts.insert(name(git), checkout);
                }
                _ => {}
            }
        }
        Ok(fetched)
    }

    async fn download(
        &self,
        url: &str,
        checksum: Option<&Digest>,
    ) -> Result<Arc<Download>, StepError> {
        let asked = (url.to_owned(), checksum.cloned());
        let known = once(&self.shared.remote.downloads, asked);
        let load = || async {
            let kept = Kept::new(
                self.derived("downloads").await?,
                self.scratch().await?,
                self.auth.clone(),
            );
            let fetched = self.unless_cancelled(kept.fetch(url, checksum)).await?;
            Ok::<_, StepError>(Arc::new(fetched))
        };
        known.get_or_try_init(load).await.cloned()
    }

    /// The commit that a repository's name means: the same for all steps of this build.
    async fn commit_of(&self, git: &GitAdd) -> Result<String, StepError> {
        let known = once(&self.shared.remote.commits, name(git));
        let ask = || self.unless_cancelled(git::resolve(&git.source, &self.auth));
        known.get_or_try_init(ask).await.cloned()
    }

    async fn checkout(&self, git: &GitAdd) -> Result<Arc<Checkout>, StepError> {
        let known = once(&self.shared.remote.checkouts, name(git));
        let fetch = || async {
            // The key tells of this commit, wherever a branch has gone since.
            let mut source = git.source.clone();
            source.checksum = Some(self.commit_of(git).await?);
            let scratch = self.scratch().await?;
            let fetching = git::checkout(&source, git.keep_git_dir, &scratch, &self.auth);
            Ok::<_, StepError>(Arc::new(self.unless_cancelled(fetching).await?))
        };
        known.get_or_try_init(fetch).await.cloned()
    }

    async fn unless_cancelled<T, E: Into<StepError>>(
        &self,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, StepError> {
        tokio::select! {
            done = work => done.map_err(Into::into),
            () = self.cancel.cancelled() => Err(StepError::Cancelled),
        }
    }
}
