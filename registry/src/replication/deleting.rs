//! A tag that goes at the other registry, and nothing with it.

use client::Error;
use oci::Digest;

use super::error::Trouble;
use super::rule::Rule;
use crate::name::{ManifestRef, Tag};

impl Rule {
    /// Deletes a tag there. Registries that delete by digest alone are told to do that, unless the
    /// digest has another tag.
    pub(super) async fn delete_there(&self, there: &str, tag: &Tag) -> Result<(), Trouble> {
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
        if let Some(other) = self.other_tag(there, tag, &digest).await? {
            return Err(Trouble::own(format!(
                "{there}:{tag} stays there: the registry deletes no tags, and {other} has the same \
                 digest"
            )));
        }
        let reference = self.remote.reference(there, &ManifestRef::Digest(digest))?;
        Ok(self.remote.client.delete_manifest(&reference).await?)
    }

    /// Another tag there of a digest.
    async fn other_tag(
        &self,
        there: &str,
        tag: &Tag,
        digest: &Digest,
    ) -> Result<Option<String>, Trouble> {
        for other in self.remote.tags(there).await? {
            let Ok(name) = other.parse::<Tag>() else {
                continue;
            };
            if name == *tag {
                continue;
            }
            let has = self.remote.head(there, &ManifestRef::Tag(name)).await?;
            if has.as_ref() == Some(digest) {
                return Ok(Some(other));
            }
        }
        Ok(None)
    }
}
