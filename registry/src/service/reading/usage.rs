//! How much is used of what.

use serde::{Deserialize, Serialize};

use crate::service::error::ServiceError;
use crate::service::state::Registry;

/// How much is used of what.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageReport {
    /// Bytes stored in all, each blob counted once.
    pub bytes: u64,
    /// How many may be stored.
    pub quota: Option<u64>,
    /// Each repository.
    pub repositories: Vec<RepositoryReport>,
    /// The rules for many repositories together.
    pub together: Vec<TogetherReport>,
}

/// How much a repository shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepositoryReport {
    /// The repository.
    pub name: String,
    /// Bytes of its blobs and manifests.
    pub bytes: u64,
    /// How many it may show.
    pub quota: Option<u64>,
}

/// How much the repositories of a rule show.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TogetherReport {
    /// The rule's pattern.
    pub repository: String,
    /// Bytes of its repositories, added up.
    pub bytes: u64,
    /// How many they may show.
    pub quota: u64,
}

impl Registry {
    /// How much is used of what.
    ///
    /// # Errors
    /// [`ServiceError::Meta`].
    pub async fn usage_report(&self) -> Result<UsageReport, ServiceError> {
        let policy = self.policy();
        let quotas = &policy.quotas;
        let (repositories, bytes) = self.meta.usage_by_repository().await?;
        let mut sums = vec![0_u64; quotas.rules.len()];
        let repositories = repositories
            .into_iter()
            .map(|usage| {
                let rule = quotas.rule(&usage.name);
                if let Some((at, _)) = rule {
                    sums[at] += usage.bytes;
                }
                RepositoryReport {
                    quota: rule.and_then(|(_, rule)| rule.each),
                    name: usage.name,
                    bytes: usage.bytes,
                }
            })
            .collect();
        let together = quotas
            .rules
            .iter()
            .zip(sums)
            .filter_map(|(rule, bytes)| {
                Some(TogetherReport {
                    repository: rule.repository.clone(),
                    bytes,
                    quota: rule.together?,
                })
            })
            .collect();
        Ok(UsageReport {
            bytes,
            quota: quotas.total,
            repositories,
            together,
        })
    }
}
