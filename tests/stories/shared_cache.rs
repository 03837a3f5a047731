//! Machines that share what they have built, by registries, folders and images.

use std::fmt::Write as _;
use std::path::Path;

use e2e::{Dir, Done, Machine, Meeting, Registry, Store, need};
use serde_json::{Value, json};

/// How many steps were found.
fn cached(done: &Done) -> usize {
    let lines = done.err();
    lines
        .lines()
        .filter(|line| line.ends_with("CACHED"))
        .count()
}

/// A registry that has a base image, and its name there.
fn with_base(store: &Store) -> (Registry, String) {
    let registry = Registry::configured("log.access = true\n", &[]);
    let base = registry.name("base:1");
    store.rbuild(["tag", "busybox", &base]).ok();
    store.rbuild(["push", &base]).ok();
    (registry, base)
}

/// Twenty steps on a base; the last says a word.
fn twenty(base: &str, last: &str) -> Dir {
    let mut text = format!("FROM {base}\n");
    for i in 1..20 {
        writeln!(text, "RUN echo step {i} >/f{i}").unwrap();
    }
    Dir::dockerfile(&format!("{text}RUN echo {last} >/last\n"))
}

/// A build that leaves nothing in the store but what it needs.
fn push_only(store: &Store, name: &str, context: &Dir, flags: &[&str]) -> Done {
    let output = format!("type=registry,name={name}");
    store
        .rbuild(["build", "--network", "none", "-o", &output])
        .args(flags)
        .arg(context.path())
        .ok()
}

/// The requests that a registry got after `before`, of this method and with this in their path.
fn requests(registry: &Registry, before: &str, method: &str, part: &str) -> usize {
    let log = registry.log();
    let new = log[before.len()..].lines();
    new.filter(|line| line.contains(method) && line.contains(part))
        .count()
}

/// What a name leads to in a registry.
fn manifest(registry: &Registry, repository: &str, tag: &str) -> Value {
    let accept = [(
        "Accept",
        "application/vnd.docker.distribution.manifest.v2+json, \
         application/vnd.oci.image.manifest.v1+json",
    )];
    let path = format!("/v2/{repository}/manifests/{tag}");
    let reply = registry.ask("GET", &path, &accept, b"");
    assert_eq!(reply.status, 200, "{path}: {reply:?}");
    reply.json()
}

/// The tags of a repository that begin so.
fn tags(registry: &Registry, repository: &str, start: &str) -> Vec<String> {
    let list = registry.get(&format!("/v2/{repository}/tags/list")).json();
    let tags = list["tags"].as_array().unwrap().iter();
    let tags = tags.map(|tag| tag.as_str().unwrap().to_owned());
    tags.filter(|tag| tag.starts_with(start)).collect()
}

/// How many unpacked layers a store has.
fn layers(store: &Store) -> usize {
    let folder = store.root().join("snapshots");
    let entries = std::fs::read_dir(folder).unwrap();
    entries
        .filter(|entry| entry.as_ref().unwrap().path().join("fs").exists())
        .count()
}

#[test]
fn a_machine_that_only_pushes_runs_nothing_and_fetches_manifests_alone() {
    let a = need!(Store::busybox());
    let (registry, base) = with_base(&a);
    let b = need!(Store::new());
    let cache = format!("type=registry,ref={},mode=max", registry.name("cache"));
    let context = twenty(&base, "word");
    let flags = ["--cache-to", &cache];
    let done = push_only(&a, &registry.name("app:a"), &context, &flags);
    assert_eq!(cached(&done), 0);
    assert_eq!(tags(&registry, "cache", "step-").len(), 20);

    let before = registry.log();
    let from = registry.name("cache");
    let flags = ["--cache-from", &from];
    let done = push_only(&b, &registry.name("app:b"), &context, &flags);
    assert_eq!(cached(&done), 20, "{done}");
    assert_eq!(
        manifest(&registry, "app", "a"),
        manifest(&registry, "app", "b")
    );
    let asked = |method: &str, part: &str| requests(&registry, &before, method, part);
    // One a step, and of blobs the configuration of the base.
    assert_eq!(asked("GET", "/v2/cache/manifests/step-"), 20);
    assert_eq!(asked("GET", "/blobs/"), 1);
    assert_eq!(asked("PATCH", "/blobs/"), 0);
    assert_eq!(layers(&b), 0);
    // Another machine takes what was pushed, whole.
    let c = need!(Store::new());
    let name = registry.name("app:b");
    c.rbuild(["pull", &name]).ok();
    assert_eq!(c.tree(&name).text("last"), "word\n");
    assert_eq!(c.tree(&name).text("f19"), "step 19\n");
}

#[test]
fn layers_are_fetched_when_a_step_runs_on_them_or_the_image_is_kept() {
    let a = need!(Store::busybox());
    let (registry, base) = with_base(&a);
    let cache = format!("type=registry,ref={}", registry.name("cache:main"));
    let epoch = ["--build-arg", "SOURCE_DATE_EPOCH=1700000000"];
    let to = ["--cache-to", &cache];
    a.build("app", &twenty(&base, "one"))
        .args(epoch)
        .args(to)
        .ok();
    assert_eq!(tags(&registry, "cache", "main-step-").len(), 20);

    let b = need!(Store::new());
    let context = twenty(&base, "two");
    let from = ["--cache-from", &cache];
    let done = b.build("app", &context).args(epoch).args(from).ok();
    assert_eq!(cached(&done), 19, "{done}");
    assert_eq!(b.tree("app").text("last"), "two\n");
    assert_eq!(b.tree("app").text("f7"), "step 7\n");
    // As on a machine that has done all of it itself.
    let c = need!(Store::new());
    c.build("app", &context).args(epoch).ok();
    assert_eq!(b.id("app"), c.id("app"));
    b.rbuild(["fsck"]).ok();
    // What came is of the store: the next build asks nobody.
    let before = registry.log();
    let again = b.build("app", &context).args(epoch).ok();
    assert_eq!(cached(&again), 20, "{again}");
    assert_eq!(requests(&registry, &before, "GET", "/v2/cache/"), 0);
    assert!(b.has(&base), "the base image is one of the store now");
}

const STAGES: &str = "FROM BASE AS tools\nRUN mkdir -p /t/d && echo tool >/t/d/tool\n\
    FROM BASE\nCOPY --from=tools /t /t\nCOPY --link --from=tools --chown=www-data /t/d/tool /linked/\n\
    RUN --mount=type=bind,from=tools,source=/t,target=/m cat /m/d/tool >/bound\n";

#[test]
fn what_is_taken_from_stages_is_known_without_their_files() {
    let a = need!(Store::busybox());
    let (registry, base) = with_base(&a);
    let cache = format!("type=registry,ref={},mode=max", registry.name("cache"));
    let context = Dir::dockerfile(&STAGES.replace("BASE", &base));
    push_only(
        &a,
        &registry.name("app:a"),
        &context,
        &["--cache-to", &cache],
    );

    let b = need!(Store::new());
    let before = registry.log();
    let from = ["--cache-from", &cache.replace(",mode=max", "")];
    let done = push_only(&b, &registry.name("app:b"), &context, &from);
    assert_eq!(cached(&done), 4, "{done}");
    assert_eq!(layers(&b), 0);
    assert_eq!(requests(&registry, &before, "GET", "/blobs/"), 1);
    assert_eq!(
        manifest(&registry, "app", "a"),
        manifest(&registry, "app", "b")
    );
    // With mode=min a cache has the layers of the result alone, and knows the other steps.
    let min = format!("type=registry,ref={}", registry.name("min"));
    push_only(&a, &registry.name("app:c"), &context, &["--cache-to", &min]);
    let steps = tags(&registry, "min", "step-");
    let of = |tag: &String| manifest(&registry, "min", tag)["layers"][0]["mediaType"].clone();
    let empty = |kind: &Value| *kind == "application/vnd.oci.empty.v1+json";
    assert_eq!(steps.len(), 4);
    assert_eq!(steps.iter().map(of).filter(empty).count(), 1);
    // It does not take the place of what has the layer.
    let over = ["--cache-to", &cache.replace(",mode=max", "")];
    push_only(&a, &registry.name("app:c"), &context, &over);
    let max = tags(&registry, "cache", "step-");
    let of = |tag: &String| manifest(&registry, "cache", tag)["layers"][0]["mediaType"].clone();
    assert_eq!(max.iter().map(of).filter(empty).count(), 0);
    // What lacks it is filled by who has it.
    let fill = format!("{min},mode=max");
    push_only(
        &a,
        &registry.name("app:c"),
        &context,
        &["--cache-to", &fill],
    );
    let of = |tag: &String| manifest(&registry, "min", tag)["layers"][0]["mediaType"].clone();
    assert_eq!(steps.iter().map(of).filter(empty).count(), 0);
    // And an image that is kept gets all its layers.
    b.build("kept", &context).args(from).ok();
    let tree = b.tree("kept");
    for path in ["t/d/tool", "linked/tool", "bound"] {
        assert_eq!(tree.text(path), "tool\n", "{path}");
    }
}

/// As BuildKit does it: what other stages do is not done again for a result that does not change.
#[test]
fn a_cache_of_the_result_runs_no_other_stage_again() {
    let a = need!(Store::busybox());
    let (registry, base) = with_base(&a);
    let (first, second) = (Meeting::of(1), Meeting::of(1));
    let file = |last: &str| {
        format!(
            "FROM {base} AS tools\nRUN {} && echo tool >/tool\nCOPY src /src\n\
             RUN {} && cat /src /tool >/out\nFROM {base}\nCOPY --from=tools /out /out\n\
             RUN cat /out >/copy && echo {last} >>/copy\n",
            first.attend("a"),
            second.attend("b")
        )
    };
    let context = Dir::dockerfile(&file("end")).file("src", "source\n");
    let came = || (first.came(), second.came());
    let name = registry.name("app:1");
    let min = format!("type=registry,ref={}", registry.name("cache"));
    let folder = Dir::new();
    let local = |key: &str| format!("type=local,{key}={}", folder.join("cache").display());
    let host = ["--network", "host"];
    let to = [
        "--cache-to",
        &min,
        "--cache-to",
        "type=inline",
        "--cache-to",
        &local("dest"),
    ];
    a.build(&name, &context)
        .args(host)
        .args(to)
        .arg("--push")
        .ok();
    assert_eq!(came(), (1, 1));

    // A machine that has nothing runs nothing, whichever form the cache has.
    for from in [&min, &name, &local("src")] {
        let b = need!(Store::new());
        let build = b.build("app", &context).args(host);
        let done = build.args(["--cache-from", from]).ok();
        assert_eq!(cached(&done), 5, "{from}: {done}");
        assert_eq!(b.tree("app").text("copy"), "source\ntool\nend\n");
        assert_eq!(came(), (1, 1), "{from}");
    }
    // The last step alone is another.
    context.write("Dockerfile", file("other"));
    let c = need!(Store::new());
    let from = ["--cache-from", &min];
    let done = c.build("app", &context).args(host).args(from).ok();
    assert_eq!(cached(&done), 4, "{done}");
    assert_eq!(c.tree("app").text("copy"), "source\ntool\nother\n");
    assert_eq!(came(), (1, 1));
    // A layer is needed that nobody has: it is made again, and the cache is of use all the same.
    context.write("Dockerfile", file("end"));
    context.write("src", "changed\n");
    let d = need!(Store::new());
    let done = d.build("app", &context).args(host).args(from).ok();
    assert_eq!(d.tree("app").text("copy"), "changed\ntool\nend\n");
    assert_eq!(came(), (2, 2));
    assert!(!done.err().contains("going on without"), "{done}");
}

#[test]
fn folders_are_caches_too() {
    let a = need!(Store::busybox());
    let (_registry, base) = with_base(&a);
    let folder = Dir::new();
    let place = folder.join("cache").display().to_string();
    let context = twenty(&base, "word");
    let to = format!("type=local,dest={place},compression=zstd");
    let from = format!("type=local,src={place}");
    a.build("app", &context).args(["--cache-to", &to]).ok();
    // It is an OCI image layout that others can read.
    let index: Value = serde_json::from_str(&folder.read("cache/index.json")).unwrap();
    assert_eq!(index["manifests"].as_array().unwrap().len(), 20);

    let b = need!(Store::new());
    let done = b.build("app", &context).args(["--cache-from", &from]).ok();
    assert_eq!(cached(&done), 20, "{done}");
    assert_eq!(b.id("app"), a.id("app"));
    assert_eq!(b.tree("app").text("f3"), "step 3\n");

    // Damage is a miss.
    let blobs = Path::new(&place).join("blobs/sha256");
    for blob in std::fs::read_dir(blobs).unwrap() {
        std::fs::write(blob.unwrap().path(), "damaged").unwrap();
    }
    let c = need!(Store::new());
    let done = c.build("app", &context).args(["--cache-from", &from]).ok();
    assert_eq!(cached(&done), 0, "{done}");
    assert!(done.err().contains("of the cache"), "{done}");
    assert_eq!(c.tree("app").text("last"), "word\n");
}

#[test]
fn images_carry_their_own_steps() {
    let a = need!(Store::busybox());
    let (registry, base) = with_base(&a);
    let name = registry.name("app:1");
    let context = twenty(&base, "word");
    for flags in [
        ["--cache-to", "type=inline"],
        ["--build-arg", "BUILDKIT_INLINE_CACHE=1"],
    ] {
        a.build(&name, &context).args(flags).arg("--push").ok();
        let b = need!(Store::new());
        let done = push_only(
            &b,
            &registry.name("app:2"),
            &context,
            &["--cache-from", &name, "--cache-to", "type=inline"],
        );
        assert_eq!(cached(&done), 20, "{done}");
        assert_eq!(layers(&b), 0);
        let manifests = ["1", "2"].map(|tag| manifest(&registry, "app", tag));
        assert_eq!(manifests[0], manifests[1]);
        // An image built on it does not say so of itself.
        let next = Dir::dockerfile(&format!("FROM {name}\nLABEL a=b\n"));
        b.build("next", &next).ok();
        let id = b.id("next").replace("sha256:", "");
        let config = std::fs::read_to_string(b.root().join("blobs/sha256").join(id)).unwrap();
        assert!(!config.contains("dev.rbuild.cache"), "{config}");
    }
}

#[test]
fn what_a_cache_says_wrongly_costs_a_miss() {
    let a = need!(Store::busybox());
    let (registry, base) = with_base(&a);
    let cache = format!("type=registry,ref={}", registry.name("cache"));
    let context = twenty(&base, "word");
    a.build("app", &context).args(["--cache-to", &cache]).ok();
    let put = |tag: &str, document: &Value| {
        let kind = [("Content-Type", "application/vnd.oci.image.manifest.v1+json")];
        let path = format!("/v2/cache/manifests/{tag}");
        let body = serde_json::to_vec(document).unwrap();
        let reply = registry.ask("PUT", &path, &kind, &body);
        assert_eq!(reply.status, 201, "{reply:?}");
    };
    let tags = tags(&registry, "cache", "step-");
    let entries: Vec<Value> = tags
        .iter()
        .map(|tag| manifest(&registry, "cache", tag))
        .collect();
    let from = ["--cache-from", &cache];

    // An entry under the name of another.
    put(&tags[0], &entries[1]);
    let b = need!(Store::new());
    let done = b.build("app", &context).args(from).ok();
    assert!(cached(&done) < 20, "{done}");
    assert!(done.err().contains("it is of another key"), "{done}");
    assert_eq!(b.tree("app").text("last"), "word\n");
    put(&tags[0], &entries[0]);

    // Layers that are not what they are said to be.
    for (tag, entry) in tags.iter().zip(&entries) {
        let mut lie = entry.clone();
        lie["layers"] = entries[0]["layers"].clone();
        put(tag, &lie);
    }
    let c = need!(Store::new());
    let done = c.build("app", &context).args(from).ok();
    assert!(
        done.err().contains("going on without the shared cache"),
        "{done}"
    );
    let tree = c.tree("app");
    assert_eq!(tree.text("last"), "word\n");
    for i in 1..20 {
        assert_eq!(tree.text(&format!("f{i}")), format!("step {i}\n"));
    }
    c.rbuild(["fsck"]).ok();
    // One of BuildKit's that has nothing in it has nothing to say.
    let mut other = entries[0].clone();
    other["config"]["mediaType"] = json!("application/vnd.buildkit.cacheconfig.v0");
    put("latest", &other);
    let d = need!(Store::new());
    let done = d.build("app", &context).args(from).ok();
    assert_eq!(d.tree("app").text("last"), "word\n", "{done}");
}

#[test]
fn a_cache_that_goes_away_costs_no_build() {
    let store = need!(Store::busybox());
    let mut registry = Registry::start();
    let name = registry.name("cache");
    let place = format!("type=registry,ref={name}");
    let context = Dir::dockerfile(
        "FROM busybox\nRUN echo one >/one\nRUN echo waiting && sleep 3 && echo two >/two\n\
         RUN echo three >/three\n",
    );
    let build = store
        .build("app", &context)
        .args(["--cache-from", &place, "--cache-to", &place])
        .spawn();
    build.until_err("waiting");
    registry.kill();
    let done = build.wait();
    assert!(done.status.success(), "{done}");
    assert_eq!(done.err().matches("was not written").count(), 1, "{done}");
    assert_eq!(store.tree("app").text("three"), "three\n");
    // The next build finds all of it here, and nobody there.
    let done = store.build("app", &context).ok();
    assert_eq!(cached(&done), 3, "{done}");
}

/// A machine each, with a cable to the one that the registry is on.
#[test]
fn eight_builders_share_one_registry() {
    let first = need!(Store::busybox());
    let server = need!(Machine::new());
    server.sh("ip addr add 192.0.2.1/32 dev lo");
    let (mut registry, _) = with_base(&first);
    registry.move_to(Some((&server, "192.0.2.1:5000")));
    let cache = format!("type=registry,ref={},mode=max", registry.name("cache"));
    let from = registry.name("cache");
    let base = registry.name("base:1");
    let settings = Dir::new().file(
        "rbuild/registries.toml",
        "[registry.\"192.0.2.1:5000\"]\ninsecure = true\n",
    );
    // What runs at another time comes to another layer, unless it is dated.
    let date = "--build-arg=SOURCE_DATE_EPOCH=1700000000";
    std::thread::scope(|scope| {
        for builder in 0..8 {
            let (base, cache, from, server) = (&base, &cache, &from, &server);
            let (registry, settings) = (&registry, &settings);
            scope.spawn(move || {
                let machine = Machine::new().unwrap();
                let at = |end| format!("10.9.{builder}.{end}");
                let cable = (format!("{}/24", at(2)), format!("{}/24", at(1)));
                machine.connect(&format!("b{builder}"), &cable.0, server, &cable.1);
                machine.sh(&format!("ip route add 192.0.2.1 via {}", at(1)));
                let store = Store::new().unwrap();
                // Half of them build the same, and all begin the same.
                let context = twenty(base, &format!("word {}", builder % 4));
                let name = registry.name(&format!("app:{builder}"));
                let build = store
                    .rbuild(["build", "--network", "none", "-o"])
                    .arg(format!("type=registry,name={name}"))
                    .args(["--cache-to", cache, "--cache-from", from, date])
                    .arg(context.path())
                    .env("XDG_CONFIG_HOME", settings.path());
                machine.on(build).ok();
            });
        }
    });
    registry.move_to(None);
    let from = registry.name("cache");
    let base = registry.name("base:1");
    assert_eq!(tags(&registry, "cache", "step-").len(), 23);
    for word in 0..4 {
        let store = need!(Store::new());
        let context = twenty(&base, &format!("word {word}"));
        let done = store
            .build("app", &context)
            .args(["--cache-from", &from, date])
            .ok();
        assert_eq!(cached(&done), 20, "{done}");
        let tree = store.tree("app");
        assert_eq!(tree.text("last"), format!("word {word}\n"));
        assert_eq!(tree.text("f12"), "step 12\n");
    }
}

#[test]
fn caches_behind_passwords_are_read_and_written_with_ours() {
    let rules = "auth.htpasswd = \"$USERS\"\n[[access]]\nrepository = \"**\"\n\
        users = [\"admin\"]\nallow = [\"admin\"]\n";
    for method in ["basic", "token"] {
        let registry =
            Registry::configured(&format!("auth.method = \"{method}\"\n{rules}"), &["admin"]);
        let place = format!("type=registry,ref={}", registry.name("cache"));
        let context = Dir::dockerfile("FROM scratch\nCOPY a /a\n").file("a", "content");
        let flags = ["--cache-from", &place, "--cache-to", &place];
        // Nobody may: the build goes well all the same.
        let stranger = need!(Store::new());
        let done = stranger.build("app", &context).args(flags).ok();
        assert_eq!(done.err().matches("is left out").count(), 1, "{done}");
        for round in 0..2 {
            let store = need!(Store::new());
            let login = [
                "login",
                "-u",
                "admin",
                "--password-stdin",
                registry.address(),
            ];
            store.rbuild(login).stdin("admin").ok();
            let done = store.build("app", &context).args(flags).ok();
            assert_eq!(cached(&done), round, "{done}");
            assert_eq!(store.tree("app").text("a"), "content");
        }
    }
}

#[test]
fn debians_registry_keeps_caches_too() {
    let registry = need!(e2e::DockerRegistry::start());
    let place = format!("type=registry,ref={}", registry.name("cache:main"));
    let a = need!(Store::busybox());
    let context = Dir::dockerfile(
        "FROM scratch AS one\nCOPY a /d/a\nFROM scratch\nCOPY --from=one /d /e\nWORKDIR /w\n",
    )
    .file("a", "content");
    let max = format!("{place},mode=max");
    a.build("app", &context).args(["--cache-to", &max]).ok();
    let b = need!(Store::new());
    let done = b.build("app", &context).args(["--cache-from", &place]).ok();
    assert_eq!(cached(&done), 3, "{done}");
    assert_eq!(b.tree("app").text("e/a"), "content");
    assert_eq!(b.id("app"), a.id("app"));
}

#[test]
fn places_that_are_none_are_refused_by_name() {
    let store = need!(Store::new());
    let context = Dir::dockerfile("FROM scratch\n");
    for kind in ["gha", "s3", "azblob"] {
        for flag in ["--cache-from", "--cache-to"] {
            let place = format!("type={kind}");
            let done = store.build("app", &context).args([flag, &place]).fails(125);
            done.tells(&format!("type={kind} is not supported: use type=registry"));
        }
    }
}
