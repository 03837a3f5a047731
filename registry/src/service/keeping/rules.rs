//! What rules do to one repository, asked before they do it.

use std::sync::Arc;

use super::collect::Run;
use super::collected::{CollectOptions, Collected};
use super::ruled::Ruled;
use crate::name::RepositoryName;
use crate::policy::Retention;
use crate::service::error::ServiceError;
use crate::service::state::Registry;

/// What rules do to a repository.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RulesOf {
    /// How long its tags are kept.
    pub retention: Option<Retention>,
    /// Patterns of its tags that never move.
    pub immutable: Vec<String>,
    /// Bytes that it may show.
    pub quota: Option<u64>,
    /// Tags that would go now.
    pub tags: Vec<String>,
    /// How many manifests without a tag would go.
    pub manifests: usize,
}

impl Registry {
    /// What rules do to a repository, and what of it would go now.
    ///
    /// # Errors
    /// [`ServiceError::Meta`].
    pub async fn rules_of(&self, repository: &RepositoryName) -> Result<RulesOf, ServiceError> {
        let policy = self.policy();
        let name = repository.as_str();
        let mut rules = RulesOf {
            retention: policy.retention(name).cloned(),
            immutable: policy.immutable_tags(name),
            quota: policy.quotas.rule(name).and_then(|(_, rule)| rule.each),
            ..RulesOf::default()
        };
        let (Some(rule), Some(id)) = (rules.retention.clone(), self.meta.id_of(repository).await?)
        else {
            return Ok(rules);
        };
        let options = CollectOptions {
            grace: std::time::Duration::ZERO,
            dry_run: true,
            every_file: false,
        };
        let name = repository.clone();
        let ruled = Arc::new(Ruled {
            id,
            name,
            rule,
            policy,
        });
        let mut run = Run::begin(self, options).await?;
        run.retain_in(&ruled).await?;
        let Collected {
            tags, manifests, ..
        } = run.collected;
        let prefix = format!("{repository}:");
        let own = tags.iter().filter_map(|tag| tag.strip_prefix(&prefix));
        rules.tags = own.map(str::to_owned).collect();
        rules.tags.sort_unstable();
        rules.manifests = manifests.len();
        Ok(rules)
    }
}
