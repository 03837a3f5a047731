//! From the process that sets a container up to the user's own. Pure.

use super::op::Op;
use crate::caps::{self, Capability};
use crate::limits::Ulimit;
use crate::spec::{Filter, Spec};
use crate::users::Identity;

/// What a process becomes before it executes the user's command.
pub(crate) struct Become<'a> {
    pub(super) ulimits: &'a [Ulimit],
    pub(super) cwd: &'a str,
    pub(super) make_cwd: bool,
    pub(super) capabilities: &'a [Capability],
    pub(super) filter: &'a Filter,
    pub(super) no_new_privileges: bool,
    pub(super) identity: &'a Identity,
    /// Supplementary groups beside the identity's.
    pub(super) groups: &'a [u32],
}

impl<'a> Become<'a> {
    pub(super) fn of(spec: &'a Spec, identity: &'a Identity) -> Self {
        Self {
            ulimits: &spec.limits.ulimits,
            cwd: &spec.cwd,
            make_cwd: spec.make_cwd,
            capabilities: &spec.capabilities,
            filter: &spec.filter,
            no_new_privileges: spec.no_new_privileges,
            identity,
            groups: &spec.groups,
        }
    }

    /// The filter goes in while CAP_SYS_ADMIN is still held (which is what installing it without
    /// `no_new_privs` takes), the rest of the privileges after.
    pub(super) fn append(&self, ops: &mut Vec<Op>) {
        ops.extend(self.ulimits.iter().map(|limit| Op::Ulimit {
            limit: limit.clone(),
        }));
        ops.push(Op::Umask { mask: 0o022 });
        let path = self.cwd.to_owned();
        if self.make_cwd {
            ops.push(Op::MakeDirs { path: path.clone() });
        }
        ops.push(Op::ChangeDir { path });
        let mask = caps::mask(self.capabilities);
        ops.push(Op::BoundingSet { keep: mask });
        let program = match self.filter {
            Filter::Default => Some(None),
            Filter::Profile(profile) => Some(Some(profile.program.to_vec())),
            Filter::None => None,
        };
        ops.extend(program.map(|program| Op::Filter {
            program,
            capabilities: mask,
        }));
        if self.no_new_privileges {
            ops.push(Op::NoNewPrivileges);
        }
        // The primary group too: a process that gives it up must not lose what a file denies to
        // the group (CVE-2022-36109).
        let (uid, gid) = (self.identity.uid, self.identity.gid);
        let mut groups = vec![gid];
        groups.extend(&self.identity.groups);
        groups.extend(self.groups);
        if uid != 0 {
            ops.push(Op::OwnPipes { uid });
        }
        ops.push(Op::Identity { uid, gid, groups });
        // Another user than root holds none: there is nothing it could inherit them from.
        ops.push(Op::Capabilities {
            mask: if uid == 0 { mask } else { 0 },
        });
    }
}

/// `HOME` comes from the image when the environment has none.
pub(super) fn environment(env: &[String], identity: &Identity) -> Vec<String> {
    let mut env = env.to_vec();
    // As runc: an empty one is none.
    env.retain(|entry| entry != "HOME=");
    if !env.iter().any(|entry| entry.starts_with("HOME=")) {
        env.push(format!("HOME={}", identity.home));
    }
    env
}
