//! Caches that BuildKit wrote, read by rbuild: a team can move one machine at a time.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use e2e::{Dir, Done, Registry, Store, need};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// What `docker buildx build --cache-to type=registry,mode=max` of docker 28.5 wrote for [`FILE`]
/// and the files of [`context`].
const CACHE: &str = include_str!("data/buildkit-cache.json");
const FILE: &str = "\
FROM scratch AS one
COPY f.txt g.txt /d/
WORKDIR /w
COPY --chown=5:6 --chmod=640 f.txt own
ADD dir /dir
COPY <<XX /here
hi
XX
COPY *.txt di? /wild/
FROM scratch
COPY --from=one /d/ /d/
COPY --from=one /wild/ /dir /all/
";

fn context() -> Dir {
    let dir = Dir::dockerfile(FILE)
        .file("f.txt", "hello\n")
        .file("g.txt", "g\n")
        .file("dir/a", "x\n")
        .file("dir/sub/b", "yy");
    std::os::unix::fs::symlink("a", dir.path().join("dir/l")).unwrap();
    dir
}

/// Puts that cache where `cache:5` is, but for the layers that `left_out` names.
fn put_cache(registry: &Registry, left_out: &dyn Fn(&str) -> bool) {
    let cache: Value = serde_json::from_str(CACHE).unwrap();
    for (digest, content) in cache["blobs"].as_object().unwrap() {
        if left_out(digest) {
            continue;
        }
        let content = STANDARD.decode(content.as_str().unwrap()).unwrap();
        let started = registry.ask("POST", "/v2/cache/blobs/uploads/", &[], b"");
        let place = started.header("location").unwrap().to_owned();
        let path = match place.split_once("/v2/") {
            Some((_, path)) => format!("/v2/{path}"),
            None => place,
        };
        let sign = if path.contains('?') { '&' } else { '?' };
        let put = registry.ask(
            "PUT",
            &format!("{path}{sign}digest={digest}"),
            &[],
            &content,
        );
        assert_eq!(put.status, 201, "{put:?}");
    }
    let kind = [("content-type", "application/vnd.oci.image.manifest.v1+json")];
    let manifest = serde_json::to_vec(&cache["manifest"]).unwrap();
    let put = registry.ask("PUT", "/v2/cache/manifests/5", &kind, &manifest);
    assert!(put.status == 201 || left_out("x"), "{put:?}");
}

fn cached(done: &Done) -> usize {
    let text = done.err();
    text.lines().filter(|line| line.ends_with("CACHED")).count()
}

#[test]
fn a_cache_that_buildkit_wrote_to_a_registry_is_read() {
    let registry = Registry::start();
    put_cache(&registry, &|_| false);
    let (with, without) = (need!(Store::new()), need!(Store::new()));
    let context = context();
    let from = format!("type=registry,ref={}", registry.name("cache:5"));
    let done = with
        .build("app", &context)
        .args(["--cache-from", &from])
        .ok();
    assert_eq!(cached(&done), 8, "{done}");
    // It is what the steps themselves make.
    without.build("app", &context).ok();
    for path in ["d/f.txt", "d/g.txt", "all/f.txt", "all/a", "all/sub/b"] {
        let files = (with.tree("app"), without.tree("app"));
        assert_eq!(files.0.text(path), files.1.text(path), "{path}");
    }

    // One file is another: what takes it is made, on what does not.
    context.write("dir/sub/b", "changed");
    let store = need!(Store::new());
    let done = store
        .build("app", &context)
        .args(["--cache-from", &from])
        .ok();
    let text = done.err();
    for (step, found) in [
        ("COPY f.txt g.txt /d/", true),
        ("WORKDIR /w", true),
        ("COPY --chown=5:6 --chmod=640 f.txt own", true),
        ("ADD dir /dir", false),
    ] {
        let after = text.split(&format!("] {step}\n")).nth(1).unwrap();
        let end = after.lines().next().unwrap();
        assert_eq!(end.ends_with("CACHED"), found, "{step}: {done}");
    }
    assert_eq!(store.tree("app").text("all/sub/b"), "changed");
}

/// Puts that cache in a folder, as `--cache-to type=local,mode=max` does.
fn folder_cache(tag: Option<&str>) -> (Dir, String) {
    let cache: Value = serde_json::from_str(CACHE).unwrap();
    let dir = Dir::new();
    for (digest, content) in cache["blobs"].as_object().unwrap() {
        let content = STANDARD.decode(content.as_str().unwrap()).unwrap();
        let name = format!("blobs/{}", digest.replace(':', "/"));
        dir.write(&name, content);
    }
    let manifest = serde_json::to_vec(&cache["manifest"]).unwrap();
    let digest = format!("sha256:{}", hex::encode(Sha256::digest(&manifest)));
    let mut entry = serde_json::json!({
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "digest": digest,
        "size": manifest.len(),
    });
    if let Some(tag) = tag {
        entry["annotations"] = serde_json::json!({ "org.opencontainers.image.ref.name": tag });
    }
    dir.write(&format!("blobs/{}", digest.replace(':', "/")), manifest);
    let index = serde_json::json!({ "schemaVersion": 2, "manifests": [entry] });
    dir.write("index.json", index.to_string());
    dir.write("oci-layout", r#"{"imageLayoutVersion":"1.0.0"}"#);
    (dir, digest)
}

#[test]
fn a_cache_that_buildkit_wrote_to_a_folder_is_read() {
    let context = context();
    for (tag, more, found) in [
        (Some("latest"), "", 8),
        (Some("main"), ",tag=main", 8),
        (Some("main"), "", 0),
        (None, ",digest=", 8),
    ] {
        let (dir, digest) = folder_cache(tag);
        let shown = dir.path().display();
        let digest = if more == ",digest=" { &digest } else { "" };
        let from = format!("type=local,src={shown}{more}{digest}");
        let store = need!(Store::new());
        let flags = ["--cache-from", &from];
        let done = store.build("app", &context).args(flags).ok();
        assert_eq!(cached(&done), found, "{from}: {done}");
        assert_eq!(store.tree("app").text("all/sub/b"), "yy");
    }

    // There is none, and none that is one: each is told of once.
    let store = need!(Store::new());
    let none = Dir::new();
    let broken = Dir::new();
    broken.write("index.json", "{}");
    let flags = [&none, &broken].map(|dir| format!("type=local,src={}", dir.path().display()));
    let done = store
        .build("app", &context)
        .args(["--cache-from", &flags[0], "--cache-from", &flags[1]])
        .ok();
    let shown = none.path().display();
    done.tells(&format!(
        "the cache {shown} is left out: no {shown}/index.json"
    ));
    let warned = done.err().matches(" is left out: ").count();
    assert_eq!(warned, 2, "{done}");
}

#[test]
fn a_layer_that_buildkits_cache_has_lost_costs_a_miss() {
    let cache: Value = serde_json::from_str(CACHE).unwrap();
    let registry = Registry::start();
    put_cache(&registry, &|_| false);
    let manifest = &cache["manifest"]["layers"];
    let layers = manifest.as_array().unwrap().iter();
    for layer in layers {
        // Behind the registry's back: it refuses to delete what a manifest needs.
        let digest = layer["digest"]
            .as_str()
            .unwrap()
            .trim_start_matches("sha256:");
        let mut places = vec![registry.data()];
        while let Some(place) = places.pop() {
            if place.is_dir() {
                places.extend(std::fs::read_dir(place).unwrap().map(|e| e.unwrap().path()));
            } else if place.to_string_lossy().ends_with(digest) {
                std::fs::remove_file(place).unwrap();
            }
        }
    }
    let store = need!(Store::new());
    let from = format!("type=registry,ref={}", registry.name("cache:5"));
    let done = store
        .build("app", &context())
        .args(["--cache-from", &from])
        .ok();
    done.tells("going on without the shared cache");
    assert_eq!(store.tree("app").text("d/f.txt"), "hello\n");
}

/// The cache in an image that a daemon of docker's has built now. RUN steps are keyed by command,
/// environment, user and folder.
#[test]
fn the_cache_in_an_image_of_dockers_is_read() {
    let docker = need!(e2e::modern_docker());
    let registry = Registry::start();
    let base = registry.name("base:1");
    docker.cmd(["tag", "busybox", &base]).ok();
    docker.cmd(["push", &base]).ok();
    let image = registry.name("app:1");
    let context = Dir::dockerfile(&format!(
        "FROM {base}\nARG VERSION=1\nENV A=1 B='x y'\nENV A=2\nRUN echo \"$A & <$VERSION>\" >/one\n\
         WORKDIR /w\nCOPY f sub /w/\nUSER 7:8\nRUN [\"/bin/sh\", \"-c\", \"id -u\"]\n\
         RUN --mount=type=cache,target=/tmp/c --mount=type=tmpfs,target=/t,size=1m true\n"
    ))
    .file("f", "f")
    .file("sub/g", "g");
    let inline = ["--build-arg", "BUILDKIT_INLINE_CACHE=1"];
    docker.build(&image, context.path()).args(inline).ok();
    docker.cmd(["push", &image]).ok();

    let store = need!(Store::new());
    let flags = ["--network", "none", "--cache-from", &image];
    let done = store.build("app", &context).args(flags).ok();
    assert_eq!(cached(&done), 5, "{done}");
    assert_eq!(store.tree("app").text("one"), "2 & <1>\n");
    // The layers are docker's own.
    let layers = |config: Value| config["rootfs"]["diff_ids"].clone();
    let manifest = registry.ask(
        "GET",
        "/v2/app/manifests/1",
        &[(
            "Accept",
            "application/vnd.docker.distribution.manifest.v2+json, \
             application/vnd.oci.image.manifest.v1+json",
        )],
        b"",
    );
    let config = manifest.json()["config"]["digest"]
        .as_str()
        .unwrap()
        .to_owned();
    let theirs = registry.get(&format!("/v2/app/blobs/{config}")).json();
    let ours = store.rbuild(["image", "inspect", "app"]).ok().json();
    assert_eq!(layers(theirs), ours[0]["RootFS"]["Layers"]);

    // Another argument: only what does not see it is found.
    let other = ["--build-arg", "VERSION=2"];
    let store = need!(Store::new());
    let done = store.build("app", &context).args(flags).args(other).ok();
    assert_eq!(cached(&done), 0, "{done}");
    assert_eq!(store.tree("app").text("one"), "2 & <2>\n");
}
