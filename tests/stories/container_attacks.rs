//! What hostile images and commands have tried on other runtimes, tried on `rbuild run`.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Instant;

use e2e::{Cmd, Dir, Store, need};

use crate::both::{eventually, inspect};

fn image(store: &Store, tag: &str, text: &str) {
    let context = Dir::dockerfile(text);
    store
        .rbuild(["build", "-q", "--network=none", "-t", tag])
        .arg(context.path())
        .ok();
}

const RUN: [&str; 4] = ["run", "--rm", "--net", "none"];

/// CVE-2019-5736: the image's command is the program that starts it.
#[test]
fn the_hosts_program_cannot_be_executed_nor_overwritten() {
    let store = need!(Store::busybox());
    let text = "FROM busybox\nRUN printf '#!/proc/self/exe\\n' >/run.sh && chmod +x /run.sh\n";
    image(&store, "evil", text);
    let program = e2e::rbuild();
    let before = fs::metadata(&program).unwrap();
    for command in ["/proc/self/exe", "/run.sh"] {
        let done = store.rbuild(RUN).args(["evil", command]).run();
        assert!(!done.status.success(), "{done}");
    }
    let steal = "for p in /proc/[0-9]*; do (: >>$p/exe) 2>/dev/null && echo written; done; true";
    for more in [&[][..], &["--init"], &["--pid", "host"]] {
        let done = store.rbuild(RUN).args(more);
        let done = done.args(["evil", "sh", "-c", steal]).ok();
        assert!(!done.out().contains("written"), "{more:?}: {done}");
    }
    let after = fs::metadata(&program).unwrap();
    assert_eq!(before.len(), after.len());
    assert_eq!(before.modified().unwrap(), after.modified().unwrap());
}

/// CVE-2024-21626: a working directory by way of a descriptor that was left open.
#[test]
fn no_descriptor_and_no_variable_of_the_host_is_there() {
    let store = need!(Store::busybox());
    for number in 3..14 {
        let dir = format!("/proc/self/fd/{number}");
        let script = "case $(readlink /proc/self/cwd) in /*) ;; *) echo outside;; esac; pwd -P";
        let done = store
            .rbuild(RUN)
            .args(["-w", &dir, "busybox", "sh", "-c", script]);
        let done = done.run();
        assert!(!done.out().contains("outside"), "{done}");
        assert!(!done.out().contains("unreachable"), "{done}");
    }
    // Whoever starts it has files open, and secrets in the environment.
    let list = "ls /proc/self/fd | tr '\\n' ' '; env | grep -c HOST_SECRET";
    let line = format!(
        "exec 9</etc/shadow 8</; exec {} run --rm --net none busybox sh -c \"{list}\"",
        e2e::rbuild().display()
    );
    let done = Cmd::new("sh")
        .args(["-c", &line])
        .env("RBUILD_ROOT", store.root())
        .env("HOST_SECRET", "hidden")
        .run();
    assert_eq!(done.out(), "0 1 2 3 0\n", "{done}");
}

/// Links of the image lead into the image, wherever they point.
#[test]
fn links_of_the_image_lead_nowhere_on_the_host() {
    let store = need!(Store::busybox());
    let victim = store.file("victim");
    fs::create_dir(&victim).unwrap();
    fs::write(victim.join("file"), "host\n").unwrap();
    let path = victim.display();
    let text = format!(
        "FROM busybox\n\
         RUN rm -rf /etc/hosts /etc/hostname; ln -s {path}/file /etc/hostname\n\
         RUN ln -s {path} /dir && ln -s / /root-dir && ln -s ../../../../../../..{path} /up\n"
    );
    image(&store, "evil", &text);
    let source = store.file("source");
    fs::create_dir(&source).unwrap();
    let bind = |target: &str| format!("{}:{target}", source.display());
    for target in ["/dir/made", "/up/made", &format!("/root-dir{path}/made")] {
        let script = format!("echo x >/etc/hostname; touch {target}/in; echo done");
        let done = store
            .rbuild(RUN)
            .args(["-v", &bind(target), "evil", "sh", "-c", &script]);
        done.ok().says("done");
        assert!(source.join("in").exists(), "{target}");
        fs::remove_file(source.join("in")).unwrap();
        let done = store.rbuild(RUN).args(["--tmpfs", target, "evil", "touch"]);
        done.arg(format!("{target}/in")).ok();
    }
    let left: Vec<_> = fs::read_dir(&victim).unwrap().flatten().collect();
    assert_eq!(left.len(), 1, "{left:?}");
    assert_eq!(fs::read_to_string(victim.join("file")).unwrap(), "host\n");
}

/// What a container may do does not depend on what its image says of itself.
#[test]
fn an_image_gains_nothing_by_its_labels_and_settings() {
    let store = need!(Store::busybox());
    let text = "FROM busybox\n\
        LABEL cap-add=ALL privileged=true security-opt=seccomp=unconfined device=/dev/mem\n\
        LABEL io.podman.annotations.privileged=TRUE run.oci.keep_original_groups=1\n\
        ENV LD_PRELOAD=/evil.so container=systemd\n";
    image(&store, "evil", text);
    let script = "grep -E 'Cap|Seccomp:|NoNewPrivs' /proc/self/status; ls /dev/mem 2>&1";
    let done = store.rbuild(RUN).args(["evil", "sh", "-c", script]).run();
    let out = done.out().replace('\t', " ");
    let set = "00000000a80425fb";
    let wanted = format!(
        "CapInh: 0000000000000000\nCapPrm: {set}\nCapEff: {set}\nCapBnd: {set}\n\
         CapAmb: 0000000000000000\nNoNewPrivs: 0\nSeccomp: 2\nls: /dev/mem: No such file or directory\n"
    );
    assert_eq!(out, wanted);
}

/// Ways out by what the kernel shows: each is closed, and opened by `--privileged` alone.
#[test]
fn the_kernels_settings_are_out_of_reach() {
    let store = need!(Store::busybox());
    let tries = [
        "echo x >/proc/sys/kernel/core_pattern",
        "echo c >/proc/sysrq-trigger",
        "echo 1 >/proc/irq/default_smp_affinity",
        "echo x >/sys/kernel/uevent_helper",
        "mkdir /sys/fs/cgroup/x /sys/fs/cgroup/memory/x",
        "echo 1 >$(find /sys/fs/cgroup -name memory.max -o -name memory.limit_in_bytes | head -n 1)",
        "find /sys/fs/cgroup -name release_agent | grep .",
        "mount -t tmpfs none /mnt",
        "mount -o remount,rw /sys/fs/cgroup",
        "mount -t cgroup -o devices none /mnt",
        "umount /sys/fs/cgroup/devices || umount /sys/fs/cgroup",
        "unshare -m true",
        "unshare -r true",
        "mknod /disk b 254 0 && head -c 1 /disk",
        "head -c 1 /proc/kcore | grep .",
        "ls /sys/firmware | grep .",
        "hostname other",
    ];
    let script: String = tries
        .iter()
        .enumerate()
        .map(|(number, attempt)| format!("( {attempt} ) >/dev/null 2>&1 && echo {number}\n"))
        .collect();
    let script = format!("{script}true");
    for more in [&[][..], &["--systemd"], &["--cgroupns", "host"]] {
        let done = store.rbuild(RUN).args(more);
        let done = done.args(["busybox", "sh", "-c", &script]).ok();
        let open: Vec<&str> = done
            .out()
            .lines()
            .map(|line| tries[line.parse::<usize>().unwrap()])
            .collect::<Vec<_>>();
        // Of version 2 systemd's groups are all there are, and its own to write to.
        let allowed = |attempt: &&str| {
            more == ["--systemd"]
                && attempt.contains("/sys/fs/cgroup")
                && !attempt.contains("agent")
        };
        let open: Vec<&str> = open.into_iter().filter(|one| !allowed(one)).collect();
        assert!(open.is_empty(), "{more:?}: {open:?}");
    }
}

/// A container that ends at once is started again ever more slowly.
#[test]
fn a_restart_storm_dies_down() {
    let store = need!(Store::busybox());
    let begun = Instant::now();
    store
        .rbuild(["run", "-d", "--net", "none", "--name", "storm"])
        .args(["--restart", "always", "busybox", "false"])
        .ok();
    let count = || inspect(&store, "storm")["RestartCount"].as_u64().unwrap();
    eventually("it was started four times", || count() >= 3);
    // 100 ms, 200 ms, 400 ms, … lie between two starts.
    let passed = u64::try_from(begun.elapsed().as_millis()).unwrap();
    let most = u64::from((passed / 100 + 1).ilog2()) + 1;
    assert!(count() <= most, "{} of {most} in {passed} ms", count());
    store.rbuild(["rm", "-f", "storm"]).ok();
}

/// What a container keeps is its owner's alone.
#[test]
fn a_containers_folder_is_closed_to_others() {
    let store = need!(Store::busybox());
    store
        .rbuild(["run", "-d", "--net", "none", "--name", "web", "busybox"])
        .args(["sleep", "1000"])
        .ok();
    let id = inspect(&store, "web")["Id"].as_str().unwrap().to_owned();
    let folder = store.root().join("containers").join(id);
    assert!(folder.join("socket").exists());
    let mode = fs::metadata(&folder).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    let events = fs::metadata(store.root().join("events")).unwrap();
    assert_eq!(events.permissions().mode() & 0o777, 0o700);
    store.rbuild(["rm", "-f", "web"]).ok();
}
