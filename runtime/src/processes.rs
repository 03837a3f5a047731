//! The processes of a container as its parent sees them: whether they work, and how they are asked
//! to end.
//!
//! A process that has a handler for SIGTERM wants to end in order, and gets a moment for it. The
//! signal goes to every process of the container, as service managers send it: a shell waits for
//! its child before it looks at its own traps. Where nobody has a handler nobody is asked.

use std::collections::BTreeSet;
use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::Timespec;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// What a process gets to end in order.
const GRACE: Duration = Duration::from_secs(2);
/// How soon it is looked again who is there.
const AGAIN: Duration = Duration::from_millis(20);
const SIGTERM_BIT: u64 = 1 << (15 - 1);

/// Closes all descriptors but the standard streams: what whoever started this process has left open
/// is none of its business. Call it first thing in `main`, before anything is opened.
pub fn close_inherited() {
    crate::sys::close_inherited();
}

/// The first process of a container and its descendants, as numbers of this process's namespace.
/// Those that end meanwhile are left out.
fn all(first: i32) -> Vec<i32> {
    let mut found = vec![first];
    let mut next = 0;
    while let Some(pid) = found.get(next).copied() {
        next += 1;
        for thread in threads(pid) {
            let children = fs::read_to_string(format!("/proc/{pid}/task/{thread}/children"));
            let children = children.unwrap_or_default();
            found.extend(children.split_ascii_whitespace().filter_map(number));
        }
    }
    found
}

fn number(text: &str) -> Option<i32> {
    text.parse().ok()
}

fn threads(pid: i32) -> Vec<i32> {
    let entries = fs::read_dir(format!("/proc/{pid}/task"));
    let names = entries.into_iter().flatten().flatten();
    names
        .filter_map(|entry| number(entry.file_name().to_str()?))
        .collect()
}

/// Whether one of the container's threads is on a processor, wants one, or waits for the disk.
pub(crate) fn at_work(first: i32) -> bool {
    all(first).into_iter().any(|pid| {
        threads(pid).into_iter().any(|thread| {
            let stat = fs::read_to_string(format!("/proc/{pid}/task/{thread}/stat"));
            stat.is_ok_and(|stat| matches!(state(&stat), Some('R' | 'D')))
        })
    })
}

/// The state in a line of proc_pid_stat(5); the name before it may hold anything.
fn state(stat: &str) -> Option<char> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.trim_start().chars().next()
}

/// Whether a process has a handler for SIGTERM.
fn wants_to_know(status: &str) -> bool {
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let caught = caught.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    caught.is_some_and(|mask| mask & SIGTERM_BIT != 0)
}

/// Asks the processes of a container to end, if one of them wants to be asked, and waits until
/// all that do are gone or their time is over. Whatever is left is for the caller to kill.
pub(crate) fn ask_to_end(first: i32) {
    let until = Instant::now() + GRACE;
    let mut asked = BTreeSet::new();
    let mut wanting: Vec<OwnedFd> = Vec::new();
    loop {
        let mut others: Vec<OwnedFd> = Vec::new();
        for pid in all(first) {
            let Some((process, status)) = Pid::from_raw(pid).and_then(open) else {
                continue;
            };
            if !wants_to_know(&status) {
                others.push(process);
            } else if asked.insert(pid) {
                let _ = pidfd_send_signal(&process, Signal::TERM);
                wanting.push(process);
            }
        }
        if wanting.is_empty() {
            return;
        }
        // Each time: what a shell starts in the moment when it is told has its handlers at first.
        for process in others {
            let _ = pidfd_send_signal(process, Signal::TERM);
        }
        wanting.retain(|process| !has_ended(process.as_fd(), AGAIN));
        if wanting.is_empty() || Instant::now() >= until {
            return;
        }
    }
}

/// A process of a container, with its proc_pid_status(5).
fn open(pid: Pid) -> Option<(OwnedFd, String)> {
    let process = pidfd_open(pid, PidfdFlags::empty()).ok()?;
    let status = fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero())).ok()?;
    // Its number may have been another's by the time it was opened.
    is_inner(&status).then_some((process, status))
}

/// Whether a process is in a namespace below this one.
fn is_inner(status: &str) -> bool {
    let ids = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
    ids.is_some_and(|ids| ids.split_ascii_whitespace().count() > 1)
}

/// Whether a process ends within a time.
fn has_ended(process: BorrowedFd<'_>, within: Duration) -> bool {
    let until = Instant::now() + within;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(left).unwrap_or_default();
        let mut fds = [PollFd::from_borrowed_fd(process, PollFlags::IN)];
        match poll(&mut fds, Some(&timeout)) {
            Err(rustix::io::Errno::INTR) => {}
            found => return found.is_ok_and(|ready| ready > 0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_kernel_are_understood() {
        assert_eq!(state("12 (a) b) R 1 2 3"), Some('R'));
        assert_eq!(state("12 (sleep) S 1 2 3"), Some('S'));
        assert!(wants_to_know("Name:\tsh\nSigCgt:\t0000000000004002\n"));
        assert!(!wants_to_know("Name:\tsh\nSigCgt:\t0000000000010002\n"));
        assert!(is_inner("NSpid:\t4120\t1\n"));
        assert!(!is_inner("NSpid:\t4120\n"));
    }

    #[test]
    fn descendants_are_found_and_seen_to_wait() {
        let mut child = std::process::Command::new("sh")
            .args(["-c", "sleep 100 & wait"])
            .spawn()
            .unwrap();
        let first = i32::try_from(child.id()).unwrap();
        let mut found = all(first);
        while found.len() < 2 {
            std::thread::sleep(Duration::from_millis(5));
            found = all(first);
        }
        while at_work(first) {
            std::thread::sleep(Duration::from_millis(5));
        }
        let sleeping = Pid::from_raw(found[1]).unwrap();
        rustix::process::kill_process(sleeping, Signal::KILL).unwrap();
        child.wait().unwrap();
    }
}
