//! System calls that Docker's engine lets through for a container with the capability that they
//! need anyway.
//!
//! Columns: the capability's number (capabilities(7)), then as in the table beside this one.

use super::table::NONE;

/// Who holds it may make namespaces, for which clone(2) is looked at otherwise.
pub(super) const SYS_ADMIN: u64 = 1 << 21;

type Row = (&'static str, u16, u16, u16);

/// The calls that these capabilities, a bit mask, add.
pub(super) fn allowed(capabilities: u64) -> impl Iterator<Item = &'static Row> {
    let held = move |number: u8| capabilities & 1 << number != 0;
    let rows = PRIVILEGED.iter().filter(move |(number, _)| held(*number));
    rows.map(|(_, row)| row)
}

#[rustfmt::skip]
const PRIVILEGED: &[(u8, Row)] = &[
    // CAP_DAC_READ_SEARCH
    (2, ("open_by_handle_at", 304, 342, 265)),
    // CAP_SYS_MODULE
    (16, ("delete_module", 176, 129, 106)),
    (16, ("init_module", 175, 128, 105)),
    (16, ("finit_module", 313, 350, 273)),
    // CAP_SYS_RAWIO
    (17, ("iopl", 172, 110, NONE)),
    (17, ("ioperm", 173, 101, NONE)),
    // CAP_SYS_PTRACE
    (19, ("kcmp", 312, 349, 272)),
    (19, ("pidfd_getfd", 438, 438, 438)),
    (19, ("process_madvise", 440, 440, 440)),
    (19, ("process_vm_readv", 310, 347, 270)),
    (19, ("process_vm_writev", 311, 348, 271)),
    (19, ("ptrace", 101, 26, 117)),
    // CAP_SYS_PACCT
    (20, ("acct", 163, 51, 89)),
    // CAP_SYS_ADMIN
    (21, ("bpf", 321, 357, 280)),
    (21, ("fanotify_init", 300, 338, 262)),
    (21, ("fsconfig", 431, 431, 431)),
    (21, ("fsmount", 432, 432, 432)),
    (21, ("fsopen", 430, 430, 430)),
    (21, ("fspick", 433, 433, 433)),
    (21, ("lookup_dcookie", 212, 253, 18)),
    (21, ("mount", 165, 21, 40)),
    (21, ("mount_setattr", 442, 442, 442)),
    (21, ("move_mount", 429, 429, 429)),
    (21, ("open_tree", 428, 428, 428)),
    (21, ("perf_event_open", 298, 336, 241)),
    (21, ("quotactl", 179, 131, 60)),
    (21, ("quotactl_fd", 443, 443, 443)),
    (21, ("setdomainname", 171, 121, 162)),
    (21, ("sethostname", 170, 74, 161)),
    (21, ("setns", 308, 346, 268)),
    (21, ("syslog", 103, 103, 116)),
    (21, ("umount", NONE, 22, NONE)),
    (21, ("umount2", 166, 52, 39)),
    (21, ("unshare", 272, 310, 97)),
    // CAP_SYS_BOOT
    (22, ("reboot", 169, 88, 142)),
    // CAP_SYS_NICE
    (23, ("get_mempolicy", 239, 275, 236)),
    (23, ("mbind", 237, 274, 235)),
    (23, ("set_mempolicy", 238, 276, 237)),
    (23, ("set_mempolicy_home_node", 450, 450, 450)),
    // CAP_SYS_TIME
    (25, ("settimeofday", 164, 79, 170)),
    (25, ("stime", NONE, 25, NONE)),
    (25, ("clock_settime", 227, 264, 112)),
    (25, ("clock_settime64", NONE, 404, NONE)),
    // CAP_SYS_TTY_CONFIG
    (26, ("vhangup", 153, 111, 58)),
    // CAP_SYSLOG
    (34, ("syslog", 103, 103, 116)),
    // CAP_PERFMON
    (38, ("perf_event_open", 298, 336, 241)),
    // CAP_BPF
    (39, ("bpf", 321, 357, 280)),
];
