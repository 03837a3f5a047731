//! Images kept the same at another registry, Docker's own included: skopeo finds there what is
//! here, whatever was killed in between.

use std::time::{Duration, Instant};

use e2e::{Cmd, Dir, DockerRegistry, Registry, Store, need, program, rregistry};

/// Waits for something to become true, for as long as a busy machine may take.
#[track_caller]
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < Duration::from_secs(120), "{what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// What skopeo says that a name stands for; none when it is not there.
fn digest(skopeo: &std::path::Path, name: &str) -> Option<String> {
    let found = Cmd::new(skopeo)
        .args(["inspect", "--raw", "--tls-verify=false"])
        .arg(format!("docker://{name}"))
        .run();
    let text = found.status.success().then(|| found.stdout.clone())?;
    Some(oci::Digest::sha256(&text).to_string())
}

fn push_rule(url: &str, more: &str) -> String {
    format!("[[replicate]]\nname = \"out\"\ndirection = \"push\"\nurl = \"http://{url}\"\n{more}\n")
}

#[test]
fn what_is_pushed_here_is_at_dockers_registry_and_comes_from_there() {
    let skopeo = need!(program("skopeo"));
    let docker = need!(DockerRegistry::start());
    let store = need!(Store::busybox());
    let there = docker.name("copy");
    let address = there.trim_end_matches("/copy");
    let here = Registry::configured(
        &push_rule(address, "prefix = \"copy\"\ndeletes = true"),
        &[],
    );
    let (v1, v2) = (here.name("team/app:v1"), here.name("other:v2"));
    let text = "FROM busybox\nRUN echo hello >/made\n";
    store.build(&v1, &Dir::dockerfile(text)).ok();
    store.rbuild(["push", &v1]).ok();
    store.rbuild(["tag", &v1, &v2]).ok();
    store.rbuild(["push", &v2]).ok();
    let (there_1, there_2) = (
        docker.name("copy/team/app:v1"),
        docker.name("copy/other:v2"),
    );
    let wanted = digest(&skopeo, &v1);
    assert!(wanted.is_some());
    until("both are there", || {
        digest(&skopeo, &there_1) == wanted && digest(&skopeo, &there_2) == wanted
    });
    // And all of it can be had there.
    let dir = tempfile::tempdir().unwrap();
    Cmd::new(&skopeo)
        .args(["copy", "--src-tls-verify=false"])
        .arg(format!("docker://{there_1}"))
        .arg(format!("dir:{}", dir.path().join("all").display()))
        .ok();
    // Another registry of ours takes it from there.
    let more = "[[replicate]]\nname = \"in\"\ndirection = \"pull\"\ninterval = \"1s\"\n\
                strip = \"copy\"\nrepositories = [\"copy/**\"]\ndeletes = true\n";
    let third = Registry::configured(&format!("{more}url = \"http://{address}\"\n"), &[]);
    let third_1 = third.name("team/app:v1");
    until("it came from there", || digest(&skopeo, &third_1) == wanted);
    let report = Cmd::new(rregistry())
        .args(["replicate", "--data-dir"])
        .arg(third.data())
        .args(["--format", "json", "--config"])
        .arg(third.data().with_file_name("registry.toml"))
        .ok();
    report.says("\"direction\": \"pull\"");
}

/// Pushes an image of one small layer, as quickly as can be.
fn push_small(registry: &Registry, name: &str, content: &str) -> String {
    let blob = |bytes: &[u8]| {
        let digest = oci::Digest::sha256(bytes);
        let path = format!("/v2/{name}/blobs/uploads/?digest={digest}");
        assert_eq!(registry.ask("POST", &path, &[], bytes).status, 201);
        digest
    };
    let config = format!("{{\"of\":\"{content}\"}}");
    let (layer, config_digest) = (blob(content.as_bytes()), blob(config.as_bytes()));
    let manifest = format!(
        "{{\"schemaVersion\":2,\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\",\
         \"config\":{{\"mediaType\":\"application/vnd.oci.image.config.v1+json\",\
         \"digest\":\"{config_digest}\",\"size\":{}}},\"layers\":[{{\"mediaType\":\
         \"application/vnd.oci.image.layer.v1.tar\",\"digest\":\"{layer}\",\"size\":{}}}]}}",
        config.len(),
        content.len()
    );
    let media_type = [("content-type", "application/vnd.oci.image.manifest.v1+json")];
    let path = format!("/v2/{name}/manifests/v1");
    let pushed = registry.ask("PUT", &path, &media_type, manifest.as_bytes());
    assert_eq!(pushed.status, 201);
    oci::Digest::sha256(manifest.as_bytes()).to_string()
}

#[test]
fn repositories_all_arrive_although_both_registries_are_killed_in_between() {
    let count: usize = std::env::var("REPLICATED").map_or(200, |n| n.parse().unwrap());
    let mut there = Registry::start();
    let rule = push_rule(there.address(), "at_once = 8");
    let mut here = Registry::configured(&rule, &[]);
    let name = |at: usize| format!("many/app{at}");
    let arrived = |there: &Registry, at: usize| {
        let path = format!("/v2/{}/manifests/v1", name(at));
        there.ask("HEAD", &path, &[], b"").status == 200
    };
    let mut wanted = Vec::new();
    for at in 0..count {
        wanted.push(push_small(&here, &name(at), &format!("content {at}")));
        if at == count / 4 {
            here.kill_and_restart();
        }
        if at == count / 2 {
            there.kill_and_restart();
        }
    }
    here.kill_and_restart();
    until("the last one arrived", || arrived(&there, count - 1));
    here.kill_and_restart();
    until("all arrived", || (0..count).all(|at| arrived(&there, at)));
    for (at, digest) in wanted.iter().enumerate() {
        let path = format!("/v2/{}/manifests/{digest}", name(at));
        assert_eq!(there.ask("HEAD", &path, &[], b"").status, 200, "{path}");
    }
}
