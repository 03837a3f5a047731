//! Blobs that a repository shows from now on: pushed, or mounted from another.

use std::sync::Arc;

use oci::Digest;

use crate::events::{Action, RequestOrigin};
use crate::meta::NewBlob;
use crate::name::{RepositoryName, UploadId};
use crate::service::error::ServiceError;
use crate::service::events::blob_event;
use crate::service::state::{Registry, key};

impl Registry {
    /// Shows a blob whose file has its name; `id` is what was promised room for it, if anything.
    pub(in crate::service) async fn show_blob(
        &self,
        repository: &RepositoryName,
        blob: NewBlob,
        id: UploadId,
        by: &RequestOrigin,
    ) -> Result<(), ServiceError> {
        let (cache, key) = (
            Arc::clone(&self.blob_cache),
            key(repository.as_str(), &blob.digest),
        );
        let admit = self.admit(repository, id);
        let pushed = blob_event(Action::Push, repository, &blob.digest, blob.size, None);
        let notices = self.notices(by, &[pushed]);
        let effect = move || cache.forget(&key);
        self.meta
            .link_blob(repository, blob, admit, notices, effect)
            .await??;
        self.wake_subscribers();
        Ok(())
    }

    /// Shows in `to` a blob that `from` shows; false when `from` does not.
    ///
    /// # Errors
    /// [`ServiceError::Quota`], [`ServiceError::Meta`].
    pub async fn mount(
        &self,
        from: &RepositoryName,
        to: &RepositoryName,
        digest: &Digest,
        by: &RequestOrigin,
    ) -> Result<bool, ServiceError> {
        let (cache, key) = (Arc::clone(&self.blob_cache), key(to.as_str(), digest));
        let admit = self.admit(to, UploadId::random());
        let (source, target, blob) = (from.clone(), to.clone(), digest.clone());
        let notices = self.notices_later(by);
        let notices = move |size| {
            let from = Some(&source);
            notices(&[blob_event(Action::Mount, &target, &blob, size, from)])
        };
        let effect = move || cache.forget(&key);
        let mounted = self
            .meta
            .mount_blob(from, to, digest, admit, notices, effect)
            .await??;
        self.wake_subscribers();
        Ok(mounted.is_some())
    }
}
