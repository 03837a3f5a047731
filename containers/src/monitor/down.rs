//! When this machine goes down, or whoever keeps its services wants them to end: the container is
//! asked to end and not started again, but nobody has stopped it, so that it comes back.

use std::time::{Duration, Instant};

use super::serve::{Monitor, SIGKILL};
use crate::launch::RestartPolicy;
use crate::status::Status;

/// In place of no end at all.
const LONG: Duration = Duration::from_secs(3600);

impl Monitor {
    /// Asks the container to end, and kills it when its time is over.
    pub(super) fn go_down(&mut self) {
        let (signal, seconds) = self.launch.stop;
        let within = u64::try_from(seconds).map_or(LONG, Duration::from_secs);
        self.kill_at = Some(Instant::now() + within);
        self.launch.restart = RestartPolicy::No;
        if self.restart_at.take().is_some() {
            self.state.status = Status::Exited;
            return self.end();
        }
        if let Some(run) = &self.run {
            self.event("kill", &[("signal", signal.to_string())]);
            let _ = run.signal(signal);
            if self.state.status == Status::Paused {
                let _ = self.freeze(false);
            }
        }
    }

    /// Kills the container if it is time.
    pub(super) fn kill_in_time(&mut self) {
        if self.kill_at.is_some_and(|at| at <= Instant::now()) {
            self.kill_at = Some(Instant::now() + LONG);
            if let Some(run) = &self.run {
                let _ = run.signal(SIGKILL);
            }
        }
    }
}
