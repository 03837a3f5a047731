//! Capabilities, and what `--security-opt` says.

use runtime::SeccompProfile;
use runtime::caps::{self, Capability};

use crate::error::{Error, Result};
use crate::record::HostConfig;

/// How far a container is confined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Confinement {
    pub(super) capabilities: Vec<Capability>,
    /// The default system call filter.
    pub(super) seccomp: bool,
    /// Another one in its place.
    pub(super) profile: Option<SeccompProfile>,
    pub(super) no_new_privileges: bool,
}

/// Reads it from what the container was made with.
///
/// # Errors
/// Names of capabilities that are none, and options that cannot be heeded.
pub(super) fn confinement(host: &HostConfig) -> Result<Confinement> {
    let mut seccomp = !host.privileged;
    let mut no_new_privileges = false;
    let mut profile = None;
    for option in host.security_opt.iter().flatten() {
        let (key, value) = option
            .split_once('=')
            .or_else(|| option.split_once(':'))
            .unwrap_or((option, ""));
        match (key, value) {
            ("no-new-privileges", "" | "true") => no_new_privileges = true,
            ("no-new-privileges", "false") => no_new_privileges = false,
            ("seccomp", "unconfined") => (seccomp, profile) = (false, None),
            ("seccomp", "builtin") => (seccomp, profile) = (true, None),
            ("apparmor", "unconfined") | ("label", "disable") => {}
            ("systempaths", "unconfined") | ("writable-cgroups", "true" | "false") => {}
            ("seccomp", text) => {
                let uname = rustix::system::uname();
                let kernel = uname.release().to_string_lossy();
                let read = SeccompProfile::parse(text, &kernel);
                profile = Some(read.map_err(|why| {
                    Error::Invalid(format!("Decoding seccomp profile failed: {why}"))
                })?);
            }
            _ => {
                return Err(Error::Invalid(format!(
                    "invalid --security-opt 2: {option:?}"
                )));
            }
        }
    }
    Ok(Confinement {
        capabilities: capabilities(host)?,
        seccomp,
        // Docker confines a privileged container by none.
        profile: profile.filter(|_| !host.privileged),
        no_new_privileges,
    })
}

/// Whether /proc and /sys are shown as they are.
pub(super) fn shows_system_paths(host: &HostConfig) -> bool {
    let mut options = host.security_opt.iter().flatten();
    options.any(|option| option == "systempaths=unconfined")
}

/// Names of capabilities as docker shows them: with their prefix, and sorted.
pub(super) fn shown(names: &[String]) -> Vec<String> {
    let mut shown: Vec<String> = names
        .iter()
        .map(|name| name.to_uppercase())
        .map(|name| match name == "ALL" || name.starts_with("CAP_") {
            true => name,
            false => format!("CAP_{name}"),
        })
        .collect();
    shown.sort_unstable();
    shown.dedup();
    shown
}

/// Whether it may write to its own control groups.
pub(super) fn writes_to_groups(host: &HostConfig) -> bool {
    let mut options = host.security_opt.iter().flatten();
    options.any(|option| option == "writable-cgroups=true")
}

/// docker's rules: additions to the default set (ALL is all), then what is dropped; where ALL is
/// dropped only additions are left.
fn capabilities(host: &HostConfig) -> Result<Vec<Capability>> {
    let held = caps::held();
    if host.privileged {
        return Ok(held);
    }
    let read = |flag: &str, names: &Option<Vec<String>>| -> Result<(bool, Vec<Capability>)> {
        let mut all = false;
        let mut found = Vec::new();
        for name in names.iter().flatten() {
            if name.eq_ignore_ascii_case("all") {
                all = true;
                continue;
            }
            let known = Capability::from_name(name);
            found.push(known.ok_or_else(|| {
                let name = name.to_uppercase();
                let name = name.strip_prefix("CAP_").unwrap_or(&name);
                Error::Invalid(format!(
                    "invalid {flag}: unknown capability: \"CAP_{name}\""
                ))
            })?);
        }
        Ok((all, found))
    };
    let (add_all, added) = read("CapAdd", &host.cap_add)?;
    let (drop_all, dropped) = read("CapDrop", &host.cap_drop)?;
    let mut set: Vec<Capability> = match (add_all, drop_all) {
        (true, _) => held.clone(),
        (false, true) => Vec::new(),
        (false, false) => caps::DEFAULT.to_vec(),
    };
    set.retain(|capability| !dropped.contains(capability));
    set.extend(
        added
            .iter()
            .filter(|one| !set.contains(one))
            .copied()
            .collect::<Vec<_>>(),
    );
    // What this process does not hold it cannot give.
    set.retain(|capability| held.contains(capability));
    set.sort_unstable();
    Ok(set)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(add: &[&str], drop: &[&str], options: &[&str]) -> HostConfig {
        let list = |words: &[&str]| Some(words.iter().map(|w| (*w).to_owned()).collect());
        HostConfig {
            cap_add: list(add),
            cap_drop: list(drop),
            security_opt: list(options),
            ..HostConfig::default()
        }
    }

    #[test]
    fn capabilities_are_added_and_dropped() {
        let names = |add: &[&str], drop: &[&str]| -> Vec<&str> {
            let set = capabilities(&host(add, drop, &[])).unwrap();
            set.into_iter().map(Capability::name).collect()
        };
        if !rustix::process::geteuid().is_root() {
            println!("skipped: needs root");
            return;
        }
        assert_eq!(names(&["NET_BIND_SERVICE"], &["ALL"]), ["NET_BIND_SERVICE"]);
        assert_eq!(names(&[], &[]).len(), 14);
        assert!(names(&["cap_sys_admin"], &[]).contains(&"SYS_ADMIN"));
        assert!(!names(&["all"], &["chown"]).contains(&"CHOWN"));
    }

    /// The values are docker 28's.
    #[test]
    fn capabilities_are_shown_with_their_prefix() {
        let shown = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            shown(&names).join(" ")
        };
        assert_eq!(
            shown(&["sys_admin", "CAP_NET_RAW"]),
            "CAP_NET_RAW CAP_SYS_ADMIN"
        );
        assert_eq!(shown(&["all", "chown"]), "ALL CAP_CHOWN");
    }

    #[test]
    fn what_is_none_is_refused() {
        let error = confinement(&host(&["flying"], &[], &[])).unwrap_err();
        assert_eq!(
            error.to_string(),
            "invalid CapAdd: unknown capability: \"CAP_FLYING\""
        );
        assert!(confinement(&host(&[], &[], &["what=ever"])).is_err());
        let free = confinement(&host(
            &[],
            &[],
            &["seccomp=unconfined", "no-new-privileges"],
        ));
        let free = free.unwrap();
        assert!(!free.seccomp && free.no_new_privileges);
    }
}
