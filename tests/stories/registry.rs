//! `rregistry` with every client, and with none: its HTTP API by hand.

use e2e::{Dir, Podman, Registry, Reply, Store, buildah, docker, need, skopeo};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const ANY: (&str, &str) = (
    "Accept",
    "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json",
);

fn app(text: &str) -> Dir {
    Dir::dockerfile(&format!(
        "FROM busybox\nRUN echo {text} >/made\nCMD [\"cat\", \"/made\"]\n"
    ))
}

#[track_caller]
fn pushed(store: &Store, registry: &Registry, name: &str, text: &str) -> String {
    let name = registry.name(name);
    store.build(&name, &app(text)).ok();
    store.rbuild(["push", &name]).ok();
    name
}

#[test]
fn docker_pulls_runs_and_pushes() {
    let docker = need!(docker());
    let store = need!(Store::busybox());
    let registry = Registry::start();
    let name = pushed(&store, &registry, "team/app:1", "by rbuild");
    docker.cmd(["pull", &name]).ok();
    let ran = docker.cmd(["run", "--rm", "--network", "none", &name]).ok();
    assert_eq!(ran.out(), "by rbuild\n");
    let id = docker.cmd(["inspect", "-f", "{{.Id}}", &name]).ok().out();
    assert_eq!(id.trim(), store.id(&name));

    let theirs = registry.name("docker/app:2");
    docker.build(&theirs, app("by docker").path()).ok();
    docker.cmd(["push", &theirs]).ok();
    let fresh = need!(Store::new());
    fresh.rbuild(["pull", &theirs]).ok();
    assert_eq!(fresh.tree(&theirs).text("made"), "by docker\n");
    let id = docker.cmd(["inspect", "-f", "{{.Id}}", &theirs]).ok().out();
    assert_eq!(fresh.id(&theirs), id.trim());
    // Its layers are there already: docker says so.
    docker
        .cmd(["push", &theirs])
        .ok()
        .says("Layer already exists");
    docker.cmd(["rmi", &name, &theirs]).ok();
    docker.cmd(["pull", &theirs]).ok();
}

#[test]
fn podman_and_buildah_push_and_pull() {
    let podman = need!(Podman::new());
    let store = need!(Store::busybox());
    let registry = Registry::start();
    let name = pushed(&store, &registry, "app", "by rbuild");
    podman.podman(&["pull", "--tls-verify=false", &name]).ok();
    assert_eq!(podman.run(&name).ok().out(), "by rbuild\n");

    // buildah makes an image upon it and pushes it.
    let container = need!(buildah(&podman, &["from", &name])).ok().out();
    let container = container.trim();
    need!(buildah(
        &podman,
        &["config", "--env", "BY=buildah", container]
    ))
    .ok();
    let theirs = registry.name("buildah/app:2");
    need!(buildah(&podman, &["commit", "--rm", container, &theirs])).ok();
    need!(buildah(&podman, &["push", "--tls-verify=false", &theirs])).ok();
    // And podman pushes it once more, to another repository.
    let again = registry.name("podman/app:3");
    podman
        .podman(&["push", "--tls-verify=false", &theirs, &again])
        .ok();
    let fresh = need!(Store::new());
    for name in [&theirs, &again] {
        fresh.rbuild(["pull", name]).ok();
        assert_eq!(fresh.tree(name).text("made"), "by rbuild\n");
        let env = fresh.config(name)["Env"].clone();
        assert!(
            env.as_array().unwrap().contains(&json!("BY=buildah")),
            "{env}"
        );
    }
}

#[test]
fn skopeo_copies_and_inspects() {
    let store = need!(Store::busybox());
    let registry = Registry::start();
    let name = pushed(&store, &registry, "app:1", "by rbuild");
    let source = format!("docker://{name}");
    let seen = need!(skopeo(&["inspect", "--tls-verify=false", &source]))
        .ok()
        .json();
    assert_eq!(seen["RepoTags"], json!(["1"]));
    assert_eq!(seen["Layers"].as_array().unwrap().len(), 2);
    let tls = ["--src-tls-verify=false", "--dest-tls-verify=false"];
    for (target, format) in [("copies/oci:x", "oci"), ("copies/v2s2:x", "v2s2")] {
        let to = registry.name(target);
        let target = format!("docker://{to}");
        let args = [&["copy", "--format", format][..], &tls, &[&source, &target]].concat();
        need!(skopeo(&args)).ok();
        let fresh = need!(Store::new());
        fresh.rbuild(["pull", &to]).ok();
        assert_eq!(fresh.tree(&to).text("made"), "by rbuild\n", "{format}");
    }
    let repository = format!("docker://{}", registry.name("copies/oci"));
    let tags = need!(skopeo(&["list-tags", "--tls-verify=false", &repository])).ok();
    assert_eq!(tags.json()["Tags"], json!(["x"]));
    let one = format!("{repository}:x");
    need!(skopeo(&["delete", "--tls-verify=false", &one])).ok();
    let gone = registry.ask("GET", "/v2/copies/oci/manifests/x", &[ANY], b"");
    assert_eq!(
        (gone.status, &gone.error_code()[..]),
        (404, "MANIFEST_UNKNOWN")
    );
}

#[test]
fn acknowledged_pushes_outlive_a_kill() {
    let store = need!(Store::busybox());
    let mut registry = Registry::start();
    for round in 1..4 {
        let name = pushed(
            &store,
            &registry,
            &format!("app:{round}"),
            &format!("round {round}"),
        );
        registry.kill_and_restart();
        let fresh = need!(Store::new());
        for known in 1..=round {
            let name = registry.name(&format!("app:{known}"));
            fresh.rbuild(["pull", &name]).ok();
            assert_eq!(fresh.tree(&name).text("made"), format!("round {known}\n"));
            assert_eq!(fresh.id(&name), store.id(&name));
        }
        assert!(store.has(&name));
    }
    registry.restart();
    assert_eq!(
        registry.get("/v2/app/tags/list").json()["tags"],
        json!(["1", "2", "3"])
    );
}

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

/// A blob, by POST and one PUT.
#[track_caller]
fn put_blob(registry: &Registry, repository: &str, bytes: &[u8]) -> String {
    let started = registry.ask(
        "POST",
        &format!("/v2/{repository}/blobs/uploads/"),
        &[],
        b"",
    );
    assert_eq!(started.status, 202, "{started:?}");
    let digest = digest(bytes);
    let done = registry.ask("PUT", &finish(&started, &digest), &[], bytes);
    assert_eq!(done.status, 201, "{done:?}");
    digest
}

/// Where an upload goes on: the path of its Location.
#[track_caller]
fn location(reply: &Reply) -> String {
    let location = reply.header("location").expect("Location");
    match location.split_once("://") {
        Some((_, rest)) => rest[rest.find('/').unwrap()..].to_owned(),
        None => location.to_owned(),
    }
}

#[track_caller]
fn finish(reply: &Reply, digest: &str) -> String {
    let location = location(reply);
    let joint = if location.contains('?') { '&' } else { '?' };
    format!("{location}{joint}digest={digest}")
}

fn manifest(config: (&str, usize), layer: (&str, usize)) -> Vec<u8> {
    let document = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": config.0, "size": config.1,
        },
        "layers": [{
            "mediaType": "application/vnd.oci.image.layer.v1.tar",
            "digest": layer.0, "size": layer.1,
        }],
    });
    serde_json::to_vec_pretty(&document).unwrap()
}

#[track_caller]
fn put_manifest(registry: &Registry, path: &str, bytes: &[u8]) -> Reply {
    registry.ask("PUT", path, &[("Content-Type", MANIFEST)], bytes)
}

#[test]
fn blobs_by_hand() {
    let registry = Registry::start();
    let bytes: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
    let name = put_blob(&registry, "hand/made", &bytes);
    let path = format!("/v2/hand/made/blobs/{name}");
    let head = registry.ask("HEAD", &path, &[], b"");
    assert_eq!(head.status, 200);
    assert_eq!(head.header("content-length"), Some("400000"));
    assert_eq!(head.header("docker-content-digest"), Some(&name[..]));
    assert_eq!(registry.get(&path).body, bytes);
    for (range, want, content_range) in [
        ("bytes=0-9", &bytes[..10], "bytes 0-9/400000"),
        (
            "bytes=399990-",
            &bytes[399_990..],
            "bytes 399990-399999/400000",
        ),
        ("bytes=-5", &bytes[399_995..], "bytes 399995-399999/400000"),
    ] {
        let part = registry.ask("GET", &path, &[("Range", range)], b"");
        assert_eq!((part.status, &part.body[..]), (206, want), "{range}");
        assert_eq!(part.header("content-range"), Some(content_range));
    }
    let beyond = registry.ask("GET", &path, &[("Range", "bytes=400000-")], b"");
    assert_eq!(beyond.status, 416);

    // In pieces, with a look in between; a piece out of order is refused.
    let started = registry.ask("POST", "/v2/hand/pieces/blobs/uploads/", &[], b"");
    let first = registry.ask(
        "PATCH",
        &location(&started),
        &[("Content-Range", "0-999")],
        &bytes[..1000],
    );
    assert_eq!(first.status, 202, "{first:?}");
    assert_eq!(first.header("range"), Some("0-999"));
    let wrong = registry.ask(
        "PATCH",
        &location(&first),
        &[("Content-Range", "5000-5999")],
        &bytes[..1000],
    );
    assert_eq!(wrong.status, 416, "{wrong:?}");
    let status = registry.get(&location(&first));
    assert_eq!(
        (status.status, status.header("range")),
        (204, Some("0-999"))
    );
    let second = registry.ask("PATCH", &location(&status), &[], &bytes[1000..]);
    let done = registry.ask("PUT", &finish(&second, &name), &[], b"");
    assert_eq!(done.status, 201, "{done:?}");
    assert_eq!(
        registry.get(&format!("/v2/hand/pieces/blobs/{name}")).body,
        bytes
    );

    // The digest is verified, and a refused blob is not there.
    let other = digest(b"other");
    let started = registry.ask("POST", "/v2/hand/made/blobs/uploads/", &[], b"");
    let refused = registry.ask("PUT", &finish(&started, &other), &[], b"not other");
    assert_eq!(
        (refused.status, &refused.error_code()[..]),
        (400, "DIGEST_INVALID")
    );
    let missing = registry.get(&format!("/v2/hand/made/blobs/{other}"));
    assert_eq!(
        (missing.status, &missing.error_code()[..]),
        (404, "BLOB_UNKNOWN")
    );

    // Cancelled uploads are gone.
    let started = registry.ask("POST", "/v2/hand/made/blobs/uploads/", &[], b"");
    assert_eq!(
        registry.ask("DELETE", &location(&started), &[], b"").status,
        204
    );
    let gone = registry.get(&location(&started));
    assert_eq!(
        (gone.status, &gone.error_code()[..]),
        (404, "BLOB_UPLOAD_UNKNOWN")
    );
}

#[test]
fn blobs_are_mounted_across_repositories() {
    let registry = Registry::start();
    let name = put_blob(&registry, "from/here", b"shared");
    let path = format!("/v2/to/there/blobs/uploads/?mount={name}&from=from/here");
    let mounted = registry.ask("POST", &path, &[], b"");
    assert_eq!(mounted.status, 201, "{mounted:?}");
    let there = format!("/v2/to/there/blobs/{name}");
    assert_eq!(registry.get(&there).body, b"shared");
    // Deleted in one it stays in the other.
    let here = format!("/v2/from/here/blobs/{name}");
    assert_eq!(registry.ask("DELETE", &here, &[], b"").status, 202);
    assert_eq!(registry.get(&here).status, 404);
    assert_eq!(registry.get(&there).body, b"shared");
    // What is not there cannot be mounted: an upload starts instead.
    let path = format!(
        "/v2/x/blobs/uploads/?mount={}&from=from/here",
        digest(b"none")
    );
    assert_eq!(registry.ask("POST", &path, &[], b"").status, 202);
}

#[test]
fn manifests_by_hand() {
    let registry = Registry::start();
    let config =
        br#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}"#;
    let config_digest = put_blob(&registry, "app", config);
    let layer = b"layer";
    let absent = manifest(
        (&config_digest, config.len()),
        (&digest(layer), layer.len()),
    );
    let refused = put_manifest(&registry, "/v2/app/manifests/v1", &absent);
    assert_eq!(refused.status, 400, "{refused:?}");
    assert_eq!(refused.error_code(), "MANIFEST_BLOB_UNKNOWN");
    let invalid = put_manifest(&registry, "/v2/app/manifests/v1", b"{\"schemaVersion\": 2");
    assert_eq!(
        (invalid.status, &invalid.error_code()[..]),
        (400, "MANIFEST_INVALID")
    );

    put_blob(&registry, "app", layer);
    let bytes = absent;
    let name = digest(&bytes);
    let put = put_manifest(&registry, "/v2/app/manifests/v1", &bytes);
    assert_eq!(put.status, 201, "{put:?}");
    assert_eq!(put.header("docker-content-digest"), Some(&name[..]));
    let wrong = format!("/v2/app/manifests/{}", digest(b"x"));
    assert_eq!(
        put_manifest(&registry, &wrong, &bytes).error_code(),
        "DIGEST_INVALID"
    );
    for reference in ["v1", &name] {
        let path = format!("/v2/app/manifests/{reference}");
        let got = registry.ask("GET", &path, &[ANY], b"");
        assert_eq!((got.status, &got.body), (200, &bytes), "the very bytes");
        assert_eq!(got.header("content-type"), Some(MANIFEST));
        let head = registry.ask("HEAD", &path, &[ANY], b"");
        let length = bytes.len().to_string();
        assert_eq!(
            (head.status, head.header("content-length")),
            (200, Some(&length[..]))
        );
    }
    for tag in ["a", "b", "c"] {
        put_manifest(&registry, &format!("/v2/app/manifests/{tag}"), &bytes);
    }
    let tags = |query: &str| -> (Value, Option<String>) {
        let reply = registry.get(&format!("/v2/app/tags/list{query}"));
        (
            reply.json()["tags"].clone(),
            reply.header("link").map(str::to_owned),
        )
    };
    assert_eq!(tags(""), (json!(["a", "b", "c", "v1"]), None));
    let (page, link) = tags("?n=2");
    assert_eq!(page, json!(["a", "b"]));
    let link = link.expect("Link");
    assert!(
        link.contains("n=2") && link.contains("last=b") && link.contains("rel=\"next\""),
        "{link}"
    );
    assert_eq!(tags("?n=2&last=b"), (json!(["c", "v1"]), None));

    let tag = registry.ask("DELETE", "/v2/app/manifests/a", &[], b"");
    assert_eq!(tag.status, 202, "{tag:?}");
    assert_eq!(tags("").0, json!(["b", "c", "v1"]));
    let all = registry.ask("DELETE", &format!("/v2/app/manifests/{name}"), &[], b"");
    assert_eq!(all.status, 202, "{all:?}");
    let gone = registry.ask("GET", "/v2/app/manifests/v1", &[ANY], b"");
    assert_eq!(
        (gone.status, &gone.error_code()[..]),
        (404, "MANIFEST_UNKNOWN")
    );
}

#[test]
fn errors_are_the_specifications() {
    let registry = Registry::start();
    for (method, path, status, code) in [
        ("GET", "/v2/none/tags/list", 404, "NAME_UNKNOWN"),
        ("GET", "/v2/none/manifests/x", 404, "MANIFEST_UNKNOWN"),
        ("GET", "/v2/UPPER/manifests/x", 400, "NAME_INVALID"),
        ("GET", "/v2/a/blobs/sha256:12", 400, "DIGEST_INVALID"),
        ("GET", "/v2/_catalog?n=-1", 400, "PAGINATION_NUMBER_INVALID"),
    ] {
        let reply = registry.ask(method, path, &[], b"");
        assert_eq!(reply.status, status, "{path}: {reply:?}");
        assert_eq!(reply.error_code(), code, "{path}");
        assert_eq!(
            reply.header("content-type").map(|t| &t[..16]),
            Some("application/json")
        );
    }
    let version = registry.get("/v2/");
    assert_eq!(
        version.header("docker-distribution-api-version"),
        Some("registry/2.0")
    );
    assert_eq!(registry.ask("POST", "/v2/", &[], b"").status, 405);
    assert_eq!(registry.get("/nothing/here").status, 404);
    // Nothing above came into being.
    assert_eq!(
        registry.get("/v2/_catalog").json(),
        json!({"repositories": []})
    );
}

#[test]
fn catalog_in_pages() {
    let registry = Registry::start();
    let store = need!(Store::busybox());
    for name in ["b/two", "a", "b/one", "c"] {
        let name = registry.name(name);
        store.rbuild(["tag", "busybox", &name]).ok();
        store.rbuild(["push", &name]).ok();
    }
    assert_eq!(
        registry.get("/v2/_catalog").json()["repositories"],
        json!(["a", "b/one", "b/two", "c"])
    );
    let page = registry.get("/v2/_catalog?n=3");
    assert_eq!(page.json()["repositories"], json!(["a", "b/one", "b/two"]));
    let link = page.header("link").expect("Link");
    assert!(
        link.contains("last=b%2Ftwo") || link.contains("last=b/two"),
        "{link}"
    );
    let rest = registry.get("/v2/_catalog?n=3&last=b/two");
    assert_eq!(rest.json()["repositories"], json!(["c"]));
    assert_eq!(rest.header("link"), None);
}

#[test]
fn pulls_fail_with_reasons() {
    let store = need!(Store::busybox());
    let registry = Registry::start();
    let name = pushed(&store, &registry, "app:1", "x");
    let fresh = need!(Store::new());
    let unknown = registry.name("app:2");
    fresh.rbuild(["pull", &unknown]).fails(1).tells(&unknown);
    let nothing = registry.name("none");
    fresh.rbuild(["pull", &nothing]).fails(1).tells("none");
    fresh
        .rbuild(["pull", "127.0.0.1:9/x"])
        .fails(1)
        .tells("127.0.0.1:9");
    fresh
        .rbuild(["push", "127.0.0.1:9/none"])
        .fails(1)
        .tells("127.0.0.1:9/none");
    // A layer that was damaged on the registry's disk is noticed by the client.
    let manifest = registry
        .ask("GET", "/v2/app/manifests/1", &[ANY], b"")
        .json();
    let layer = manifest["layers"][1]["digest"].as_str().unwrap().to_owned();
    let hex = &layer["sha256:".len()..];
    let files = e2e::Cmd::new("find")
        .arg(registry.data())
        .args(["-type", "f", "-name"]);
    let found = files.arg(format!("*{hex}*")).ok().out();
    let file = found.lines().next().expect("the blob's file");
    let mut bytes = std::fs::read(file).unwrap();
    let last = bytes.len() - 9;
    bytes[last] ^= 1;
    std::fs::write(file, bytes).unwrap();
    fresh.rbuild(["pull", &name]).fails(1);
    assert!(!fresh.has(&name));
}

const RULES: &str = r#"
auth.htpasswd = "$USERS"
[[access]]
repository = "public/**"
users = ["anonymous"]
allow = ["pull"]
[[access]]
repository = "**"
users = ["admin"]
allow = ["admin"]
"#;

/// Whoever has no password pulls what is for everybody, and who has one that is not for this is
/// told so, whichever way clients log in.
#[test]
fn everybody_pulls_what_is_public_and_known_users_are_told_what_they_may_not() {
    let docker = need!(docker());
    let podman = need!(Podman::new());
    for method in ["basic", "token"] {
        let settings = format!("auth.method = \"{method}\"\n{RULES}");
        let registry = Registry::configured(&settings, &["admin", "alice"]);
        let address = registry.address();
        let config = Dir::new();
        let as_user = |user: &str| {
            let home = config.path().join(user);
            let cmd = move |args: &[&str]| docker.cmd(args).env("DOCKER_CONFIG", &home);
            if user != "nobody" {
                let login = ["login", "-u", user, "--password-stdin", address];
                cmd(&login).stdin(user).ok().says("Login Succeeded");
            }
            cmd
        };
        let (public, secret) = (registry.name("public/app:1"), registry.name("secret/app:1"));
        let admin = as_user("admin");
        for name in [&public, &secret] {
            admin(&["tag", "busybox", name]).ok();
            admin(&["push", name]).ok();
            admin(&["rmi", name]).ok();
        }
        // Nobody.
        let nobody = as_user("nobody");
        nobody(&["pull", &public]).ok();
        nobody(&["pull", &secret]).fails(1);
        nobody(&["push", &public]).fails(1);
        podman.podman(&["pull", "--tls-verify=false", &public]).ok();
        podman
            .podman(&["pull", "--tls-verify=false", &secret])
            .fails(125);
        let inspect = |name: &str| {
            let name = format!("docker://{name}");
            skopeo(&["inspect", "--tls-verify=false", &name])
        };
        assert_eq!(
            need!(inspect(&public)).ok().json()["RepoTags"],
            json!(["1"])
        );
        need!(inspect(&secret)).fails(1);
        // A user who may not.
        let alice = as_user("alice");
        let refused = alice(&["push", &public]).fails(1);
        refused.tells("denied");
        if method == "token" {
            refused.tells("alice may not push to public/app");
        }
        alice(&["pull", &secret]).fails(1).tells("denied");
        alice(&["pull", &public]).ok();
        // A wrong password is one.
        let wrong = ["login", "-u", "alice", "--password-stdin", address];
        alice(&wrong).stdin("wrong").fails(1).tells("unauthorized");
        admin(&["rmi", &public]).run();
    }
}
