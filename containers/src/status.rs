//! The states of a container, and what each lets be done.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What a container is doing, in docker's words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It was never started, or could not be.
    #[default]
    Created,
    /// Its processes run.
    Running,
    /// Its processes stand still.
    Paused,
    /// It has ended, and will be started again by its monitor.
    Restarting,
    /// It is being removed.
    Removing,
    /// It has ended.
    Exited,
    /// It could not be removed wholly.
    Dead,
}

impl Status {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Created,
        Self::Restarting,
        Self::Running,
        Self::Removing,
        Self::Paused,
        Self::Exited,
        Self::Dead,
    ];

    /// The word that docker has for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Restarting => "restarting",
            Self::Removing => "removing",
            Self::Exited => "exited",
            Self::Dead => "dead",
        }
    }

    /// Whether it has a monitor: it runs, stands still, or waits to be started again.
    pub fn is_alive(self) -> bool {
        matches!(self, Self::Running | Self::Paused | Self::Restarting)
    }

    /// Whether it has processes.
    pub fn has_processes(self) -> bool {
        matches!(self, Self::Running | Self::Paused)
    }

    /// Whether it can be started.
    pub fn can_start(self) -> bool {
        matches!(self, Self::Created | Self::Exited)
    }

    /// Whether a command can be run in it.
    pub fn can_exec(self) -> bool {
        self == Self::Running
    }

    /// Whether it can be removed without force.
    pub fn can_remove(self) -> bool {
        !self.is_alive()
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Status {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut all = Self::ALL.into_iter();
        all.find(|status| status.as_str() == text).ok_or(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_allow_what_docker_allows() {
        // State, start, exec, remove without force, processes.
        for (status, can) in [
            (Status::Created, [true, false, true, false]),
            (Status::Running, [false, true, false, true]),
            (Status::Paused, [false, false, false, true]),
            (Status::Restarting, [false, false, false, false]),
            (Status::Removing, [false, false, true, false]),
            (Status::Exited, [true, false, true, false]),
            (Status::Dead, [false, false, true, false]),
        ] {
            let found = [
                status.can_start(),
                status.can_exec(),
                status.can_remove(),
                status.has_processes(),
            ];
            assert_eq!(found, can, "{status}");
            assert_eq!(status.as_str().parse(), Ok(status));
        }
        assert!("stopped".parse::<Status>().is_err());
    }
}
