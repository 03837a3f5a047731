//! Systemd as a container's first process, with all privileges and without; and containers that
//! come back when this machine has been down.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use e2e::{Cmd, Dir, Store, need, repository};
use nix::sys::signal::{Signal, kill};

use crate::both::{eventually, inspect, monitor, pid_of};

#[test]
fn systemd_boots_with_and_without_privileges_and_stops_in_order() {
    let store = need!(Store::debian());
    let context = Dir::new().copy_of(&repository().join("Dockerfile.examples/systemd"));
    store
        .rbuild(["build", "-t", "systemd"])
        .arg(context.path())
        .limit(Duration::from_secs(900))
        .ok();
    let privileged: &[&str] = &[
        "--privileged",
        "--tmpfs",
        "/run",
        "-v",
        "/sys/fs/cgroup:/sys/fs/cgroup:ro",
    ];
    for (name, flags) in [("wide", privileged), ("narrow", &["--systemd"])] {
        store
            .rbuild(["run", "-d", "--name", name, "--net", "none"])
            .args(flags)
            .arg("systemd")
            .ok();
        let exec = |words: &[&str]| store.rbuild(["exec", name]).args(words).run();
        eventually("its services have started", || {
            exec(&["cat", "/run/hello"]).out() == "systemd is up as PID 1\n"
        });
        eventually("it runs", || {
            exec(&["systemctl", "is-system-running"]).out() == "running\n"
        });
        let service = exec(&["systemctl", "is-active", "hello.service"]);
        assert_eq!(service.out(), "active\n", "{service}");
        let first = exec(&["cat", "/proc/1/comm"]);
        assert_eq!(first.out(), "systemd\n");
    }
    // What has no privileges can write to its own groups of systemd alone, and mount nothing.
    let narrow = |script: &str| {
        let done = store.rbuild(["exec", "narrow", "sh", "-c", script]).run();
        done.status.success()
    };
    assert!(!narrow("mount -t tmpfs none /mnt"));
    assert!(!narrow("mkdir /sys/fs/cgroup/memory/x"));
    assert!(!narrow("echo x >/proc/sys/kernel/core_pattern"));
    // Docker sends what the image says, which is nothing: systemd starts anew at that.
    store.rbuild(["kill", "-s", "SIGRTMIN+3", "wide"]).ok();
    store.rbuild(["stop", "-t", "60", "narrow"]).ok();
    let state = inspect(&store, "narrow")["State"].take();
    assert_eq!(state["ExitCode"], 0, "{state}");
    let config = inspect(&store, "narrow")["Config"].take();
    assert_eq!(config["StopSignal"], "SIGRTMIN+3");
    // It has ended by reboot(2), which in a PID namespace is a SIGINT.
    assert_eq!(store.rbuild(["wait", "wide"]).ok().out(), "130\n");
    store.rbuild(["rm", "wide", "narrow"]).ok();
}

/// Both servers are units, reached by published ports; the machine's keys are made when it boots.
#[test]
fn systemd_serves_ssh_and_http_by_published_ports() {
    let store = need!(Store::debian());
    let base = Dir::new().copy_of(&repository().join("Dockerfile.examples/systemd"));
    store
        .rbuild(["build", "-t", "systemd"])
        .arg(base.path())
        .limit(Duration::from_secs(900))
        .ok();
    let dockerfile = "FROM systemd\n\
        RUN apt-get update \\\n\
        \x20&& apt-get install -y --no-install-recommends busybox openssh-client openssh-server \\\n\
        \x20&& rm -rf /var/lib/apt/lists/* /etc/ssh/ssh_host_*\n\
        COPY httpd.service keys.service /etc/systemd/system/\n\
        RUN echo served by systemd >/srv/index.html \\\n\
        \x20&& systemctl enable ssh.service httpd.service keys.service\n\
        EXPOSE 22 80\n";
    let httpd = "[Service]\nExecStart=/bin/busybox httpd -f -p 80 -h /srv\n\
                 [Install]\nWantedBy=multi-user.target\n";
    let keys = "[Unit]\nBefore=ssh.service\n\
                [Service]\nType=oneshot\nExecStart=/usr/bin/ssh-keygen -A\n\
                [Install]\nWantedBy=multi-user.target\n";
    let context = Dir::new()
        .file("Dockerfile", dockerfile)
        .file("httpd.service", httpd)
        .file("keys.service", keys);
    store
        .rbuild(["build", "-t", "servers"])
        .arg(context.path())
        .limit(Duration::from_secs(900))
        .ok();
    let publish = ["-p", "127.0.0.1::22", "-p", "127.0.0.1::80"];
    store
        .rbuild(["run", "-d", "--systemd", "--name", "servers"])
        .args(publish)
        .arg("servers")
        .ok();
    let asked = |port: &str, question: &[u8]| {
        let place = store.rbuild(["port", "servers", port]).ok().out();
        let mut answer = Vec::new();
        if let Ok(mut stream) = TcpStream::connect(place.trim()) {
            stream
                .set_read_timeout(Some(Duration::from_secs(2)))
                .unwrap();
            let _ = stream.write_all(question);
            let _ = stream.read_to_end(&mut answer);
        }
        String::from_utf8_lossy(&answer).into_owned()
    };
    eventually("HTTP is served", || {
        let answer = asked("80", b"GET / HTTP/1.0\r\n\r\n");
        answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("served by systemd\n")
    });
    eventually("SSH greets", || {
        asked("22", b"").starts_with("SSH-2.0-OpenSSH_")
    });
    // Somebody logs in.
    let login = "ssh-keygen -q -t ed25519 -N '' -f /root/key && mkdir -p /root/.ssh \
                 && cat /root/key.pub >/root/.ssh/authorized_keys \
                 && ssh -i /root/key -o StrictHostKeyChecking=no root@127.0.0.1 \
                    'echo \"logged in as $(id -un)\"'";
    let said = store.rbuild(["exec", "servers", "sh", "-c", login]).ok();
    assert_eq!(said.out(), "logged in as root\n");
    store.rbuild(["stop", "-t", "60", "servers"]).ok();
    assert_eq!(inspect(&store, "servers")["State"]["ExitCode"], 0);
    store.rbuild(["rm", "servers"]).ok();
}

#[test]
fn after_a_boot_those_come_back_that_are_to() {
    let store = need!(Store::busybox());
    let policies = ["always", "unless-stopped", "on-failure", "no"];
    for policy in policies {
        store
            .rbuild(["run", "-d", "--net", "none", "--name", policy])
            .args(["--restart", policy, "busybox", "sleep", "1000"])
            .ok();
    }
    for (name, policy) in [("stopped-always", "always"), ("stopped", "unless-stopped")] {
        store
            .rbuild(["run", "-d", "--net", "none", "--name", name])
            .args(["--restart", policy, "busybox", "sleep", "1000"])
            .ok();
        store.rbuild(["stop", "-t", "0", name]).ok();
    }
    store
        .rbuild(["create", "--name", "never", "--restart", "always"])
        .args(["busybox", "true"])
        .ok();
    // Power is cut: nothing of them is left but their files.
    for policy in policies {
        let pid = pid_of(&store, policy);
        kill(monitor(pid), Signal::SIGKILL).unwrap();
    }
    let running = || store.rbuild(["ps", "--format", "{{.Names}}"]).ok().out();
    eventually("all have ended", || running().is_empty());
    let started = store.rbuild(["start", "--restart-policy"]).ok().out();
    let back = "always\nunless-stopped\non-failure\nstopped-always\n";
    assert_eq!(started, back);
    let mut now: Vec<String> = running().lines().map(str::to_owned).collect();
    now.reverse();
    assert_eq!(now.join("\n") + "\n", back);
    // Nothing is left to do.
    assert_eq!(store.rbuild(["start", "--restart-policy"]).ok().out(), "");
    let all = ["stopped", "never", "no", "always", "unless-stopped"];
    store.rbuild(["rm", "-f"]).args(all).ok();
    store
        .rbuild(["rm", "-f", "on-failure", "stopped-always"])
        .ok();
}

#[test]
fn when_the_machine_goes_down_containers_end_in_order_and_come_back() {
    let store = need!(Store::busybox());
    let script = "trap 'echo bye; exit 5' TERM; sleep 1000 & wait";
    store
        .rbuild(["run", "-d", "--net", "none", "--name", "web"])
        .args(["--restart", "unless-stopped", "busybox", "sh", "-c", script])
        .ok();
    let pid = pid_of(&store, "web");
    eventually("it heeds signals", || {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
        u64::from_str_radix(caught.unwrap().trim(), 16).unwrap() & (1 << 14) != 0
    });
    kill(monitor(pid), Signal::SIGTERM).unwrap();
    eventually("it has ended", || {
        inspect(&store, "web")["State"]["Status"] == "exited"
    });
    let state = inspect(&store, "web")["State"].take();
    assert_eq!(
        (&state["ExitCode"], &state["Error"]),
        (&5.into(), &"".into())
    );
    assert_eq!(store.rbuild(["logs", "web"]).ok().out(), "bye\n");
    assert_eq!(
        store.rbuild(["start", "--restart-policy"]).ok().out(),
        "web\n"
    );
    store.rbuild(["rm", "-f", "web"]).ok();
}

/// What systemd does, and what it leaves when it is killed.
#[test]
fn groups_that_a_container_has_made_go_with_it() {
    let store = need!(Store::busybox());
    let script = "for d in /sys/fs/cgroup /sys/fs/cgroup/*; do mkdir -p $d/a/b; done 2>/dev/null; \
                  echo made; sleep 1000";
    store
        .rbuild(["run", "-d", "--name", "nests", "--net", "none"])
        .args(["--privileged", "busybox", "sh", "-c", script])
        .ok();
    eventually("it has made groups", || {
        store.rbuild(["logs", "nests"]).ok().out() == "made\n"
    });
    let id = inspect(&store, "nests")["Id"].as_str().unwrap().to_owned();
    let groups = || {
        let found = Cmd::new("find")
            .args(["/sys/fs/cgroup", "-path"])
            .arg(format!("*{id}*"))
            .args(["-type", "d"])
            .run();
        found.out()
    };
    assert!(groups().contains("/a/b\n"), "{}", groups());
    store.rbuild(["kill", "nests"]).ok();
    assert_eq!(store.rbuild(["wait", "nests"]).ok().out(), "137\n");
    assert_eq!(groups(), "");
    store.rbuild(["rm", "nests"]).ok();
}
