//! One registry mirrors another: docker, podman, containerd and rbuild pull through it, each as it
//! is told of mirrors.

use e2e::{Cmd, Dir, Docker, DockerRegistry, Podman, Registry, Store, need, program, rregistry};

/// A registry with `library/hello:1`, and one that mirrors it as docker.io.
fn upstream_and_mirror(store: &Store, more: &str) -> (Registry, Registry) {
    let upstream = Registry::configured("log.access = true\n", &[]);
    let name = upstream.name("library/hello:1");
    let hello = "FROM busybox\nRUN echo hello >/made\nCMD [\"cat\", \"/made\"]\n";
    store.build(&name, &Dir::dockerfile(hello)).ok();
    store.rbuild(["push", &name]).ok();
    let mirror = mirror_of(upstream.address(), more);
    (upstream, mirror)
}

fn mirror_of(address: &str, more: &str) -> Registry {
    let settings = format!(
        "[[upstream]]\nrepository = \"docker.io/**\"\nurl = \"http://{address}\"\n\
         hostless = true\nttl = \"0s\"\nstale = \"0s\"\n{more}"
    );
    Registry::configured(&settings, &[])
}

/// How often the upstream was asked for blobs.
fn blobs_asked(upstream: &Registry) -> usize {
    let log = upstream.log();
    log.lines()
        .filter(|line| line.contains("GET \"/v2/library/hello/blobs/"))
        .count()
}

#[test]
fn docker_pulls_through_its_registry_mirror_also_when_the_upstream_is_gone() {
    let store = need!(Store::busybox());
    let (mut upstream, mirror) = upstream_and_mirror(&store, "");
    let docker = need!(Docker::mirroring(&format!("http://{}", mirror.address())));
    docker.cmd(["pull", "hello:1"]).ok();
    let id = docker
        .cmd(["inspect", "-f", "{{.Id}}", "hello:1"])
        .ok()
        .out();
    assert_eq!(id.trim(), store.id(&upstream.name("library/hello:1")));
    let ran = docker
        .cmd(["run", "--rm", "--network", "none", "hello:1"])
        .ok();
    assert_eq!(ran.out(), "hello\n");
    // Both layers and the configuration came once.
    let asked = blobs_asked(&upstream);
    assert_eq!(asked, 3);
    docker.cmd(["rmi", "hello:1"]).ok();
    docker.cmd(["pull", "hello:1"]).ok();
    assert_eq!(blobs_asked(&upstream), asked);
    docker.cmd(["rmi", "hello:1"]).ok();
    upstream.kill();
    docker.cmd(["pull", "hello:1"]).ok();
    // By its whole name it is there as well, beside what is pushed.
    let whole = mirror.name("docker.io/library/hello:1");
    docker.cmd(["pull", &whole]).ok();
    let ours = mirror.name("team/ours:1");
    docker.cmd(["tag", &whole, &ours]).ok();
    docker.cmd(["push", &ours]).ok();
    docker.cmd(["rmi", &whole, &ours]).ok();
    docker.cmd(["pull", &ours]).ok();
    docker.cmd(["tag", &ours, &whole]).ok();
    docker
        .cmd(["push", &whole])
        .run()
        .tells("mirrored from another registry");
}

#[test]
fn podman_pulls_through_a_mirror_of_registries_conf() {
    let podman = need!(Podman::new());
    let store = need!(Store::busybox());
    let (upstream, mirror) = upstream_and_mirror(&store, "");
    let conf = podman.file("registries.conf");
    let text = format!(
        "[[registry]]\nprefix = \"docker.io\"\nlocation = \"127.0.0.1:1\"\ninsecure = true\n\
         [[registry.mirror]]\nlocation = \"{}/docker.io\"\ninsecure = true\n",
        mirror.address()
    );
    std::fs::write(&conf, text).unwrap();
    podman
        .podman(&["pull", "docker.io/library/hello:1"])
        .env("CONTAINERS_REGISTRIES_CONF", &conf)
        .ok();
    assert_eq!(
        podman.run("docker.io/library/hello:1").ok().out(),
        "hello\n"
    );
    assert_eq!(blobs_asked(&upstream), 3);
}

#[test]
fn containerd_pulls_through_a_host_of_hosts_toml() {
    let containerd = need!(program("containerd"));
    let ctr = need!(program("ctr"));
    let store = need!(Store::busybox());
    let (upstream, mirror) = upstream_and_mirror(&store, "");
    let dir = tempfile::tempdir().unwrap();
    let hosts = dir.path().join("certs.d/docker.io");
    std::fs::create_dir_all(&hosts).unwrap();
    let text = format!(
        "server = \"http://127.0.0.1:1\"\n[host.\"http://{}\"]\n\
         capabilities = [\"pull\", \"resolve\"]\n",
        mirror.address()
    );
    std::fs::write(hosts.join("hosts.toml"), text).unwrap();
    let socket = dir.path().join("sock");
    let path = dir.path().display();
    let config = format!(
        "version = 2\nroot = \"{path}/root\"\nstate = \"{path}/state\"\n\
         disabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n\
         [grpc]\naddress = \"{path}/sock\"\n[ttrpc]\naddress = \"{path}/ttrpc\"\n"
    );
    let file = dir.path().join("config.toml");
    std::fs::write(&file, config).unwrap();
    // Its mounts end with it.
    let running = Cmd::new("unshare")
        .args(["--mount", "--propagation", "private", "--"])
        .args(["setpriv", "--pdeathsig", "KILL", "--"])
        .arg(containerd)
        .arg("--config")
        .arg(&file)
        .spawn();
    running.until_err("containerd successfully booted");
    let ctr = |args: &[&str]| Cmd::new(&ctr).arg("--address").arg(&socket).args(args);
    ctr(&["images", "pull", "--snapshotter", "native", "--hosts-dir"])
        .arg(dir.path().join("certs.d"))
        .arg("docker.io/library/hello:1")
        .ok();
    ctr(&["images", "ls", "-q"])
        .ok()
        .says("docker.io/library/hello:1");
    assert_eq!(blobs_asked(&upstream), 3);
    running.signal(nix::sys::signal::Signal::SIGTERM);
    running.wait();
}

#[test]
fn rbuild_pulls_through_a_mirror_and_warm_brings_images_before() {
    let store = need!(Store::busybox());
    let (mut upstream, mirror) = upstream_and_mirror(&store, "");
    let list = store.file("list");
    std::fs::write(&list, "# what we use\nhello:1\n").unwrap();
    let warm = || {
        let settings = mirror.data().parent().unwrap().join("registry.toml");
        Cmd::new(rregistry())
            .args(["warm", "--data-dir"])
            .arg(mirror.data())
            .arg("--config")
            .arg(settings)
            .arg(&list)
    };
    warm().ok().says("hello:1 sha256:");
    upstream.kill();
    // Already here.
    warm().ok();
    let fresh = need!(Store::new());
    let folder = fresh.home().join(".config/rbuild");
    std::fs::create_dir_all(&folder).unwrap();
    let text = format!(
        "[registry.\"docker.io\"]\nmirrors = [\"http://{}\"]\n",
        mirror.address()
    );
    std::fs::write(folder.join("registries.toml"), text).unwrap();
    fresh.rbuild(["pull", "hello:1"]).ok();
    assert_eq!(fresh.tree("hello:1").text("made"), "hello\n");
    let whole = mirror.name("docker.io/library/hello:1");
    fresh.rbuild(["pull", &whole]).ok();
    std::fs::write(&list, "nothing:1\n").unwrap();
    warm().fails(1).tells("nothing:1");
}

/// Docker's registry as an upstream.
#[test]
fn dockers_registry_is_mirrored() {
    let theirs = need!(DockerRegistry::start());
    let store = need!(Store::busybox());
    let name = theirs.name("library/hello:1");
    let hello = "FROM busybox\nRUN echo theirs >/made\n";
    store.build(&name, &Dir::dockerfile(hello)).ok();
    store.rbuild(["push", &name]).ok();
    let address = name.split('/').next().unwrap();
    let mirror = mirror_of(address, "");
    let fresh = need!(Store::new());
    let whole = mirror.name("docker.io/library/hello:1");
    fresh.rbuild(["pull", &whole]).ok();
    assert_eq!(fresh.id(&whole), store.id(&name));
    // A tag that moves is seen.
    let hello = "FROM busybox\nRUN echo moved >/made\n";
    store.build(&name, &Dir::dockerfile(hello)).ok();
    store.rbuild(["push", &name]).ok();
    fresh.rbuild(["pull", &whole]).ok();
    assert_eq!(fresh.tree(&whole).text("made"), "moved\n");
}
