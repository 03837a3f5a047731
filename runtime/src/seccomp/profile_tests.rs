use super::super::bpf::interpret;
use super::*;

/// What a profile says of a call.
fn verdict(profile: &str, arch: &Arch, nr: u32, args: &[u64]) -> u32 {
    let profile: Profile = serde_json::from_str(profile).unwrap();
    let program = profile.compile(&[X86_64, I386], (5, 10)).unwrap();
    let mut data = [0u8; 64];
    data[0..4].copy_from_slice(&nr.to_le_bytes());
    data[4..8].copy_from_slice(&arch.audit.to_le_bytes());
    for (n, arg) in args.iter().enumerate() {
        data[16 + 8 * n..24 + 8 * n].copy_from_slice(&arg.to_le_bytes());
    }
    interpret(&program, &data)
}

fn refused(profile: &str) -> String {
    SeccompProfile::parse(profile, "6.1.0").unwrap_err()
}

/// chmod(2) is call 90 of x86_64 and 15 of i386, personality(2) 135, lseek(2) 8.
#[test]
fn conditions_compare_whole_arguments() {
    let of = |op: &str, value: u64, two: u64, arg: u64| {
        let profile = format!(
            r#"{{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{{"names": ["lseek"],
               "action": "SCMP_ACT_ERRNO", "errnoRet": 7, "args": [
               {{"index": 1, "value": {value}, "valueTwo": {two}, "op": "SCMP_CMP_{op}"}}]}}]}}"#
        );
        verdict(&profile, &X86_64, 8, &[0, arg]) == ERRNO | 7
    };
    let big = 0x1_0000_0005;
    for (op, less, equal, more) in [
        ("EQ", false, true, false),
        ("NE", true, false, true),
        ("LT", true, false, false),
        ("LE", true, true, false),
        ("GT", false, false, true),
        ("GE", false, true, true),
    ] {
        for value in [5, big, 0x1_0000_0000] {
            // Both words count: 1 less in the high one with more in the low one is still less.
            assert_eq!(of(op, value, 0, value - 1), less, "{op} {value} less");
            assert_eq!(of(op, value, 0, value), equal, "{op} {value} equal");
            assert_eq!(of(op, value, 0, value + 1), more, "{op} {value} more");
        }
        assert_eq!(of(op, big, 0, 0xffff_ffff), less, "{op} high word less");
        assert_eq!(of(op, big, 0, 0x2_0000_0000), more, "{op} high word more");
    }
    assert!(of("MASKED_EQ", 0xf0, 0x30, 0x1_0000_003f));
    assert!(!of("MASKED_EQ", 0xf0, 0x30, 0x4f));
    assert!(!of(
        "MASKED_EQ",
        0xf_0000_0000,
        0x3_0000_0000,
        0x4_0000_0000
    ));
}

#[test]
fn rules_go_by_name_architecture_and_container() {
    let profile = r#"{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 13,
        "archMap": [{"architecture": "SCMP_ARCH_X86_64",
                     "subArchitectures": ["SCMP_ARCH_X86", "SCMP_ARCH_X32"]}],
        "syscalls": [
          {"names": ["chmod", "no_such_call"], "action": "SCMP_ACT_ALLOW"},
          {"name": "mount", "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_ADMIN"]}},
          {"name": "chown", "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_CHOWN"]}},
          {"name": "ptrace", "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "4.8"}},
          {"name": "openat2", "action": "SCMP_ACT_LOG", "excludes": {"minKernel": "5.6"}},
          {"name": "getpid", "action": "SCMP_ACT_TRAP", "includes": {"arches": ["amd64"]}},
          {"name": "getuid", "action": "SCMP_ACT_TRAP", "excludes": {"arches": ["amd64"]}},
          {"name": "personality", "action": "SCMP_ACT_ALLOW",
           "args": [{"index": 0, "value": 0, "op": "SCMP_CMP_EQ"},
                    {"index": 0, "value": 8, "op": "SCMP_CMP_EQ"}]},
          {"name": "landlock_create_ruleset", "action": "SCMP_ACT_KILL_PROCESS"}]}"#;
    let on = |nr: u32, args: &[u64]| verdict(profile, &X86_64, nr, args);
    // Numbers of arch/x86/entry/syscalls/syscall_64.tbl and syscall_32.tbl.
    assert_eq!(on(90, &[]), ALLOW, "chmod");
    assert_eq!(verdict(profile, &I386, 15, &[]), ALLOW, "chmod of i386");
    assert_eq!(verdict(profile, &I386, 90, &[]), ERRNO | 13, "mmap of i386");
    assert_eq!(on(165, &[]), ERRNO | 13, "mount");
    assert_eq!(on(92, &[]), ALLOW, "chown");
    assert_eq!(on(101, &[]), ALLOW, "ptrace");
    assert_eq!(on(437, &[]), ERRNO | 13, "openat2");
    assert_eq!(on(39, &[]), TRAP, "getpid");
    assert_eq!(on(102, &[]), ERRNO | 13, "getuid");
    assert_eq!(on(135, &[0]), ALLOW, "either of two");
    assert_eq!(on(135, &[8]), ALLOW);
    assert_eq!(on(135, &[9]), ERRNO | 13);
    assert_eq!(on(444, &[]), KILL_PROCESS, "landlock_create_ruleset");
    assert_eq!(on(445, &[]), ERRNO | ENOSYS, "newer than all that is named");
    assert_eq!(on(X32 | 90, &[]), ERRNO | ENOSYS, "x32");
    assert_eq!(verdict(profile, &AARCH64, 90, &[]), KILL_PROCESS);
}

#[test]
fn only_the_machines_own_calls_without_a_map() {
    let profile = r#"{"defaultAction": "SCMP_ACT_ALLOW"}"#;
    assert_eq!(verdict(profile, &X86_64, 500, &[]), ALLOW);
    assert_eq!(verdict(profile, &I386, 5, &[]), KILL_PROCESS);
}

#[test]
fn what_is_no_profile_is_told() {
    for (profile, told) in [
        ("{", "EOF"),
        ("{}", "invalid action \"\""),
        (r#"{"defaultAction": "ALLOW"}"#, "invalid action \"ALLOW\""),
        (r#"{"defaultAction": "SCMP_ACT_NOTIFY"}"#, "supervisor"),
        (
            r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"name": "a", "names": ["b"],
               "action": "SCMP_ACT_ALLOW"}]}"#,
            "both `name` (a) and `names`",
        ),
        (
            r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"name": "a",
               "action": "SCMP_ACT_ALLOW", "args": [{"index": 6, "value": 1, "op": "SCMP_CMP_EQ"}]}]}"#,
            "no argument 6",
        ),
        (
            r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"name": "a",
               "action": "SCMP_ACT_ALLOW", "args": [{"index": 1, "value": 1, "op": "EQ"}]}]}"#,
            "invalid operator \"EQ\"",
        ),
        (
            r#"{"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86"],
                "archMap": []}"#,
            "both `architectures` and `archMap`",
        ),
    ] {
        assert!(
            refused(profile).contains(told),
            "{profile}: {}",
            refused(profile)
        );
    }
}
