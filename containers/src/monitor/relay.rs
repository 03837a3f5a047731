//! Ports of this machine's IPv6 addresses that lead to a container, which has none: what comes
//! there is passed on by a thread. All else goes through the kernel alone.

use std::collections::HashMap;
use std::io::{self, Read as _, Write as _};
use std::net::{
    IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket,
};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use runtime::network::Protocol;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::Timespec;
use rustix::pipe::{PipeFlags, pipe_with};

use super::reserve::Reserved;

/// Bytes; the threads do little.
const STACK: usize = 64 << 10;
/// Connections at once, of all ports; further ones are closed.
const MOST: usize = 256;
/// Who sends a datagram is remembered so long.
const REMEMBERED: Duration = Duration::from_secs(90);
const CHUNK: usize = 16 << 10;
const LONGEST: usize = 65535;

/// Passes on what comes, until dropped.
#[derive(Debug)]
pub(super) struct Relay {
    /// Its end ends the thread.
    life: Option<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Relay {
    /// Waits for the thread, which has the ports: they may be bound anew after that.
    fn drop(&mut self) {
        self.life = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Relay {
    /// Begins with it; nothing when no port is one of IPv6.
    pub(super) fn start(ports: &[Reserved], target: IpAddr) -> io::Result<Option<Self>> {
        let (mut streams, mut datagrams) = (Vec::new(), Vec::new());
        for port in ports.iter().filter(|port| port.published.address.is_ipv6()) {
            let to = SocketAddr::new(target, port.published.container);
            let socket = port.socket.try_clone()?;
            match port.published.protocol {
                Protocol::Tcp => streams.push((TcpListener::from(socket), to)),
                Protocol::Udp => datagrams.push(Datagrams {
                    socket: UdpSocket::from(socket),
                    to,
                    known: HashMap::new(),
                }),
                // Only the kernel knows how to.
                Protocol::Sctp => {}
            }
        }
        if streams.is_empty() && datagrams.is_empty() {
            return Ok(None);
        }
        let (death, life) = pipe_with(PipeFlags::CLOEXEC)?;
        let mut passing = Passing {
            streams,
            datagrams,
            death,
            open: Arc::new(AtomicUsize::new(0)),
        };
        let thread = std::thread::Builder::new().stack_size(STACK);
        let thread = thread.spawn(move || while passing.turn().is_some() {})?;
        Ok(Some(Self {
            life: Some(life),
            thread: Some(thread),
        }))
    }
}

#[derive(Debug)]
struct Passing {
    streams: Vec<(TcpListener, SocketAddr)>,
    datagrams: Vec<Datagrams>,
    /// Readable when it is to end.
    death: OwnedFd,
    open: Arc<AtomicUsize>,
}

/// A port for datagrams, with those that have sent some.
#[derive(Debug)]
struct Datagrams {
    socket: UdpSocket,
    to: SocketAddr,
    known: HashMap<SocketAddr, (UdpSocket, Instant)>,
}

impl Passing {
    /// Waits until something comes, and passes it on; nothing when it is to end.
    fn turn(&mut self) -> Option<()> {
        let mut fds = vec![PollFd::new(&self.death, PollFlags::IN)];
        let streams = self.streams.iter();
        fds.extend(streams.map(|(socket, _)| PollFd::new(socket, PollFlags::IN)));
        let mut remembers = false;
        for port in &self.datagrams {
            fds.push(PollFd::new(&port.socket, PollFlags::IN));
            let known = port.known.values();
            fds.extend(known.map(|(socket, _)| PollFd::new(socket, PollFlags::IN)));
            remembers |= !port.known.is_empty();
        }
        let timeout = remembers.then(|| Timespec::try_from(REMEMBERED).unwrap_or_default());
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(_) => return None,
        }
        if fds.first().is_none_or(|death| !death.revents().is_empty()) {
            return None;
        }
        drop(fds);
        for (listener, to) in &self.streams {
            while let Ok((stream, _)) = listener.accept() {
                self.connect(stream, *to);
            }
        }
        let mut buffer = vec![0; LONGEST];
        for port in &mut self.datagrams {
            port.pass(&mut buffer);
        }
        Some(())
    }

    fn connect(&self, stream: TcpStream, to: SocketAddr) {
        if self.open.load(Ordering::Relaxed) >= MOST {
            return;
        }
        self.open.fetch_add(1, Ordering::Relaxed);
        let open = self.open.clone();
        let thread = std::thread::Builder::new().stack_size(STACK);
        let started = thread.spawn(move || {
            let _ = join(&stream, to);
            open.fetch_sub(1, Ordering::Relaxed);
        });
        if started.is_err() {
            self.open.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// Copies both ways until both have ended.
fn join(outside: &TcpStream, to: SocketAddr) -> io::Result<()> {
    outside.set_nonblocking(false)?;
    let inside = TcpStream::connect(to)?;
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK);
        let back = thread.spawn_scoped(scope, || copy(&inside, outside));
        copy(outside, &inside);
        drop(back?.join());
        Ok(())
    })
}

fn copy(mut from: &TcpStream, mut to: &TcpStream) {
    let mut chunk = [0; CHUNK];
    loop {
        match from.read(&mut chunk) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Ok(length) if length > 0 => {
                if to
                    .write_all(chunk.get(..length).unwrap_or_default())
                    .is_err()
                {
                    break;
                }
            }
            _ => break,
        }
    }
    let _ = to.shutdown(Shutdown::Write);
    let _ = from.shutdown(Shutdown::Read);
}

impl Datagrams {
    fn pass(&mut self, buffer: &mut [u8]) {
        let now = Instant::now();
        self.known.retain(|client, (socket, last)| {
            while let Ok(length) = socket.recv(buffer) {
                *last = now;
                let _ = self
                    .socket
                    .send_to(buffer.get(..length).unwrap_or_default(), client);
            }
            now.duration_since(*last) < REMEMBERED
        });
        while let Ok((length, client)) = self.socket.recv_from(buffer) {
            if !self.known.contains_key(&client) {
                if self.known.len() >= MOST {
                    continue;
                }
                let own: IpAddr = match self.to {
                    SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
                    SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
                };
                let made = UdpSocket::bind((own, 0)).and_then(|socket| {
                    socket.set_nonblocking(true)?;
                    socket.connect(self.to)?;
                    Ok(socket)
                });
                let Ok(socket) = made else {
                    continue;
                };
                self.known.insert(client, (socket, now));
            }
            if let Some((socket, last)) = self.known.get_mut(&client) {
                *last = now;
                let _ = socket.send(buffer.get(..length).unwrap_or_default());
            }
        }
    }
}
