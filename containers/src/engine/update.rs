//! Changing what a container may use, and what is done when it ends.

use super::container::Container;
use super::handle::{Containers, blocking};
use super::{devices, limits, spec};
use crate::error::{Error, Result};
use crate::protocol::Request;
use crate::record::HostConfig;

impl Containers {
    /// Gives a container other limits and another restart policy, those of `host`; at once if it
    /// runs. `asked` has those alone that are changed. Returns what its user should know.
    ///
    /// # Errors
    /// What makes no sense, or cannot be done while it runs; nothing is changed then.
    pub async fn update(
        &self,
        of: &Container,
        mut host: HostConfig,
        asked: &HostConfig,
    ) -> Result<Vec<String>> {
        let mut container = of.clone();
        if let Some(why) = conflict(&container.record.host, asked) {
            let id = &container.id;
            return Err(Error::Invalid(format!(
                "Cannot update container {id}: {why}"
            )));
        }
        let policy = spec::restart(&host.restart_policy)?;
        if host.auto_remove && policy != crate::launch::RestartPolicy::No {
            return Err(Error::Invalid(
                "Restart policy cannot be updated because AutoRemove is enabled for the container"
                    .to_owned(),
            ));
        }
        let warnings = devices::discard(&mut host, &runtime::supported()?);
        let new = limits::limits(&host)?;
        let old = std::mem::replace(&mut container.record.host, host);
        let record = container.record.text().map_err(|cause| Error::Record {
            id: container.id.clone(),
            cause,
        })?;
        let id = container.id.clone();
        blocking(move || {
            let _lock = container.change()?;
            container.again()?;
            if !container.state.status.is_alive() {
                return Ok(());
            }
            if container.state.status.has_processes() {
                let group = container.group()?;
                group.limit(&new).map_err(|error| {
                    // Half of the limits may be the new ones.
                    if let Ok(old) = limits::limits(&old) {
                        let _ = group.limit(&old);
                    }
                    Error::Runtime(error)
                })?;
            }
            container.tell(&Request::Restart(policy))
        })
        .await?;
        self.store.update_container(&id, &record).await?;
        self.tell(of, "update", &[]);
        Ok(warnings)
    }
}

/// Why these limits do not go with those of before, in docker's words.
fn conflict(before: &HostConfig, asked: &HostConfig) -> Option<&'static str> {
    // Of memory without swap, even where there was no limit of both.
    let memory = i64::try_from(asked.memory).unwrap_or(i64::MAX);
    let rules = [
        (
            asked.nano_cpus > 0 && before.cpu_period > 0,
            "Conflicting options: NanoCPUs cannot be updated as CPU Period has already been set",
        ),
        (
            asked.nano_cpus > 0 && before.cpu_quota > 0,
            "Conflicting options: NanoCPUs cannot be updated as CPU Quota has already been set",
        ),
        (
            asked.cpu_period > 0 && before.nano_cpus > 0,
            "Conflicting options: CPU Period cannot be updated as NanoCPUs has already been set",
        ),
        (
            asked.cpu_quota > 0 && before.nano_cpus > 0,
            "Conflicting options: CPU Quota cannot be updated as NanoCPUs has already been set",
        ),
        (
            memory != 0 && memory > before.memory_swap && asked.memory_swap == 0,
            "Memory limit should be smaller than already set memoryswap limit, update the \
             memoryswap at the same time",
        ),
    ];
    rules
        .into_iter()
        .find(|(holds, _)| *holds)
        .map(|(_, why)| why)
}
