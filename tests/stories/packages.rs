//! What is installed elsewhere: static programs, Debian's packages, images of the two programs.
//! `scripts/dist.sh` makes them, into `RBUILD_TEST_DIST` (`target/dist`).

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use e2e::{Cmd, Dir, Machine, Missing, Store, docker, http, need, program, repository};

use crate::both::eventually;

/// The folder that `scripts/dist.sh` made.
pub(crate) fn dist() -> Result<PathBuf, Missing> {
    let named = std::env::var_os("RBUILD_TEST_DIST").map(PathBuf::from);
    let folder = named.unwrap_or_else(|| repository().join("target/dist"));
    match folder.join("bin/rbuild").exists() {
        true => Ok(folder),
        false => Err(Missing(format!(
            "{} has no programs (scripts/dist.sh makes them)",
            folder.display()
        ))),
    }
}

/// The packages in it, of this kind.
fn packages(kind: &str) -> Result<Vec<PathBuf>, Missing> {
    let folder = dist()?;
    let entries = fs::read_dir(&folder).expect("list");
    let mut found: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    found.retain(|path| path.extension().is_some_and(|ending| ending == kind));
    found.sort();
    match found.len() {
        2 => Ok(found),
        _ => Err(Missing(format!(
            "{} has no packages of {kind} (cargo-deb and rpmbuild make them)",
            folder.display()
        ))),
    }
}

fn name(path: &Path) -> String {
    let name = path.file_name().expect("a file");
    name.to_string_lossy().into_owned()
}

#[test]
fn static_programs_find_each_other_by_name() {
    let bin = need!(dist()).join("bin");
    let store = need!(Store::busybox());
    for program in ["rbuild", "rregistry"] {
        let linked = Cmd::new("ldd").arg(bin.join(program)).run();
        let told = linked.out() + &linked.err();
        let alone = ["statically linked", "not a dynamic executable"];
        assert!(alone.iter().any(|text| told.contains(text)), "{linked}");
    }
    // The library's own resolver reads the machine's configuration, and asks who stands there.
    let machine = need!(Machine::new());
    machine.serve_names("127.0.0.1", Ipv4Addr::LOCALHOST);
    let files = Dir::new()
        .file("resolv.conf", b"nameserver 127.0.0.1\n")
        .file(
            "rbuild/registries.toml",
            b"[registry.\"registry.stories.test:5000\"]\ninsecure = true\n",
        );
    let data = tempfile::tempdir().expect("folder");
    let serving = machine
        .on(Cmd::new(bin.join("rregistry")).args(["serve", "--addr", "127.0.0.1:5000"]))
        .arg("--data-dir")
        .arg(data.path())
        .spawn();
    serving.until_out("listening on ");
    let rbuild = |words: &str| {
        let script = format!(
            "mount --bind {0}/resolv.conf /etc/resolv.conf; XDG_CONFIG_HOME={0} exec {1} --root {2} \
             {words}",
            files.path().display(),
            bin.join("rbuild").display(),
            store.root().display(),
        );
        machine.on(Cmd::new("unshare").args(["--mount", "sh", "-ec", &script]))
    };
    let image = "registry.stories.test:5000/app:v1";
    rbuild(&format!("tag busybox {image}")).ok();
    rbuild(&format!("push {image}")).ok();
    rbuild(&format!("rmi {image}")).ok();
    rbuild(&format!("pull {image}")).ok();
    let context = Dir::dockerfile(&format!("FROM {image}\nRUN echo static >/made\n"));
    rbuild(&format!(
        "build --network none -t made {}",
        context.path().display()
    ))
    .ok();
    assert_eq!(store.tree("made").text("made"), "static\n");
}

#[test]
fn packages_install_serve_and_leave_images_behind() {
    let packages = need!(packages("deb"));
    let store = need!(Store::debian());
    let context = Dir::new().copy_of(&repository().join("Dockerfile.examples/systemd"));
    store
        .rbuild(["build", "-t", "systemd"])
        .arg(context.path())
        .limit(Duration::from_secs(900))
        .ok();
    let mut context = Dir::dockerfile(
        "FROM systemd\nCOPY *.deb /debs/\n\
         RUN apt-get update && apt-get install -y --no-install-recommends /debs/*.deb\n\
         RUN id rregistry && stat -c %U:%a /var/lib/rregistry >/owner\n",
    );
    for package in &packages {
        let bytes = fs::read(package).expect("read");
        context = context.file(&name(package), &bytes);
    }
    store
        .rbuild(["build", "-t", "installed"])
        .arg(context.path())
        .limit(Duration::from_secs(900))
        .ok();
    let tree = store.tree("installed");
    assert_eq!(tree.text("owner"), "rregistry:750\n");
    for file in [
        "usr/bin/rbuild",
        "usr/bin/rregistry",
        "usr/share/man/man1/rbuild-run.1.gz",
        "usr/share/man/man1/rregistry-serve.1.gz",
        "usr/share/bash-completion/completions/rbuild",
        "usr/share/zsh/vendor-completions/_rregistry",
        "usr/share/fish/vendor_completions.d/rbuild.fish",
        "usr/share/doc/rbuild/copyright",
        "etc/rregistry/registry.toml",
    ] {
        assert!(tree.has(file), "{file}");
    }
    store
        .rbuild(["run", "-d", "--name", "host", "--privileged"])
        .args(["--net", "none", "--tmpfs", "/run"])
        .args(["-v", "/sys/fs/cgroup:/sys/fs/cgroup:ro", "installed"])
        .ok();
    let sh = |script: &str| {
        let done = store.rbuild(["exec", "host", "bash", "-c", script]).run();
        (done.status.success(), done.out())
    };
    eventually("the registry is up", || {
        sh("systemctl is-active rregistry").1 == "active\n"
    });
    let ask = "exec 3<>/dev/tcp/127.0.0.1/5000; printf 'GET /v2/ HTTP/1.0\\r\\nHost: a\\r\\n\\r\\n' \
               >&3; head -1 <&3";
    eventually("it answers", || sh(ask).1.starts_with("HTTP/1.0 200 OK"));
    // As its own user, and confined.
    let (_, user) = sh("stat -c %U /proc/$(systemctl show -P MainPID rregistry)");
    assert_eq!(user.trim(), "rregistry");
    let (_, told) = sh("systemd-analyze verify rregistry.service rregistry.socket \
                        rbuild-containers.service 2>&1");
    // There is no man in the image that could show their pages.
    let ours = |line: &&str| line.starts_with('r') && !line.contains("Command 'man ");
    assert_eq!(told.lines().find(ours), None, "{told}");
    let (_, exposure) = sh("systemd-analyze security rregistry.service | tail -1");
    assert!(exposure.contains("OK"), "{exposure}");
    // Its settings say more than the package's, and survive it.
    assert!(sh("echo '# ours' >>/etc/rregistry/registry.toml; systemctl restart rregistry").0);
    let (removed, told) = sh("apt-get remove -y rregistry 2>&1");
    assert!(removed, "{told}");
    assert!(sh("grep -q ours /etc/rregistry/registry.toml").0);
    let (purged, told) = sh("apt-get purge -y rregistry 2>&1");
    assert!(purged, "{told}");
    assert!(
        told.contains("the images in /var/lib/rregistry are kept"),
        "{told}"
    );
    assert!(sh("test -e /var/lib/rregistry/registry.db && ! test -e /etc/rregistry").0);
    store.rbuild(["rm", "-f", "host"]).ok();
}

/// Debian's own rpm reads them, and installs them into a folder; their scripts want systemd.
#[test]
fn rpms_install_and_leave_settings_behind() {
    let packages = need!(packages("rpm"));
    let rpm = need!(program("rpm"));
    let root = tempfile::tempdir().expect("folder");
    let rpm = |args: &[&str]| {
        let cmd = Cmd::new(&rpm).env("HOME", root.path()).arg("--root");
        cmd.arg(root.path()).args(args)
    };
    let mut names = Vec::new();
    for package in &packages {
        let path = package.to_str().expect("a path");
        let format = ["-qp", "--qf", "%{NAME} %{VERSION} %{LICENSE}\n", path];
        names.push(rpm(&format).ok().out());
        rpm(&["-i", "--nodeps", "--noscripts", path]).ok();
    }
    let version = env!("CARGO_PKG_VERSION");
    let named = |name: &str| format!("{name} {version} Apache-2.0\n");
    assert_eq!(names, [named("rbuild"), named("rregistry")]);
    for program in ["rbuild", "rregistry"] {
        let told = Cmd::new(root.path().join("usr/bin").join(program)).arg("--version");
        assert_eq!(told.ok().out(), format!("{program} {version}\n"));
        for file in [
            format!("usr/share/man/man1/{program}.1.gz"),
            format!("usr/share/bash-completion/completions/{program}"),
            format!("usr/share/zsh/site-functions/_{program}"),
            format!("usr/share/fish/vendor_completions.d/{program}.fish"),
            format!("usr/share/licenses/{program}/LICENSE"),
        ] {
            assert!(root.path().join(&file).exists(), "{file}");
        }
    }
    for file in [
        "rregistry.service",
        "rregistry.socket",
        "rbuild-containers.service",
    ] {
        let unit = fs::read(root.path().join("usr/lib/systemd/system").join(file));
        let ours = fs::read(repository().join("packaging/systemd").join(file));
        assert_eq!(unit.expect("read"), ours.expect("read"), "{file}");
    }
    // What was changed is kept, and nothing else is left.
    let settings = root.path().join("etc/rregistry/registry.toml");
    fs::write(&settings, "# ours\n").expect("write");
    rpm(&["-e", "--noscripts", "rbuild", "rregistry"]).ok();
    let kept = settings.with_extension("toml.rpmsave");
    assert_eq!(fs::read_to_string(kept).expect("read"), "# ours\n");
    let left = fs::read_dir(root.path().join("usr/bin"));
    assert_eq!(left.map(Iterator::count).unwrap_or_default(), 0);
}

#[test]
fn images_of_the_programs_run_where_they_are_loaded() {
    let dist = need!(dist());
    let docker = need!(docker());
    let store = need!(Store::new());
    for program in ["registry", "rbuild"] {
        let file = repository().join(format!("packaging/images/{program}.Dockerfile"));
        store
            .rbuild(["build", "-t", &format!("{program}-image"), "-f"])
            .arg(file)
            .arg(&dist)
            .ok();
        let tar = tempfile::NamedTempFile::new().expect("file");
        store
            .rbuild(["save", "-o"])
            .arg(tar.path())
            .arg(format!("{program}-image"))
            .ok();
        docker.cmd(["load", "-i"]).arg(tar.path()).ok();
    }
    let container = docker.run_detached(&[
        "--read-only",
        "--tmpfs",
        "/tmp",
        "--cap-drop",
        "ALL",
        "-e",
        "RREGISTRY_ADDR=127.0.0.1:0",
        "registry-image",
    ]);
    eventually("it listens", || {
        container.logs().contains("listening on http://")
    });
    let logs = container.logs();
    let (_, address) = logs.split_once("listening on http://").expect("an address");
    let address = address.lines().next().expect("a line").trim();
    assert_eq!(http(address, "GET", "/v2/").status, 200);
    // It keeps what it has in a volume that its user may write to.
    let started = http(address, "POST", "/v2/app/blobs/uploads/");
    assert_eq!(started.status, 202, "{started:?}");
    let shown = docker.cmd([
        "run",
        "--rm",
        "--network",
        "none",
        "rbuild-image",
        "version",
    ]);
    shown.ok().says("rbuild");
}
