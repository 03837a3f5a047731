//! Further build contexts by name, and questions about a Dockerfile that build nothing.

use e2e::{Dir, Store, need, skopeo};

#[test]
fn a_named_folder_is_copied_from_and_built_upon() {
    let store = need!(Store::busybox());
    let other = Dir::new()
        .file("data", "other")
        .file("sub/f", "f")
        .file("skip", "")
        .file(".dockerignore", "skip\n");
    let context = Dir::dockerfile(
        "FROM rootfs AS base\nFROM busybox\nCOPY --from=rootfs /data /copied\n\
         COPY --from=base / /whole\n",
    );
    let named = format!("rootfs={}", other.path().display());
    store
        .build("app", &context)
        .args(["--build-context", &named])
        .ok();
    let tree = store.tree("app");
    assert_eq!(tree.text("copied"), "other");
    assert_eq!(tree.text("whole/sub/f"), "f");
    assert!(!tree.has("whole/skip"), "its own ignore file counts");

    store
        .build("base", &context)
        .args(["--target", "base", "--build-context", &named])
        .ok();
    assert_eq!(store.tree("base").text("data"), "other");
    assert_eq!(store.tree("base").owner("data"), "0:0 644");
    let again = store
        .build("base", &context)
        .args(["--target", "base", "--build-context", &named])
        .ok();
    assert!(again.err().contains("CACHED"), "{again}");
}

#[test]
fn a_name_replaces_an_image_however_it_is_written() {
    let store = need!(Store::busybox());
    store.rbuild(["tag", "busybox", "mine:v1"]).ok();
    for base in ["nowhere", "nowhere:latest", "docker.io/library/nowhere"] {
        let context = Dir::dockerfile(&format!("FROM {base}\nRUN true\n"));
        store
            .build("app", &context)
            .args(["--build-context", "nowhere=docker-image://mine:v1"])
            .ok();
    }
}

#[test]
fn layouts_are_bases_as_they_lie() {
    let store = need!(Store::busybox());
    let layout = store.file("layout");
    let made = Dir::dockerfile("FROM busybox\nENV FROM_LAYOUT=1\nRUN echo in >/in\n");
    store.build("inner:v7", &made).ok();
    store
        .rbuild(["save", "--format", "oci-dir", "-o"])
        .arg(&layout)
        .arg("inner:v7")
        .ok();
    store.rbuild(["rmi", "-f", "inner:v7"]).ok();
    let images = store.rbuild(["images", "-aq"]).ok().out();

    let context = Dir::dockerfile("FROM lay\nRUN cat /in >/out\nCOPY --from=lay /in /copied\n");
    for place in ["", ":v7"] {
        let named = format!("lay=oci-layout://{}{place}", layout.display());
        store
            .build("outer", &context)
            .args(["--build-context", &named])
            .ok();
        let tree = store.tree("outer");
        assert_eq!(tree.text("out") + &tree.text("copied"), "in\nin\n");
        let env = store.config("outer")["Env"].to_string();
        assert!(env.contains("FROM_LAYOUT=1"), "{env}");
        store.rbuild(["rmi", "-f", "outer"]).ok();
    }
    assert_eq!(
        store.rbuild(["images", "-aq"]).ok().out(),
        images,
        "a layout's image is none of the store"
    );

    let wrong = format!("lay=oci-layout://{}:v8", layout.display());
    let done = store
        .build("outer", &context)
        .args(["--build-context", &wrong])
        .fails(1);
    assert!(
        done.err().contains("no image tagged v8; it has v7"),
        "{done}"
    );
    assert!(done.err().contains("Dockerfile:1:6"), "{done}");
}

#[test]
fn layouts_of_other_tools_work_too_by_digest_as_well() {
    let store = need!(Store::busybox());
    let archive = store.file("busybox.tar");
    store
        .rbuild(["save", "-o"])
        .arg(&archive)
        .arg("busybox")
        .ok();
    let layout = store.file("by-skopeo");
    need!(skopeo(&["copy"]))
        .arg(format!("docker-archive:{}", archive.display()))
        .arg(format!("oci:{}:tagged", layout.display()))
        .ok();
    let index: serde_json::Value =
        serde_json::from_slice(&std::fs::read(layout.join("index.json")).unwrap()).unwrap();
    let digest = index["manifests"][0]["digest"].as_str().unwrap();
    let context = Dir::dockerfile("FROM lay\nRUN echo x >/x\n");
    for place in [":tagged".to_owned(), format!("@{digest}")] {
        let named = format!("lay=oci-layout://{}{place}", layout.display());
        store
            .build("outer", &context)
            .args(["--no-cache", "--build-context", &named])
            .ok();
        assert_eq!(store.tree("outer").text("x"), "x\n");
    }
    // What is not what its digest says is found out: a layer, and the manifest itself.
    let manifest = layout
        .join("blobs/sha256")
        .join(digest.trim_start_matches("sha256:"));
    let manifest: serde_json::Value =
        serde_json::from_slice(&std::fs::read(manifest).unwrap()).unwrap();
    let layer = manifest["layers"][0]["digest"].as_str().unwrap();
    let path = layout
        .join("blobs/sha256")
        .join(layer.trim_start_matches("sha256:"));
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let other = need!(Store::new());
    let named = format!("lay=oci-layout://{}", layout.display());
    other
        .build("outer", &context)
        .args(["--build-context", &named])
        .fails(1);
    let blob = digest.trim_start_matches("sha256:");
    std::fs::write(layout.join("blobs/sha256").join(blob), "{}").unwrap();
    let named = format!("lay=oci-layout://{}", layout.display());
    let done = store
        .build("outer", &context)
        .args(["--build-context", &named])
        .fails(1);
    assert!(done.err().contains("should have the digest"), "{done}");
}

#[test]
fn questions_are_answered_without_building() {
    let store = need!(Store::new());
    let context = Dir::dockerfile(
        "ARG BASE=nowhere:1\n# tools compiles\nFROM $BASE AS tools\n# SPEED is how fast\nARG SPEED=1\n\
         RUN --mount=type=secret,id=key,required true\nFROM scratch\nCOPY --from=tools / /\n",
    );
    let ask = |call: &str| {
        let args = ["build", "--call", call, "--build-arg", "SPEED=9"];
        store.rbuild(args).arg(context.path()).ok()
    };
    let outline = ask("outline").out();
    let rows: Vec<Vec<&str>> = outline
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert!(rows.contains(&vec!["BASE", "nowhere:1"]), "{outline}");
    assert!(
        rows.contains(&vec!["SPEED", "9", "is", "how", "fast"]),
        "{outline}"
    );
    assert!(rows.contains(&vec!["key", "true"]), "{outline}");
    let outline = ask("outline,format=json").json();
    assert_eq!(outline["secrets"][0]["required"], true);
    assert_eq!(
        outline["args"][1]["location"]["ranges"][0]["start"]["line"],
        5
    );
    let targets = ask("targets").out();
    assert_eq!(
        targets,
        "TARGET    DESCRIPTION\ntools     compiles\n(default) \n"
    );
    let targets = ask("targets,format=json").json();
    assert_eq!(targets["targets"][0]["base"], "$BASE");
    assert_eq!(targets["targets"][1]["default"], true);
    let check = ask("check,format=json").json();
    assert_eq!(check["warnings"], serde_json::json!([]));
    let printed = store
        .rbuild(["build", "--print=targets"])
        .arg(context.path())
        .ok();
    assert!(printed.out().starts_with("TARGET"), "{printed}");
}

#[test]
fn a_refused_file_is_told_as_json_too() {
    let store = need!(Store::new());
    let context = Dir::dockerfile("FROM a\nRUM x\nCOPY --form=b c d\n");
    let done = store
        .rbuild(["lint", "--format", "json"])
        .arg(context.path())
        .fails(1);
    let document: serde_json::Value = serde_json::from_str(&done.out()).unwrap();
    assert_eq!(document["errors"].as_array().unwrap().len(), 2);
    assert_eq!(
        document["buildError"]["location"]["ranges"][0]["start"]["line"],
        2
    );
    let done = store
        .rbuild(["build", "--call=check,ignorestatus"])
        .arg(Dir::dockerfile("from a\nRUN x\nRUN y\n").path())
        .ok();
    assert!(done.out().contains("ConsistentInstructionCasing"), "{done}");
}

#[test]
fn checks_and_questions_know_what_the_base_sets() {
    let store = need!(Store::busybox());
    let base = Dir::dockerfile("FROM busybox\nENV FOO=1\nONBUILD ARG Q=5\n");
    store.build("mine:v1", &base).ok();
    let context =
        Dir::dockerfile("FROM mine:v1\nENV X=${FOO:?}\nCOPY <<E /x\n${FOO:?}\nE\nLABEL q=$Q\n");
    store.build("app", &context).ok();
    assert_eq!(store.tree("app").text("x"), "1\n");
    store.rbuild(["lint"]).arg(context.path()).ok();
    let outline = store
        .rbuild(["build", "--call=outline"])
        .arg(context.path())
        .ok();
    assert!(outline.out().contains("Q           5"), "{outline}");

    // Of a base that was not pulled nothing is known, and nothing is held against it.
    let context = Dir::dockerfile("FROM nowhere:1\nARG X=${FOO:?}\nEXPOSE ${A}/tcp ${B}/tcp\n");
    store.rbuild(["lint"]).arg(context.path()).ok();
    store
        .rbuild(["build", "--call=outline"])
        .arg(context.path())
        .ok();
    let replaced = "nowhere:1=docker-image://mine:v1";
    let check = store
        .rbuild(["build", "--check", "--build-context", replaced])
        .arg(Dir::dockerfile("FROM nowhere:1\nENV X=$FOO\n").path())
        .ok();
    assert!(check.out().contains("no warnings"), "{check}");
    let lint = store
        .rbuild(["lint", "--build-context", replaced])
        .arg(Dir::dockerfile("FROM nowhere:1\nENV X=$FOO\n").path())
        .ok();
    assert!(lint.out().contains("no warnings"), "{lint}");
}

#[test]
fn a_check_that_needs_the_base_stops_the_build_as_well() {
    let store = need!(Store::busybox());
    let context = Dir::dockerfile("# check=error=true\nFROM busybox\nENV X=$FOO\nRUN echo ran\n");
    let done = store.build("app", &context).fails(1);
    assert!(done.err().contains("UndefinedVar"), "{done}");
    done.never_tells("#2");
    assert!(!store.has("app"));
}

/// What docker 28 copies of the same contexts: what is excluded by itself stays out, also when the
/// folder that it is in is taken in again.
#[test]
fn what_is_taken_in_again_is_not_what_was_left_out_below() {
    let store = need!(Store::busybox());
    let copy = "FROM scratch\nCOPY . /x\n";
    let context = Dir::dockerfile(copy)
        .file("a/b", "1")
        .file("a/c/d", "2")
        .file("e", "3")
        .file("f/g/h", "4");
    let copied = |ignore: &str| {
        context.write(".dockerignore", ignore);
        let (_, tree) = store.built(&context);
        let mut below = tree.below("x");
        below.retain(|path| !path.contains("ocker"));
        below.join(" ")
    };
    for (ignore, left) in [
        ("*/*\n!*\n", "a e f"),
        ("*/*\n!a\n", "a e f"),
        ("a/c\n!a\n", "a a/b e f f/g f/g/h"),
        ("**/d\n!a\n", "a a/b a/c e f f/g f/g/h"),
        ("a\n!a\na/b\n", "a a/c a/c/d e f f/g f/g/h"),
        ("f\n!f/g\nf/g/h\n!f/g/*\n", "a a/b a/c a/c/d e f f/g f/g/h"),
    ] {
        assert_eq!(copied(ignore), left, "{ignore:?}");
    }
    context.write(".dockerignore", "");
    context.write(
        "Dockerfile",
        "FROM scratch\nCOPY --exclude=a/* --exclude=!a --exclude=Dockerfile . /x\n",
    );
    let (_, tree) = store.built(&context);
    assert!(!tree.has("x/a/b") && tree.has("x/f/g/h"));
}
