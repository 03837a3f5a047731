//! Real clients of a registry whose blobs are in an object store.

use std::process::Command;

use e2e::{Podman, docker, need, skopeo};
use oci::Digest;
use serde_json::Value;

use crate::objects::object;
use crate::process::{on_store, start, text};
use crate::s3;

#[test]
fn docker_podman_and_skopeo_push_to_an_object_store_and_pull_from_it() {
    let docker = need!(docker());
    let podman = need!(Podman::new());
    let dir = tempfile::tempdir().unwrap();
    let store = s3::server().addr;
    let run = |redirect: &str| {
        let mut command = on_store(dir.path(), store);
        command.env("RREGISTRY_STORAGE_REDIRECT", redirect);
        start(command.args(["serve", "--addr", "127.0.0.1:0"]))
    };
    let process = run("false");
    let name = |of: &str| format!("{}/{of}:1", process.addr);

    // docker pushes, and has the same image when it comes back.
    let theirs = name("docker");
    docker.cmd(["tag", "busybox:latest", &theirs]).ok();
    let said = docker.cmd(["push", &theirs]).ok().out();
    let digest = said.split("digest: ").nth(1).expect(&said);
    let digest: Digest = digest.split(' ').next().unwrap().parse().unwrap();
    let id = docker.cmd(["inspect", "-f", "{{.Id}}", &theirs]).ok().out();
    docker.cmd(["rmi", &theirs, "busybox:latest"]).ok();
    let pulled = docker.cmd(["pull", &theirs]).ok();
    assert!(pulled.out().contains(&digest.to_string()), "{pulled}");
    let again = docker.cmd(["inspect", "-f", "{{.Id}}", &theirs]).ok().out();
    assert_eq!(again, id);
    docker.cmd(["tag", &theirs, "busybox:latest"]).ok();

    // podman pulls that one, and pushes it to another repository.
    let tls = "--tls-verify=false";
    let pulled = podman.podman(&["pull", "-q", tls, &theirs]).ok().out();
    assert_eq!(format!("sha256:{}", pulled.trim()), id.trim());
    let by_podman = name("podman");
    let written = podman.file("digest");
    let file = written.to_str().unwrap();
    podman
        .podman(&["push", tls, "--format", "v2s2", "--digestfile", file])
        .arg(&theirs)
        .arg(&by_podman)
        .ok();
    let pushed: Digest = std::fs::read_to_string(&written).unwrap().parse().unwrap();
    let fresh = need!(Podman::new());
    let pulled = fresh.podman(&["pull", "-q", tls, &by_podman]).ok().out();
    assert_eq!(format!("sha256:{}", pulled.trim()), id.trim());

    // skopeo copies what docker pushed as it is.
    let by_skopeo = format!("docker://{}", name("skopeo"));
    let from = format!("docker://{theirs}");
    let tls = ["--src-tls-verify=false", "--dest-tls-verify=false"];
    need!(skopeo(&["copy", tls[0], tls[1], &from, &by_skopeo])).ok();

    // All of it is in the bucket, as large as the manifests say.
    let mut layer = None;
    for digest in [&digest, &pushed] {
        let manifest = std::fs::read(object(dir.path(), digest)).unwrap();
        let manifest: Value = serde_json::from_slice(&manifest).unwrap();
        let layers = manifest["layers"].as_array().unwrap();
        for part in layers.iter().chain([&manifest["config"]]) {
            let digest: Digest = part["digest"].as_str().unwrap().parse().unwrap();
            let found = std::fs::metadata(object(dir.path(), &digest)).unwrap();
            assert_eq!(Some(found.len()), part["size"].as_u64());
        }
        layer = Some(layers[0]["digest"].as_str().unwrap().to_owned());
    }
    let layer = layer.unwrap();
    assert!(!dir.path().join("blobs").exists());
    drop(process);

    // Clients that are sent to the store find it there.
    let process = run("true");
    let copy = tempfile::tempdir().unwrap();
    let from = format!("docker://{}/skopeo:1", process.addr);
    let to = format!("dir:{}", copy.path().join("image").display());
    need!(skopeo(&["copy", tls[0], &from, &to])).ok();
    let manifest = std::fs::read(copy.path().join("image/manifest.json")).unwrap();
    assert_eq!(Digest::sha256(&manifest), digest);
    let file = copy.path().join("layer");
    let url = format!("http://{}/v2/podman/blobs/{layer}", process.addr);
    let output = Command::new("curl")
        .args([
            "-sfL",
            "--noproxy",
            "*",
            "-w",
            "%{num_redirects} %{url_effective}",
            "-o",
        ])
        .args([file.to_str().unwrap(), &url])
        .output();
    let said = text(&output.unwrap());
    let there = format!("1 http://{store}/{}/", s3::bucket(dir.path()));
    assert!(said.starts_with(&there), "{said}");
    assert_eq!(
        Digest::sha256(&std::fs::read(&file).unwrap()).to_string(),
        layer
    );
    drop(process);

    // And the program finds all of it when nothing is served.
    let stopped = |args: &[&str]| {
        let output = on_store(dir.path(), store).args(args).output().unwrap();
        assert!(output.status.success(), "{}", text(&output));
        text(&output)
    };
    assert_eq!(stopped(&["ls", "-q"]), "docker\npodman\nskopeo\n");
    let objects = s3::server().objects(dir.path()).join("blobs");
    let sizes = crate::objects::files(&objects);
    let count = sizes.len();
    let bytes: u64 = sizes
        .iter()
        .map(|path| std::fs::metadata(path).unwrap().len())
        .sum();
    let whole = format!("{count} blobs, {bytes} bytes read and checked; 0 problems\n");
    assert_eq!(stopped(&["fsck", "--deep"]), whole);
    stopped(&["rm", "--all", "podman"]);
    stopped(&["rm", "--all", "docker"]);
    stopped(&["rm", "--all", "skopeo"]);
    let freed = stopped(&["gc", "--grace", "0s"]);
    assert!(
        freed.contains(&format!("freed {count} blobs, {bytes} bytes")),
        "{freed}"
    );
    assert_eq!(crate::objects::files(&objects).len(), 0);
}
