//! The life of a container: spawned, running, ended.

use std::ffi::CString;
use std::fmt;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::libc;
use rustix::process::{Signal, pidfd_send_signal};

use crate::cgroup::Cgroup;
use crate::error::{Error, Result};
use crate::guard::{self, Watch};

use crate::inhabitant;
use crate::line::{Ends, Heard, Line};
use crate::node::Devices;
use crate::prepare::{Prepared, prepare};
use crate::processes;
use crate::share::{IpcSpace, PidSpace, Shared};
use crate::source::tree_of;
use crate::spawner::Start;
use crate::spec::{NetworkMode, Spec};
use crate::sys::{self, Child};
use crate::{plan, spawner};

/// Starts containers.
#[derive(Debug)]
pub struct Container;

/// Standard input, output and error of a container; `None` is /dev/null.
#[derive(Debug, Default)]
pub struct Stdio {
    /// Standard input.
    pub stdin: Option<OwnedFd>,
    /// Standard output.
    pub stdout: Option<OwnedFd>,
    /// Standard error.
    pub stderr: Option<OwnedFd>,
}

/// A container whose command is being executed. Dropping it kills every process in it and
/// removes what was made for it.
#[derive(Debug)]
pub struct Running {
    child: Child,
    ended: Option<ExitStatus>,
    cgroup: Option<Cgroup>,
    prepared: Prepared,
    /// Nobody watches a container that is kept.
    watch: Option<Watch>,
    terminal: Option<OwnedFd>,
}

/// How a container's command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExitStatus {
    /// The exit code, when it exited.
    pub code: Option<i32>,
    /// The signal, when one killed it.
    pub signal: Option<i32>,
    /// Whether a process of the container was killed because its memory limit was reached.
    pub oom_killed: bool,
}

impl ExitStatus {
    /// Exit code 0.
    pub fn success(&self) -> bool {
        self.code == Some(0)
    }

    /// The exit code as a shell and Docker give it: 128 + signal when killed.
    pub fn exit_code(&self) -> i32 {
        self.code
            .or(self.signal.map(|signal| 128 + signal))
            .unwrap_or(255)
    }
}

impl fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "exit code: {}", self.exit_code())?;
        if self.oom_killed {
            f.write_str(" (out of memory: the memory limit was reached)")?;
        } else if let Some(signal) = self.signal {
            match nix::sys::signal::Signal::try_from(signal) {
                Ok(name) => write!(f, " (killed by {name})")?,
                Err(_) => write!(f, " (killed by signal {signal})")?,
            }
        }
        Ok(())
    }
}

impl Container {
    /// Starts `spec`'s command in a new container and returns when it is being executed.
    ///
    /// # Errors
    /// [`Error::CommandNotFound`] and [`Error::CommandNotExecutable`] when the container could
    /// be made but not the command executed ([`Error::exit_code`] gives Docker's 127 and 126);
    /// any other when it could not be made. Nothing is left behind then.
    pub fn spawn(spec: &Spec, stdio: Stdio) -> Result<Running> {
        // The guard first: what is made after this is removed even if this process is killed.
        let watched = |error| Error::setup("start the clean-up process", error);
        let mut watch = None;
        let lasting = spec.lasting.as_deref();
        let wanted = spec.limits.need_cgroup() || spec.devices == Devices::Usual;
        let cgroup = match wanted || lasting.is_some() {
            true => Some(Cgroup::create(
                &spec.limits,
                (spec.devices, &spec.nodes, &spec.device_rules),
                lasting,
                |paths| {
                    if lasting.is_none() {
                        watch = Some(guard::watch(paths.to_vec()).map_err(watched)?);
                    }
                    Ok(())
                },
            )?),
            false => None,
        };
        if watch.is_none() && lasting.is_none() {
            watch = Some(guard::watch(Vec::new()).map_err(watched)?);
        }
        // Dropped in this order where something fails: the guard forgets last.
        let (watch, cgroup) = (watch, cgroup);
        let open_devices = match spec.devices {
            Devices::Closed => false,
            Devices::Usual => cgroup.as_ref().is_some_and(Cgroup::guards_devices),
            Devices::All => true,
        };
        let mut prepared = prepare(spec, open_devices)?;
        let (line, ends) = Line::new(spec.terminal.is_some())?;
        let fds = descriptors(spec, stdio, &mut prepared, ends)?;
        let start = Start {
            fds,
            namespaces: namespaces(&spec.network, spec.shared),
            beside: match spec.shared.pid {
                PidSpace::Own | PidSpace::Host => None,
                PidSpace::Of(other) => Some(other.open().ok_or_else(inhabitant::gone)?),
            },
            ipc: match spec.shared.ipc {
                IpcSpace::Own | IpcSpace::Host => None,
                IpcSpace::Of(other) => Some(other.handle()?),
            },
            words: words(spec),
        };
        let child = spawner::start_init(start)
            .map_err(|error| Error::setup("start a process in new namespaces", error))?;
        let mut running = Running {
            child,
            ended: None,
            cgroup,
            prepared,
            watch,
            terminal: None,
        };
        if let Some(watch) = &running.watch {
            watch
                .started(running.child.pidfd.as_fd())
                .map_err(watched)?;
        }
        if let Some(cgroup) = &running.cgroup {
            cgroup.add(running.child.pid)?;
        }
        match line.talk(&running.prepared.plan)? {
            Heard::Running { terminal } => {
                running.terminal = terminal;
                Ok(running)
            }
            Heard::Died => Err(Error::InitDied(running.wait()?.to_string())),
            Heard::Failed(error) => {
                running.reap()?;
                Err(error)
            }
        }
    }
}

/// A first process that stays is listed with the command that it runs.
fn words(spec: &Spec) -> Vec<CString> {
    let words = spec.argv.iter().map(|word| CString::new(word.as_str()));
    let words = std::iter::once(Ok(c"--".to_owned())).chain(words);
    words.filter(|_| spec.reaper).flatten().collect()
}

fn namespaces(network: &NetworkMode, shared: Shared) -> i32 {
    let own = match network {
        NetworkMode::None => libc::CLONE_NEWNET,
        NetworkMode::Host | NetworkMode::Sandbox(_) | NetworkMode::Joined(_) => 0,
    };
    let pid = match shared.pid {
        PidSpace::Own => libc::CLONE_NEWPID,
        PidSpace::Host | PidSpace::Of(_) => 0,
    };
    let unless = |shared: bool, flag: i32| if shared { 0 } else { flag };
    libc::CLONE_NEWNS
        | pid
        | unless(shared.ipc != IpcSpace::Own, libc::CLONE_NEWIPC)
        | unless(shared.uts, libc::CLONE_NEWUTS)
        | own
}

/// The init's descriptors, in the order it expects them.
fn descriptors(
    spec: &Spec,
    stdio: Stdio,
    prepared: &mut Prepared,
    ends: Ends,
) -> Result<Vec<OwnedFd>> {
    let mut fds = stdio.or_null()?;
    fds.extend([ends.plan, ends.errors]);
    fds.extend(prepared.root.take());
    let namespace = match &spec.network {
        NetworkMode::Sandbox(sandbox) => Some(sandbox.namespace()),
        NetworkMode::Joined(namespace) => Some(namespace.as_fd()),
        NetworkMode::Host | NetworkMode::None => None,
    };
    if let Some(namespace) = namespace {
        let handed = namespace.try_clone_to_owned();
        fds.push(handed.map_err(|e| Error::setup("hand the network namespace over", e))?);
    }
    fds.extend(ends.terminal);
    for kind in plan::handed_over(spec) {
        fds.push(tree_of(kind)?);
    }
    Ok(fds)
}

impl Stdio {
    /// The streams in order, /dev/null where there is none.
    pub(crate) fn or_null(self) -> Result<Vec<OwnedFd>> {
        let null = || {
            File::options()
                .read(true)
                .write(true)
                .open("/dev/null")
                .map(OwnedFd::from)
                .map_err(|error| Error::setup("open /dev/null", error))
        };
        let streams = [self.stdin, self.stdout, self.stderr];
        streams
            .into_iter()
            .map(|fd| fd.map_or_else(null, Ok))
            .collect()
    }
}

impl Running {
    /// Becomes readable when the command has ended.
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.child.pidfd.as_fd()
    }

    /// The master of the command's terminal, the first time that it is asked for.
    pub fn terminal(&mut self) -> Option<OwnedFd> {
        self.terminal.take()
    }

    /// Sends the command a signal, by its number; one that has ended gets none.
    ///
    /// # Errors
    /// [`Error::Setup`] when there is no such signal.
    pub fn signal(&self, number: i32) -> Result<()> {
        sys::send_signal(self.child.pidfd.as_fd(), number)
            .map_err(|error| Error::setup(format!("send signal {number}"), error))
    }

    /// Process ID of the command, in this process's PID namespace.
    pub fn pid(&self) -> i32 {
        self.child.pid
    }

    /// Kills every process in the container.
    ///
    /// # Errors
    /// [`Error::Setup`] when the signal cannot be sent; a container that has ended is no error.
    pub fn kill(&self) -> Result<()> {
        match pidfd_send_signal(&self.child.pidfd, Signal::KILL) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(errno) => Err(Error::setup("kill the container", errno)),
        }
    }

    /// A handle that can kill the container while another thread waits for it.
    ///
    /// # Errors
    /// [`Error::Setup`] when descriptors run out.
    pub fn killer(&self) -> Result<Killer> {
        self.child
            .pidfd
            .try_clone()
            .map(|pidfd| Killer {
                pidfd,
                pid: self.child.pid,
                ended: AtomicBool::new(false),
            })
            .map_err(|error| Error::setup("duplicate a descriptor", error))
    }

    /// Waits until the command has ended, and with it every process in the container, then
    /// removes what was made for it.
    ///
    /// # Errors
    /// [`Error::Setup`] when the process cannot be waited for.
    pub fn wait(mut self) -> Result<ExitStatus> {
        self.reap()
    }

    fn reap(&mut self) -> Result<ExitStatus> {
        if let Some(status) = self.ended {
            return Ok(status);
        }
        let (code, signal) = sys::wait_child(self.child.pidfd.as_fd())
            .map_err(|error| Error::setup("wait for the container", error))?;
        let oom_killed = self.cgroup.as_ref().is_some_and(Cgroup::oom_killed);
        let status = ExitStatus {
            code,
            signal,
            oom_killed,
        };
        self.ended = Some(status);
        self.cgroup = None;
        self.prepared.clean_up();
        Ok(status)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.ended.is_none() {
            let _ = self.kill();
            let _ = self.reap();
        }
    }
}

/// Ends a container from another thread.
#[derive(Debug)]
pub struct Killer {
    pidfd: OwnedFd,
    pid: i32,
    /// It was told to end.
    ended: AtomicBool,
}

impl Killer {
    /// Kills every process in the container; one that has ended stays ended.
    pub fn kill(&self) {
        let _ = pidfd_send_signal(&self.pidfd, Signal::KILL);
    }

    /// Asks those of the container's processes to end that have a handler for SIGTERM, and kills
    /// what is left when they have ended, or two seconds later; without such a process it kills at
    /// once. Returns before that is done.
    pub fn end(self: Arc<Self>) {
        if self.ended.swap(true, Ordering::SeqCst) {
            return;
        }
        let this = Arc::clone(&self);
        let work = move || {
            processes::ask_to_end(this.pid);
            this.kill();
        };
        let thread = std::thread::Builder::new().name("container-end".to_owned());
        if thread.spawn(work).is_err() {
            self.kill();
        }
    }

    /// Whether one of the container's processes works: it has a processor, wants one, or waits
    /// for the disk. Those that sleep do not.
    pub fn at_work(&self) -> bool {
        processes::at_work(self.pid)
    }
}
