//! The first process of a container that asks for one (docker's `--init`): it passes signals on to
//! the command, and reaps whatever lost its parent.

use std::ffi::{CStr, CString};
use std::io;

use nix::spawn::{PosixSpawnAttr, PosixSpawnFileActions, PosixSpawnFlags, posix_spawn};
use nix::sys::signal::{SigSet, Signal, kill, killpg};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, tcsetpgrp};

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
    let all = SigSet::all();
    all.thread_block()?;
    let child = spawn(path, argv, env)?;
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

/// Starts the command, which blocks and ignores no signal, in a process group of its own: what is
/// typed at a terminal (Ctrl-C) comes to it once, and not here as well to be passed on.
fn spawn(path: &str, argv: &[String], env: &[String]) -> io::Result<Pid> {
    let strings = |texts: &[String]| -> io::Result<Vec<CString>> {
        let all = texts.iter().map(|text| CString::new(text.as_str()));
        Ok(all.collect::<Result<_, _>>()?)
    };
    let mut attributes = PosixSpawnAttr::init()?;
    attributes.set_flags(
        PosixSpawnFlags::POSIX_SPAWN_SETSIGMASK
            | PosixSpawnFlags::POSIX_SPAWN_SETSIGDEF
            | PosixSpawnFlags::POSIX_SPAWN_SETPGROUP,
    )?;
    attributes.set_sigmask(&SigSet::empty())?;
    attributes.set_sigdefault(&SigSet::all())?;
    attributes.set_pgroup(Pid::from_raw(0))?;
    let child = posix_spawn(
        path,
        &PosixSpawnFileActions::init()?,
        &attributes,
        &strings(argv)?,
        &strings(env)?,
    )?;
    // Where there is a terminal, it is the command's; one that was quicker has been stopped by it.
    if tcsetpgrp(io::stdin(), child).is_ok() {
        let _ = killpg(child, Signal::SIGCONT);
    }
    Ok(child)
}
