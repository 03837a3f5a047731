//! Lists of images that are in registries, made as every CI that joins images makes them: with
//! docker's words, compared to docker's own client, and with those of buildx.

use e2e::{Cmd, Dir, Docker, Registry, Store, docker, need};
use serde_json::Value;

/// An image each for two platforms, `app:amd64` and `app:arm64`.
fn images(store: &Store, registry: &Registry) {
    for architecture in ["amd64", "arm64"] {
        let context = Dir::dockerfile("FROM scratch\nCOPY a /a\n").file("a", architecture);
        store
            .build(&registry.name(&format!("app:{architecture}")), &context)
            .args(["--push", "--platform", &format!("linux/{architecture}")])
            .ok();
    }
}

/// The same line for docker's client and for ours.
fn both(docker: &Docker, store: &Store, args: &[&str]) -> (Cmd, Cmd) {
    let with = |first: &str| -> Vec<String> {
        let rest = args.iter().map(|arg| (*arg).to_owned());
        std::iter::once(first.to_owned()).chain(rest).collect()
    };
    (docker.cmd(with("manifest")), store.rbuild(with("manifest")))
}

#[test]
fn dockers_words_have_dockers_output() {
    let docker = need!(docker());
    let store = need!(Store::new());
    let registry = Registry::start();
    images(&store, &registry);
    let (list, one, two) = (
        registry.name("app:list"),
        registry.name("app:amd64"),
        registry.name("app:arm64"),
    );
    let missing = registry.name("app:none");
    // Both keep a list of their own, and push it to one place, one after the other.
    let same = |args: &[&str]| {
        let (theirs, ours) = both(docker, &store, args);
        let (theirs, ours) = (theirs.run(), ours.run());
        assert_eq!(ours.out(), theirs.out(), "{args:?}: {ours} {theirs}");
        assert_eq!(
            ours.status.code(),
            theirs.status.code(),
            "{args:?}: {ours} {theirs}"
        );
        let told = ours.err().trim().trim_start_matches("ERROR: ").to_owned();
        assert_eq!(told, theirs.err().trim(), "{args:?}");
    };
    same(&["create", "--insecure", &list, &one, &two]);
    same(&["create", "--insecure", &list, &one]);
    same(&["create", "--insecure", "--amend", &list, &one]);
    same(&["create", "--insecure", &registry.name("app:l2"), &missing]);
    same(&["annotate", &list, &two, "--arch", "arm", "--variant", "v7"]);
    same(&[
        "annotate",
        &list,
        &two,
        "--os-features",
        "a,b",
        "--os-version",
        "1",
    ]);
    same(&["annotate", &list, &two, "--arch", "foo"]);
    same(&["annotate", &list, &missing, "--arch", "arm"]);
    same(&["inspect", "--insecure", &list]);
    same(&["inspect", "--insecure", &list, &two]);
    same(&["inspect", "--insecure", &one]);
    same(&["inspect", "--insecure", &missing]);
    // The digest: the same bytes.
    same(&["push", "--insecure", &list]);
    same(&["inspect", "--insecure", &list]);
    same(&["push", "--insecure", "--purge", &list]);
    same(&["push", "--insecure", &list]);
    same(&["inspect", "--insecure", &list]);
    same(&["create", "--insecure", &registry.name("app:l3"), &list]);
    same(&["rm", &list]);
    // Into another repository.
    let other = registry.name("other/app:1");
    same(&["create", "--insecure", &other, &one, &two]);
    // docker 20.10 writes the manifests anew, so that they have other digests and its push fails;
    // docker 28 tells this.
    let pushed = store
        .rbuild(["manifest", "push", "--insecure", &other])
        .ok()
        .out();
    let repository = registry.name("other/app");
    for (line, tag) in pushed.lines().zip(["amd64", "arm64"]) {
        let manifest = registry.get(&format!("/v2/app/manifests/{tag}"));
        let digest = manifest.header("docker-content-digest").unwrap();
        let told = format!("Pushed ref {repository}@{digest} with digest: {digest}");
        assert_eq!(line, told);
    }
    let list = registry.get("/v2/other/app/manifests/1");
    assert_eq!(pushed.lines().last(), list.header("docker-content-digest"));
    let fresh = need!(Store::new());
    fresh.rbuild(["pull", "--platform", "all", &other]).ok();
}

#[test]
fn either_client_goes_on_with_the_others_list() {
    let docker = need!(docker());
    let store = need!(Store::new());
    let registry = Registry::start();
    images(&store, &registry);
    let (list, one, two) = (
        registry.name("app:list"),
        registry.name("app:amd64"),
        registry.name("app:arm64"),
    );
    let config = store.file("config");
    let theirs = |args: &[&str]| docker.cmd(args).env("DOCKER_CONFIG", &config);
    let ours = |args: &[&str]| store.rbuild(args).env("DOCKER_CONFIG", &config);
    theirs(&["manifest", "create", "--insecure", &list, &one]).ok();
    ours(&["manifest", "create", "--amend", &list, &two]).ok();
    let shown = theirs(&["manifest", "inspect", "--insecure", &list]).ok();
    assert_eq!(
        shown.out(),
        ours(&["manifest", "inspect", &list]).ok().out()
    );
    assert_eq!(shown.json()["manifests"].as_array().unwrap().len(), 2);
    theirs(&["manifest", "annotate", &list, &two, "--variant", "v8"]).ok();
    ours(&["manifest", "push", "--purge", &list]).ok();
    let pushed: Value =
        serde_json::from_slice(&registry.get("/v2/app/manifests/list").body).unwrap();
    assert_eq!(pushed["manifests"][1]["platform"]["variant"], "v8");
}

/// As `docker buildx imagetools` 0.29 printed it of the same images.
#[test]
fn imagetools_joins_images_and_shows_them_as_buildx_does() {
    let store = need!(Store::new());
    let registry = Registry::start();
    images(&store, &registry);
    let (list, one, two) = (
        registry.name("app:list"),
        registry.name("app:amd64"),
        registry.name("app:arm64"),
    );
    let digest = |tag: &str| {
        let reply = registry.get(&format!("/v2/app/manifests/{tag}"));
        reply.header("docker-content-digest").unwrap().to_owned()
    };
    let create = |args: &[&str]| store.rbuild(["buildx", "imagetools", "create"]).args(args);
    create(&["-t", &list, &one, &two]).ok();
    let text = store.rbuild(["imagetools", "inspect", &list]).ok().out();
    let (first, second) = (digest("amd64"), digest("arm64"));
    let kind = "application/vnd.docker.distribution.manifest";
    let expected = format!(
        "Name:      {list}\nMediaType: {kind}.list.v2+json\nDigest:    {}\n           \n\
         Manifests: \n  Name:      {list}@{first}\n  MediaType: {kind}.v2+json\n  \
         Platform:  linux/amd64\n             \n  Name:      {list}@{second}\n  \
         MediaType: {kind}.v2+json\n  Platform:  linux/arm64\n",
        digest("list")
    );
    assert_eq!(text, expected);
    let text = store.rbuild(["imagetools", "inspect", &one]).ok().out();
    let expected = format!("Name:      {one}\nMediaType: {kind}.v2+json\nDigest:    {first}\n");
    assert_eq!(text, expected);
    let raw = store
        .rbuild(["imagetools", "inspect", "--raw", &list])
        .ok()
        .out();
    assert_eq!(raw.as_bytes(), registry.get("/v2/app/manifests/list").body);
    let format = |format: &str, name: &str| {
        let done = store.rbuild(["imagetools", "inspect", "--format", format, name]);
        done.ok().out()
    };
    assert_eq!(format("{{.Manifest.Digest}}", &one), first);
    assert_eq!(
        format("{{(index .Image \"linux/arm64\").Architecture}}", &list),
        "arm64"
    );
    let all: Value = serde_json::from_str(&format("{{json .}}", &list)).unwrap();
    assert_eq!(all["image"]["linux/arm64"]["architecture"], "arm64");
    assert_eq!(all["manifest"]["manifests"][0]["digest"], first);
    // A copy is one to the byte; one image alone is put into a list; more are added.
    let copy = registry.name("copy/app:1");
    create(&["-t", &copy, &list]).ok();
    assert_eq!(
        registry.get("/v2/copy/app/manifests/1").body,
        raw.as_bytes()
    );
    let fresh = need!(Store::new());
    fresh.rbuild(["pull", "--platform", "all", &copy]).ok();
    let single = registry.name("app:single");
    create(&["-t", &single, &one]).ok();
    let listed = || -> Vec<Value> {
        let body = registry.get("/v2/app/manifests/single").body;
        let index: Value = serde_json::from_slice(&body).unwrap();
        index["manifests"].as_array().unwrap().clone()
    };
    assert_eq!(listed().len(), 1);
    create(&["-t", &single, "--append", &second]).ok();
    assert_eq!(listed()[1]["digest"], second);
    assert_eq!(listed()[1]["platform"]["architecture"], "arm64");
    create(&[
        "--prefer-index=false",
        "-t",
        &registry.name("app:same"),
        &one,
    ])
    .ok();
    assert_eq!(digest("same"), first);
    // Shown and not pushed, for one platform.
    let shown = create(&["--dry-run", "-p", "linux/arm64", &list])
        .ok()
        .json();
    assert_eq!(shown["manifests"].as_array().unwrap().len(), 1);
    for (args, told) in [
        (&["-t", list.as_str()][..], "no sources specified"),
        (
            &[one.as_str()],
            "can't push with no tags specified, please set --tag or --dry-run",
        ),
        (&["--dry-run", "127.0.0.1:1/x:y z"], "invalid reference"),
    ] {
        create(args).fails(1).tells(told);
    }
    let missing = registry.name("app:none");
    create(&["--dry-run", &missing])
        .fails(1)
        .tells(&format!("{missing}: not found"));
}
