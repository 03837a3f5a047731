//! Images in the store: names, lists, history, and archives of them.

use e2e::{Archive, Cmd, Dir, Store, Tree, need};
use serde_json::json;

fn app() -> Dir {
    Dir::dockerfile(
        "FROM busybox\nENV A=1\nRUN mkdir /d && echo x >/d/x && ln /d/x /d/hard && chown 3:4 /d/x && chmod 4750 /d/x\n\
         RUN rm -r /home\nCMD [\"cat\", \"/d/x\"]\n",
    )
}

#[track_caller]
fn lines(store: &Store, args: &[&str]) -> Vec<String> {
    let out = store.rbuild(args).ok().out();
    out.lines().map(str::to_owned).collect()
}

#[test]
fn names_come_and_go() {
    let store = need!(Store::busybox());
    store.build("app:v1", &app()).ok();
    let id = store.id("app:v1");
    store
        .rbuild(["tag", "app:v1", "localhost:5000/team/app"])
        .ok();
    let short = &id["sha256:".len()..][..12];
    store.rbuild(["tag", short, "by-id:x"]).ok();
    for name in [
        "localhost:5000/team/app:latest",
        "by-id:x",
        "docker.io/library/app:v1",
        short,
        &id,
    ] {
        assert_eq!(store.id(name), id, "{name}");
    }

    let table = lines(&store, &["images"]);
    let words: Vec<&str> = table[0].split_whitespace().collect();
    assert_eq!(
        words,
        ["REPOSITORY", "TAG", "IMAGE", "ID", "CREATED", "SIZE"]
    );
    for (repository, tag) in [
        ("app", "v1"),
        ("localhost:5000/team/app", "latest"),
        ("by-id", "x"),
    ] {
        let row = table.iter().any(|row| {
            let words: Vec<&str> = row.split_whitespace().collect();
            words[..3] == [repository, tag, short]
        });
        assert!(row, "{repository}:{tag} in {table:#?}");
    }
    assert_eq!(lines(&store, &["images", "-q", "app"]), [short]);
    assert_eq!(
        lines(&store, &["images", "-q", "--no-trunc", "app:v1"]),
        [&id[..]]
    );
    assert_eq!(lines(&store, &["images", "-q", "nothing"]), [""; 0]);

    // An ID with several names is not removed by mistake.
    store
        .rbuild(["rmi", short])
        .fails(1)
        .tells("must be forced");
    let out = store
        .rbuild(["rmi", "by-id:x", "localhost:5000/team/app"])
        .ok()
        .out();
    assert_eq!(
        out,
        "Untagged: by-id:x\nUntagged: localhost:5000/team/app:latest\n"
    );
    let out = store.rbuild(["rmi", "app:v1"]).ok().out();
    assert!(out.starts_with("Untagged: app:v1\n"), "{out}");
    assert!(out.contains(&format!("Deleted: {id}\n")), "{out}");
    assert!(!store.has(&id));
    assert!(store.has("busybox"), "what it was built on stays");
    store
        .rbuild(["rmi", "app:v1"])
        .fails(1)
        .tells("No such image: app:v1");
    store
        .rbuild(["tag", "none", "x"])
        .fails(1)
        .tells("No such image: none");
    store
        .rbuild(["tag", "busybox", "UPPER"])
        .fails(1)
        .tells("UPPER");
}

#[test]
fn a_rebuilt_tag_leaves_the_old_image_without_name() {
    let store = need!(Store::busybox());
    store
        .build("app", &Dir::dockerfile("FROM busybox\nENV A=1\n"))
        .ok();
    let old = store.id("app");
    store
        .build("app", &Dir::dockerfile("FROM busybox\nENV A=2\n"))
        .ok();
    assert_ne!(store.id("app"), old);
    assert_eq!(store.inspect(&old)["RepoTags"], json!([]));
    let dangling = lines(
        &store,
        &["images", "-q", "--no-trunc", "--filter", "dangling=true"],
    );
    assert_eq!(dangling, [old]);
}

#[test]
fn history_and_inspect() {
    let store = need!(Store::busybox());
    store.build("app", &app()).ok();
    let history = lines(
        &store,
        &[
            "history",
            "--no-trunc",
            "--format",
            "{{.CreatedBy}}|{{.Size}}",
            "app",
        ],
    );
    assert_eq!(history[0], "CMD [\"cat\" \"/d/x\"]|0B");
    assert_eq!(
        history[1], "RUN /bin/sh -c rm -r /home # buildkit|0B",
        "whiteouts hold nothing"
    );
    assert_eq!(history[3], "ENV A=1|0B");
    let table = lines(&store, &["history", "app"]);
    let words: Vec<&str> = table[0].split_whitespace().collect();
    assert_eq!(
        words,
        ["IMAGE", "CREATED", "CREATED", "BY", "SIZE", "COMMENT"]
    );
    assert_eq!(table.len(), 6, "{table:#?}");

    let image = store.inspect("app");
    assert_eq!(image["RepoTags"], json!(["app:latest"]));
    assert_eq!(image["Config"]["Cmd"], json!(["cat", "/d/x"]));
    assert_eq!(image["RootFS"]["Layers"].as_array().unwrap().len(), 3);
    assert_eq!(image["Os"], "linux");
    let formatted = store
        .rbuild(["inspect", "-f", "{{.Os}} {{json .Config.Cmd}}", "app"])
        .ok();
    assert_eq!(formatted.out(), "linux [\"cat\",\"/d/x\"]\n");
    let missing = store.rbuild(["inspect", "app", "nosuch"]).fails(1);
    assert_eq!(missing.json().as_array().unwrap().len(), 1);
    missing.tells("nosuch");
}

#[test]
fn save_and_load_keep_the_image() {
    let store = need!(Store::busybox());
    store.build("app:v1", &app()).ok();
    store.rbuild(["tag", "app:v1", "other/name"]).ok();
    let id = store.id("app:v1");
    let elsewhere = need!(Store::new());
    for format in ["docker-archive", "oci-archive", "oci-dir"] {
        let file = store.file(format);
        store
            .rbuild(["save", "--format", format, "-o"])
            .arg(&file)
            .args(["app:v1", "other/name"])
            .ok();
        let loaded = elsewhere.rbuild(["load", "-i"]).arg(&file).ok();
        loaded.says("Loaded image: app:v1");
        for name in ["app:v1", "other/name"] {
            assert_eq!(elsewhere.id(name), id, "{format}");
        }
        assert_eq!(elsewhere.tree("app:v1"), store.tree("app:v1"));
        elsewhere.rbuild(["rmi", "app:v1", "other/name"]).ok();
    }
    // Through a pipe, and the same bytes every time.
    let one = store.rbuild(["save", "app:v1"]).ok().stdout;
    assert_eq!(one, store.rbuild(["save", "app:v1"]).ok().stdout);
    elsewhere.rbuild(["load", "-q"]).stdin(&one).ok();
    assert_eq!(elsewhere.id("app:v1"), id);
}

#[test]
fn damaged_archives_are_refused() {
    let store = need!(Store::busybox());
    store.build("app", &app()).ok();
    let good = store.rbuild(["save", "app"]).ok().stdout;
    let elsewhere = need!(Store::new());
    // A byte of a layer's content, far from any header.
    let mut changed = good.clone();
    let middle = changed.len() / 2;
    changed[middle] ^= 0x55;
    elsewhere.rbuild(["load"]).stdin(&changed).fails(1);
    elsewhere
        .rbuild(["load"])
        .stdin(&good[..good.len() / 3])
        .fails(1);
    elsewhere.rbuild(["load"]).stdin("not an archive").fails(1);
    assert_eq!(lines(&elsewhere, &["images", "-qa"]), [""; 0]);
    elsewhere.rbuild(["load"]).stdin(&good).ok();
}

#[test]
fn export_and_import() {
    let store = need!(Store::busybox());
    store.build("app", &app()).ok();
    let tar = store.file("root.tar");
    store.rbuild(["export", "-o"]).arg(&tar).arg("app").ok();
    let tree = Tree::from_tar(&tar);
    assert_eq!(tree.owner("d/x"), "3:4 4750");
    assert_eq!(tree.text("d/hard"), "x\n");
    assert!(!tree.has("home"));
    store
        .rbuild([
            "import",
            "-c",
            "ENV B=2",
            "--change",
            "CMD cat /d/x",
            "-m",
            "flattened",
        ])
        .arg(&tar)
        .arg("flat:1")
        .ok();
    assert_eq!(store.tree("flat:1"), tree);
    let config = store.config("flat:1");
    assert_eq!(config["Cmd"], json!(["/bin/sh", "-c", "cat /d/x"]));
    assert_eq!(
        store.inspect("flat:1")["RootFS"]["Layers"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    let out = store
        .build("more", &Dir::dockerfile("FROM flat:1\nRUN echo $B >/b\n"))
        .ok();
    out.never_tells("ERROR");
    assert_eq!(store.tree("more").text("b"), "2\n");
    // Compressed, through a pipe.
    let gz = Cmd::new("gzip").arg("-c").arg(&tar).ok().stdout;
    store.rbuild(["import", "-", "piped"]).stdin(gz).ok();
    assert_eq!(store.tree("piped"), tree);
    store.rbuild(["import", "-", "x"]).stdin("junk").fails(1);
    store
        .rbuild(["import", "--change", "RUN x"])
        .arg(&tar)
        .fails(1)
        .tells("RUN");
}

#[test]
fn layers_in_archives_are_as_they_were() {
    let store = need!(Store::busybox());
    store.build("app", &app()).ok();
    let file = store.file("a.tar");
    store.rbuild(["save", "-o"]).arg(&file).arg("app").ok();
    let archive = Archive::read(&file);
    assert_eq!(archive.tags, ["app:latest"]);
    assert_eq!(archive.layers, 3);
    let exported = store.tree("app");
    let differences = archive.tree.differences(&exported);
    assert!(differences.is_empty(), "{differences:#?}");
}
