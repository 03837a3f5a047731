//! What hostile images and commands have tried on other runtimes.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use runtime::{Container, Mount, Stdio};

use crate::harness::{Image, Test, failure, output, ran};

pub const TESTS: &[Test] = &[
    ("own_program_cannot_be_overwritten", self_exe),
    ("working_directory_cannot_leave_the_root", working_directory),
    ("resolv_conf_link_to_the_host", resolv_conf_link),
    ("mount_targets_stay_in_the_root", mount_targets),
    ("kernel_interfaces_are_refused", refused_calls),
    ("mounts_and_namespaces_are_refused", refused_commands),
    ("device_nodes_do_not_work", device_nodes),
    ("kernel_settings_are_masked_or_read_only", masked),
    ("setuid_programs_work", setuid),
];

/// CVE-2019-5736.
fn self_exe() -> Result<(), String> {
    let image = Image::new();
    if !std::path::Path::new("/usr/lib/x86_64-linux-gnu/libc.so.6").exists()
        && !std::path::Path::new("/usr/lib/aarch64-linux-gnu/libc.so.6").exists()
    {
        return Err("needs a Debian-like host, to run its own program in the container".to_owned());
    }
    let before = fs::read("/proc/self/exe").unwrap();
    let spec = image.with_host_programs(
        image
            .spec(&["/proc/self/exe"])
            .env(["PATH=/bin", "CONTAINER_TEST_ROLE=self-exe"]),
    );
    let ran = ran(&spec);
    let lines: Vec<&str> = ran
        .out
        .lines()
        .filter(|l| ["overwritten", "truncated", "tried"].contains(l))
        .collect();
    assert_eq!(lines, ["tried"], "{}: {}", ran.status, ran.out);
    assert!(before == fs::read("/proc/self/exe").unwrap());
    Ok(())
}

/// CVE-2024-21626.
fn working_directory() -> Result<(), String> {
    let image = Image::new();
    for number in 0..40 {
        for path in [
            format!("/proc/self/fd/{number}"),
            format!("/proc/self/fd/{number}/../.."),
        ] {
            let spec = image.sh("busybox pwd").cwd(&path);
            let Ok(running) = Container::spawn(&spec, Stdio::default()) else {
                continue;
            };
            drop(running);
            // Whatever it is, it must have a path inside.
            let inside = output(&image.sh("busybox readlink /proc/self/cwd").cwd(&path));
            assert!(
                inside.starts_with('/') && !inside.contains("unreachable"),
                "{path}: {inside}"
            );
        }
    }
    symlink("/proc/self/fd/8", image.file("link")).unwrap();
    let spec = image.sh("ls /proc/self/cwd").cwd("/link");
    assert!(Container::spawn(&spec, Stdio::default()).is_err());
    let error = failure(&image.spec(&["true"]).cwd("/missing")).to_string();
    assert!(error.contains("/missing"), "{error}");
    Ok(())
}

fn resolv_conf_link() -> Result<(), String> {
    let image = Image::new();
    let host = tempfile::NamedTempFile::new().unwrap();
    fs::write(host.path(), "host\n").unwrap();
    let up = format!("../../../../../../../../..{}", host.path().display());
    for link in [host.path().display().to_string(), up] {
        let path = image.file("etc/resolv.conf");
        let _ = fs::remove_file(&path);
        symlink(&link, &path).unwrap();
        output(
            &image.sh(
                "grep -q nameserver /etc/resolv.conf 2>/dev/null; (echo evil > /etc/resolv.conf) 2>/dev/null; true",
            ),
        );
        assert_eq!(fs::read_to_string(host.path()).unwrap(), "host\n");
        assert!(image.changes().is_empty(), "{:?}", image.changes());
        assert_eq!(
            fs::read_link(&path).unwrap().display().to_string(),
            link,
            "link kept"
        );
    }
    Ok(())
}

/// CVE-2021-30465, CVE-2024-23652.
fn mount_targets() -> Result<(), String> {
    let image = Image::new();
    let host = tempfile::tempdir().unwrap();
    let victim = host.path().join("victim");
    fs::create_dir(&victim).unwrap();
    fs::write(host.path().join("empty"), "").unwrap();
    symlink(host.path(), image.file("out")).unwrap();
    let spec = image
        .sh("ls -d /out/victim/made")
        .mount(Mount::tmpfs("/out/victim/made", None));
    output(&spec);
    assert!(
        fs::read_dir(&victim).unwrap().next().is_none(),
        "made on the host"
    );
    // The link is swapped while the container runs: cleaning up must not follow it.
    let swap = format!(
        "busybox rm -rf /d; busybox ln -s {} /d",
        host.path().display()
    );
    let spec = image
        .sh(&swap)
        .mount(Mount::bind("/bin/busybox", "/d/empty", true));
    ran(&spec);
    assert!(host.path().join("empty").exists());
    for target in ["/proc/self/fd", "/sys/x"] {
        let spec = image.sh("true").mount(Mount::tmpfs(target, None));
        assert!(
            Container::spawn(&spec, Stdio::default()).is_err(),
            "{target}"
        );
    }
    Ok(())
}

fn refused_calls() -> Result<(), String> {
    if !cfg!(target_arch = "x86_64") || !std::path::Path::new("/usr/bin/perl").exists() {
        return Err("needs /usr/bin/perl on x86_64".to_owned());
    }
    let image = Image::new();
    let call = |script: &str| {
        let spec = image.spec(&["/usr/bin/perl", "-e", script]);
        output(&image.with_host_programs(spec))
    };
    for (name, number) in [
        ("keyctl", 250),
        ("add_key", 248),
        ("bpf", 321),
        ("mount", 165),
        ("unshare", 272),
        ("setns", 308),
        ("open_by_handle_at", 304),
        ("perf_event_open", 298),
        ("userfaultfd", 323),
        ("io_uring_setup", 425),
        ("kexec_load", 246),
        ("init_module", 175),
        ("fsopen", 430),
        ("open_tree", 428),
        ("swapon", 167),
        ("reboot", 169),
    ] {
        let script = format!("syscall({number}, 0, 0, 0, 0, 0); print $! + 0");
        assert_eq!(call(&script), "1", "{name} must be EPERM");
    }
    for (what, script, errno) in [
        (
            "clone with CLONE_NEWUSER",
            "syscall(56, 0x10000000, 0, 0, 0, 0)",
            "1",
        ),
        ("clone3", "syscall(435, 0, 0)", "38"),
        ("a call newer than the profile", "syscall(999)", "38"),
        ("an AF_VSOCK socket", "syscall(41, 40, 1, 0)", "1"),
        (
            "personality ADDR_NO_RANDOMIZE",
            "syscall(135, 0x40000)",
            "1",
        ),
    ] {
        assert_eq!(call(&format!("{script}; print $! + 0")), errno, "{what}");
    }
    Ok(())
}

fn refused_commands() -> Result<(), String> {
    let image = Image::new();
    for script in [
        "busybox mount -t tmpfs none /tmp",
        "busybox mount --bind /bin /tmp",
        "busybox mount -o remount,rw /proc/sys",
        "busybox umount /proc/sys",
        "busybox unshare -m true",
        "busybox unshare -r true",
        "busybox pivot_root / /tmp",
        "busybox hostname evil",
        "busybox swapoff -a; busybox mount -o remount,dev /",
    ] {
        assert!(!ran(&image.sh(script)).status.success(), "{script}");
    }
    Ok(())
}

fn device_nodes() -> Result<(), String> {
    let image = Image::new();
    // MKNOD is a default capability: nodes can be made, for a layer, but not opened.
    for dir in ["/", "/dev/", "/dev/shm/", "/tmp/"] {
        let script =
            format!("busybox mknod {dir}zero c 1 5 2>/dev/null || exit 0; exec 3< {dir}zero");
        let ran = ran(&image.sh(&script));
        assert!(
            dir == "/dev/" || !ran.status.success(),
            "{dir}: {}",
            ran.out
        );
    }
    let ran = ran(&image.sh("busybox mknod /dev/disk b 254 0 && exec 3< /dev/disk"));
    assert!(
        !ran.status.success() && ran.out.contains("ermission denied"),
        "{}",
        ran.out
    );
    assert_eq!(
        output(&image.sh("busybox head -c 4 /dev/zero | busybox wc -c; echo x > /dev/null")),
        "4"
    );
    Ok(())
}

/// CVE-2025-31133 and others: masks must be masks.
fn masked() -> Result<(), String> {
    let image = Image::new();
    let script = "cat /proc/kcore 2>/dev/null | busybox head -c 1 | busybox wc -c; \
                  echo $(busybox wc -c < /proc/keys); \
                  ls /sys/firmware | busybox wc -l; \
                  (echo c > /proc/sysrq-trigger) 2>/dev/null || echo sysrq; \
                  (echo x > /proc/sys/kernel/core_pattern) 2>/dev/null || echo core_pattern; \
                  (echo 1 > /proc/irq/default_smp_affinity) 2>/dev/null || echo irq; \
                  (echo x > /sys/kernel/uevent_helper) 2>/dev/null || echo uevent; \
                  busybox find /sys/fs/cgroup -name release_agent | busybox wc -l";
    let out = output(&image.sh(script));
    assert_eq!(out, "0\n0\n0\nsysrq\ncore_pattern\nirq\nuevent\n0");
    Ok(())
}

fn setuid() -> Result<(), String> {
    let image = Image::new();
    // busybox drops a setuid it does not expect; a copy of one applet's owner shows the effect.
    let path = image.file("bin/suid");
    fs::copy("/bin/busybox", &path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o4755)).unwrap();
    let script = "/bin/suid sh -c 'busybox grep ^Uid /proc/self/status' ; \
                  busybox grep NoNewPrivs /proc/self/status";
    let out = output(&image.sh(script).user("1000")).replace('\t', " ");
    assert!(out.ends_with("NoNewPrivs: 0"), "{out}");
    Ok(())
}
