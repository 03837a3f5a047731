//! Where tags pointed before.

use crate::meta::PastTag;
use crate::name::{RepositoryName, Tag};
use crate::service::error::ServiceError;
use crate::service::state::Registry;

impl Registry {
    /// Where a tag pointed before, the last place first; ten places of the last thirty days.
    ///
    /// # Errors
    /// [`ServiceError::Meta`].
    pub async fn past_of_tag(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
    ) -> Result<Vec<PastTag>, ServiceError> {
        Ok(self.meta.past_of_tag(repository, tag).await?)
    }
}
