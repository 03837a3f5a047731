//! The loop of a monitor.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use runtime::Inhabitant;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::Timespec;
use rustix::io::Errno;
use rustix::net::SocketFlags;

use super::client::{Client, Purpose};
use super::happenings;
use super::health::Watch;
use super::linked;
use super::network::Network;
use super::refused::Refused;
use super::run::Run;
use crate::events::{Event, journal};
use crate::folder::Folder;
use crate::health::{Health, Wellness};
use crate::launch::{Launch, RestartPolicy};
use crate::log::writer::Writer;
use crate::network;
use crate::protocol::{Answer, Until};
use crate::state::{self, State};
use crate::status::Status;

/// Bytes that may wait for the container to read them.
const ENOUGH_INPUT: usize = 64 << 10;
/// How long a container waits before it is started again: twice as long each time, from the first
/// to the last of these.
const DELAYS: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(60));
/// Who runs so long has started well, and waits no longer than the first time.
const GOOD_RUN: Duration = Duration::from_secs(10);
pub(super) const SIGKILL: i32 = 9;

/// What happened.
#[derive(Clone, Copy, Debug)]
enum Token {
    Listener,
    Process,
    Output(usize),
    Input,
    Health,
    Down,
    Client(usize),
}

/// A monitor at work.
#[derive(Debug)]
pub(super) struct Monitor {
    pub(super) launch: Launch,
    folder: Folder,
    pub(super) log: Writer,
    pub(super) state: State,
    pub(super) clients: Vec<Client>,
    listener: Option<OwnedFd>,
    /// Says that this container has a monitor, as long as it is held.
    lock: Option<File>,
    pub(super) run: Option<Run>,
    /// Finds out whether it is well, while it runs.
    watch: Option<Watch>,
    /// Readable when this machine goes down.
    down: OwnedFd,
    pub(super) kill_at: Option<Instant>,
    pub(super) restart_at: Option<Instant>,
    delay: Duration,
    /// What is still to be written to standard input; its end after that.
    pub(super) input: VecDeque<u8>,
    pub(super) input_ends: bool,
    /// It has ended for good.
    is_over: bool,
}

impl Monitor {
    pub(super) fn new(launch: Launch, lock: File, starter: UnixStream) -> io::Result<Self> {
        let folder = Folder::new(&launch.folder);
        let log = Writer::open(folder.log(&launch.id), launch.log)?;
        let mut starter = Client::new(starter.into())?;
        starter.is_starter = true;
        let previous = State::read(&folder.state()).unwrap_or_default();
        Ok(Self {
            listener: Some(folder.listen()?),
            log,
            state: State {
                restart_count: launch.restart_count,
                finished_at: previous.finished_at,
                started_at: previous.started_at,
                health: previous.health,
                ..State::default()
            },
            clients: vec![starter],
            lock: Some(lock),
            run: None,
            watch: None,
            down: runtime::terminations()?,
            kill_at: None,
            restart_at: None,
            delay: DELAYS.0,
            input: VecDeque::new(),
            input_ends: false,
            is_over: false,
            folder,
            launch,
        })
    }

    /// Runs the container until it has ended for good, and everybody knows; true when it is to be
    /// removed.
    pub(super) fn serve(mut self) -> io::Result<bool> {
        match Run::start(&self.launch) {
            Ok(run) => self.started(run),
            Err(refused) => {
                self.refused(refused);
                self.end();
            }
        }
        while !(self.is_over && self.clients.iter().all(|client| !self.keeps(client))) {
            self.turn()?;
        }
        let folder = self.launch.folder.clone();
        let removes = self.launch.auto_remove && self.state.status == Status::Exited;
        drop(self);
        Ok(removes && folder.exists())
    }

    /// Whether the end of the process waits for a client: it is still to hear something, or it
    /// removes the container.
    fn keeps(&self, client: &Client) -> bool {
        let removes = client.is_starter && self.launch.auto_remove;
        client.is_owed() || removes
    }

    fn started(&mut self, run: Run) {
        self.state = State {
            status: Status::Running,
            pid: run.pid(),
            pid_started: Inhabitant::of(run.pid()).map_or(0, |process| process.started),
            exit_code: 0,
            oom_killed: false,
            error: String::new(),
            started_at: state::now(),
            health: match self.launch.health {
                Some(_) => Some(Health::begin(self.state.health.take())),
                None => None,
            },
            places: run
                .network
                .as_ref()
                .map(Network::told_places)
                .unwrap_or_default(),
            ports: run.network.as_ref().map(Network::ports).unwrap_or_default(),
            ..self.state.clone()
        };
        self.run = Some(run);
        self.watch();
        self.restart_at = None;
        // Who is to come back after a power cut has to be known after it.
        self.save(self.launch.restart != RestartPolicy::No);
        happenings::came(&self.launch);
        self.event("start", &[]);
        let mut places = self.state.places.iter();
        let shared = places.find(|place| place.bridge == network::BRIDGE);
        if let Some(address) = shared.and_then(|place| place.address) {
            linked::tell(&self.launch.id, address);
        }
        let attach = self.launch.attach;
        for client in self.clients.iter_mut().filter(|client| client.is_starter) {
            if client.purpose == Purpose::Asks {
                client.answer(&Answer::Done);
                client.purpose = match attach.any() {
                    true => Purpose::Attached(attach),
                    false => Purpose::Waits(Until::Exit),
                };
            }
        }
    }

    fn refused(&mut self, refused: Refused) {
        let was_started = self.state.started_at != state::NO_TIME;
        self.state.status = match was_started {
            true => Status::Exited,
            false => Status::Created,
        };
        // docker's code where it is not the command's fault; its client ends with 125 then.
        self.state.exit_code = match refused.code {
            125 => state::NOT_STARTED,
            code => code,
        };
        self.state.error = refused.message.clone();
        let answer = Answer::Failed {
            message: refused.message,
            code: refused.code,
        };
        for client in self.clients.iter_mut().filter(|client| client.is_starter) {
            client.answer(&answer);
        }
        // A container that never ran is kept, so that its owner can see why.
        self.launch.auto_remove &= was_started;
    }

    /// Begins to find out whether it is well, if it has a check.
    pub(super) fn watch(&mut self) {
        let launch = &self.launch;
        self.watch = match (&self.run, &self.state.health) {
            (Some(run), Some(health)) => Watch::new(launch, health, run.pid(), run.since),
            _ => None,
        };
    }

    /// Whom nobody checks is not well, as docker has it.
    pub(super) fn unwatch(&mut self) {
        self.watch = None;
        if let Some(health) = &mut self.state.health {
            health.status = Wellness::Unhealthy;
        }
    }

    /// A check has ended.
    fn checked(&mut self) {
        if let (Some(watch), Some(health)) = (&mut self.watch, &mut self.state.health) {
            let before = health.status;
            match watch.note(health) {
                Ok(()) => {
                    let now = health.status;
                    self.save(false);
                    if now != before {
                        self.event(format!("health_status: {}", now.as_str()), &[]);
                    }
                }
                Err(error) => trouble("read what came of a check", &error),
            }
        }
    }

    /// Writes down what has happened to the container.
    pub(super) fn event(&self, action: impl Into<String>, more: &[(&str, String)]) {
        let event = Event::of_container(&self.launch.actor, action, more);
        journal::tell(&self.launch.root, &event);
    }

    pub(super) fn save(&self, lasting: bool) {
        if let Err(error) = self.state.write(&self.folder.state(), lasting) {
            trouble("write the state", &error);
        }
    }

    /// Waits until something happens, and does what it asks for.
    fn turn(&mut self) -> io::Result<()> {
        let (ready, waits) = self.wait()?;
        let mut came = Vec::new();
        let mut quiet = true;
        for token in ready {
            match token {
                Token::Listener => self.accept(),
                Token::Process => {
                    if let Some(run) = &mut self.run {
                        run.reap();
                    }
                    // What it has written last is looked for in the next turn.
                    quiet = false;
                }
                Token::Output(index) => {
                    quiet = false;
                    self.read_output(index);
                }
                Token::Input => self.write_input(),
                Token::Health => self.checked(),
                Token::Down => self.go_down(),
                Token::Client(index) => {
                    if let Some(client) = self.clients.get_mut(index) {
                        client.flush();
                        came.extend(client.read().into_iter().map(|one| (index, one)));
                    }
                }
            }
        }
        for (index, incoming) in came {
            self.heed(index, incoming);
        }
        self.clients.retain(|client| !client.is_gone);
        let has_ended = self.run.as_ref().is_some_and(|run| {
            let silent = run.outputs.iter().all(|output| !output.is_open);
            run.ended.is_some() && (silent || (quiet && !waits))
        });
        if has_ended {
            self.ended();
        } else if let Some(run) = self.run.as_mut().filter(|run| run.ended.is_some() && waits) {
            // Nobody knows when a slow client has heard all of it.
            run.network = None;
        }
        if let Some(watch) = &mut self.watch
            && let Err(error) = watch.go_on(&self.launch)
        {
            trouble("check whether it is well", &error);
        }
        self.kill_in_time();
        if self.restart_at.is_some_and(|at| at <= Instant::now()) {
            self.restart();
        }
        Ok(())
    }

    /// What is ready, and whether output is left alone because a client is slow.
    fn wait(&self) -> io::Result<(Vec<Token>, bool)> {
        let mut tokens = Vec::new();
        let mut fds = Vec::new();
        let mut want = |token, fd, flags| {
            tokens.push(token);
            fds.push(PollFd::from_borrowed_fd(fd, flags));
        };
        if self.kill_at.is_none() {
            want(Token::Down, self.down.as_fd(), PollFlags::IN);
        }
        if let Some(listener) = &self.listener {
            want(Token::Listener, listener.as_fd(), PollFlags::IN);
        }
        let slow = self.clients.iter().any(Client::is_slow);
        let mut draining = false;
        if let Some(run) = &self.run {
            draining = run.ended.is_some() && !slow;
            if let Some(pidfd) = run.pidfd() {
                want(Token::Process, pidfd, PollFlags::IN);
            }
            let open = run.outputs.iter().enumerate();
            for (index, output) in open.filter(|(_, output)| output.is_open && !slow) {
                want(Token::Output(index), output.fd.as_fd(), PollFlags::IN);
            }
            if let Some(input) = run.input.as_ref().filter(|_| !self.input.is_empty()) {
                want(Token::Input, input.as_fd(), PollFlags::OUT);
            }
        }
        if let Some(fd) = self.watch.as_ref().and_then(Watch::fd) {
            want(Token::Health, fd, PollFlags::IN);
        }
        let full = self.input.len() >= ENOUGH_INPUT;
        for (index, client) in self.clients.iter().enumerate() {
            let mut flags = PollFlags::empty();
            flags.set(PollFlags::IN, !(full && client.speaks()));
            flags.set(PollFlags::OUT, client.is_owed());
            want(Token::Client(index), client.fd(), flags);
        }
        let check_at = self.watch.as_ref().and_then(Watch::wakes_at);
        let next = [self.restart_at, check_at, self.kill_at]
            .into_iter()
            .flatten()
            .min();
        let left = match (draining, next) {
            (true, _) => Some(Duration::ZERO),
            (false, at) => at.map(|at| at.saturating_duration_since(Instant::now())),
        };
        let timeout = left.map(|left| Timespec::try_from(left).unwrap_or_default());
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) => {}
            // Nothing was looked at: output may be there all the same.
            Err(Errno::INTR) => return Ok((Vec::new(), true)),
            Err(errno) => return Err(errno.into()),
        }
        let ready = tokens.iter().zip(&fds);
        let ready = ready.filter(|(_, fd)| !fd.revents().is_empty());
        Ok((ready.map(|(token, _)| *token).collect(), slow))
    }

    fn accept(&mut self) {
        let Some(listener) = &self.listener else {
            return;
        };
        let flags = SocketFlags::CLOEXEC;
        if let Ok(socket) = rustix::net::accept_with(listener, flags)
            && let Ok(client) = Client::new(socket)
        {
            self.clients.push(client);
        }
    }

    /// The container has ended and said all that it had to say.
    fn ended(&mut self) {
        let Some(run) = self.run.take() else {
            return;
        };
        for output in run.outputs.iter().filter(|output| output.is_open) {
            if let Err(error) = self.log.end(output.stream) {
                trouble("write the log", &error);
            }
        }
        let Some(status) = run.ended else {
            return;
        };
        let code = status.exit_code();
        self.unwatch();
        self.input.clear();
        self.state = State {
            status: Status::Exited,
            pid: 0,
            pid_started: 0,
            exit_code: code,
            oom_killed: status.oom_killed,
            finished_at: state::now(),
            places: Vec::new(),
            ports: Vec::new(),
            ..self.state.clone()
        };
        if run.since.elapsed() >= GOOD_RUN {
            self.delay = DELAYS.0;
        }
        let ran = run.since.elapsed().as_secs();
        // The address is given back before anybody hears of the end, rules after that.
        let _network = run.let_go();
        if status.oom_killed {
            self.event("oom", &[]);
        }
        let more = [
            ("exitCode", code.to_string()),
            ("execDuration", ran.to_string()),
        ];
        happenings::left(&self.launch);
        self.event("die", &more);
        let by_hand = self.state.stopped_by_hand;
        let restarts = self.state.restart_count;
        if self.launch.restart.wants(code, by_hand, restarts) {
            self.state.status = Status::Restarting;
            self.save(false);
            self.restart_at = Some(Instant::now() + self.delay);
            self.delay = (self.delay * 2).min(DELAYS.1);
            self.tell(code, false);
        } else {
            self.end();
        }
    }

    fn restart(&mut self) {
        self.restart_at = None;
        self.state.restart_count += 1;
        match Run::start(&self.launch) {
            Ok(run) => self.started(run),
            Err(refused) => {
                let code = refused.code;
                self.refused(refused);
                let restarts = self.state.restart_count;
                if self.launch.restart.wants(code, false, restarts) {
                    self.state.status = Status::Restarting;
                    self.save(false);
                    self.restart_at = Some(Instant::now() + self.delay);
                    self.delay = (self.delay * 2).min(DELAYS.1);
                } else {
                    self.end();
                }
            }
        }
    }

    /// It has ended for good.
    pub(super) fn end(&mut self) {
        self.is_over = true;
        // Others may start it from now on: first the state, then the lock.
        self.save(!self.launch.auto_remove);
        self.listener = None;
        self.lock = None;
        self.tell(self.state.exit_code, true);
    }

    fn tell(&mut self, code: i32, for_good: bool) {
        for client in &mut self.clients {
            let hears = match client.purpose {
                Purpose::Asks => false,
                Purpose::Attached(_) | Purpose::Waits(Until::Exit) => true,
                Purpose::Waits(Until::Stopped) => for_good,
            };
            if hears {
                client.answer(&Answer::Ended { code });
                client.purpose = Purpose::Asks;
            }
        }
    }
}

/// Troubles of the monitor itself go to a file in the container's folder.
pub(super) fn trouble(what: &str, error: &io::Error) {
    let _ = writeln!(io::stderr(), "{} {what}: {error}", state::now());
}
