//! The networks of RUN steps: one for each that runs. Steps that follow each other have the same
//! one, as long as none leaves something in it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dockerfile::instruction::Network;
use runtime::NetworkMode;
use runtime::network::{Between, Config, Sandbox};

use crate::solve::error::StepError;

/// The network of builds: the bridge `rbuild0`, leased in `/run/rbuild` by every build of this
/// machine, whatever its store is.
pub fn config() -> Config {
    Config {
        state_dir: "/run/rbuild".into(),
        bridge: "rbuild0".to_owned(),
        between: Between::Nothing,
        ..Config::default()
    }
}

/// The networks that no step uses at the moment.
#[derive(Clone, Debug, Default)]
pub struct Networks(Arc<Mutex<Vec<Arc<Sandbox>>>>);

impl Networks {
    fn unused(&self) -> MutexGuard<'_, Vec<Arc<Sandbox>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The network of a step that wants `wanted`, where the build's steps have `usual`. It may
    /// wait for its turn among the builds of this machine.
    ///
    /// # Errors
    /// [`StepError::Other`] when it cannot be made.
    pub fn take(&self, wanted: Network, usual: &str) -> Result<StepNetwork<'_>, StepError> {
        let mode = match (wanted, usual) {
            (Network::Host, _) | (Network::Default, "host") => NetworkMode::Host,
            (Network::None, _) | (Network::Default, "none") => NetworkMode::None,
            (Network::Default, _) => {
                let left = self.unused().pop();
                NetworkMode::Sandbox(match left {
                    Some(sandbox) => sandbox,
                    None => Sandbox::create(&config())
                        .map(Arc::new)
                        .map_err(|e| StepError::Other(e.to_string()))?,
                })
            }
        };
        Ok(StepNetwork { mode, from: self })
    }
}

/// The network of one step, until dropped: then no process of it may be left.
#[derive(Debug)]
pub struct StepNetwork<'n> {
    mode: NetworkMode,
    from: &'n Networks,
}

impl StepNetwork<'_> {
    /// What the container is told.
    pub fn mode(&self) -> NetworkMode {
        self.mode.clone()
    }
}

impl Drop for StepNetwork<'_> {
    fn drop(&mut self) {
        if let NetworkMode::Sandbox(sandbox) = &self.mode
            && sandbox.is_clean()
        {
            self.from.unused().push(Arc::clone(sandbox));
        }
    }
}
