//! Bringing containers back when this machine has been down.

use super::container::Container;
use super::handle::Containers;
use super::spec;
use crate::error::Result;
use crate::state;

impl Containers {
    /// The containers that their restart policies want to run and that do not, the oldest first.
    /// Those that were never started are left alone.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn wanted_again(&self) -> Result<Vec<Container>> {
        let mut all = self.list().await?;
        all.reverse();
        all.retain(|container| {
            let state = &container.state;
            let policy = spec::restart(&container.record.host.restart_policy);
            state.status.can_start()
                && state.started_at != state::NO_TIME
                && policy.is_ok_and(|policy| {
                    policy.wants_after_boot(state.exit_code, state.stopped_by_hand)
                })
        });
        Ok(all)
    }
}
