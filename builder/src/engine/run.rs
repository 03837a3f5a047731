//! RUN: one process in a container.

use std::fs::File;
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use dockerfile::instruction::Device;
use oci::Digest;
use runtime::{
    Container, Dns, Killer, Limits, Mount, NetworkMode, Overlay, Rootfs as ContainerRoot,
    SeccompProfile, Spec, Stdio,
};

use super::cancel::Cancel;
use super::devices;
use super::mounted::Mounts;
use crate::plan::RunOp;
use crate::solve::error::StepError;
use crate::solve::progress::{Progress, Vertex};

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
    pub extra_hosts: Vec<(String, HostAddress)>,
    /// Name servers and their kin in place of the host's.
    pub dns: Dns,
    /// `--volume`
    pub volumes: Vec<Volume>,
    /// `--device`: devices that every step is given.
    pub devices: Vec<Device>,
    /// `--security-opt seccomp=…`
    pub filter: Filter,
    /// `--security-opt no-new-privileges`
    pub no_new_privileges: bool,
}

/// Which system calls are let through.
#[derive(Clone, Debug, Default)]
pub enum Filter {
    /// Those that docker lets through.
    #[default]
    Usual,
    /// All.
    None,
    /// Those of a profile.
    Profile {
        /// What it comes to.
        profile: SeccompProfile,
        /// The digest of its text.
        digest: Digest,
    },
}

/// What `--add-host` gives a name to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostAddress {
    /// An address.
    Ip(IpAddr),
    /// `host-gateway`: this machine, as the step's network reaches it.
    Gateway,
}

impl HostAddress {
    /// The address in that network; there is none of this machine in one that leads nowhere.
    fn within(&self, network: &NetworkMode) -> Option<IpAddr> {
        match (self, network) {
            (Self::Ip(address), _) => Some(*address),
            (Self::Gateway, NetworkMode::Sandbox(sandbox)) => Some(sandbox.gateway().into()),
            (Self::Gateway, NetworkMode::Host) => Some(Ipv4Addr::LOCALHOST.into()),
            (Self::Gateway, NetworkMode::None | NetworkMode::Joined(_)) => None,
        }
    }
}

/// `--volume SOURCE:TARGET`: a file or folder of this machine that every step sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    /// The path on this machine.
    pub source: PathBuf,
    /// The path in the container.
    pub target: String,
    /// Forbids writing.
    pub readonly: bool,
}

/// A RUN's container, once it is started.
#[derive(Clone, Debug, Default)]
pub struct Started(Arc<OnceLock<Killer>>);

impl Started {
    /// Whether a process in it works, or it is still being made.
    pub fn at_work(&self) -> bool {
        self.0.get().is_none_or(Killer::at_work)
    }
}

/// What one RUN is run with.
pub struct RunContext<'a> {
    /// Its network.
    pub network: NetworkMode,
    /// What `--mount` shows it.
    pub(super) mounts: Mounts,
    /// What all steps share.
    pub settings: &'a RunSettings,
    /// A directory for temporary files.
    pub scratch: &'a Path,
    /// Ends it early.
    pub cancel: &'a Cancel,
    /// Where others see that it has started.
    pub started: &'a Started,
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
        started,
        progress,
        vertex,
    } = context;
    cancel.check()?;
    let wanted = [settings.devices.as_slice(), op.devices.as_slice()].concat();
    let added = devices::find(&wanted)?;
    let extra = [mounts.env.as_slice(), added.env.as_slice()].concat();
    let mut spec = Spec::new(ContainerRoot::Overlay(overlay), op.argv.iter().cloned())
        .env(environment(op, &extra))
        .cwd(op.cwd.clone())
        .user(op.user.clone());
    spec = settings.to(spec, network);
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
    let watched = cancel.watch(running.killer().map_err(|e| failed(&e))?);
    if let Ok(killer) = running.killer() {
        let _ = started.0.set(killer);
    }
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
    drop(watched);
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

impl RunSettings {
    /// What all steps share, given to one of them.
    fn to(&self, mut spec: Spec, network: NetworkMode) -> Spec {
        for (name, address) in &self.extra_hosts {
            if let Some(address) = address.within(&network) {
                spec = spec.extra_host(name, address.to_string());
            }
        }
        spec = spec
            .network(network)
            .limits(self.limits.clone())
            .dns(self.dns.clone())
            .no_new_privileges(self.no_new_privileges)
            .hostname(self.hostname.as_deref().unwrap_or("buildkitsandbox"));
        spec = match &self.filter {
            Filter::Usual => spec,
            Filter::None => spec.seccomp(false),
            Filter::Profile { profile, .. } => spec.seccomp_profile(profile.clone()),
        };
        if let Some(size) = self.shm_size {
            spec = spec.shm_size(size);
        }
        for volume in &self.volumes {
            spec = spec.mount(Mount::bind(&volume.source, &volume.target, volume.readonly));
        }
        spec
    }
}

/// The environment of the process: what is passed for this build alone wins over the image's, and
/// what the step's mounts and devices bring over that.
fn environment(op: &RunOp, extra: &[String]) -> Vec<String> {
    let name = |pair: &str| {
        pair.split_once('=')
            .map_or(pair, |(name, _)| name)
            .to_owned()
    };
    let mut all: Vec<String> = Vec::new();
    for pair in op.env.iter().chain(&op.hidden_env).chain(extra) {
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
