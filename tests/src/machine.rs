//! A machine as far as the network goes: a network namespace of a test's own.

use std::fs;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use crate::{Cmd, Missing, Running, is_root, program};

/// A network namespace with `lo` up that forwards nothing; gone with this value.
#[derive(Debug)]
pub struct Machine {
    holder: Child,
}

impl Machine {
    /// A machine without neighbours.
    ///
    /// # Errors
    /// [`Missing`] without root or the programs of iproute2 and util-linux.
    pub fn new() -> Result<Self, Missing> {
        is_root()?;
        for needed in ["ip", "unshare", "nsenter"] {
            program(needed)?;
        }
        let holder = Command::new("unshare")
            .args(["--net", "sleep", "1000"])
            .stdin(Stdio::null())
            .spawn()
            .expect("unshare");
        let machine = Self { holder };
        let own = fs::read_link("/proc/self/ns/net").expect("/proc");
        let theirs = format!("/proc/{}/ns/net", machine.holder.id());
        while fs::read_link(&theirs).is_ok_and(|link| link == own) {
            std::thread::yield_now();
        }
        machine.sh("ip link set lo up; echo 0 >/proc/sys/net/ipv4/ip_forward");
        Ok(machine)
    }

    /// The same command on this machine.
    pub fn on(&self, command: Cmd) -> Cmd {
        let pid = self.holder.id().to_string();
        command.by("nsenter", &["--target", &pid, "--net", "--"])
    }

    /// A shell script, which has to succeed; what it prints.
    #[track_caller]
    pub fn sh(&self, script: &str) -> String {
        self.on(Cmd::new("sh").args(["-ec", script])).ok().out()
    }

    /// A shell script that goes on in the background.
    pub fn start(&self, script: &str) -> Running {
        self.on(Cmd::new("sh").args(["-ec", script])).spawn()
    }

    /// A cable to another machine, with an address at each end.
    pub fn connect(&self, name: &str, address: &str, other: &Self, theirs: &str) {
        let there = other.holder.id();
        self.sh(&format!(
            "ip link add {name} type veth peer name {name} netns {there}; \
             ip addr add {address} dev {name}; ip link set {name} up"
        ));
        other.sh(&format!(
            "ip addr add {theirs} dev {name}; ip link set {name} up"
        ));
    }

    /// Serves `answer` on every address, to whoever connects to `port`.
    pub fn serve(&self, port: u16, answer: &str) -> Running {
        let server = self.start(&format!("exec busybox nc -ll -p {port} -e echo {answer}"));
        let listening = format!("busybox netstat -ltn | grep -q ':{port} '");
        while !self
            .on(Cmd::new("sh").args(["-c", &listening]))
            .run()
            .status
            .success()
        {}
        server
    }

    /// The path of its network namespace.
    pub fn namespace(&self) -> String {
        format!("/proc/{}/ns/net", self.holder.id())
    }

    /// Listens on every address of this machine, at a port of its own.
    pub fn listen(&self) -> TcpListener {
        let namespace = self.namespace();
        let bind = || {
            let namespace = fs::File::open(namespace).expect("/proc");
            nix::sched::setns(namespace, nix::sched::CloneFlags::CLONE_NEWNET).expect("setns");
            TcpListener::bind("0.0.0.0:0").expect("bind")
        };
        // A thread that ends right after: it is the one that changes namespaces.
        std::thread::scope(|scope| scope.spawn(bind).join()).expect("listen")
    }

    /// Answers whoever asks this machine for names at `address` by the same address, until the
    /// tests end.
    pub fn serve_names(&self, address: &str, answer: std::net::Ipv4Addr) {
        let namespace = self.namespace();
        let bind = || {
            let namespace = fs::File::open(namespace).expect("/proc");
            nix::sched::setns(namespace, nix::sched::CloneFlags::CLONE_NEWNET).expect("setns");
            std::net::UdpSocket::bind((address, 53)).expect("bind")
        };
        let socket = std::thread::scope(|scope| scope.spawn(bind).join()).expect("listen");
        std::thread::spawn(move || {
            let mut question = [0; 512];
            while let Ok((length, client)) = socket.recv_from(&mut question) {
                let mut reply = question[..length].to_vec();
                // A response, with one answer, to the name at byte 12 (RFC 1035, 4.1).
                reply[2..4].copy_from_slice(&[0x81, 0x80]);
                reply[6..8].copy_from_slice(&[0, 1]);
                reply.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
                reply.extend(answer.octets());
                let _ = socket.send_to(&reply, client);
            }
        });
    }

    /// What the server at `address` and `port` answers; nothing when it cannot be reached.
    pub fn call(&self, address: &str, port: u16) -> String {
        let call = format!("busybox nc -w 2 {address} {port} </dev/null || true");
        self.sh(&call).trim().to_owned()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}
