//! RUN: one process in a container.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::sync::{Mutex, PoisonError};

use runtime::network::Sandbox;
use runtime::{
    Container, Dns, Killer, Limits, Mount, NetworkMode, Overlay, Rootfs as ContainerRoot, Spec,
    Stdio,
};

use tokio::sync::Notify;

use super::devices;
use super::mounts::Mounts;
use crate::plan::RunOp;
use crate::solve::error::StepError;
use crate::solve::progress::{Progress, Vertex};
use crate::stop::Stop;

/// What RUN steps share.
#[derive(Clone, Debug, Default)]
pub struct RunSettings {
    /// `--memory` and its kin.
    pub limits: Limits,
    /// The host name; `buildkitsandbox` when not told.
    pub hostname: Option<String>,
    /// `--shm-size`, bytes.
    pub shm_size: Option<u64>,
    /// `--add-host`
    pub extra_hosts: Vec<(String, String)>,
    /// Name servers and their kin in place of the host's.
    pub dns: Dns,
}

/// Lets another thread end the container that runs.
#[derive(Debug, Default)]
pub struct Cancel {
    stop: Stop,
    told: Notify,
    killer: Mutex<Option<Killer>>,
}

impl Cancel {
    /// Ends what runs, and lets nothing more start.
    pub fn cancel(&self) {
        self.stop.stop();
        self.told.notify_waiters();
        let killer = self.killer.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(killer) = killer.as_ref() {
            killer.kill();
        }
    }

    /// Whether the build was cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.stop.is_stopped()
    }

    /// The flag that long work looks at.
    pub fn flag(&self) -> Stop {
        self.stop.clone()
    }

    /// Waits for [`Cancel::cancel`].
    pub async fn cancelled(&self) {
        // Asked for before the flag is looked at, so that no call comes in between.
        let told = self.told.notified();
        if !self.is_cancelled() {
            told.await;
        }
    }

    /// Why a step failed: whatever it says, that it was cancelled, when it was.
    pub fn explain(&self, error: StepError) -> StepError {
        match self.is_cancelled() {
            true => StepError::Cancelled,
            false => error,
        }
    }

    /// # Errors
    /// [`StepError::Cancelled`].
    pub fn check(&self) -> Result<(), StepError> {
        if self.is_cancelled() {
            Err(StepError::Cancelled)
        } else {
            Ok(())
        }
    }

    fn set(&self, killer: Option<Killer>) {
        *self.killer.lock().unwrap_or_else(PoisonError::into_inner) = killer;
        if self.is_cancelled() {
            self.cancel();
        }
    }
}

/// The network of one RUN.
#[derive(Clone, Debug)]
pub enum StepNetwork {
    /// The host's.
    Host,
    /// Nothing but loopback.
    None,
    /// The build's own.
    Sandbox(Arc<Sandbox>),
}

/// What one RUN is run with.
pub struct RunContext<'a> {
    /// Its network.
    pub network: StepNetwork,
    /// What `--mount` shows it.
    pub(super) mounts: Mounts,
    /// What all steps share.
    pub settings: &'a RunSettings,
    /// A directory for temporary files.
    pub scratch: &'a Path,
    /// Ends it early.
    pub cancel: &'a Cancel,
    /// Where its output goes, as it comes.
    pub progress: &'a dyn Progress,
    /// The line of progress that it is.
    pub vertex: &'a Vertex,
}

/// Runs `op` in a container on `overlay`.
///
/// # Errors
/// [`StepError::Process`] when the command fails.
pub fn run(op: &RunOp, overlay: Overlay, context: RunContext<'_>) -> Result<(), StepError> {
    let RunContext {
        network,
        mounts,
        settings,
        scratch,
        cancel,
        progress,
        vertex,
    } = context;
    cancel.check()?;
    let network = match network {
        StepNetwork::Host => NetworkMode::Host,
        StepNetwork::None => NetworkMode::None,
        StepNetwork::Sandbox(sandbox) => NetworkMode::Sandbox(sandbox),
    };
    let added = devices::find(&op.devices)?;
    let extra = [mounts.env.as_slice(), added.env.as_slice()].concat();
    let mut spec = Spec::new(ContainerRoot::Overlay(overlay), op.argv.iter().cloned())
        .env(environment(op, &extra))
        .cwd(op.cwd.clone())
        .user(op.user.clone())
        .network(network)
        .limits(settings.limits.clone())
        .dns(settings.dns.clone());
    for (name, address) in &settings.extra_hosts {
        spec = spec.extra_host(name, address);
    }
    if let Some(name) = &settings.hostname {
        spec = spec.hostname(name);
    }
    if let Some(size) = settings.shm_size {
        spec = spec.shm_size(size);
    }
    // Kept until the process has ended: the mount shows this very file.
    let mut script_dir = None;
    if let Some((path, body)) = &op.script
        && let Some((parent, name)) = path.rsplit_once('/')
    {
        let dir = script(scratch, name, body);
        let dir = dir.map_err(|e| StepError::other("write the script", e))?;
        spec = spec.mount(Mount::bind(dir.path(), parent, true));
        script_dir = Some(dir);
    }
    for mount in &mounts.mounts {
        spec = spec.mount(mount.clone());
    }
    spec = added.to(spec);
    spec = match op.insecure {
        true => spec.privileged(),
        false => spec.usual_devices(),
    };
    let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
        .map_err(|e| StepError::other("make a pipe", e))?;
    let stdout = writer
        .try_clone()
        .map_err(|e| StepError::other("duplicate a pipe", e))?;
    let stdio = Stdio {
        stdin: None,
        stdout: Some(stdout),
        stderr: Some(writer),
    };
    let failed = |e: &runtime::Error| match e.exit_code() {
        code @ (126 | 127) => StepError::Process {
            status: format!("exit code: {code}: {e}"),
            code: u8::try_from(code).unwrap_or(1),
        },
        _ => StepError::Other(e.to_string()),
    };
    let running = Container::spawn(&spec, stdio).map_err(|e| failed(&e))?;
    cancel.set(Some(running.killer().map_err(|e| failed(&e))?));
    let mut reader = File::from(reader);
    let mut buffer = vec![0; 32 << 10];
    // Ends when the last process that holds the pipe does, and all die with the first one.
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => progress.output(vertex, &buffer[..n]),
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    let status = running.wait().map_err(|e| failed(&e))?;
    cancel.set(None);
    drop((script_dir, mounts));
    cancel.check()?;
    if status.success() {
        return Ok(());
    }
    Err(StepError::Process {
        status: status.to_string(),
        code: u8::try_from(status.exit_code()).unwrap_or(1),
    })
}

/// The environment of the process: what is passed for this build alone wins over the image's, and
/// the secrets of the step over that.
fn environment(op: &RunOp, secrets: &[String]) -> Vec<String> {
    let name = |pair: &str| {
        pair.split_once('=')
            .map_or(pair, |(name, _)| name)
            .to_owned()
    };
    let mut all: Vec<String> = Vec::new();
    for pair in op.env.iter().chain(&op.hidden_env).chain(secrets) {
        all.retain(|other| name(other) != name(pair));
        all.push(pair.clone());
    }
    all
}

/// A folder of its own with the script in it.
fn script(scratch: &Path, name: &str, body: &str) -> std::io::Result<tempfile::TempDir> {
    use std::os::unix::fs::PermissionsExt as _;
    let anybody = std::fs::Permissions::from_mode(0o755);
    let dir = tempfile::TempDir::new_in(scratch)?;
    let path = dir.path().join(name);
    // Closed again: an executable that is open for writing cannot be run.
    std::fs::write(&path, body)?;
    std::fs::set_permissions(&path, anybody.clone())?;
    std::fs::set_permissions(dir.path(), anybody)?;
    Ok(dir)
}
