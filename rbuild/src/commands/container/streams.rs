//! Sitting at a container: its streams are this process's.

use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;

use containers::Streams;
use containers::attach::{self, Ends, Parted};
use containers::engine::{Container, Containers, Executed};
use runtime::WindowSize;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::failure::{Failure, Outcome};
use crate::term::terminal::{self, Raw};

/// The keys that part when nothing else is asked for.
const KEYS: &str = "ctrl-p,ctrl-q";

/// How one takes part.
#[derive(Clone, Debug)]
pub struct Part {
    /// In which streams.
    pub streams: Streams,
    /// The other side has a terminal.
    pub tty: bool,
    /// The keys that part.
    pub keys: Vec<u8>,
    /// Signals are passed on.
    pub passes_signals: bool,
}

/// Reads `--detach-keys`.
pub fn keys(text: Option<&str>) -> Result<Vec<u8>, Failure> {
    let keys = attach::keys(text.unwrap_or(KEYS));
    keys.map_err(|error| Failure::with_code(format!("invalid detach keys: {error}"), 125))
}

/// This process's streams.
fn ends(part: &Part) -> io::Result<Ends> {
    let streams = part.streams;
    Ok(Ends {
        stdin: match streams.stdin {
            true => Some(io::stdin().as_fd().try_clone_to_owned()?),
            false => None,
        },
        stdout: match streams.stdout {
            true => Some(io::stdout().as_fd().try_clone_to_owned()?),
            false => None,
        },
        stderr: match streams.stderr {
            true => Some(io::stderr().as_fd().try_clone_to_owned()?),
            false => None,
        },
        // Without a terminal nobody types.
        detach: match part.tty {
            true => part.keys.clone(),
            false => Vec::new(),
        },
    })
}

/// Takes part in a container's streams until it ends, and returns its exit code; nothing when the
/// keys parted.
pub async fn take_part(
    containers: &Containers,
    container: &Container,
    stream: UnixStream,
    part: Part,
) -> Result<Option<i32>, Failure> {
    // Before anything is shown: who has seen it may send a signal.
    let mut size = signal(SignalKind::window_change())?;
    let mut signals = Signals::new(part.passes_signals && !part.tty)?;
    let ends = ends(&part)?;
    let raw = (part.tty && part.streams.stdin).then(Raw::set).flatten();
    let follow = tokio::task::spawn_blocking(move || attach::follow(stream, ends));
    tokio::pin!(follow);
    if part.tty {
        resize(containers, container).await;
    }
    let parted = loop {
        tokio::select! {
            parted = &mut follow => break parted??,
            _ = size.recv(), if part.tty => resize(containers, container).await,
            name = signals.next() => {
                // What it was when it was made says nothing of now; one that has ended gets none.
                if let Ok(now) = containers.find(&container.id).await {
                    let _ = containers.kill(&now, &now.id, name).await;
                }
            }
        }
    };
    drop(raw);
    match parted {
        Parted::Ended(code) => Ok(Some(code)),
        Parted::Detached => Ok(None),
        Parted::Lost => {
            let now = containers.find(&container.id).await?;
            Ok(Some(now.state.exit_code))
        }
    }
}

async fn resize(containers: &Containers, container: &Container) {
    if let Some(size) = terminal::size() {
        let _ = containers.resize(container, size).await;
    }
}

/// Takes part in the streams of a command in a container until it ends, and returns its exit code;
/// nothing when the keys parted.
pub async fn accompany(executed: Executed, part: Part) -> Result<Option<i32>, Failure> {
    let ends = ends(&part)?;
    let raw = (part.tty && part.streams.stdin).then(Raw::set).flatten();
    let resizer = executed.resizer();
    let follow = tokio::task::spawn_blocking(move || attach::accompany(executed, ends));
    tokio::pin!(follow);
    let mut size = signal(SignalKind::window_change())?;
    let parted = loop {
        tokio::select! {
            parted = &mut follow => break parted??,
            _ = size.recv() => {
                if let (Some(terminal), Some(size)) = (&resizer, terminal::size()) {
                    let _ = attach::set_size(terminal, size);
                }
            }
        }
    };
    drop(raw);
    Ok(match parted {
        Parted::Ended(code) => Some(code),
        Parted::Detached | Parted::Lost => None,
    })
}

/// What comes of taking part in something that was there already: docker ends with 1 when the keys
/// part, and says so.
pub fn outcome_of_visit(code: Option<i32>) -> Outcome {
    match code {
        None => Err(Failure::new("read escape sequence")),
        code => outcome(code),
    }
}

/// Makes whatever is at a container's terminal draw it again, for who has not seen it: as docker
/// does it, by a size that it does not keep.
pub async fn redraw(containers: &Containers, container: &Container) {
    if let Some(size) = terminal::size() {
        let other = WindowSize {
            rows: size.rows.saturating_add(1),
            columns: size.columns.saturating_add(1),
        };
        let _ = containers.resize(container, other).await;
    }
}

/// What a command with this exit code comes to.
pub fn outcome(code: Option<i32>) -> Outcome {
    match code {
        None | Some(0) => Ok(()),
        Some(code) => Err(Failure::with_code(
            "",
            u8::try_from(code & 0xff).unwrap_or(255),
        )),
    }
}

/// The signals that are passed on.
struct Signals(Vec<(Signal, &'static str)>);

impl Signals {
    fn new(wanted: bool) -> io::Result<Self> {
        let kinds = [
            (SignalKind::interrupt(), "INT"),
            (SignalKind::terminate(), "TERM"),
            (SignalKind::hangup(), "HUP"),
            (SignalKind::quit(), "QUIT"),
            (SignalKind::user_defined1(), "USR1"),
            (SignalKind::user_defined2(), "USR2"),
        ];
        let kinds = kinds.into_iter().filter(|_| wanted);
        let signals = kinds.map(|(kind, name)| Ok((signal(kind)?, name)));
        Ok(Self(signals.collect::<io::Result<_>>()?))
    }

    async fn next(&mut self) -> &'static str {
        std::future::poll_fn(|context| {
            for (signal, name) in &mut self.0 {
                if signal.poll_recv(context).is_ready() {
                    return std::task::Poll::Ready(*name);
                }
            }
            std::task::Poll::Pending
        })
        .await
    }
}
