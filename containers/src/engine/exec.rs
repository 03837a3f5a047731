//! Running a further command in a container.

use std::os::fd::{AsFd as _, OwnedFd};

use runtime::{Entered, Entry, Stdio, WindowSize, caps};
use rustix::pipe::{PipeFlags, pipe_with};

use super::container::Container;
use super::handle::{Containers, blocking};
use super::{limits, security};
use crate::error::{Error, Result};
use crate::launch::Streams;
use crate::names;
use crate::protocol::{Answer, Background, Request};
use crate::status::Status;

/// A command to be run.
#[derive(Clone, Debug, Default)]
pub struct Exec {
    /// The command line.
    pub argv: Vec<String>,
    /// Variables beside the container's, `NAME=value`.
    pub env: Vec<String>,
    /// Its user; the container's when empty.
    pub user: String,
    /// Its working directory; the container's when empty.
    pub working_dir: String,
    /// It has a terminal, of this size at first.
    pub terminal: Option<WindowSize>,
    /// All capabilities, no filter.
    pub privileged: bool,
    /// The streams that its starter takes part in; the others are /dev/null.
    pub streams: Streams,
}

/// A command that runs.
#[derive(Debug)]
pub struct Executed {
    /// How events tell of it.
    pub id: String,
    pub(crate) entered: Entered,
    /// What goes to its standard input.
    pub(crate) stdin: Option<OwnedFd>,
    pub(crate) stdout: Option<OwnedFd>,
    pub(crate) stderr: Option<OwnedFd>,
    /// Of its terminal, which is its other streams then.
    pub(crate) terminal: Option<OwnedFd>,
}

impl Containers {
    /// Runs a command in a container and returns when it is being executed. `typed` is how it was
    /// named.
    ///
    /// # Errors
    /// [`Error::NotRunning`], [`Error::Paused`], [`Error::Restarting`], and those of the runtime.
    pub async fn exec(&self, container: &Container, typed: &str, exec: Exec) -> Result<Executed> {
        let (id, command) = self.begin(container, typed, &exec)?;
        let linked = self.link_variables(container).await?;
        let more = [("execID", id.clone())];
        let entered = {
            let container = container.clone();
            blocking(move || container.enter(id, &exec, linked)).await?
        };
        self.tell(container, format!("exec_start: {command}"), &more);
        Ok(entered)
    }

    /// Has a command run in a container whose end nobody waits for but its monitor, which tells of
    /// it. Returns when it is being executed.
    ///
    /// # Errors
    /// As [`Self::exec`].
    pub async fn exec_in_background(
        &self,
        container: &Container,
        typed: &str,
        exec: Exec,
    ) -> Result<()> {
        let (id, command) = self.begin(container, typed, &exec)?;
        let linked = self.link_variables(container).await?;
        let container = container.clone();
        blocking(move || {
            let wanted = Background {
                entry: container.entry(&exec, linked)?,
                id,
                command,
            };
            match container.ask(&Request::Exec(Box::new(wanted)))? {
                Answer::Failed { message, code } => Err(Error::NotStarted { message, code }),
                Answer::Done | Answer::Ended { .. } => Ok(()),
            }
        })
        .await
    }

    /// Refuses where nothing can be run, and tells of what is to be run: its ID and its words.
    fn begin(&self, container: &Container, typed: &str, exec: &Exec) -> Result<(String, String)> {
        let id = || container.id.clone();
        match container.state.status {
            status if status.can_exec() => {}
            Status::Paused => return Err(Error::Paused(typed.to_owned())),
            Status::Restarting => return Err(Error::Restarting(id())),
            _ => return Err(Error::NotRunning(id())),
        }
        let id = names::new_id().map_err(Error::io("read", "/dev/urandom"))?;
        let (first, rest) = exec
            .argv
            .split_first()
            .map_or(("", &[][..]), |(first, rest)| (first.as_str(), rest));
        let command = format!("{first} {}", rest.join(" "));
        let more = [("execID", id.clone())];
        self.tell(container, format!("exec_create: {command}"), &more);
        Ok((id, command))
    }

    /// A command has ended that was run in a container, of whose ID [`Executed::id`] told.
    pub fn exec_ended(&self, container: &Container, id: String, code: i32) {
        let more = [("execID", id), ("exitCode", code.to_string())];
        self.tell(container, "exec_die", &more);
    }
}

impl Container {
    /// What is run in it, as the runtime has it; `linked` are variables of others.
    pub(super) fn entry(&self, exec: &Exec, linked: Vec<String>) -> Result<Entry> {
        let (config, host) = (&self.record.config, &self.record.host);
        let confinement = security::confinement(host)?;
        let limits = limits::limits(host)?;
        let privileged = exec.privileged || host.privileged;
        let mut env = self.env(linked);
        let name = |entry: &str| entry.split('=').next().unwrap_or(entry).to_owned();
        if exec.terminal.is_some() && !env.iter().any(|entry| entry.starts_with("TERM=")) {
            env.push("TERM=xterm".to_owned());
        }
        env.retain(|entry| !exec.env.iter().any(|own| name(own) == name(entry)));
        env.extend(exec.env.iter().filter(|entry| entry.contains('=')).cloned());
        if !exec.working_dir.is_empty() && !exec.working_dir.starts_with('/') {
            return Err(Error::NotStarted {
                message: "Cwd must be an absolute path".to_owned(),
                code: 128,
            });
        }
        let or = |own: &str, other: &str, otherwise: &str| {
            let given = [own, other].into_iter().find(|text| !text.is_empty());
            given.unwrap_or(otherwise).to_owned()
        };
        Ok(Entry {
            argv: exec.argv.clone(),
            env,
            cwd: or(&exec.working_dir, &config.working_dir, "/"),
            user: or(&exec.user, &config.user, ""),
            groups: host.group_add.clone().unwrap_or_default(),
            capabilities: match privileged {
                true => caps::held(),
                false => confinement.capabilities,
            },
            seccomp: confinement.seccomp && !privileged,
            profile: confinement.profile.filter(|_| !privileged),
            no_new_privileges: confinement.no_new_privileges,
            ulimits: limits.ulimits,
            oom_score_adj: limits.oom_score_adj,
            terminal: exec.terminal,
        })
    }

    fn enter(&self, id: String, exec: &Exec, linked: Vec<String>) -> Result<Executed> {
        let entry = self.entry(exec, linked)?;
        let (stdio, ours) = streams(exec)?;
        let mut entered = runtime::enter(self.inhabitant(), &self.group()?, &entry, stdio)?;
        let [stdin, stdout, stderr] = ours;
        Ok(Executed {
            id,
            terminal: entered.terminal(),
            entered,
            stdin,
            stdout,
            stderr,
        })
    }
}

/// Pipes for the streams that are taken part in: the command's ends and ours.
fn streams(exec: &Exec) -> Result<(Stdio, [Option<OwnedFd>; 3])> {
    let pipe = |wanted: bool| match wanted && exec.terminal.is_none() {
        true => {
            let pipe = pipe_with(PipeFlags::CLOEXEC);
            let pipe = pipe.map_err(|errno| Error::io("make", "a pipe")(errno.into()))?;
            Ok::<_, Error>((Some(pipe.0), Some(pipe.1)))
        }
        false => Ok((None, None)),
    };
    let (stdin, to_stdin) = pipe(exec.streams.stdin)?;
    let (from_stdout, stdout) = pipe(exec.streams.stdout)?;
    let (from_stderr, stderr) = pipe(exec.streams.stderr)?;
    let stdio = Stdio {
        stdin,
        stdout,
        stderr,
    };
    Ok((stdio, [to_stdin, from_stdout, from_stderr]))
}

impl Executed {
    /// Sets the size of its terminal.
    pub fn resizer(&self) -> Option<OwnedFd> {
        let terminal = self.terminal.as_ref()?;
        terminal.as_fd().try_clone_to_owned().ok()
    }
}
