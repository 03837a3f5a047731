//! Files in an image: COPY, ADD, stages, contexts.

use std::io::Write as _;
use std::process::{Command, Stdio};

use e2e::{Dir, Files, OLD, Store, Tree, need, program};

#[test]
fn copy_keeps_modes_times_and_links() {
    let store = need!(Store::busybox());
    let context =
        Dir::dockerfile("FROM busybox\nCOPY tree /tree\nCOPY one two /both/\nCOPY one /new\n")
            .file("tree/run.sh", "#!/bin/sh\n")
            .mode("tree/run.sh", 0o751)
            .file("tree/deep/er/file", "x")
            .link("tree/link", "deep/er/file")
            .dir("tree/empty")
            .file("one", "1")
            .file("two", "2");
    let (_, tree) = store.built(&context);
    assert_eq!(tree.owner("tree/run.sh"), "0:0 751");
    assert_eq!(tree.get("tree/run.sh").mtime, OLD);
    assert_eq!(tree.get("tree/link").link, "deep/er/file");
    assert_eq!(tree.get("tree/empty").kind, 'd');
    assert_eq!(tree.text("tree/deep/er/file"), "x");
    assert_eq!(tree.text("both/one") + &tree.text("both/two"), "12");
    assert_eq!(tree.text("new"), "1");
}

#[test]
fn copy_destinations() {
    let store = need!(Store::busybox());
    let context = Dir::dockerfile(
        "FROM busybox\nWORKDIR /work\nCOPY f .\nCOPY f sub/\nCOPY f /etc\nCOPY d into\nCOPY [\"a b\", \"/s p/\"]\n\
         COPY *.txt ./txt/\nCOPY f /ln/x\n",
    )
    .file("f", "f")
    .file("d/inner", "inner")
    .file("a b", "space")
    .file("x.txt", "x")
    .file("y.txt", "y")
    .file("no.md", "");
    let (_, tree) = store.built(&context);
    for path in [
        "work/f",
        "work/sub/f",
        "etc/f",
        "work/into/inner",
        "s p/a b",
        "ln/x",
    ] {
        assert!(tree.has(path), "{path}");
    }
    assert_eq!(tree.below("work/txt"), ["x.txt", "y.txt"]);
}

#[test]
fn copy_follows_links_of_the_image_but_never_out_of_it() {
    let store = need!(Store::busybox());
    let context = Dir::dockerfile(
        "FROM busybox\nRUN mkdir /real && ln -s /real /abs && ln -s ../../../../real /up\n\
         COPY f /abs/one\nCOPY f /up/two\nCOPY link /three\n",
    )
    .file("f", "f")
    .link("link", "f");
    let (_, tree) = store.built(&context);
    assert_eq!(tree.below("real"), ["one", "two"]);
    assert_eq!(
        tree.get("three").kind,
        'f',
        "a source that is a link is followed"
    );
}

#[test]
fn copy_chown() {
    let store = need!(Store::busybox());
    let context = Dir::dockerfile(
        "FROM busybox\nARG WHO=www-data\nCOPY --chown=nobody:nogroup d /a\nCOPY --chown=12:34 d/f /b\nCOPY --chown=$WHO d/f /c\n\
         COPY --chown=0:mail d/f /d\nUSER nobody\nCOPY d/f /e\n",
    )
    .file("d/f", "f");
    let (_, tree) = store.built(&context);
    assert_eq!(tree.owner("a/f"), "65534:65534 644");
    assert_eq!(tree.owner("b"), "12:34 644");
    assert_eq!(tree.owner("c"), "33:33 644");
    assert_eq!(tree.owner("d"), "0:8 644");
    assert_eq!(
        tree.owner("e"),
        "0:0 644",
        "USER does not decide who owns copies"
    );
}

#[test]
fn stages_and_copy_from() {
    let store = need!(Store::busybox());
    let context = Dir::dockerfile(
        "FROM busybox AS build\nWORKDIR /src\nCOPY in .\nRUN tr a-z A-Z <in >out && chown 5:6 out && chmod 600 out\n\
         FROM build AS test\nRUN false\n\
         FROM scratch\nCOPY --from=build /src/out /out\nCOPY --from=0 --chown=7:8 /src/in /in\n\
         COPY --from=busybox /etc/group /group\nCMD [\"/out\"]\n",
    )
    .file("in", "loud\n");
    let (done, tree) = store.built(&context);
    assert_eq!(tree.text("out"), "LOUD\n");
    assert_eq!(tree.owner("out"), "5:6 600", "owners stay without --chown");
    assert_eq!(tree.owner("in"), "7:8 644");
    assert!(tree.has("group"));
    assert!(!tree.has("bin"), "only what was copied is in the image");
    done.never_tells("RUN false");
    let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    assert_eq!(store.config("built")["Env"][0], path);
}

#[test]
fn target_stops_at_a_stage() {
    let store = need!(Store::busybox());
    let context = Dir::dockerfile(
        "FROM busybox AS first\nRUN echo 1 >/first\nFROM first AS second\nRUN echo 2 >/second\nFROM second\nRUN false\n",
    );
    store
        .build("first", &context)
        .args(["--target", "first"])
        .ok();
    assert!(!store.tree("first").has("second"));
    store
        .build("second", &context)
        .args(["--target", "SECOND"])
        .ok();
    assert_eq!(store.tree("second").text("second"), "2\n");
    store
        .build("none", &context)
        .args(["--target", "third"])
        .fails(1)
        .tells("third");
}

/// `data` through one of the usual compressors.
fn compressed(by: &str, data: &[u8]) -> Vec<u8> {
    let mut child = Command::new(by)
        .args(["-c"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let data = data.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&data).unwrap());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.status.success());
    output.stdout
}

/// A small archive with a program, a link and an owner.
fn archive() -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut add = |path: &str, kind, mode, content: &str, link: &str| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(21);
        header.set_gid(22);
        header.set_mtime(OLD);
        header.set_size(content.len() as u64);
        if link.is_empty() {
            builder.append_data(&mut header, path, content.as_bytes())
        } else {
            builder.append_link(&mut header, path, link)
        }
        .unwrap();
    };
    add("pkg/", tar::EntryType::Directory, 0o750, "", "");
    add("pkg/prog", tar::EntryType::Regular, 0o4755, "program", "");
    add("pkg/hard", tar::EntryType::Link, 0o755, "", "pkg/prog");
    add("pkg/soft", tar::EntryType::Symlink, 0o777, "", "prog");
    builder.into_inner().unwrap()
}

#[test]
fn add_extracts_local_archives_of_every_kind() {
    let store = need!(Store::busybox());
    let tar = archive();
    let mut dockerfile = "FROM busybox\n".to_owned();
    let mut context = Dir::new();
    let kinds = [
        ("tar", ""),
        ("tar.gz", "gzip"),
        ("tar.bz2", "bzip2"),
        ("tar.xz", "xz"),
        ("tar.zst", "zstd"),
        // Content decides, not the name.
        ("dat", "gzip"),
    ];
    for (name, by) in kinds {
        if !by.is_empty() {
            need!(program(by));
        }
        let bytes = if by.is_empty() {
            tar.clone()
        } else {
            compressed(by, &tar)
        };
        context = context.file(&format!("a.{name}"), bytes);
        dockerfile += &format!("ADD a.{name} /{name}/\nCOPY a.{name} /copied/\n");
    }
    let context = context.file("Dockerfile", dockerfile);
    let (_, tree) = store.built(&context);
    for (name, _) in kinds {
        assert_eq!(tree.text(&format!("{name}/pkg/prog")), "program", "{name}");
        assert_eq!(tree.owner(&format!("{name}/pkg/prog")), "21:22 4755");
        assert_eq!(tree.owner(&format!("{name}/pkg")), "21:22 750");
        assert_eq!(tree.get(&format!("{name}/pkg/soft")).link, "prog");
        assert_eq!(tree.text(&format!("{name}/pkg/hard")), "program");
        assert!(tree.has(&format!("copied/a.{name}")), "COPY never extracts");
    }
}

#[test]
fn add_leaves_other_files_as_they_are() {
    let store = need!(Store::busybox());
    let plain = compressed("gzip", b"no archive in here");
    let context = Dir::dockerfile("FROM busybox\nADD plain.gz text d /to/\n")
        .file("plain.gz", &plain)
        .file("text", "text")
        .file("d/in", "in");
    let (_, tree) = store.built(&context);
    assert_eq!(tree.below("to"), ["in", "plain.gz", "text"]);
}

#[test]
fn add_fetches_a_url() {
    let store = need!(Store::busybox());
    let tar = archive();
    let files = Files::serve(&[("/dir/file.txt", b"fetched"), ("/a.tar", &tar)]);
    let context = Dir::dockerfile(&format!(
        "FROM busybox\nADD {} /to/\nADD {} /named\nADD {} /archives/\n",
        files.url("/dir/file.txt"),
        files.url("/dir/file.txt?x=1").replace("?x=1", ""),
        files.url("/a.tar"),
    ));
    let (_, tree) = store.built(&context);
    assert_eq!(tree.text("to/file.txt"), "fetched");
    assert_eq!(tree.owner("to/file.txt"), "0:0 600");
    assert_eq!(
        tree.get("to/file.txt").mtime,
        OLD,
        "Last-Modified is its time"
    );
    assert_eq!(tree.text("named"), "fetched");
    assert_eq!(
        tree.below("archives"),
        ["a.tar"],
        "a fetched archive stays one"
    );

    // Other content at the URL is another step.
    let again = store.build("again", &context).ok();
    again.tells("CACHED");
    files.put("/dir/file.txt", b"changed");
    store.build("changed", &context).ok();
    assert_eq!(store.tree("changed").text("named"), "changed");

    // What is kept is gone with the rest of the cache.
    let kept = store.root().join("build/downloads");
    assert!(std::fs::read_dir(&kept).unwrap().count() > 2);
    store.rbuild(["builder", "prune", "-f"]).ok();
    assert_eq!(std::fs::read_dir(&kept).unwrap().count(), 0);

    let missing = Dir::dockerfile(&format!("FROM busybox\nADD {} /\n", files.url("/none")));
    store
        .build("missing", &missing)
        .fails(1)
        .tells("404")
        .tells("Dockerfile:2");
}

#[test]
fn dockerignore_keeps_files_out() {
    let store = need!(Store::busybox());
    let context = Dir::dockerfile("FROM busybox\nCOPY . /c\n")
        .file(
            ".dockerignore",
            "# comment\n*.log\n!keep.log\nsecret/\n**/node_modules\ndocs/*\n!docs/README*\nDockerfile\n",
        )
        .file("a.log", "")
        .file("keep.log", "")
        .file("secret/key", "")
        .file("x/y/node_modules/z", "")
        .file("x/y/file", "")
        .file("docs/other", "")
        .file("docs/README.md", "")
        .file("sub/b.log", "");
    let (_, tree) = store.built(&context);
    assert_eq!(
        tree.below("c"),
        [
            ".dockerignore",
            "docs",
            "docs/README.md",
            "keep.log",
            "sub",
            "sub/b.log",
            "x",
            "x/y",
            "x/y/file"
        ]
    );
    // A Dockerfile's own one replaces it.
    context.write("Dockerfile.dockerignore", "*\n!secret\n");
    let (_, tree) = store.built(&context);
    assert_eq!(tree.below("c"), ["secret", "secret/key"]);
}

#[test]
fn an_ignored_source_is_missing() {
    let store = need!(Store::busybox());
    let context = Dir::dockerfile("FROM busybox\nCOPY gone /\n")
        .file(".dockerignore", "gone")
        .file("gone", "");
    store.build("x", &context).fails(1).tells("gone");
}

#[test]
fn dockerfile_elsewhere() {
    let store = need!(Store::busybox());
    let context = Dir::new()
        .file("docker/app.Dockerfile", "FROM busybox\nCOPY f /f\n")
        .file("f", "content");
    store
        .rbuild(["build", "-t", "x", "-f", "docker/app.Dockerfile", "."])
        .current_dir(context.path())
        .ok();
    assert_eq!(store.tree("x").text("f"), "content");
    // From standard input, with the folder as the context.
    store
        .build("y", &context)
        .args(["-f", "-"])
        .stdin("FROM busybox\nCOPY f /stdin\n")
        .ok();
    assert_eq!(store.tree("y").text("stdin"), "content");
}

#[test]
fn dockerfile_alone_on_standard_input() {
    let store = need!(Store::busybox());
    store
        .rbuild(["build", "--network", "none", "-t", "x", "-"])
        .stdin("FROM busybox\nRUN echo ok >/ok\n")
        .ok();
    assert_eq!(store.tree("x").text("ok"), "ok\n");
    store
        .rbuild(["build", "-t", "y", "-"])
        .stdin("FROM busybox\nCOPY f /f\n")
        .fails(1);
}

#[test]
fn tar_context_on_standard_input() {
    let store = need!(Store::busybox());
    let mut builder = tar::Builder::new(Vec::new());
    let files = [
        ("Dockerfile", "FROM busybox\nCOPY . /c\n"),
        ("sub/f", "f"),
        ("skip", ""),
        (".dockerignore", "skip\n.dockerignore\nDockerfile\n"),
    ];
    for (path, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o640);
        builder
            .append_data(&mut header, path, content.as_bytes())
            .unwrap();
    }
    let tar = builder.into_inner().unwrap();
    for bytes in [tar.clone(), compressed("gzip", &tar)] {
        store
            .rbuild(["build", "--no-cache", "-t", "x", "-"])
            .stdin(bytes)
            .ok();
        let tree = store.tree("x");
        assert_eq!(tree.below("c"), ["sub", "sub/f"]);
        assert_eq!(tree.owner("c/sub/f"), "0:0 640");
    }
}

#[test]
fn run_changes_are_one_layer_each() {
    let store = need!(Store::busybox());
    let context = Dir::dockerfile(
        "FROM busybox\nRUN mkdir /d && echo 1 >/d/a && echo 2 >/d/b && ln -s a /d/l && mkfifo /d/p\n\
         RUN rm /d/a && rm -r /home && chmod 700 /d\nRUN rm -r /d && mkdir /d && echo 3 >/d/c\n",
    );
    let (_, tree) = store.built(&context);
    assert_eq!(tree.below("d"), ["c"]);
    assert!(!tree.has("home"));
    let archive = store.archive("built");
    assert_eq!(archive.layers, 4);
    let differences = exported(&tree).differences(&exported(&archive.tree));
    assert!(differences.is_empty(), "{differences:#?}");
    for left in [
        "etc/resolv.conf",
        "proc/1",
        "sys/kernel",
        "dev/null",
        ".dockerenv",
    ] {
        assert!(!archive.tree.has(left), "{left} leaked into a layer");
    }
}

fn exported(tree: &Tree) -> Tree {
    tree.clone().without(&["dev", "proc", "sys"])
}

#[test]
fn outcome_flags() {
    let store = need!(Store::busybox());
    let context = Dir::dockerfile("FROM busybox\nENV A=1\n");
    let (iid, metadata) = (store.file("iid"), store.file("metadata.json"));
    let quiet = store
        .build("one", &context)
        .args(["-t", "two:x", "-q", "--iidfile"])
        .arg(&iid)
        .arg("--metadata-file")
        .arg(&metadata)
        .ok();
    let id = store.id("one");
    assert_eq!(quiet.out().trim(), id);
    assert_eq!(quiet.err(), "");
    assert_eq!(std::fs::read_to_string(iid).unwrap(), id);
    assert_eq!(store.id("two:x"), id);
    let metadata: serde_json::Value =
        serde_json::from_slice(&std::fs::read(metadata).unwrap()).unwrap();
    assert_eq!(metadata["containerimage.config.digest"], id);
}

/// `--iidfile /dev/null` of root's must not make a file of the machine's device.
#[test]
fn a_pipe_that_is_to_get_an_outcome_is_written_to_and_stays() {
    let store = need!(Store::new());
    let context = Dir::dockerfile("FROM scratch\nENV A=1\n");
    let pipes = ["iid", "metadata"].map(|name| store.file(name));
    let made = Command::new("mkfifo").args(&pipes).status();
    assert!(made.unwrap().success());
    let (iid, metadata) = std::thread::scope(|scope| {
        let [iid, metadata] = pipes
            .each_ref()
            .map(|pipe| scope.spawn(move || std::fs::read_to_string(pipe).unwrap()));
        store
            .build("piped", &context)
            .arg("--iidfile")
            .arg(&pipes[0])
            .arg("--metadata-file")
            .arg(&pipes[1])
            .ok();
        (iid.join().unwrap(), metadata.join().unwrap())
    });
    let id = store.id("piped");
    assert_eq!(iid, id);
    let metadata: serde_json::Value = serde_json::from_str(&metadata).unwrap();
    assert_eq!(metadata["containerimage.config.digest"], id);
    for pipe in &pipes {
        let kind = std::fs::symlink_metadata(pipe).unwrap().file_type();
        assert!(std::os::unix::fs::FileTypeExt::is_fifo(&kind), "{pipe:?}");
    }
}

/// Programs get the bytes, as from docker 28; a table has a line for each step.
#[test]
fn history_keeps_the_lines_of_a_here_document() {
    let store = need!(Store::busybox());
    let context = Dir::dockerfile("FROM busybox\nRUN <<EOF\necho one\n\ttrue\nEOF\n");
    store.build("lines", &context).ok();
    let history = |args: &[&str]| store.rbuild(["history"]).args(args).arg("lines").ok().out();
    let told = history(&["--no-trunc", "--format", "{{.CreatedBy}}"]);
    assert!(
        told.starts_with("RUN /bin/sh -c echo one\n true\n # buildkit\n"),
        "{told}"
    );
    assert_eq!(history(&[]).lines().count(), 3);
}

#[test]
fn triggers_copy_from_stages_and_images_of_those_who_fire_them() {
    let store = need!(Store::busybox());
    let base = Dir::dockerfile(
        "FROM busybox\nONBUILD COPY --from=busybox /etc/group /group\nONBUILD COPY --from=data /d* /data/\n",
    );
    store.build("base", &base).ok();
    let context = Dir::dockerfile(
        "FROM busybox AS data\nRUN echo d >/d\nFROM base AS a\nONBUILD COPY --from=data /d /again\nFROM a\n",
    );
    let (_, tree) = store.built(&context);
    assert_eq!(tree.text("data/d") + &tree.text("again"), "d\nd\n");
    assert!(tree.has("group"));

    let done = store
        .build("none", &Dir::dockerfile("FROM base\n"))
        .fails(1);
    assert!(
        done.err().contains("/d*") || done.err().contains("data"),
        "{done}"
    );
}

#[test]
fn names_that_shells_stumble_over_are_copied() {
    let store = need!(Store::new());
    let context =
        Dir::dockerfile("FROM scratch\nCOPY odd /odd\nCOPY [\"odd/new\\nline\", \"/one\"]\n")
            .file("odd/new\nline", "n")
            .file("odd/ta\tb", "t")
            .file("odd/-rf *", "s");
    let (_, tree) = store.built(&context);
    assert_eq!(tree.text("odd/new\nline") + &tree.text("one"), "nn");
    assert_eq!(tree.text("odd/ta\tb") + &tree.text("odd/-rf *"), "ts");
}

#[test]
fn copy_from_scratch_is_copying_from_nothing() {
    let store = need!(Store::new());
    let context = Dir::dockerfile("FROM scratch\nCOPY --from=scratch /none* /there/\n");
    // No registry could be asked for an image of that name.
    let done = store.build("x", &context).ok();
    done.never_tells("load metadata");
}
