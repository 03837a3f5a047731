//! The processes of a container, and what it uses.

use std::fs;
use std::process::Command;

use super::container::Container;
use super::handle::{Containers, blocking};
use crate::error::{Error, Result};
use crate::status::Status;

/// A table of processes: titles, and a row each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Processes {
    /// The titles of its columns.
    pub titles: Vec<String>,
    /// The rows.
    pub rows: Vec<Vec<String>>,
}

/// What a container uses at the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// What its control groups count.
    pub sizes: runtime::Sizes,
    /// Bytes that came by its network, `lo` aside.
    pub received: u64,
    /// Bytes that went.
    pub sent: u64,
    /// When that was, in nanoseconds of a clock that only goes forward.
    pub at: u64,
}

impl Containers {
    /// The processes of a container, as this machine's `ps` shows them with `options`.
    ///
    /// # Errors
    /// [`Error::NotRunning`], and what `ps` has to say.
    pub async fn top(&self, container: &Container, options: Vec<String>) -> Result<Processes> {
        let id = || container.id.clone();
        match container.state.status {
            Status::Running | Status::Paused => {}
            Status::Restarting => return Err(Error::Restarting(id())),
            _ => return Err(Error::NotRunning(id())),
        }
        let pids = container.group()?.processes();
        blocking(move || {
            let options = match options.is_empty() {
                true => vec!["-ef".to_owned()],
                false => options,
            };
            // Without a choice ps lists what is at its own terminal; not all of its options go with
            // one.
            let chosen: Vec<String> = pids.iter().map(ToString::to_string).collect();
            let chosen = format!("-q{}", chosen.join(","));
            let run = |more: Option<&String>| {
                let ps = Command::new("ps").args(&options).args(more).output();
                ps.map_err(|cause| Error::Invalid(format!("error running ps: {cause}")))
            };
            let mut ps = run(Some(&chosen))?;
            if !ps.status.success() {
                ps = run(None)?;
            }
            if !ps.status.success() {
                let said = String::from_utf8_lossy(&ps.stderr);
                return Err(Error::Invalid(format!("error running ps: {}", said.trim())));
            }
            choose(&String::from_utf8_lossy(&ps.stdout), &pids)
        })
        .await
    }

    /// What a container uses; nothing of one that does not run.
    ///
    /// # Errors
    /// When /proc cannot be read.
    pub async fn usage(&self, container: &Container) -> Result<Usage> {
        let container = container.clone();
        blocking(move || {
            if !container.state.status.has_processes() {
                return Ok(Usage::default());
            }
            let sizes = container.group()?.sizes();
            let devices = format!("/proc/{}/net/dev", container.state.pid);
            let (received, sent) = traffic(&fs::read_to_string(devices).unwrap_or_default());
            let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
            let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
            let nanoseconds = u64::try_from(now.tv_nsec).unwrap_or(0);
            Ok(Usage {
                sizes,
                received,
                sent,
                at: seconds * 1_000_000_000 + nanoseconds,
            })
        })
        .await
    }
}

/// The rows of `ps` that are about some processes. The last column has the rest of its line.
fn choose(text: &str, pids: &[i32]) -> Result<Processes> {
    let mut lines = text.lines();
    let titles = lines.next().unwrap_or_default().split_whitespace();
    let titles: Vec<String> = titles.map(str::to_owned).collect();
    let column = titles.iter().position(|title| title == "PID");
    let column =
        column.ok_or_else(|| Error::Invalid("Couldn't find PID field in ps output".to_owned()))?;
    let rows = lines.filter_map(|line| {
        let mut words = line.split_whitespace();
        let mut row: Vec<String> = Vec::new();
        for _ in 1..titles.len() {
            row.push(words.next()?.to_owned());
        }
        row.push(words.collect::<Vec<_>>().join(" "));
        let pid = row.get(column)?.parse().ok()?;
        pids.contains(&pid).then_some(row)
    });
    Ok(Processes {
        rows: rows.collect(),
        titles,
    })
}

/// The bytes of all interfaces but `lo`, by proc_pid_net_dev(5): received and sent.
fn traffic(text: &str) -> (u64, u64) {
    let lines = text.lines().filter_map(|line| line.split_once(':'));
    let links = lines.filter(|(name, _)| name.trim() != "lo");
    let numbers = links.filter_map(|(_, rest)| {
        let numbers: Vec<u64> = rest
            .split_whitespace()
            .map_while(|number| number.parse().ok())
            .collect();
        Some((*numbers.first()?, *numbers.get(8)?))
    });
    numbers.fold((0, 0), |(received, sent), (more, out)| {
        (received + more, sent + out)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_ps_are_chosen() {
        let text = "UID   PID  PPID CMD\nroot    1     0 init\nroot  421   1 sleep 10 20\n";
        let found = choose(text, &[421]).unwrap();
        assert_eq!(found.titles, ["UID", "PID", "PPID", "CMD"]);
        assert_eq!(found.rows, [["root", "421", "1", "sleep 10 20"]]);
        let error = choose("CMD\nx\n", &[1]).unwrap_err().to_string();
        assert_eq!(error, "Couldn't find PID field in ps output");
    }

    #[test]
    fn traffic_is_that_of_other_links_than_lo() {
        let text = "Inter-|   Receive\n face |bytes packets\n    lo: 9 1 0 0 0 0 0 0 9 1 0\n  \
            eth0: 100 2 0 0 0 0 0 0 50 3 0 0 0 0 0 0\n";
        assert_eq!(traffic(text), (100, 50));
    }
}
