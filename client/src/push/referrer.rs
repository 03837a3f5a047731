//! Lists of referrers at registries that keep none themselves (distribution-spec, "Referrers Tag
//! Schema").

use bytes::Bytes;
use oci::reference::Repository;
use oci::{Descriptor, Digest, Index, ManifestDocument, MediaType, Reference, media_type};

use super::Pushed;
use crate::Client;
use crate::endpoint::Endpoint;
use crate::error::Error;

/// Letters of a digest that such a tag has, and of its algorithm.
const DIGITS: usize = 64;
const ALGORITHM: usize = 32;

impl Client {
    /// Puts a manifest that was pushed into the list of what refers to its subject.
    pub(super) async fn list_referrer(
        &self,
        endpoint: &Endpoint,
        repository: &Repository,
        document: &ManifestDocument,
        pushed: &Pushed,
    ) -> Result<(), Error> {
        let Some(subject) = document.subject() else {
            return Ok(());
        };
        // Whoever else of this process adds to the same list waits: nobody's entry is lost.
        let lock = self.blob_lock(&subject.digest);
        let _alone = lock.lock().await;
        let list = Reference::new(repository.clone(), Some(&tag_of(&subject.digest)));
        let list = list.map_err(|e| Error::Protocol {
            what: format!("referrers of {}", subject.digest),
            reason: e.to_string(),
        })?;
        let mut index = match self.manifest(&list).await {
            Ok(found) => match found.content {
                ManifestDocument::Index(index) => index,
                ManifestDocument::Manifest(_) => empty(),
            },
            Err(Error::ManifestNotFound { .. } | Error::RepositoryNotFound { .. }) => empty(),
            Err(e) => return Err(e),
        };
        if index.manifests.iter().any(|m| m.digest == pushed.digest) {
            return Ok(());
        }
        index.manifests.push(Descriptor {
            artifact_type: document.artifact_type().cloned(),
            annotations: document.annotations().clone(),
            ..Descriptor::new(
                pushed.media_type.clone(),
                pushed.digest.clone(),
                pushed.size,
            )
        });
        let bytes = serde_json::to_vec(&index).map_err(|e| Error::Protocol {
            what: format!("referrers of {}", subject.digest),
            reason: e.to_string(),
        })?;
        let scopes = endpoint.scopes(repository, "pull,push");
        let media_type = MediaType::new(media_type::OCI_INDEX);
        self.put_alone(endpoint, &list, Bytes::from(bytes), &media_type, scopes)
            .await?;
        Ok(())
    }
}

fn empty() -> Index {
    Index {
        schema_version: 2,
        media_type: Some(MediaType::new(media_type::OCI_INDEX)),
        artifact_type: None,
        manifests: Vec::new(),
        subject: None,
        annotations: Default::default(),
    }
}

/// The tag that has the list of a digest.
fn tag_of(digest: &Digest) -> String {
    let cut = |text: &str, most: usize| text.chars().take(most).collect::<String>();
    let algorithm = cut(digest.algorithm().as_str(), ALGORITHM);
    format!("{algorithm}-{}", cut(digest.hex(), DIGITS))
}
