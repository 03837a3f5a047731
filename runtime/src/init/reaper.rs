//! The first process of a container that asks for one (docker's `--init`): it passes signals on to
//! the command, and reaps whatever lost its parent.

use std::ffi::CStr;
use std::io;
use std::process::Command;

use std::os::unix::process::CommandExt as _;

use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// How it is called where processes are listed.
const NAME: &CStr = c"container-init";

/// Starts the command as a child; returns the exit code once it has ended, or why it could not be
/// executed. `started` is called in between.
pub(super) fn run(
    path: &str,
    argv: &[String],
    env: &[String],
    started: impl FnOnce(),
) -> io::Result<i32> {
    // As it is started it is called like the descriptor that it was executed from.
    let _ = rustix::thread::set_name(NAME);
    let mut command = Command::new(path);
    if let Some((name, rest)) = argv.split_first() {
        command.arg0(name).args(rest);
    }
    let pairs = env.iter().filter_map(|entry| entry.split_once('='));
    command.env_clear().envs(pairs);
    let all = SigSet::all();
    all.thread_block()?;
    let child = command.spawn()?;
    let number = i32::try_from(child.id()).map_err(|_| io::ErrorKind::InvalidData)?;
    let child = Pid::from_raw(number);
    started();
    let mut ended = None;
    loop {
        while let Ok(status) = waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            match status {
                WaitStatus::Exited(pid, code) if pid == child => ended = Some(code),
                WaitStatus::Signaled(pid, signal, _) if pid == child => {
                    ended = Some(128 + signal as i32);
                }
                WaitStatus::StillAlive => break,
                _ => {}
            }
        }
        if let Some(code) = ended {
            return Ok(code);
        }
        match all.wait() {
            Ok(Signal::SIGCHLD) | Err(_) => {}
            Ok(signal) => {
                let _ = kill(child, signal);
            }
        }
    }
}
