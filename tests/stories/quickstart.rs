//! The README's demo: build the hello example, push it to a registry, pull it elsewhere.

use e2e::{Dir, Registry, Store, need, repository};
use serde_json::json;

fn hello() -> Dir {
    Dir::new().copy_of(&repository().join("Dockerfile.examples/hello"))
}

#[test]
fn build_push_look_and_pull() {
    let store = need!(Store::busybox());
    let registry = Registry::start();
    let hello = hello();

    // Plain `rbuild -t …` is the same as `rbuild build -t …`.
    store
        .rbuild(["-t", "app:v1", "."])
        .current_dir(hello.path())
        .ok()
        .tells("Hello from the build, running as root");
    let name = registry.name("app:v1");
    store.rbuild(["tag", "app:v1", &name]).ok();
    store.rbuild(["push", &name]).ok();

    let version = registry.get("/v2/");
    assert_eq!((version.status, version.text().as_str()), (200, "{}"));
    let catalog = registry.get("/v2/_catalog");
    assert_eq!(catalog.json(), json!({"repositories": ["app"]}));
    let tags = registry.get("/v2/app/tags/list");
    assert_eq!(tags.json(), json!({"name": "app", "tags": ["v1"]}));

    let elsewhere = need!(Store::new());
    elsewhere.rbuild(["pull", &name]).ok();
    assert_eq!(elsewhere.id(&name), store.id("app:v1"));
    assert_eq!(elsewhere.tree(&name), store.tree("app:v1"));
}

#[test]
fn what_was_built_can_be_built_upon() {
    let store = need!(Store::busybox());
    store.build("hello", &hello()).ok();
    let next = Dir::dockerfile("FROM hello\nUSER root\nRUN greet you > /said\n");
    store.build("next", &next).ok();
    let said = store.tree("next").text("said");
    assert!(said.starts_with("Hello, you!\n"), "{said}");
}

#[test]
fn a_base_is_pulled_from_a_registry() {
    let store = need!(Store::busybox());
    let registry = Registry::start();
    let name = registry.name("bases/busybox:1");
    store.rbuild(["tag", "busybox", &name]).ok();
    store.rbuild(["push", &name]).ok();

    let fresh = need!(Store::new());
    let context = Dir::dockerfile(&format!("FROM {name}\nRUN echo made > /made\n"));
    let (_, tree) = fresh.built(&context);
    assert_eq!(tree.text("made"), "made\n");
    assert!(tree.has("bin/busybox"));

    // By digest as well, and pushed back it shares the base's layer.
    let digest = registry
        .get("/v2/bases/busybox/manifests/1")
        .header("docker-content-digest")
        .expect("a digest")
        .to_owned();
    let pinned = registry.name(&format!("bases/busybox@{digest}"));
    let (_, tree) = fresh.built(&Dir::dockerfile(&format!(
        "FROM {pinned}\nCOPY Dockerfile /\n"
    )));
    assert!(tree.has("Dockerfile"));
}

#[test]
fn help_teaches() {
    let store = need!(Store::new());
    let help = store.rbuild(["--help"]).ok().out();
    for word in [
        "build",
        "push",
        "pull",
        "tag",
        "rmi",
        "save",
        "load",
        "rbuild -t app:v1 .",
    ] {
        assert!(help.contains(word), "no {word} in:\n{help}");
    }
    let version = store.rbuild(["--version"]).ok().out();
    assert!(version.starts_with("rbuild "), "{version}");
    for shell in ["bash", "zsh", "fish"] {
        store.rbuild(["completions", shell]).ok().says("rbuild");
    }
    store
        .rbuild(["bild"])
        .fails(1)
        .tells("'bild' is not an rbuild command. Did you mean build?");
}
