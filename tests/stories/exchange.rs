//! Images go to and fro between rbuild and the other tools, as archives and as layers.

use e2e::{Archive, Dir, Podman, Registry, Store, docker, need, skopeo};

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

/// Noise, text and zeros, each large enough to be compressed in a way of its own.
fn mixed() -> Vec<u8> {
    let mut state = 1_u64;
    let noise = (0..3 << 20).map(|_| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 56) as u8
    });
    let noise: Vec<u8> = noise.collect();
    [&noise[..], &rest(), &noise[..777_777]].concat()
}

/// What compresses well: text, and zeros.
fn rest() -> Vec<u8> {
    let text = "the same again, and again\n".repeat(100_000);
    [text.as_bytes(), &vec![0; 5 << 20]].concat()
}

/// How many bytes `gzip -1` makes of it.
fn quickly(content: &[u8]) -> usize {
    let file = Dir::new().file("content", content);
    let path = file.path().join("content");
    let gzip = std::process::Command::new("gzip")
        .args(["-1", "-c"])
        .arg(path)
        .output();
    gzip.unwrap().stdout.len()
}

#[test]
fn others_decompress_what_is_pushed() {
    use sha2::{Digest as _, Sha256};
    use std::process::{Command, Stdio};
    let digest = |bytes: &[u8]| format!("sha256:{}", hex::encode(Sha256::digest(bytes)));
    let store = need!(Store::new());
    let registry = Registry::start();
    let accept = (
        "Accept",
        "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json",
    );
    let context = Dir::dockerfile("FROM scratch\nCOPY mixed /\n").file("mixed", mixed());
    store.build("mixed", &context).ok();
    let inspected = store.inspect("mixed");
    let diff_id = inspected["RootFS"]["Layers"][0].as_str().unwrap();
    for (flag, program) in [("gzip", "gzip"), ("zstd", "zstd")] {
        let name = registry.name(&format!("mixed:{flag}"));
        store.rbuild(["tag", "mixed", &name]).ok();
        store.rbuild(["push", "--compression", flag, &name]).ok();
        let manifest = registry.ask(
            "GET",
            &format!("/v2/mixed/manifests/{flag}"),
            &[accept],
            b"",
        );
        let layer = manifest.json()["layers"][0]["digest"]
            .as_str()
            .unwrap()
            .to_owned();
        let blob = registry.get(&format!("/v2/mixed/blobs/{layer}"));
        assert_eq!(digest(&blob.body), layer);
        let blob_file = store.file(&format!("layer.{flag}"));
        std::fs::write(&blob_file, &blob.body).unwrap();
        if e2e::program(program).is_ok() {
            let plain = Command::new(program)
                .args(["-d", "-c"])
                .stdin(Stdio::from(std::fs::File::open(&blob_file).unwrap()))
                .output()
                .unwrap();
            assert!(plain.status.success(), "{program}");
            assert_eq!(digest(&plain.stdout), diff_id, "{program}");
        }
        // What is noise costs its size, and the rest what gzip makes of it when it is in a hurry.
        let noise = (3 << 20) + 777_777;
        let most = noise + noise / 1000 + quickly(&rest());
        let size = blob.body.len();
        assert!(size < most, "{flag}: {size}, which may be {most}");
        // Go's readers: skopeo verifies the layer's diff ID as it recompresses it.
        let source = format!("docker://{name}");
        let target = format!("oci:{}", store.file(&format!("oci-{flag}")).display());
        let tls = "--src-tls-verify=false";
        let copied = skopeo(&[
            "copy",
            tls,
            "--dest-compress-format",
            "gzip",
            &source,
            &target,
        ]);
        need!(copied).ok();
    }
    let docker = need!(docker());
    let gzip = registry.name("mixed:gzip");
    docker.cmd(["pull", &gzip]).ok();
    let layers = docker
        .cmd(["inspect", "-f", "{{index .RootFS.Layers 0}}", &gzip])
        .ok();
    assert_eq!(layers.out().trim(), diff_id);
}
