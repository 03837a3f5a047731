//! Layers on their way out: compressed while the build goes on, sent while they are compressed, and
//! the same bytes whichever way they went.

use std::fs;
use std::path::PathBuf;

use e2e::{Dir, DockerRegistry, Podman, Registry, Store, assert_nothing_left, docker, need};
use nix::sys::signal::Signal;
use serde_json::Value;

/// Bytes that look random, the same for the same seed.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed;
    let next = |_| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 56) as u8
    };
    (0..len).map(next).collect()
}

/// Two layers of the result, of which one is large, and one that only another stage has.
fn staged() -> Dir {
    let text = "a line like every other line\n".repeat(100_000);
    Dir::dockerfile(
        "FROM scratch AS made\nCOPY other /other\n\
         FROM scratch\nCOPY large /large\nCOPY --from=made /other /small\n",
    )
    .file("large", [noise(1, 9 << 20), text.into_bytes()].concat())
    .file("other", "for one stage, then the other\n")
    .file("Dockerfile.one", "FROM scratch\nCOPY other /other\n")
}

/// The layers of a manifest: digests.
fn layers(manifest: &Value) -> Vec<String> {
    let layers = manifest["layers"].as_array().unwrap();
    let digest = |layer: &Value| layer["digest"].as_str().unwrap().to_owned();
    layers.iter().map(digest).collect()
}

fn blobs(store: &Store) -> Vec<PathBuf> {
    let dir = fs::read_dir(store.root().join("blobs/sha256")).unwrap();
    dir.map(|entry| entry.unwrap().path()).collect()
}

fn is_compressed(blob: &PathBuf) -> bool {
    let start = fs::read(blob).unwrap();
    start.starts_with(&[0x1f, 0x8b]) || start.starts_with(&[0x28, 0xb5, 0x2f, 0xfd])
}

fn manifest_of(registry: &Registry, name: &str) -> Value {
    registry.get(&format!("/v2/{name}/manifests/latest")).json()
}

#[test]
fn a_push_sends_what_the_build_has_compressed_and_no_other_layer() {
    let registry = Registry::start();
    let context = staged();
    // The ordinary way: built, then pushed by another process.
    let apart = need!(Store::new());
    let name = registry.name("apart");
    apart.build(&name, &context).ok();
    let compressed = blobs(&apart);
    assert!(!compressed.iter().any(is_compressed), "{compressed:?}");
    apart.rbuild(["push", &name]).ok();
    let expected = manifest_of(&registry, "apart");
    // At once, also without the image being kept.
    for (flags, path) in [
        (vec!["--push", "-t"], "at-once"),
        (vec!["-o"], "registry-only"),
    ] {
        let store = need!(Store::new());
        let name = registry.name(path);
        let last = match path {
            "at-once" => name.clone(),
            _ => format!("type=registry,name={name}"),
        };
        let build = store.rbuild(["build"]).args(&flags).arg(last);
        build.arg(context.path()).ok();
        let manifest = manifest_of(&registry, path);
        assert_eq!(layers(&manifest), layers(&expected), "{path}");
        let compressed = blobs(&store).iter().filter(|b| is_compressed(b)).count();
        assert_eq!(compressed, 2, "{path}: the layers of the result");
        assert_eq!(
            fs::read_dir(store.root().join("staging")).unwrap().count(),
            0
        );
    }
}

#[test]
fn an_archive_has_what_the_build_has_compressed() {
    let context = staged();
    let mut seen = Vec::new();
    for attempt in 0..2 {
        let store = need!(Store::new());
        let dir = store.file("layout");
        let output = format!(
            "type=oci,dest={},tar=false,compression=zstd,compression-level=7",
            dir.display()
        );
        store
            .rbuild(["build", "--build-arg", "SOURCE_DATE_EPOCH=1", "-o", &output])
            .arg(context.path())
            .ok();
        let index: Value =
            serde_json::from_slice(&fs::read(dir.join("index.json")).unwrap()).unwrap();
        let digest = index["manifests"][0]["digest"].as_str().unwrap();
        seen.push(digest.to_owned());
        // Nothing is compressed a second time, or in another way than the one asked for.
        let compressed = blobs(&store).iter().filter(|b| is_compressed(b)).count();
        assert_eq!(compressed, 2, "{attempt}");
    }
    assert_eq!(seen[0], seen[1]);
}

#[test]
fn dockers_registry_takes_layers_while_they_are_compressed() {
    let docker = need!(DockerRegistry::start());
    let store = need!(Store::new());
    let name = docker.name("app");
    store
        .rbuild(["build", "--push", "-t", &name])
        .arg(staged().path())
        .ok();
    let other = need!(Store::new());
    other.rbuild(["pull", &name]).ok();
    assert_eq!(other.id(&name), store.id(&name));
    assert_eq!(other.tree(&name), store.tree(&name));
}

#[test]
fn a_build_that_fails_sends_nothing_and_leaves_nothing_half_made() {
    let registry = Registry::start();
    let store = need!(Store::busybox());
    let context = Dir::dockerfile("FROM busybox\nCOPY large /\nRUN exit 3\n")
        .file("large", noise(2, 12 << 20));
    let name = registry.name("failed");
    let build = store.rbuild(["build", "--push", "-t", &name]);
    build.arg(context.path()).fails(3);
    assert_eq!(registry.get("/v2/failed/tags/list").status, 404);
    assert_eq!(
        fs::read_dir(store.root().join("staging")).unwrap().count(),
        0
    );
    store.rbuild(["fsck"]).ok();
}

/// What is compressed in the background takes longer than any test has time.
#[test]
fn a_build_is_interrupted_while_a_layer_is_compressed() {
    let store = need!(Store::busybox());
    let context = Dir::dockerfile("FROM busybox\nCOPY large /\nRUN echo running; sleep 3000\n")
        .file("large", noise(3, 1 << 20).repeat(200));
    let dest = store.file("app.tar");
    let output = format!(
        "type=oci,dest={},compression=zstd,compression-level=22",
        dest.display()
    );
    let build = store.rbuild(["build", "--network", "none", "-o", &output]);
    let running = build.arg(context.path()).spawn();
    running.until_err(" running\n");
    running.signal(Signal::SIGTERM);
    let done = running.wait();
    assert_eq!(done.status.code(), Some(143), "{done}");
    assert_nothing_left(store.home());
    assert!(!dest.exists());
    assert!(!blobs(&store).iter().any(is_compressed));
    let staging = fs::read_dir(store.root().join("staging")).unwrap();
    assert_eq!(staging.count(), 0);
}

/// Files that tables of contents tell of, one of them long enough for several pieces.
fn listed() -> Dir {
    Dir::dockerfile(
        "FROM busybox\nCOPY files /files\nRUN ln /files/a /files/hard && ln -s a /files/soft\n",
    )
    .file("files/a", "a\n")
    .file("files/empty", "")
    .file(
        "files/large",
        [noise(4, 5 << 20), vec![b'x'; 1 << 20]].concat(),
    )
}

fn config_of(registry: &Registry, name: &str, manifest: &Value) -> Value {
    let digest = manifest["config"]["digest"].as_str().unwrap();
    registry.get(&format!("/v2/{name}/blobs/{digest}")).json()
}

/// Readers that know the format, and those that know Zstandard alone, get what was built.
#[test]
fn zstd_chunked_is_zstandard_with_a_table_of_contents() {
    let registry = Registry::start();
    let store = need!(Store::busybox());
    let name = registry.name("chunked");
    store.build(&name, &listed()).ok();
    let push = store.rbuild(["push", "--compression", "zstd:chunked", &name]);
    push.ok();
    let manifest = manifest_of(&registry, "chunked");
    let oci = "application/vnd.oci.image.manifest.v1+json";
    assert_eq!(manifest["mediaType"], oci);
    for layer in manifest["layers"].as_array().unwrap() {
        let zstd = "application/vnd.oci.image.layer.v1.tar+zstd";
        assert_eq!(layer["mediaType"], zstd);
        let notes = layer["annotations"].as_object().unwrap();
        let digest = layer["digest"].as_str().unwrap();
        let blob = registry.get(&format!("/v2/chunked/blobs/{digest}")).body;
        // The footer says where the table is, and so do the annotations.
        let footer = &blob[blob.len() - 64..];
        let number = |at: usize| u64::from_le_bytes(footer[at..at + 8].try_into().unwrap());
        let key = "io.github.containers.zstd-chunked.manifest-position";
        let told = format!("{}:{}:{}:1", number(0), number(8), number(16));
        assert_eq!(notes[key], told);
        assert_eq!(&footer[56..], b"GNUlInUx");
    }
    let id = store.id(&name);
    assert_eq!(
        manifest["config"]["digest"], id,
        "the image is the same one"
    );
    // The same from a build in another store.
    let other = need!(Store::new());
    other.rbuild(["pull", &name]).ok();
    assert_eq!(
        (other.id(&name), other.tree(&name)),
        (id, store.tree(&name))
    );
    let again = registry.name("again");
    other.rbuild(["tag", &name, &again]).ok();
    let push = other.rbuild(["push", "--compression", "zstd:chunked", &again]);
    push.ok();
    assert_eq!(layers(&manifest_of(&registry, "again")), layers(&manifest));
    let podman = need!(Podman::new());
    podman.podman(&["pull", "--tls-verify=false", &name]).ok();
    let run = podman.run(&name);
    let sum = run.args(["sha256sum", "/files/large"]).ok();
    let expected = [noise(4, 5 << 20), vec![b'x'; 1 << 20]].concat();
    let expected = hex::encode(<sha2::Sha256 as sha2::Digest>::digest(&expected));
    assert!(sum.out().starts_with(&expected), "{}", sum.out());
}

/// The table is one file more in the layer's tar, so that the image is another one; its files are
/// the same.
#[test]
fn estargz_is_gzip_with_a_table_of_contents() {
    let registry = Registry::start();
    let store = need!(Store::busybox());
    let (name, plain) = (registry.name("stargz"), registry.name("plain"));
    store.build(&plain, &listed()).ok();
    let output = format!("type=registry,name={name},compression=estargz,force-compression=true");
    store
        .rbuild(["build", "-o", &output])
        .arg(listed().path())
        .ok();
    let manifest = manifest_of(&registry, "stargz");
    let config = config_of(&registry, "stargz", &manifest);
    let diff_ids = config["rootfs"]["diff_ids"].as_array().unwrap();
    let before = store.inspect(&plain);
    let before = before["RootFS"]["Layers"].as_array().unwrap();
    assert_eq!(diff_ids.len(), before.len());
    for ((layer, diff_id), before) in manifest["layers"]
        .as_array()
        .unwrap()
        .iter()
        .zip(diff_ids)
        .zip(before)
    {
        let gzip = "application/vnd.oci.image.layer.v1.tar+gzip";
        assert_eq!(layer["mediaType"], gzip);
        assert!(layer["annotations"]["containerd.io/snapshot/stargz/toc.digest"].is_string());
        assert_ne!(diff_id, before);
        let digest = layer["digest"].as_str().unwrap();
        let blob = registry.get(&format!("/v2/stargz/blobs/{digest}")).body;
        assert_eq!(&blob[blob.len() - 19..blob.len() - 13], b"STARGZ");
    }
    // By us, by docker and by podman; each of them checks the diff IDs.
    let other = need!(Store::new());
    other.rbuild(["pull", &name]).ok();
    let differences = other.tree(&name).differences(&store.tree(&plain));
    assert!(differences.is_empty(), "{differences:#?}");
    other.rbuild(["fsck"]).ok();
    let shown = ["ls", "-i", "/files/a", "/files/hard", "/files/soft"];
    let podman = need!(Podman::new());
    podman.podman(&["pull", "--tls-verify=false", &name]).ok();
    podman.run(&name).args(shown).ok();
    let docker = need!(docker());
    docker.cmd(["pull", &name]).ok();
    let run = docker.cmd(["run", "--rm", "--network", "none", &name]);
    run.args(shown).ok();
}
