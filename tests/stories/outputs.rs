//! `--output`: results in files, archives and registries, as buildx writes them.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;

use e2e::{Dir, Podman, Registry, Store, Tree, docker, need, skopeo};
use serde_json::Value;

const PLATFORMS: &str = "linux/amd64,linux/arm64";

fn app() -> Dir {
    Dir::dockerfile("FROM scratch\nCOPY a /etc/a\nCOPY b /b\nENV A=b\n")
        .file("a", "one")
        .file("b", "two")
        .mode("b", 0o755)
}

fn index_of(layout: &Path) -> Value {
    serde_json::from_slice(&fs::read(layout.join("index.json")).unwrap()).unwrap()
}

#[test]
fn files_go_to_a_folder_a_tar_or_standard_output() {
    let store = need!(Store::new());
    let out = store.file("out");
    let context = app();
    let build = |args: &[&str]| store.rbuild(["build"]).args(args).arg(context.path());
    // What is there stays, what has a name of the image's gives way.
    fs::create_dir_all(out.join("b/full")).unwrap();
    fs::write(out.join("other"), "kept").unwrap();
    let outside = store.file("outside");
    fs::create_dir(&outside).unwrap();
    symlink(&outside, out.join("etc")).unwrap();
    let to = out.display().to_string();
    build(&["-o", &to]).ok();
    assert_eq!(fs::read_to_string(out.join("etc/a")).unwrap(), "one");
    assert_eq!(fs::read_to_string(out.join("other")).unwrap(), "kept");
    assert_eq!(fs::metadata(out.join("b")).unwrap().mode() & 0o7777, 0o755);
    assert!(out.join("etc").symlink_metadata().unwrap().is_dir());
    assert_eq!(
        fs::read_dir(&outside).unwrap().count(),
        0,
        "nothing went through the link"
    );
    // No image is kept.
    assert_eq!(store.rbuild(["images", "-aq"]).ok().out(), "");
    let stdout = build(&["-o", "-"]).ok();
    assert_eq!(Tree::read(&stdout.stdout[..]).text("etc/a"), "one");
    let (tar, split) = (store.file("x.tar"), store.file("split"));
    let tar_output = format!("type=tar,dest={}", tar.display());
    let split_output = format!("type=local,dest={}", split.display());
    build(&[
        "--platform",
        PLATFORMS,
        "-o",
        &tar_output,
        "-o",
        &split_output,
    ])
    .ok();
    let tree = Tree::from_tar(&tar);
    for folder in ["linux_amd64", "linux_arm64"] {
        assert_eq!(tree.text(&format!("{folder}/etc/a")), "one");
        let file = split.join(folder).join("etc/a");
        assert_eq!(fs::read_to_string(file).unwrap(), "one");
    }
    let flat = format!("type=local,dest={},platform-split=true", out.display());
    build(&["--platform", "linux/amd64", "-o", &flat]).ok();
    assert!(out.join("linux_amd64/b").is_file());
}

/// Of nothing but metadata: an archive without entries, an empty folder.
#[test]
fn an_image_without_layers_has_no_files() {
    let store = need!(Store::busybox());
    let context = Dir::dockerfile("FROM scratch\nENV A=1\n");
    let build = |output: &str| {
        store
            .build("none", &context)
            .arg(format!("--output={output}"))
    };
    let (tar, folder) = (store.file("none.tar"), store.file("none"));
    build(&format!("type=tar,dest={}", tar.display())).ok();
    let written = fs::read(&tar).unwrap();
    assert_eq!(tar::Archive::new(&*written).entries().unwrap().count(), 0);
    build(&format!("type=local,dest={}", folder.display())).ok();
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
}

/// buildx's keys: warnings where the variable asks for them, and what `--call` answers.
#[test]
fn warnings_and_answers_go_to_the_metadata_file() {
    let store = need!(Store::busybox());
    let context = Dir::new()
        .file("d/Dockerfile", "FROM busybox as x\nMAINTAINER y\n")
        .file("clean", "FROM busybox\n");
    let place = store.file("told.json");
    let run = |args: &[&str], wanted: &str| {
        let build = store.rbuild(["build", "--metadata-file"]).arg(&place);
        let build = build.env("BUILDX_METADATA_WARNINGS", wanted);
        build.args(args).current_dir(context.path())
    };
    let told = || serde_json::from_slice::<Value>(&fs::read(&place).unwrap()).unwrap();
    run(&["d"], "true").ok();
    let warnings = &told()["buildx.build.warnings"];
    assert_eq!(warnings.as_array().unwrap().len(), 2);
    assert_eq!(warnings[0]["range"][0]["start"]["line"], 1);
    run(&["d"], "false").ok();
    assert!(told().get("buildx.build.warnings").is_none());
    // Where the file is, seen from here, so that editors find it.
    let done = run(&["--check", "./d"], "").fails(1);
    assert!(done.out().contains("\nd/Dockerfile:1\n"), "{done}");
    assert_eq!(
        told()["result.json"]["warnings"].as_array().unwrap().len(),
        2
    );
    assert_eq!(told()["result.statuscode"], "1");
    assert!(told().get("buildx.build.ref").is_none());
    run(&["--check", "-f", "clean", "."], "").ok();
    let none = (
        told()["result.txt"].take(),
        told()["result.statuscode"].take(),
    );
    assert_eq!(none, ("".into(), "0".into()));
    run(&["--call=targets", "d"], "").ok();
    let targets = &told()["result.json"]["targets"];
    assert_eq!(targets[0]["name"], "x");
    run(&["--call=outline", "d"], "").ok();
    assert_eq!(told()["version"], "1.0.0");
}

/// As buildx 0.29 has it: steps are cached, and there is no image, whatever `--tag` says.
#[test]
fn a_build_for_the_cache_alone_leaves_no_image() {
    let store = need!(Store::busybox());
    let context = Dir::dockerfile("FROM busybox\nRUN echo ran >/ran\n");
    let build = |args: &[&str]| {
        let build = store.rbuild(["build", "-t", "app:1"]).args(args);
        build.arg(context.path()).ok()
    };
    let names = || store.rbuild(["images", "-aq"]).ok().out();
    let before = names();
    let quiet = build(&["-o", "type=cacheonly", "-q"]);
    assert_eq!(quiet.out(), "");
    assert_eq!(names(), before);
    let cached = build(&["--progress=plain"]);
    assert!(cached.err().contains("CACHED"), "{cached}");
    assert_eq!(store.tree("app:1").text("ran"), "ran\n");
}

#[test]
fn archives_are_read_by_the_tools_that_they_are_for() {
    let store = need!(Store::new());
    let (oci, for_docker, dir) = (
        store.file("oci.tar"),
        store.file("d.tar"),
        store.file("dir"),
    );
    let context = app();
    store
        .build("written:1", &context)
        .arg("-o")
        .arg(format!("type=oci,dest={}", oci.display()))
        .arg("-o")
        .arg(format!("type=docker,dest={}", for_docker.display()))
        .arg("-o")
        .arg(format!(
            "type=oci,tar=false,compression=zstd,compression-level=5,dest={}",
            dir.display()
        ))
        .ok();
    let layers = |source: &str| -> Vec<String> {
        let raw = skopeo(&["inspect", "--raw", source]).unwrap().ok().json();
        let layers = raw["layers"].as_array().unwrap().iter();
        layers
            .map(|l| l["mediaType"].as_str().unwrap().to_owned())
            .collect()
    };
    need!(skopeo(&["--version"])).ok();
    let gzip = "application/vnd.oci.image.layer.v1.tar+gzip";
    assert_eq!(layers(&format!("oci-archive:{}", oci.display())), [gzip; 2]);
    let zstd = "application/vnd.oci.image.layer.v1.tar+zstd";
    assert_eq!(layers(&format!("oci:{}", dir.display())), [zstd; 2]);
    let to = format!("dir:{}", store.file("copied").display());
    let from = format!("oci:{}", dir.display());
    need!(skopeo(&["copy", &from, &to])).ok();
    let docker = need!(docker());
    docker
        .cmd(["load", "-i"])
        .arg(&for_docker)
        .ok()
        .says("Loaded image: written:1");
    let podman = need!(Podman::new());
    podman.podman(&["load", "-i"]).arg(&oci).ok();
    let id = docker
        .cmd(["inspect", "-f", "{{.Id}}", "written:1"])
        .ok()
        .out();
    let theirs = podman
        .podman(&["inspect", "-f", "{{.Id}}", "written:1"])
        .ok()
        .out();
    assert_eq!(id.trim().trim_start_matches("sha256:"), theirs.trim());
    docker.cmd(["rmi", "-f", "written:1"]).ok();
    // Plain layers are the tars whose digests the configuration has.
    let plain = store.file("plain");
    store
        .build("written:1", &context)
        .arg("-o")
        .arg(format!(
            "type=oci,tar=false,compression=uncompressed,force-compression=true,dest={}",
            plain.display()
        ))
        .ok();
    let source = format!("oci:{}", plain.display());
    let raw = skopeo(&["inspect", "--raw", &source]).unwrap().ok().json();
    let config = skopeo(&["inspect", "--config", "--raw", &source])
        .unwrap()
        .ok()
        .json();
    for n in 0..2 {
        assert_eq!(raw["layers"][n]["digest"], config["rootfs"]["diff_ids"][n]);
    }
}

#[test]
fn registries_get_the_form_that_is_asked_for() {
    let store = need!(Store::new());
    let registry = Registry::start();
    let context = app();
    let name = registry.name("app:1");
    let output = format!("type=registry,name={name},compression=zstd,oci-mediatypes=true");
    store
        .rbuild(["build", "--annotation", "org.example.a=1"])
        .args(["--annotation", "manifest[linux/arm64]:b=2", "-o", &output])
        .arg(context.path())
        .ok();
    let manifest: Value =
        serde_json::from_slice(&registry.get("/v2/app/manifests/1").body).unwrap();
    assert_eq!(
        manifest["annotations"],
        serde_json::json!({"org.example.a": "1"})
    );
    assert_eq!(
        manifest["layers"][0]["mediaType"],
        "application/vnd.oci.image.layer.v1.tar+zstd"
    );
    assert_eq!(store.rbuild(["images", "-aq"]).ok().out(), "");
    // Without tag, and as one of several platforms.
    let (metadata, repository) = (store.file("metadata"), registry.name("bare"));
    let output = format!("type=image,name={repository},push=true,push-by-digest=true");
    store
        .rbuild(["build", "--platform", PLATFORMS, "-o", &output])
        .args([
            "--annotation",
            "index:i=1",
            "--annotation",
            "manifest-descriptor:d=2",
        ])
        .arg("--metadata-file")
        .arg(&metadata)
        .arg(context.path())
        .ok();
    let told: Value = serde_json::from_slice(&fs::read(&metadata).unwrap()).unwrap();
    let digest = told["containerimage.digest"].as_str().unwrap();
    assert_eq!(registry.get("/v2/bare/manifests/latest").status, 404);
    let index = registry.get(&format!("/v2/bare/manifests/{digest}"));
    let index: Value = serde_json::from_slice(&index.body).unwrap();
    assert_eq!(index["annotations"], serde_json::json!({"i": "1"}));
    for entry in index["manifests"].as_array().unwrap() {
        assert_eq!(entry["annotations"], serde_json::json!({"d": "2"}));
    }
}

/// With an epoch, two stores that know nothing of each other write the same bytes.
#[test]
fn same_input_same_digest_for_every_output() {
    let registry = Registry::start();
    let mut results = Vec::new();
    let context = app();
    for turn in 0..2 {
        let store = need!(Store::new());
        // Neither the time of files in the context nor that of the build counts.
        context.touch("a", 1_700_000_000 + turn);
        let name = registry.name(&format!("same{turn}:1"));
        let tars = ["oci", "docker", "tar"].map(|kind| store.file(kind));
        let local = store.file("local");
        let mut build = store
            .build("same:1", &context)
            .env("SOURCE_DATE_EPOCH", "1000000000");
        for (kind, path) in ["oci", "docker", "tar"].iter().zip(&tars) {
            build = build
                .arg("-o")
                .arg(format!("type={kind},dest={}", path.display()));
        }
        build
            .arg("-o")
            .arg(format!("type=local,dest={}", local.display()))
            .arg("-o")
            .arg(format!("type=registry,name={name}"))
            .ok();
        let multi = store.file("multi.tar");
        store
            .build("same:1", &context)
            .env("SOURCE_DATE_EPOCH", "1000000000")
            .args(["--platform", PLATFORMS, "-o"])
            .arg(format!("type=oci,dest={}", multi.display()))
            .ok();
        let mut result: Vec<Vec<u8>> = tars.iter().map(|path| fs::read(path).unwrap()).collect();
        result.push(fs::read(multi).unwrap());
        result.push(registry.get(&format!("/v2/same{turn}/manifests/1")).body);
        let mut listing = String::new();
        for path in ["", "b", "etc", "etc/a"] {
            let found = fs::metadata(local.join(path)).unwrap();
            let size = if found.is_file() { found.len() } else { 0 };
            // The folder itself is the caller's.
            let time = if path.is_empty() { 0 } else { found.mtime() };
            listing += &format!("{path} {:o} {size} {time}\n", found.mode());
        }
        assert!(listing.contains("1000000000"), "{listing}");
        result.push(listing.into_bytes());
        results.push(result);
    }
    let kinds = [
        "oci",
        "docker",
        "tar",
        "oci of two platforms",
        "registry",
        "local",
    ];
    for (n, kind) in kinds.iter().enumerate() {
        assert!(results[0][n] == results[1][n], "{kind} differs");
    }
}

#[test]
fn annotations_stand_where_they_are_meant_to_in_a_layout() {
    let store = need!(Store::new());
    let context = app();
    let layout = store.file("layout");
    let output = format!(
        "type=oci,tar=false,dest={},annotation.m=1,annotation-index.i=2,\
         annotation-manifest-descriptor[linux/arm64].d=3,annotation-index-descriptor.e=4",
        layout.display()
    );
    store
        .build("noted:1", &context)
        .args(["--platform", PLATFORMS, "-o", &output])
        .ok();
    let entry = index_of(&layout)["manifests"][0].clone();
    assert_eq!(entry["annotations"]["e"], "4");
    assert_eq!(
        entry["annotations"]["org.opencontainers.image.ref.name"],
        "1"
    );
    let blob = |digest: &Value| -> Value {
        let hex = digest.as_str().unwrap().trim_start_matches("sha256:");
        serde_json::from_slice(&fs::read(layout.join("blobs/sha256").join(hex)).unwrap()).unwrap()
    };
    let index = blob(&entry["digest"]);
    assert_eq!(index["annotations"], serde_json::json!({"i": "2"}));
    let notes = |n: usize| index["manifests"][n]["annotations"].clone();
    assert_eq!(
        (notes(0), notes(1)),
        (Value::Null, serde_json::json!({"d": "3"}))
    );
    for entry in index["manifests"].as_array().unwrap() {
        assert_eq!(blob(&entry["digest"])["annotations"]["m"], "1");
    }
}

/// The words are buildx's where it has some.
#[test]
fn what_cannot_be_written_is_told_before_anything_is_built() {
    let store = need!(Store::new());
    let context = app();
    for (args, told) in [
        (
            &["-o", "type=foo"][..],
            "exporter \"foo\" could not be found",
        ),
        (&["-o", "type=local"], "dest is required for local exporter"),
        (
            &["-o", "type=tar,dest=/tmp"],
            "destination file /tmp is a directory",
        ),
        (
            &["-o", "type=registry"],
            "tag is needed when pushing to registry",
        ),
        (
            &["-o", "out", "--iidfile", "iid"],
            "local and tar exporters are incompatible with image ID file",
        ),
        (
            &["-o", "type=docker,dest=x", "--platform", PLATFORMS],
            "docker exporter does not currently support exporting manifest lists",
        ),
        (
            &["--annotation", "index:k=v"],
            "index annotations not supported for single platform export",
        ),
        (
            &["--annotation", "foo"],
            "invalid annotation \"foo\", expected key=value",
        ),
        (
            &["-o", "-", "-o", "type=oci"],
            "only one output can go to standard output",
        ),
    ] {
        let done = store.rbuild(["build"]).args(args).arg(context.path());
        let done = done.fails(125);
        done.tells(told).never_tells("COPY");
    }
    // A file's place that cannot be written.
    let dest = format!("type=tar,dest={}", store.file("none/x.tar").display());
    store
        .rbuild(["build", "-o", &dest])
        .arg(context.path())
        .fails(1)
        .tells("none/x.tar");
}

#[test]
fn an_archive_appears_whole_with_the_mode_of_the_umask() {
    let store = need!(Store::new());
    let context = app();
    let tar = store.file("x.tar");
    let output = format!("type=docker,dest={}", tar.display());
    store.build("x:1", &context).args(["-o", &output]).ok();
    let mode = fs::metadata(&tar).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode & 0o600, 0o600);
    assert_eq!(mode & 0o444, 0o444, "{mode:o}");
    let names = fs::read_dir(store.home()).unwrap();
    let left = names.filter(|e| {
        let name = e.as_ref().unwrap().file_name();
        name.to_string_lossy().starts_with(".rbuild-")
    });
    assert_eq!(left.count(), 0);
    store.rbuild(["load", "-i"]).arg(&tar).ok();
    assert_eq!(store.tree("x:1").text("etc/a"), "one");
}
