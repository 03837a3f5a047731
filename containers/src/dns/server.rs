//! The answerer in a container's namespace: a thread, so that servers that are slow hold up nothing
//! else of the monitor.

use std::fs::File;
use std::io;
use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use runtime::network::Namespace;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::Timespec;
use rustix::pipe::{PipeFlags, pipe_with};

use super::answer::{self, DATAGRAM, Decision};
use super::forward::{self, Pending};
use super::view::View;

/// Where containers ask for names.
pub(crate) const ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 11);
/// Questions that wait for other servers at once; further ones fail.
const MOST_PENDING: usize = 128;
/// Streams at once; further ones are closed.
const MOST_STREAMS: usize = 16;
/// What a stream gets to say something.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes; the threads do little.
const STACK: usize = 128 << 10;
const LONGEST: usize = 65535;

/// Which servers are asked for what is none of ours.
#[derive(Clone, Debug)]
pub(crate) enum Servers {
    /// This machine's, from its network.
    Host(Vec<IpAddr>),
    /// The container's own, from its network.
    Own(Vec<IpAddr>),
}

impl Servers {
    fn addresses(&self) -> &[IpAddr] {
        match self {
            Self::Host(addresses) | Self::Own(addresses) => addresses,
        }
    }
}

/// An answerer at work, until dropped.
#[derive(Debug)]
pub(crate) struct Answerer {
    view: Arc<Mutex<View>>,
    /// Its end ends the thread.
    _life: OwnedFd,
}

impl Answerer {
    /// Begins to answer in a namespace.
    ///
    /// # Errors
    /// Those of sockets and threads; the network's.
    pub(crate) fn start(
        namespace: &Namespace,
        view: View,
        servers: Servers,
    ) -> runtime::Result<Self> {
        let (datagrams, streams) = namespace.enter("listen for questions", || {
            let datagrams = UdpSocket::bind((ADDRESS, 0))?;
            let streams = TcpListener::bind((ADDRESS, 0))?;
            datagrams.set_nonblocking(true)?;
            streams.set_nonblocking(true)?;
            Ok((datagrams, streams))
        })?;
        let failed = |cause: io::Error| runtime::Error::Network {
            step: "answer questions for names".to_owned(),
            cause,
        };
        let port = |address: io::Result<std::net::SocketAddr>| address.map(|a| a.port());
        let ports = (
            port(datagrams.local_addr()).map_err(failed)?,
            port(streams.local_addr()).map_err(failed)?,
        );
        namespace.redirect_names(ADDRESS, ports)?;
        let (death, life) = pipe_with(PipeFlags::CLOEXEC).map_err(|e| failed(e.into()))?;
        let home = match &servers {
            Servers::Host(_) => None,
            Servers::Own(_) => Some(File::from(
                namespace.fd().try_clone_to_owned().map_err(failed)?,
            )),
        };
        let view = Arc::new(Mutex::new(view));
        let mut server = Server {
            datagrams,
            streams,
            death,
            view: view.clone(),
            servers,
            home: home.map(Arc::new),
            pending: Vec::new(),
            talking: Arc::new(AtomicUsize::new(0)),
        };
        let thread = std::thread::Builder::new().stack_size(STACK);
        thread.spawn(move || server.serve()).map_err(failed)?;
        Ok(Self { view, _life: life })
    }

    /// From now on it answers by this.
    pub(crate) fn see(&self, view: View) {
        *self.view.lock().unwrap_or_else(PoisonError::into_inner) = view;
    }
}

#[derive(Debug)]
struct Server {
    datagrams: UdpSocket,
    streams: TcpListener,
    /// Readable when it is to end.
    death: OwnedFd,
    view: Arc<Mutex<View>>,
    servers: Servers,
    /// The namespace from which other servers are asked, if it is not this machine's.
    home: Option<Arc<File>>,
    pending: Vec<Pending>,
    talking: Arc<AtomicUsize>,
}

fn move_to(home: Option<&File>) -> io::Result<()> {
    match home {
        Some(home) => Ok(rustix::thread::move_into_link_name_space(
            home.as_fd(),
            Some(rustix::thread::LinkNameSpaceType::Network),
        )?),
        None => Ok(()),
    }
}

impl Server {
    fn serve(&mut self) {
        if move_to(self.home.as_deref()).is_err() {
            return;
        }
        let mut buffer = vec![0; LONGEST];
        while let Some(ready) = self.wait() {
            if ready.datagrams {
                self.read_datagrams(&mut buffer);
            }
            if ready.streams
                && let Ok((stream, _)) = self.streams.accept()
            {
                self.talk(stream);
            }
            self.settle(&ready.pending, &mut buffer);
        }
    }

    /// What is ready; nothing when it is to end.
    fn wait(&self) -> Option<Ready> {
        let mut fds = vec![
            PollFd::new(&self.death, PollFlags::IN),
            PollFd::new(&self.datagrams, PollFlags::IN),
            PollFd::new(&self.streams, PollFlags::IN),
        ];
        let waiting = self.pending.iter();
        fds.extend(waiting.map(|one| PollFd::from_borrowed_fd(one.fd(), PollFlags::IN)));
        let next = self.pending.iter().map(|one| one.until).min();
        let left = next.map(|at| at.saturating_duration_since(Instant::now()));
        let timeout = left.map(|left| Timespec::try_from(left).unwrap_or_default());
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(_) => return None,
        }
        let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        match ready.as_slice() {
            [false, datagrams, streams, pending @ ..] => Some(Ready {
                datagrams: *datagrams,
                streams: *streams,
                pending: pending.to_vec(),
            }),
            _ => None,
        }
    }

    fn view(&self) -> View {
        self.view
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn read_datagrams(&mut self, buffer: &mut [u8]) {
        while let Ok((length, client)) = self.datagrams.recv_from(buffer) {
            let question = buffer.get(..length).unwrap_or_default();
            let view = self.view();
            let told = match answer::decide(question, &view, DATAGRAM) {
                Decision::Answer(bytes) => Some(bytes),
                Decision::Ignored => None,
                Decision::Elsewhere => {
                    let room = view.forwards && self.pending.len() < MOST_PENDING;
                    let asked = room
                        .then(|| Pending::new(question, client, self.servers.addresses()))
                        .flatten();
                    match asked {
                        Some(pending) => {
                            self.pending.push(pending);
                            None
                        }
                        None => answer::failed(question),
                    }
                }
            };
            if let Some(bytes) = told {
                let _ = self.datagrams.send_to(&bytes, client);
            }
        }
    }

    /// Passes on what other servers have answered, and asks the next of those that do not.
    fn settle(&mut self, ready: &[bool], buffer: &mut [u8]) {
        let now = Instant::now();
        let datagrams = &self.datagrams;
        let mut at = 0;
        self.pending.retain_mut(|one| {
            let has_come = ready.get(at).copied().unwrap_or_default();
            at += 1;
            let mut told = None;
            if has_come {
                told = one.answer(buffer);
            }
            if told.is_none() && (one.until > now || one.next()) {
                return true;
            }
            if let Some(bytes) = told.or_else(|| one.failed()) {
                let _ = datagrams.send_to(&bytes, one.client);
            }
            false
        });
    }

    /// Answers the questions of a stream, in a thread.
    fn talk(&self, stream: TcpStream) {
        if self.talking.fetch_add(1, Ordering::Relaxed) >= MOST_STREAMS {
            self.talking.fetch_sub(1, Ordering::Relaxed);
            return;
        }
        let (view, servers) = (self.view(), self.servers.clone());
        let (home, talking) = (self.home.clone(), self.talking.clone());
        let thread = std::thread::Builder::new().stack_size(STACK);
        let started = thread.spawn(move || {
            if move_to(home.as_deref()).is_ok() {
                let _ = converse(stream, &view, servers.addresses());
            }
            talking.fetch_sub(1, Ordering::Relaxed);
        });
        if started.is_err() {
            self.talking.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[derive(Debug)]
struct Ready {
    datagrams: bool,
    streams: bool,
    pending: Vec<bool>,
}

fn converse(mut stream: TcpStream, view: &View, servers: &[IpAddr]) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    loop {
        let question = forward::read(&mut stream)?;
        let told = match answer::decide(&question, view, LONGEST) {
            Decision::Answer(bytes) => Some(bytes),
            Decision::Ignored => return Ok(()),
            Decision::Elsewhere if view.forwards => forward::ask_by_stream(&question, servers),
            Decision::Elsewhere => None,
        };
        match told.or_else(|| answer::failed(&question)) {
            Some(bytes) => forward::write(&mut stream, &bytes)?,
            None => return Ok(()),
        }
    }
}
