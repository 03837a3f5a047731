//! A tag that goes at the other registry, and nothing with it.

use client::Error;
use oci::Digest;

use super::error::Trouble;
use super::rule::Rule;
use crate::name::{ManifestRef, RepositoryName, Tag};

impl Rule {
    /// Deletes a tag there. Registries that delete by digest alone are told to do that, unless the
    /// digest has another tag that stays, or an index lists it: of the repository `here`, or one
    /// with a tag there.
    pub(super) async fn delete_there(
        &self,
        here: &RepositoryName,
        there: &str,
        tag: &Tag,
    ) -> Result<(), Trouble> {
        let what = ManifestRef::Tag(tag.clone());
        let reference = self.remote.reference(there, &what)?;
        let digest = self.remote.head(there, &what).await?;
        let refused = match self.remote.client.delete_manifest(&reference).await {
            Ok(()) | Err(Error::ManifestNotFound { .. } | Error::RepositoryNotFound { .. }) => {
                return Ok(());
            }
            Err(e) => e,
        };
        let by_digest_alone = refused
            .registry_error()
            .is_some_and(|cause| matches!(cause.status.as_u16(), 400 | 405 | 500 | 501));
        let Some(digest) = digest.filter(|_| by_digest_alone) else {
            return Err(refused.into());
        };
        let books = self.registry.replication();
        if books.is_listed(here, &digest).await? {
            return Err(Trouble::own(format!(
                "{there}:{tag} stays there: the registry deletes no tags, and an index lists its \
                 digest"
            )));
        }
        if let Some(why) = self.keeper(here, there, tag, &digest).await? {
            self.tagged.doubt().await;
            return Err(Trouble::own(format!(
                "{there}:{tag} stays there: the registry deletes no tags, and {why}"
            )));
        }
        let what = ManifestRef::Digest(digest.clone());
        let reference = self.remote.reference(there, &what)?;
        self.remote.client.delete_manifest(&reference).await?;
        self.tagged.forget(there, &digest).await;
        Ok(())
    }

    /// What there would go with a digest and must not: another tag of it, or an index. Tags of it
    /// that the rule has brought and that are gone here are to go as well.
    async fn keeper(
        &self,
        here: &RepositoryName,
        there: &str,
        tag: &Tag,
        digest: &Digest,
    ) -> Result<Option<String>, Trouble> {
        let remote = &self.remote;
        let tagged = self.tagged.of(there, || remote.tagged_there(there));
        for other in tagged.await?.iter().filter(|other| other.tag != *tag) {
            if other.digest == *digest {
                if !self.goes_too(here, &other.tag, digest).await? {
                    return Ok(Some(format!("{} has the same digest", other.tag)));
                }
            } else if other.children.contains(digest) {
                return Ok(Some(format!("the index {} lists its digest", other.tag)));
            }
        }
        Ok(None)
    }

    /// Whether the rule has brought this tag, and nothing here has its name any more.
    async fn goes_too(
        &self,
        here: &RepositoryName,
        tag: &Tag,
        digest: &Digest,
    ) -> Result<bool, Trouble> {
        let books = self.registry.replication();
        let rule = &self.settings.name;
        let brought = books
            .replication_done(rule, here.as_str(), tag.as_str())
            .await?;
        if brought.as_deref() != Some(digest.to_string().as_str()) {
            return Ok(false);
        }
        let current = books.manifest(here, &ManifestRef::Tag(tag.clone())).await?;
        Ok(current.is_none())
    }
}
