//! Choosing what is pruned, and seeing what there is.

use e2e::{Dir, Store, need};

/// Two images without a name, one with a label, and one with a name.
fn with_images(store: &Store) {
    for (tag, label) in [("a", "keep=yes"), ("b", "team=x"), ("named", "team=x")] {
        let text = format!("FROM busybox\nLABEL {label}\nRUN echo {tag} >/f\n");
        store.build(tag, &Dir::dockerfile(&text)).ok();
    }
    let empty = Dir::dockerfile("FROM scratch\nLABEL none=1\n");
    for tag in ["a", "b"] {
        store.build(tag, &empty).ok();
    }
}

/// The names and labels that are left, by what `inspect` says of each.
fn labels(store: &Store) -> Vec<String> {
    let ids = store.rbuild(["images", "-q", "--no-trunc"]).ok().out();
    let mut found = Vec::new();
    for id in ids.lines() {
        let labels = store.config(id)["Labels"].to_string();
        if labels.contains("keep") || labels.contains("team") {
            found.push(labels);
        }
    }
    found.sort();
    found.dedup();
    found
}

#[test]
fn images_are_pruned_by_labels() {
    let store = need!(Store::busybox());
    with_images(&store);
    let (keep, team) = (r#"{"keep":"yes"}"#.to_owned(), r#"{"team":"x"}"#.to_owned());
    let prune = |flags: &[&str]| {
        store
            .rbuild(["image", "prune", "-f"])
            .args(flags)
            .ok()
            .out()
    };
    // docker's meaning: all labels that are asked for, and none that is not wanted.
    assert!(prune(&["--filter", "label=team=y"]).ends_with("reclaimed space: 0B\n"));
    assert_eq!(labels(&store), [keep.clone(), team.clone()]);
    let dry = prune(&["--filter", "label!=keep", "--dry-run"]);
    // Its layers are the cache's too.
    assert_eq!(dry.matches("deleted: sha256:").count(), 1, "{dry}");
    prune(&["--filter", "label!=keep"]);
    // The image with that label and a name stays: only what has none is pruned.
    assert_eq!(labels(&store), [keep.clone(), team.clone()]);
    prune(&["--filter", "dangling=false", "--filter", "label=team"]);
    assert_eq!(labels(&store), [keep]);
    assert!(store.has("busybox"));
    prune(&["--filter=dangling=true", "--filter=label=keep=yes"]);
    assert_eq!(labels(&store), Vec::<String>::new());
    for (flags, code, told) in [
        (&["--filter", "foo=bar"][..], 1, "invalid filter 'foo'"),
        (&["--filter", "id=x"], 1, "invalid filter 'id'"),
        (&["--filter", "dangling"], 125, "(expected name=value)"),
    ] {
        let command = store.rbuild(["image", "prune", "-f"]).args(flags);
        command.fails(code).tells(told);
    }
}

#[test]
fn build_cache_is_pruned_by_what_it_is() {
    let store = need!(Store::busybox());
    let context = Dir::dockerfile(
        "FROM busybox\nRUN --mount=type=cache,target=/c echo x >/c/x\nRUN echo one >/one\n\
         RUN echo two >/two\n",
    );
    let kinds = || {
        let listed = store.rbuild(["df", "-v"]).ok().out();
        let (_, listed) = listed.split_once("Build cache usage:").unwrap();
        let mounts = listed.matches("exec.cachemount").count();
        (listed.matches("regular").count(), mounts, listed.to_owned())
    };
    let prune = |flags: &[&str]| {
        let command = store.rbuild(["builder", "prune", "-af"]).args(flags);
        command.ok().out()
    };
    store.build("app", &context).ok();
    let (regular, mounts, _) = kinds();
    assert_eq!((regular, mounts), (3, 1));
    assert!(prune(&["--filter", "type=source.local"]).ends_with("space: 0B\n"));
    prune(&["--filter", "type=exec.cachemount"]);
    assert_eq!(kinds().1, 0);
    prune(&["--filter", "description~=one$|nothing"]);
    assert_eq!(kinds().0, 2, "{}", kinds().2);
    let (_, _, listed) = kinds();
    let id = listed.lines().find(|line| line.contains("two")).unwrap();
    let id = id.split_whitespace().next().unwrap();
    prune(&["--filter", &format!("id!={id}")]);
    let (left, _, listed) = kinds();
    assert!(left == 1 && listed.contains(id), "{listed}");
    // What is about the cache alone leaves images, and the other way round.
    store
        .rbuild(["prune", "-af", "--filter", "label=nothing"])
        .ok();
    assert_eq!(kinds().0, 1);
    store
        .rbuild(["prune", "-af", "--filter", &format!("id={id}")])
        .ok();
    assert_eq!(kinds().0, 0);
    assert!(store.has("app"));
    // More than the disk has: nothing stays; less than is free: all does.
    store.build("app", &context).arg("--no-cache").ok();
    prune(&["--min-free-space", "1b"]);
    assert_eq!(kinds().0, 3);
    prune(&["--min-free-space", "100000t"]);
    assert_eq!(kinds().0, 0);
    let wrong = store.rbuild(["builder", "prune", "-f", "--reserved-space=x"]);
    wrong.fails(125).tells("invalid size: 'x'");
    let wrong = store.rbuild(["builder", "prune", "-f", "--filter", "description~=("]);
    wrong.fails(1).tells("invalid filter 'description~=('");
}

/// The columns of docker 28.5, of which the last tells what is in use.
#[test]
fn images_as_a_tree() {
    let store = need!(Store::busybox());
    let context = Dir::dockerfile("FROM scratch\nCOPY f /\n").file("f", vec![b'x'; 2000]);
    let platforms = "--platform=linux/amd64,linux/arm64";
    store
        .build("many", &context)
        .args([platforms, "-t", "other:v1"])
        .ok();
    let tree = store.rbuild(["images", "--tree"]).ok().out();
    let mut lines = tree.lines();
    let header = "IMAGE            ID             DISK USAGE   CONTENT SIZE   EXTRA";
    assert_eq!(lines.next().unwrap(), header, "{tree}");
    let index = store.rbuild(["images", "-q", "many"]).ok().out();
    let words =
        |line: &str| -> Vec<String> { line.split_whitespace().map(str::to_owned).collect() };
    assert_eq!(lines.next().unwrap().trim_end(), "many:latest");
    let top = words(lines.next().unwrap());
    assert_eq!(
        top[..2],
        ["other:v1".to_owned(), index.trim().to_owned()],
        "{tree}"
    );
    // Two images with a file of 2000 bytes, which they do not share.
    assert_eq!(top[2], "4kB", "{tree}");
    for (branch, platform) in [("├─", "linux/amd64"), ("└─", "linux/arm64")] {
        let line = words(lines.next().unwrap());
        assert_eq!(
            line[..2],
            [branch.to_owned(), platform.to_owned()],
            "{tree}"
        );
        assert_eq!(line[3], "2kB", "{tree}");
    }
    assert!(tree.contains("busybox:latest"), "{tree}");
    store.rbuild(["images", "--tree", "-q"]).fails(125);
}
