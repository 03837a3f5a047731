//! The process beside each running container: the program itself, started again.
//!
//! It owns the container's process, its terminal or pipes, its log and its exit code, and answers
//! on a socket in the container's folder. It uses no async code and no database, and one thread,
//! but for those that answer questions for names and that pass on what comes by IPv6. What it
//! knows is in files, so that whoever comes after it was killed finds out.
//!
//! - [`run`]: one run of the container: network, files of /etc, process
//! - [`health`]: whether it is well
//! - [`network`], [`reserve`], [`relay`]: its places on networks, and its ports of this machine
//! - [`etc`]: its files of /etc
//! - [`linked`]: who has to know when its address changes
//! - [`background`]: commands that are run in it while nobody waits for them
//! - [`client`]: a connection, and what is still to be sent on it
//! - [`down`]: when this machine goes down
//! - [`happenings`]: events of its networks and volumes
//! - [`serve`]: the loop
//! - [`heed`]: what clients ask of it
//! - [`streams`]: what the container says, and what it is told

mod background;
mod client;
mod down;
mod etc;
mod happenings;
mod health;
mod heed;
mod linked;
mod network;
mod refused;
mod relay;
mod reserve;
mod run;
mod serve;
mod streams;

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

use crate::folder::Folder;
use crate::launch::Launch;
use crate::protocol::{self, Answer, Kind, Request};
use serve::Monitor;

/// `argv[0]` of a monitor.
const ARG0: &str = "container-monitor";
/// The program, which each process can start again, whatever its file is called by now.
const SELF: &str = "/proc/self/exe";

/// Call this first in `main`, beside `runtime::init_hook`: in a process that was started as a
/// monitor it does that work and never returns, in every other it does nothing.
pub fn monitor_hook() {
    let Some(arg0) = std::env::args_os().next() else {
        return;
    };
    if arg0.as_bytes() != ARG0.as_bytes() {
        return;
    }
    runtime::close_inherited();
    if let Err(error) = work() {
        let _ = writeln!(io::stderr(), "{error}");
    }
    std::process::exit(0);
}

/// Starts a monitor; its first answer says how it went. What comes after that on the stream is
/// what the starter takes part in.
///
/// # Errors
/// When the process cannot be made.
pub fn start(launch: &Launch) -> io::Result<UnixStream> {
    let folder = Folder::new(&launch.folder);
    let (mut ours, theirs) = UnixStream::pair()?;
    let mut options = File::options();
    let troubles = options.create(true).append(true).open(folder.troubles())?;
    let mut command = Command::new(SELF);
    command.arg0(ARG0).env_clear().current_dir("/");
    // Threads come and go, and do little: glibc would keep a heap for each that was there at once.
    command.env("MALLOC_ARENA_MAX", "1");
    command
        .stdin(OwnedFd::from(theirs))
        .stdout(Stdio::null())
        .stderr(troubles);
    // Nobody waits for it: it ends long after this process, or is reaped with it.
    drop(command.spawn()?);
    drop(command);
    #[derive(serde::Serialize)]
    enum Outgoing<'a> {
        Launch(&'a Launch),
    }
    ours.write_all(&protocol::json(Kind::Request, &Outgoing::Launch(launch))?)?;
    Ok(ours)
}

fn work() -> io::Result<()> {
    // The terminal of whoever started it is none of its business.
    let _ = rustix::process::setsid();
    let starter = io::stdin().as_fd().try_clone_to_owned()?;
    rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
    let mut starter = UnixStream::from(starter);
    let Some((Kind::Request, content)) = protocol::read(&mut starter)? else {
        return Ok(());
    };
    let Request::Launch(launch) = serde_json::from_slice(&content)? else {
        return Ok(());
    };
    drop(content);
    let folder = Folder::new(&launch.folder);
    let Some(lock) = folder.run()? else {
        let message = "the container runs already".to_owned();
        let answer = Answer::Failed { message, code: 125 };
        return starter.write_all(&protocol::json(Kind::Answer, &answer)?);
    };
    let root = launch.root.clone();
    let id = launch.id.clone();
    let removes = Monitor::new(*launch, lock, starter)?.serve()?;
    if removes {
        remove(&root, &id);
    }
    Ok(())
}

/// Becomes the command that removes the container.
fn remove(root: &std::path::Path, id: &str) {
    let mut command = Command::new(SELF);
    command.arg0("rbuild").arg("--root").arg(root);
    command.args(["rm", "-v", id]);
    let error = command.stdout(Stdio::null()).exec();
    let _ = writeln!(io::stderr(), "remove the container: {error}");
}
