//! What a container shares with this machine or another container.

use clap::Args;
use containers::record::{Config, HostConfig};

/// Namespaces.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Sharing")]
pub struct NamespaceFlags {
    /// Control groups as it sees them: private, or host for where it is in this machine's
    #[arg(long, value_name = "MODE")]
    pub cgroupns: Option<String>,

    /// Shared memory and message queues: private, shareable, none, host for this machine's, or
    /// container:NAME for those of one that is shareable
    #[arg(long, value_name = "MODE")]
    pub ipc: Option<String>,

    /// Processes that it sees: host for all of this machine, container:NAME for another's
    #[arg(long, value_name = "MODE")]
    pub pid: Option<String>,

    /// Users: host, which is all there is
    #[arg(long, value_name = "MODE")]
    pub userns: Option<String>,

    /// The host name: host for this machine's
    #[arg(long, value_name = "MODE")]
    pub uts: Option<String>,

    /// Systemd is its first process: it finds memory at /run and /tmp and its control groups, and
    /// is stopped by SIGRTMIN+3
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = systemd, value_name = "BOOL")]
    pub systemd: Option<bool>,
}

/// podman has `always` beside true and false.
fn systemd(text: &str) -> Result<bool, String> {
    match text {
        "always" => Ok(true),
        other => crate::flags::boolean(other),
    }
}

/// Writes the flags into what a container is made with.
///
/// # Errors
/// In docker's words.
pub fn share(
    flags: &NamespaceFlags,
    (config, host): (&mut Config, &mut HostConfig),
) -> Result<(), String> {
    config.systemd_mode = flags.systemd == Some(true);
    let mode = |flag: &str, kind: &str, given: &Option<String>, known: &dyn Fn(&str) -> bool| {
        let given = given.clone().unwrap_or_default();
        match given.is_empty() || known(&given) {
            true => Ok(given),
            false => Err(format!("{flag}: invalid {kind} mode")),
        }
    };
    let is_host = |text: &str| text == "host";
    let groups = |text: &str| matches!(text, "host" | "private");
    let processes = |text: &str| {
        let other = text.strip_prefix("container:");
        is_host(text) || other.is_some_and(|name| !name.is_empty())
    };
    host.pid_mode = mode("--pid", "PID", &flags.pid, &processes)?;
    host.uts_mode = mode("--uts", "UTS", &flags.uts, &is_host)?;
    host.userns_mode = mode("--userns", "USER", &flags.userns, &is_host)?;
    host.cgroupns_mode = mode("--cgroupns", "CGROUP", &flags.cgroupns, &groups)?;
    host.ipc_mode = flags.ipc.clone().unwrap_or_default();
    for (mode, otherwise) in [
        (&mut host.cgroupns_mode, "private"),
        (&mut host.ipc_mode, "private"),
    ] {
        if mode.is_empty() {
            *mode = otherwise.to_owned();
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(flags: NamespaceFlags) -> Result<HostConfig, String> {
        let mut host = HostConfig::default();
        share(&flags, (&mut Config::default(), &mut host)).map(|()| host)
    }

    #[test]
    fn modes_are_dockers() {
        let text = |text: &str| Some(text.to_owned());
        let host = read(NamespaceFlags {
            pid: text("container:web"),
            ..NamespaceFlags::default()
        });
        let host = host.unwrap();
        let found = (host.pid_mode.as_str(), host.ipc_mode.as_str());
        assert_eq!(found, ("container:web", "private"));
        assert_eq!(host.cgroupns_mode, "private");
        for (flags, why) in [
            (
                NamespaceFlags {
                    pid: text("container:"),
                    ..NamespaceFlags::default()
                },
                "--pid: invalid PID mode",
            ),
            (
                NamespaceFlags {
                    uts: text("x"),
                    ..NamespaceFlags::default()
                },
                "--uts: invalid UTS mode",
            ),
            (
                NamespaceFlags {
                    userns: text("x"),
                    ..NamespaceFlags::default()
                },
                "--userns: invalid USER mode",
            ),
            (
                NamespaceFlags {
                    cgroupns: text("x"),
                    ..NamespaceFlags::default()
                },
                "--cgroupns: invalid CGROUP mode",
            ),
        ] {
            assert_eq!(read(flags).unwrap_err(), why);
        }
        assert_eq!(systemd("always"), Ok(true));
    }
}
