//! Images go to and fro between rbuild and the other tools, as archives.

use e2e::{Archive, Dir, Podman, Store, docker, need, skopeo};

fn app() -> Dir {
    Dir::dockerfile(
        "FROM busybox\nENV WHO=world\nRUN echo made >/made && rm -r /home\nCMD [\"sh\", \"-c\", \"cat /made; echo $WHO\"]\n",
    )
}

#[test]
fn docker_loads_ours_and_we_load_dockers() {
    let docker = need!(docker());
    let store = need!(Store::busybox());
    store.build("exchange:ours", &app()).ok();
    let tar = store.file("ours.tar");
    store
        .rbuild(["save", "-o"])
        .arg(&tar)
        .arg("exchange:ours")
        .ok();
    docker
        .cmd(["load", "-i"])
        .arg(&tar)
        .ok()
        .says("Loaded image: exchange:ours");
    let ran = docker
        .cmd(["run", "--rm", "--network", "none", "exchange:ours"])
        .ok();
    assert_eq!(ran.out(), "made\nworld\n");
    let id = docker
        .cmd(["inspect", "-f", "{{.Id}}", "exchange:ours"])
        .ok()
        .out();
    assert_eq!(id.trim(), store.id("exchange:ours"));

    docker.build("exchange:theirs", app().path()).ok();
    let tar = store.file("theirs.tar");
    docker
        .cmd(["save", "-o"])
        .arg(&tar)
        .arg("exchange:theirs")
        .ok();
    store
        .rbuild(["load", "-i"])
        .arg(&tar)
        .ok()
        .says("Loaded image: exchange:theirs");
    let id = docker
        .cmd(["inspect", "-f", "{{.Id}}", "exchange:theirs"])
        .ok()
        .out();
    assert_eq!(store.id("exchange:theirs"), id.trim());
    let differences = Archive::read(&tar)
        .tree
        .differences(&store.tree("exchange:theirs"));
    assert!(differences.is_empty(), "{differences:#?}");
    // What docker made is a base like any other.
    let next = Dir::dockerfile("FROM exchange:theirs\nRUN cat /made >/again\n");
    assert_eq!(store.built(&next).1.text("again"), "made\n");
}

#[test]
fn podman_loads_ours_and_we_load_podmans() {
    let podman = need!(Podman::new());
    let store = need!(Store::busybox());
    store.build("exchange:ours", &app()).ok();
    for format in ["docker-archive", "oci-archive"] {
        let tar = store.file(format);
        store
            .rbuild(["save", "--format", format, "-o"])
            .arg(&tar)
            .arg("exchange:ours")
            .ok();
        podman.podman(&["load", "-i"]).arg(&tar).ok();
        let ran = podman.run("docker.io/library/exchange:ours").ok();
        assert_eq!(ran.out(), "made\nworld\n", "{format}");
        let back = podman.file(format);
        podman
            .podman(&["save", "--format", format, "-o"])
            .arg(&back)
            .arg("docker.io/library/exchange:ours")
            .ok();
        let fresh = need!(Store::new());
        fresh.rbuild(["load", "-i"]).arg(&back).ok();
        assert_eq!(
            fresh.tree("exchange:ours"),
            store.tree("exchange:ours"),
            "{format}"
        );
        podman
            .podman(&["rmi", "-f", "docker.io/library/exchange:ours"])
            .ok();
    }
}

#[test]
fn skopeo_copies_what_we_save() {
    let store = need!(Store::busybox());
    store.build("exchange:ours", &app()).ok();
    let dir = store.file("layout");
    store
        .rbuild(["save", "--format", "oci-dir", "-o"])
        .arg(&dir)
        .arg("exchange:ours")
        .ok();
    let (source, tar) = (format!("oci:{}", dir.display()), store.file("copied.tar"));
    let target = format!("docker-archive:{}:exchange:copied", tar.display());
    need!(skopeo(&["copy", &source, &target])).ok();
    store.rbuild(["load", "-i"]).arg(&tar).ok();
    let (copied, ours) = (store.tree("exchange:copied"), store.tree("exchange:ours"));
    assert_eq!(copied, ours);
    // And what it inspects is what we built.
    let seen = need!(skopeo(&["inspect", "--config", &source])).ok().json();
    assert_eq!(seen["config"]["Cmd"], store.config("exchange:ours")["Cmd"]);
}
