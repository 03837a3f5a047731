//! One run of a container: from its network to its process.

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Instant;

use runtime::{Container, ExitStatus, Mount, Running, Stdio};
use rustix::pipe::{PipeFlags, pipe_with};

use super::etc;
use super::linked::{self, Linked};
use super::network::Network;
use super::refused::Refused;
use crate::folder::Folder;
use crate::launch::{Launch, Link, NetworkPlan, PlacePlan};
use crate::log::entry::Stream;

const SHARED_MEMORY: &str = "/dev/shm";

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
    /// Its addresses are leased as long as this is held.
    pub(super) network: Option<Network>,
    pub(super) ended: Option<ExitStatus>,
    /// Who it is linked to tells it when they come to be elsewhere.
    _linked: Linked,
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
        let network = Network::start(launch)?;
        let linked = linked::register(launch).map_err(|e| failed("link containers", e))?;
        let folder = Folder::new(&launch.folder);
        if !matches!(launch.network, NetworkPlan::Container { .. }) {
            let written = etc::write(&folder, &launch.etc, &network);
            written.map_err(|e| failed("write files of /etc", e))?;
        }
        let mut spec = launch.spec.clone().network(network.mode());
        spec = spec.first_mounts(etc::mounts(launch));
        if let Some(other) = launch.memory_of {
            let tree = runtime::shared_memory(other)?;
            spec = spec.first_mounts([Mount::tree(Arc::new(tree), SHARED_MEMORY, false)]);
        }
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
        let spawned = Container::spawn(&spec, stdio);
        let mut running = spawned.map_err(|error| Refused::of(error, &launch.told))?;
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
        Ok(Self {
            running: Some(running),
            outputs,
            input,
            terminal,
            since: Instant::now(),
            network: Some(network),
            ended: None,
            _linked: linked,
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

    /// One that it is linked to has another address.
    pub(super) fn relink(
        launch: &mut Launch,
        container: &str,
        address: Ipv4Addr,
    ) -> io::Result<()> {
        let folder = Folder::new(&launch.folder);
        for link in &mut launch.etc.links {
            if link.container == container && link.address != address {
                etc::relinked(&folder, &link.names, link.address, address)?;
                link.address = address;
            }
        }
        Ok(())
    }

    /// It is linked to another no more.
    pub(super) fn unlink(launch: &mut Launch, container: &str, alias: &str) -> io::Result<()> {
        let folder = Folder::new(&launch.folder);
        let is_meant = |link: &Link| {
            link.container == container && link.names.split(' ').next() == Some(alias)
        };
        for link in launch.etc.links.iter().filter(|link| is_meant(link)) {
            etc::unlinked(&folder, &link.names, link.address)?;
        }
        launch.etc.links.retain(|link| !is_meant(link));
        Ok(())
    }

    /// Is called otherwise from now on, on its networks too.
    pub(super) fn rename(&mut self, launch: &mut Launch, name: &str) -> Result<(), Refused> {
        if let NetworkPlan::Bridges { places, .. } = &mut launch.network {
            for place in places {
                place.rename(&launch.name, name);
            }
        }
        let before = std::mem::replace(&mut launch.name, name.to_owned());
        let known = &mut launch.actor.attributes;
        known.insert("name".to_owned(), name.to_owned());
        match &mut self.network {
            Some(network) => network.rename(&before, name),
            None => Ok(()),
        }
    }

    /// Comes to one more network; a run that follows is on it, too.
    pub(super) fn connect(&mut self, launch: &mut Launch, plan: PlacePlan) -> Result<(), Refused> {
        let Some(network) = &mut self.network else {
            return Ok(());
        };
        let knew_names = network.knows_names();
        let addresses = network.connect(&plan)?;
        let folder = Folder::new(&launch.folder);
        let mut told = etc::changed(&folder, &launch.etc, &addresses, true);
        if !knew_names && network.knows_names() {
            told = told.and_then(|()| etc::names_are_known(&folder, &launch.etc));
        }
        if let NetworkPlan::Bridges { places, .. } = &mut launch.network {
            places.push(plan);
        }
        told.map_err(|error| failed("change files of /etc", error))
    }

    /// Leaves a network, for the runs that follow, too.
    pub(super) fn leave(&mut self, launch: &mut Launch, network_id: &str) -> Result<(), Refused> {
        let Some(network) = &mut self.network else {
            return Ok(());
        };
        let addresses = network.disconnect(network_id)?;
        if let NetworkPlan::Bridges { places, .. } = &mut launch.network {
            places.retain(|place| place.network_id != network_id);
        }
        let folder = Folder::new(&launch.folder);
        let told = etc::changed(&folder, &launch.etc, &addresses, false);
        told.map_err(|error| failed("change files of /etc", error))
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
        }
    }

    /// Of a container that has ended: gives back what others want to have. What it returns takes
    /// the rest of its network away when it is dropped, which may take longer than all else.
    pub(super) fn let_go(self) -> Option<Network> {
        let mut network = self.network;
        if let Some(network) = &mut network {
            network.let_go();
        }
        network
    }
}
