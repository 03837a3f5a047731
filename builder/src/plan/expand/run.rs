//! RUN.

use dockerfile::diagnostic::{Code, Diagnostic};
use dockerfile::history;
use dockerfile::instruction::{
    CommandLine, Device, Mount, MountKind, Network, RawMount, Run, Script, Security,
};
use dockerfile::span::Span;

use super::super::mount::{MountOp, Mounted, clean, in_order};
use super::super::state::join;
use super::super::step::{Op, RunOp};
use super::{Expander, Outcome, Wrong};

/// The build argument that keeps a build's cache mounts apart from others', as with BuildKit.
const CACHE_NAMESPACE: &str = "BUILDKIT_CACHE_MOUNT_NS";

impl Expander<'_> {
    pub(super) fn run(&mut self, run: &Run) -> Outcome {
        self.check_consent(run)?;
        let devices = self.devices(run)?;
        let mut mounts = self.mounts(run)?;
        let mut env = self.state.run_env();
        env.extend(agent_variable(&mounts, &env));
        in_order(&mut mounts);
        let mut script = None;
        let argv = match run.script() {
            Script::Plain(command) => command.argv(&self.state.shell()),
            Script::Shell(text) => {
                let mut argv = self.state.shell();
                argv.push(text);
                argv
            }
            Script::File { path, body } => {
                let mut argv = self.state.shell();
                argv.push(path.clone());
                script = Some((path, body));
                argv
            }
        };
        if argv.is_empty() {
            let span = match &run.command {
                CommandLine::Shell(text) => text.span,
                CommandLine::Exec(words) => words.first().map_or(Span::at(0), |w| w.span),
            };
            let error = Diagnostic::error(Code::InvalidArgument, "RUN needs a command", span);
            return Err(error
                .help("write what is to be run, or leave the instruction out")
                .into());
        }
        let history = history::run(&argv, &self.state.args_with_values());
        let op = RunOp {
            argv,
            env,
            env_as_set: self.state.run_env_as_set(),
            hidden_env: self.input.args.proxies(),
            user: self.state.config.user.clone(),
            cwd: join("/", &self.state.cwd()),
            network: run.network,
            script,
            mounts,
            devices,
            insecure: run.security == Security::Insecure,
        };
        Ok((Some(Op::Run(op)), Some(history)))
    }

    /// What reaches beyond the container is for the user to allow, not for the Dockerfile.
    fn check_consent(&self, run: &Run) -> Result<(), Wrong> {
        let consent = &self.input.consent;
        for (asked, given, name, why) in [
            (
                run.network == Network::Host,
                consent.host_network,
                "network.host",
                "reach what listens on this machine alone",
            ),
            (
                run.security == Security::Insecure,
                consent.insecure,
                "security.insecure",
                "have all privileges on this machine",
            ),
        ] {
            if asked && !given {
                return Err(not_allowed(name, why, Span::default()));
            }
        }
        Ok(())
    }

    /// The devices, all of which the user allows.
    fn devices(&self, run: &Run) -> Result<Vec<Device>, Wrong> {
        let mut devices = Vec::new();
        for raw in &run.devices {
            let device = raw.parse().map_err(|e| told(e.message, e.help, e.span))?;
            if !self.input.consent.devices.allows(&device.name) {
                let why = "use a device of this machine";
                return Err(not_allowed("device", why, raw.value.span));
            }
            devices.push(device);
        }
        Ok(devices)
    }

    /// The mounts, in the order of the file.
    fn mounts(&self, run: &Run) -> Result<Vec<MountOp>, Wrong> {
        let cwd = join("/", &self.state.cwd());
        let mut mounts = Vec::new();
        let mut wrong = Vec::new();
        let mut agents = 0;
        for raw in &run.mounts {
            let made = self
                .resolve(raw)
                .and_then(|mount| self.mount(mount, raw, &cwd, &mut agents));
            match made {
                Ok(mount) => mounts.push(mount),
                Err(error) => wrong.push(error),
            }
        }
        if !wrong.is_empty() {
            return Err(Wrong(wrong));
        }
        Ok(mounts)
    }

    fn mount(
        &self,
        mount: Mount,
        raw: &RawMount,
        cwd: &str,
        agents: &mut usize,
    ) -> Result<MountOp, Diagnostic> {
        let number = *agents;
        *agents += usize::from(matches!(mount.kind, MountKind::Ssh { .. }));
        let span = raw.value.span;
        let (names, index) = (&self.input.names, self.input.stage.index);
        let made = MountOp::new(mount, cwd, number, |from| {
            names.copy_from(index, from, span).map_err(Refused::From)
        });
        let made = made.map(|mut made| {
            if let Mounted::Cache(cache) = &mut made.what {
                cache.id = self.cache_id(&cache.id);
            }
            made
        });
        made.map_err(|refused| match refused {
            Refused::From(error) => error,
            Refused::Target(message) => {
                let help = "name a directory with target=, below the root";
                told(message, Some(help.to_owned()), span)
            }
        })
    }

    /// The ID of a cache mount, in the namespace that builds may have for themselves.
    fn cache_id(&self, id: &str) -> String {
        match self.input.args.get(CACHE_NAMESPACE) {
            None | Some("") => id.to_owned(),
            Some(namespace) => clean(&format!("{namespace}/{id}")),
        }
    }

    /// A mount with its variables expanded.
    fn resolve(&self, mount: &RawMount) -> Result<Mount, Diagnostic> {
        let expand = |word: &str| {
            let expanded = self.lexer.process_word(word, &self.state);
            expanded.map_err(|e| e.to_string())
        };
        let resolved = mount.resolve(expand);
        resolved.map_err(|e| told(e.message, e.help, e.span))
    }
}

/// Where programs find the first SSH agent of a step, unless the image says otherwise.
fn agent_variable(mounts: &[MountOp], env: &[String]) -> Option<String> {
    const NAME: &str = "SSH_AUTH_SOCK";
    let ssh = |mount: &&MountOp| matches!(mount.what, Mounted::Ssh { .. });
    let socket = mounts.iter().find(ssh)?.target.as_ref()?;
    let known = |pair: &String| pair.split_once('=').is_some_and(|(name, _)| name == NAME);
    (!env.iter().any(known)).then(|| format!("{NAME}={socket}"))
}

fn not_allowed(name: &str, why: &str, span: Span) -> Wrong {
    let message = format!("{name} is not allowed");
    let help = format!("the step would {why}: build with --allow {name}");
    let error = Diagnostic::error(Code::CannotBuild, message, span);
    error.help(help).into()
}

/// Why there is no such mount.
enum Refused {
    From(Diagnostic),
    Target(String),
}

impl From<String> for Refused {
    fn from(message: String) -> Self {
        Self::Target(message)
    }
}

fn told(message: String, help: Option<String>, span: Span) -> Diagnostic {
    let error = Diagnostic::error(Code::InvalidFlag, message, span);
    match help {
        Some(help) => error.help(help),
        None => error,
    }
}
