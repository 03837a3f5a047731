//! One run of a container: from its network to its process.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Instant;

use runtime::network::{Between, Config, Sandbox};
use runtime::{Container, ExitStatus, Mount, NetworkMode, Running, Stdio, dns};
use rustix::pipe::{PipeFlags, pipe_with};

use crate::folder::Folder;
use crate::launch::{Etc, HostAddress, Launch, NetworkPlan};
use crate::log::entry::Stream;
use crate::state::Connection;

/// Where output comes from.
#[derive(Debug)]
pub(super) struct Output {
    pub(super) fd: OwnedFd,
    pub(super) stream: Stream,
    /// More may come.
    pub(super) is_open: bool,
}

/// A container that runs.
#[derive(Debug)]
pub(super) struct Run {
    running: Option<Running>,
    pub(super) outputs: Vec<Output>,
    /// What standard input is written to.
    pub(super) input: Option<OwnedFd>,
    terminal: Option<OwnedFd>,
    pub(super) since: Instant,
    pub(super) connection: Option<Connection>,
    /// Its address is leased as long as this is held.
    network: Option<NetworkMode>,
    pub(super) ended: Option<ExitStatus>,
}

/// Why it could not be started, with the exit code that docker gives it.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) message: String,
    pub(super) code: i32,
}

impl From<runtime::Error> for Refused {
    fn from(error: runtime::Error) -> Self {
        Self {
            code: error.exit_code(),
            message: said(&error),
        }
    }
}

/// Why it could not be started: docker's sentence for a working directory that is something else.
fn said(error: &runtime::Error) -> String {
    match error {
        runtime::Error::Setup { step, cause } if cause.kind() == io::ErrorKind::AlreadyExists => {
            match step.strip_prefix("make the directory ") {
                Some(path) => format!("Cannot mkdir: {path} is not a directory"),
                None => error.to_string(),
            }
        }
        _ => error.to_string(),
    }
}

fn failed(what: &str, error: impl Into<io::Error>) -> Refused {
    Refused {
        message: format!("{what}: {}", error.into()),
        code: 125,
    }
}

impl Run {
    /// Starts the container.
    pub(super) fn start(launch: &Launch) -> Result<Self, Refused> {
        let network = connect(&launch.network)?;
        let folder = Folder::new(&launch.folder);
        write_etc(&folder, &launch.etc, &network).map_err(|e| failed("write files of /etc", e))?;
        let mut spec = launch.spec.clone().network(network.clone());
        spec = spec.first_mounts(etc_mounts(&folder));
        let mut outputs = Vec::new();
        let (mut stdio, mut input) = (Stdio::default(), None);
        if !launch.tty {
            let pipe = || {
                let made = pipe_with(PipeFlags::CLOEXEC);
                made.map_err(|e| failed("make a pipe", e))
            };
            if launch.open_stdin {
                let (theirs, ours) = pipe()?;
                stdio.stdin = Some(theirs);
                input = Some(ours);
            }
            let (ours, theirs) = pipe()?;
            stdio.stdout = Some(theirs);
            outputs.push(Output {
                fd: ours,
                stream: Stream::Stdout,
                is_open: true,
            });
            let (ours, theirs) = pipe()?;
            stdio.stderr = Some(theirs);
            outputs.push(Output {
                fd: ours,
                stream: Stream::Stderr,
                is_open: true,
            });
        }
        let mut running = Container::spawn(&spec, stdio)?;
        let terminal = running.terminal();
        if let Some(terminal) = &terminal {
            let again = || terminal.try_clone().map_err(|e| failed("duplicate", e));
            outputs.push(Output {
                fd: again()?,
                stream: Stream::Stdout,
                is_open: true,
            });
            if launch.open_stdin {
                input = Some(again()?);
            }
        }
        for fd in outputs.iter().map(|output| &output.fd).chain(&input) {
            rustix::io::ioctl_fionbio(fd, true).map_err(|e| failed("set up a pipe", e))?;
        }
        let connection = match &network {
            NetworkMode::Sandbox(sandbox) => Some(Connection {
                address: sandbox.address(),
                prefix: sandbox.prefix(),
                gateway: sandbox.gateway(),
                mac: sandbox.mac(),
            }),
            NetworkMode::Host | NetworkMode::None => None,
        };
        Ok(Self {
            running: Some(running),
            outputs,
            input,
            terminal,
            since: Instant::now(),
            connection,
            network: Some(network),
            ended: None,
        })
    }

    pub(super) fn pid(&self) -> i32 {
        self.running.as_ref().map_or(0, Running::pid)
    }

    /// Readable when the process has ended; nothing once that is known.
    pub(super) fn pidfd(&self) -> Option<BorrowedFd<'_>> {
        self.running.as_ref().map(Running::pidfd)
    }

    pub(super) fn signal(&self, number: i32) -> runtime::Result<()> {
        match &self.running {
            Some(running) => running.signal(number),
            None => Ok(()),
        }
    }

    pub(super) fn resize(&self, size: runtime::WindowSize) -> io::Result<()> {
        let Some(terminal) = &self.terminal else {
            return Ok(());
        };
        let size = rustix::termios::Winsize {
            ws_row: size.rows,
            ws_col: size.columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        Ok(rustix::termios::tcsetwinsize(terminal.as_fd(), size)?)
    }

    /// Reaps the process, which has ended, and takes away what was made for it.
    pub(super) fn reap(&mut self) {
        if let Some(running) = self.running.take() {
            let lost = ExitStatus {
                code: Some(255),
                signal: None,
                oom_killed: false,
            };
            self.ended = Some(running.wait().unwrap_or(lost));
            self.input = None;
            self.network = None;
        }
    }
}

/// Makes the network.
fn connect(plan: &NetworkPlan) -> Result<NetworkMode, Refused> {
    Ok(match plan {
        NetworkPlan::None => NetworkMode::None,
        NetworkPlan::Host => NetworkMode::Host,
        NetworkPlan::Bridge { bridge, leases } => {
            let config = Config {
                state_dir: leases.clone(),
                bridge: bridge.clone(),
                between: Between::Everything,
            };
            NetworkMode::Sandbox(Arc::new(Sandbox::create(&config)?))
        }
    })
}

const ETC: [&str; 3] = ["resolv.conf", "hostname", "hosts"];

/// Writes the container's own files of /etc.
fn write_etc(folder: &Folder, etc: &Etc, network: &NetworkMode) -> io::Result<()> {
    let (own, gateway): (Option<IpAddr>, Option<IpAddr>) = match network {
        NetworkMode::Sandbox(sandbox) => (
            Some(sandbox.address().into()),
            Some(sandbox.gateway().into()),
        ),
        NetworkMode::Host => (None, Some(IpAddr::from([127, 0, 0, 1]))),
        NetworkMode::None => (None, None),
    };
    let extra: Vec<(String, String)> = etc
        .hosts
        .iter()
        .filter_map(|(name, address)| {
            let address = match address {
                HostAddress::Ip(address) => Some(*address),
                HostAddress::Gateway => gateway,
            };
            Some((name.clone(), address?.to_string()))
        })
        .collect();
    let name = match etc.domain.is_empty() {
        true => etc.hostname.clone(),
        false => format!("{0}.{1} {0}", etc.hostname, etc.domain),
    };
    let hosts = match (network, own) {
        (NetworkMode::Host, _) => {
            let mut hosts = fs::read_to_string("/etc/hosts").unwrap_or_default();
            for (name, address) in &extra {
                hosts.push_str(&format!("{address}\t{name}\n"));
            }
            hosts
        }
        // Where there is no address the name stands for nothing.
        (_, None) => dns::hosts("", None, &extra),
        (_, own) => dns::hosts(&name, own, &extra),
    };
    let own_network = !matches!(network, NetworkMode::Host);
    fs::write(folder.etc("hosts"), hosts)?;
    fs::write(folder.etc("hostname"), format!("{}\n", etc.hostname))?;
    fs::write(
        folder.etc("resolv.conf"),
        dns::resolv_conf(&etc.dns, own_network),
    )
}

fn etc_mounts(folder: &Folder) -> Vec<Mount> {
    ETC.map(|name| Mount::bind(folder.etc(name), format!("/etc/{name}"), false))
        .to_vec()
}
