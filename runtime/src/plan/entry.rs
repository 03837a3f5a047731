//! The plan of a process that joins a container. Pure.

use super::op::{Op, Plan};
use super::user::{Become, environment};
use crate::entry::Entry;
use crate::spec::Filter;
use crate::users::Identity;

/// The slots of what is handed over: the container, and where the terminal goes.
const CONTAINER: usize = 0;
const TERMINAL: usize = 1;

/// Makes the plan of `entry`.
pub(crate) fn entry(entry: &Entry, identity: &Identity) -> Plan {
    // Hidden first of all: what is in the container sees this process from its first moment.
    let mut ops = vec![
        Op::Hide,
        Op::NewSession,
        Op::ResetSignals,
        Op::NewKeyring,
        Op::JoinContainer { slot: CONTAINER },
    ];
    ops.extend(entry.terminal.map(|size| Op::Terminal {
        slot: TERMINAL,
        size,
        console: false,
    }));
    ops.extend(entry.oom_score_adj.map(|score| Op::OomScore { score }));
    let filter = match (&entry.profile, entry.seccomp) {
        (Some(profile), _) => Filter::Profile(profile.clone()),
        (None, true) => Filter::Default,
        (None, false) => Filter::None,
    };
    Become {
        ulimits: &entry.ulimits,
        cwd: &entry.cwd,
        make_cwd: false,
        capabilities: &entry.capabilities,
        filter: &filter,
        no_new_privileges: entry.no_new_privileges,
        identity,
        groups: &[],
    }
    .append(&mut ops);
    Plan {
        ops,
        argv: entry.argv.clone(),
        env: environment(&entry.env, identity),
        reaper: false,
    }
}
