//! Stopping, killing, pausing and waiting.

use std::io;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use runtime::WindowSize;

use super::container::Container;
use super::handle::{Containers, blocking};
use super::signals::number;
use crate::error::{Error, Result};
use crate::launch::Streams;
use crate::protocol::{self, Answer, Kind, Request, Until};
use crate::status::Status;

const KILL: i32 = 9;
/// What a container gets to end in order when it says nothing else.
const GRACE: i64 = 10;

/// How long a container that was killed may take to end.
const PATIENCE: Duration = Duration::from_secs(10);

impl Container {
    /// The signal that asks it to end, and the seconds that it gets for that.
    pub(super) fn stopping(&self) -> Result<(i32, i64)> {
        let timeout = self.record.config.stop_timeout.unwrap_or(GRACE);
        Ok((self.stop_signal()?, timeout))
    }

    /// The signal that asks it to end.
    fn stop_signal(&self) -> Result<i32> {
        number(self.record.config.stop_signal.as_deref().unwrap_or("TERM"))
    }

    fn signal(&self, number: i32, for_good: bool) -> Result<()> {
        self.tell(&Request::Signal { number, for_good })
    }

    /// A connection that is answered when it has ended.
    fn waiter(&self, until: Until) -> Result<UnixStream> {
        use std::io::Write as _;
        let failed = |cause: io::Error| Error::Monitor {
            id: self.id.clone(),
            cause,
        };
        let mut stream = self.connect()?;
        let request = protocol::json(Kind::Request, &Request::Wait(until)).map_err(failed)?;
        stream.write_all(&request).map_err(failed)?;
        Ok(stream)
    }

    /// Waits for the end; nothing when `within` is over first.
    fn wait_on(&self, stream: &mut UnixStream, within: Option<Duration>) -> Result<Option<i32>> {
        let failed = |cause: io::Error| Error::Monitor {
            id: self.id.clone(),
            cause,
        };
        // No time at all would mean to wait for ever.
        let within = within.map(|time| time.max(Duration::from_millis(1)));
        stream.set_read_timeout(within).map_err(failed)?;
        match protocol::read(stream) {
            Ok(Some((Kind::Answer, content))) => match serde_json::from_slice(&content) {
                Ok(Answer::Ended { code }) => Ok(Some(code)),
                _ => Err(failed(io::ErrorKind::InvalidData.into())),
            },
            Err(e)
                if matches!(
                    e.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
                ) =>
            {
                Ok(None)
            }
            // The monitor was killed; what is known is in the file.
            _ => {
                let mut now = self.clone();
                now.again()?;
                Ok(Some(now.state.exit_code))
            }
        }
    }

    /// Waits until it has ended, and returns its exit code.
    fn wait(&self, until: Until) -> Result<i32> {
        if !self.state.status.is_alive() {
            return Ok(self.state.exit_code);
        }
        let mut stream = match self.waiter(until) {
            Ok(stream) => stream,
            // It has ended since.
            Err(_) => {
                let mut now = self.clone();
                now.again()?;
                return match now.state.status.is_alive() {
                    true => self.waiter(until).map(drop).map(|()| now.state.exit_code),
                    false => Ok(now.state.exit_code),
                };
            }
        };
        loop {
            if let Some(code) = self.wait_on(&mut stream, None)? {
                return Ok(code);
            }
        }
    }

    fn stop(&self, signal: Option<&str>, timeout: Option<i64>) -> Result<()> {
        if !self.state.status.is_alive() {
            return Ok(());
        }
        let signal = match signal {
            Some(name) => number(name)?,
            None => self.stop_signal()?,
        };
        let timeout = timeout.or(self.record.config.stop_timeout).unwrap_or(GRACE);
        let Ok(mut end) = self.waiter(Until::Stopped) else {
            return Ok(());
        };
        if self.state.status == Status::Paused {
            self.tell(&Request::Unpause)?;
        }
        match self.signal(signal, true) {
            // It has ended in between.
            Err(Error::Monitor { .. }) => return Ok(()),
            other => other?,
        }
        let within = u64::try_from(timeout).ok().map(Duration::from_secs);
        if self.wait_on(&mut end, within)?.is_none() {
            let _ = self.signal(KILL, true);
            self.wait_on(&mut end, None)?;
        }
        Ok(())
    }

    fn join(&self, streams: Streams) -> Result<UnixStream> {
        let failed = |cause: io::Error| Error::Monitor {
            id: self.id.clone(),
            cause,
        };
        let mut stream = self.connect()?;
        match protocol::ask(&mut stream, &Request::Attach(streams)).map_err(failed)? {
            Answer::Failed { message, .. } => Err(Error::Invalid(message)),
            Answer::Done | Answer::Ended { .. } => Ok(stream),
        }
    }

    fn kill(&self, typed: &str, signal: &str) -> Result<()> {
        let signal = number(signal).map_err(|cause| Error::NoSignal {
            typed: typed.to_owned(),
            cause: Box::new(cause),
        })?;
        if !self.state.status.has_processes() {
            return Err(Error::NotKilled {
                typed: typed.to_owned(),
                id: self.id.clone(),
            });
        }
        let for_good = signal == KILL || signal == self.stop_signal()?;
        if signal != KILL {
            return self.signal(signal, for_good);
        }
        self.kill_and_wait(PATIENCE)
    }

    /// Kills it for good; who does that wants it dead when it is done.
    pub(super) fn kill_and_wait(&self, within: Duration) -> Result<()> {
        let mut end = self.waiter(Until::Stopped)?;
        self.signal(KILL, true)?;
        self.wait_on(&mut end, Some(within)).map(drop)
    }

    /// Kills it, and whatever it is that keeps it from ending.
    pub(super) fn end_by_force(&self) -> Result<()> {
        let _ = self.kill_and_wait(PATIENCE);
        let mut now = self.clone();
        now.again()?;
        if now.state.status.is_alive() {
            // The monitor tells whoever waits from here on.
            let end = now.waiter(Until::Stopped);
            self.group()?.kill();
            if let Ok(mut end) = end {
                let _ = now.wait_on(&mut end, Some(PATIENCE));
            }
        }
        Ok(())
    }
}

impl Containers {
    /// Asks a container to end, and kills it when its time (seconds; below 0 for ever) is over. One
    /// that does not run is left alone.
    ///
    /// # Errors
    /// Signals that are none, and a monitor that does not answer.
    pub async fn stop(
        &self,
        container: &Container,
        signal: Option<String>,
        timeout: Option<i64>,
    ) -> Result<()> {
        let stopped = container.clone();
        blocking(move || stopped.stop(signal.as_deref(), timeout)).await?;
        if container.state.status.is_alive() {
            self.tell(container, "stop", &[]);
        }
        Ok(())
    }

    /// Sends a container a signal. `typed` is how it was named.
    ///
    /// # Errors
    /// [`Error::NotKilled`] when it does not run.
    pub async fn kill(&self, container: &Container, typed: &str, signal: &str) -> Result<()> {
        let (container, typed, signal) = (container.clone(), typed.to_owned(), signal.to_owned());
        blocking(move || container.kill(&typed, &signal)).await
    }

    /// Stops a container, if it runs, and starts it.
    ///
    /// # Errors
    /// Those of both.
    pub async fn restart(
        &self,
        container: &Container,
        signal: Option<String>,
        timeout: Option<i64>,
    ) -> Result<()> {
        self.stop(container, signal, timeout).await?;
        self.start(container, Streams::default()).await?;
        self.tell(container, "restart", &[]);
        Ok(())
    }

    /// Stops all processes of a container where they are.
    ///
    /// # Errors
    /// [`Error::NotRunning`], [`Error::PausedAlready`].
    pub async fn pause(&self, container: &Container) -> Result<()> {
        let id = || container.id.clone();
        match container.state.status {
            Status::Running => {}
            Status::Paused => return Err(Error::PausedAlready(id())),
            Status::Restarting => return Err(Error::Restarting(id())),
            _ => return Err(Error::NotRunning(id())),
        }
        let container = container.clone();
        blocking(move || container.tell(&Request::Pause)).await
    }

    /// Lets them go on.
    ///
    /// # Errors
    /// [`Error::NotPaused`].
    pub async fn unpause(&self, container: &Container) -> Result<()> {
        if container.state.status != Status::Paused {
            return Err(Error::NotPaused(container.id.clone()));
        }
        let container = container.clone();
        blocking(move || container.tell(&Request::Unpause)).await
    }

    /// Sets the size of a container's terminal.
    ///
    /// # Errors
    /// Those of its monitor.
    pub async fn resize(&self, container: &Container, size: WindowSize) -> Result<()> {
        let container = container.clone();
        blocking(move || container.tell(&Request::Resize(size))).await
    }

    /// Takes part in the streams of a container that runs.
    ///
    /// # Errors
    /// Those of its monitor.
    pub async fn join(&self, container: &Container, streams: Streams) -> Result<UnixStream> {
        self.tell(container, "attach", &[]);
        let container = container.clone();
        blocking(move || container.join(streams)).await
    }

    /// Waits until a container does not run, and returns its exit code.
    ///
    /// # Errors
    /// Those of its monitor.
    pub async fn wait(&self, container: &Container) -> Result<i32> {
        let container = container.clone();
        blocking(move || container.wait(Until::Stopped)).await
    }
}
