//! Builds that fail: what is said, and that nothing is left of them.

use e2e::{Dir, Store, need};

/// docker 28 tells of its warnings above the reason too: here one of them is why.
#[test]
fn what_may_be_why_is_told_above_the_reason() {
    let store = need!(Store::busybox());
    let context = Dir::dockerfile("FROM busybox\nRUN echo ran\nENV A=$NOT_SET\nRUN test \"$A\"\n");
    for flags in [&[][..], &["--progress=plain"]] {
        let build = store.rbuild(["build"]).args(flags).arg(context.path());
        let done = build.fails(1);
        let err = done.err();
        let warned = err.find("Usage of undefined variable '$NOT_SET'").unwrap();
        assert!(warned < err.find("ERROR[BuildFailed]").unwrap(), "{done}");
        assert!(err.trim_end().ends_with("exit code: 1"), "{done}");
    }
    let quiet = store.rbuild(["build", "-q"]).arg(context.path()).fails(1);
    assert!(!quiet.err().contains("undefined"), "{quiet}");
}

#[test]
fn a_run_that_fails() {
    let store = need!(Store::busybox());
    store
        .build("app", &Dir::dockerfile("FROM busybox\nENV GOOD=1\n"))
        .ok();
    let id = store.id("app");
    let images = store.rbuild(["images", "-q", "-a"]).ok().out();
    let context = Dir::dockerfile(
        "FROM busybox\nRUN echo works\nRUN echo to stdout; \\\n    echo to stderr >&2; exit 42\nRUN echo never\n",
    );
    store
        .build("app", &context)
        .fails(42)
        .tells("to stdout")
        .tells("to stderr")
        .tells("did not complete successfully: exit code: 42")
        .tells("Dockerfile:3:1")
        .tells("3 | RUN echo to stdout")
        .tells("^^^")
        .never_tells("echo never\n#");
    assert_eq!(store.id("app"), id, "the tag must not move");
    assert_eq!(
        store.rbuild(["images", "-q", "-a"]).ok().out(),
        images,
        "no image may appear"
    );
}

#[test]
fn programs_that_are_missing_or_cannot_run() {
    let store = need!(Store::busybox());
    let not_found = "FROM busybox\nRUN no-such-program\n";
    store
        .build("x", &Dir::dockerfile(not_found))
        .fails(127)
        .tells("not found");
    let exec = "FROM busybox\nRUN [\"/no/such/program\"]\n";
    store
        .build("x", &Dir::dockerfile(exec))
        .fails(127)
        .tells("/no/such/program")
        .tells("Dockerfile:2:1");
    let directory = "FROM busybox\nRUN [\"/etc\"]\n";
    store
        .build("x", &Dir::dockerfile(directory))
        .fails(126)
        .tells("Dockerfile:2:1");
    let no_shell = "FROM scratch\nRUN echo\n";
    store
        .build("x", &Dir::dockerfile(no_shell))
        .fails(127)
        .tells("/bin/sh");
    let killed = "FROM busybox\nRUN sh -c 'kill -9 $$'; exit $?\n";
    store.build("x", &Dir::dockerfile(killed)).fails(137);
    assert!(!store.has("x"));
}

/// Mistakes are told before anything runs.
#[track_caller]
fn refused(store: &Store, dockerfile: &str, tells: &[&str]) {
    let dockerfile = dockerfile.replace("FROM busybox\n", "FROM busybox\nRUN echo ran >&2\n");
    let done = store.build("x", &Dir::dockerfile(&dockerfile)).fails(1);
    for text in tells {
        done.tells(text);
    }
    done.tells("Dockerfile:").tells("^").never_tells("] RUN");
    assert!(!store.has("x"));
}

#[test]
fn mistakes_in_the_dockerfile() {
    let store = need!(Store::busybox());
    refused(
        &store,
        "FROM busybox\nRNU echo\n",
        &["RNU", "RUN", "Dockerfile:3:1"],
    );
    refused(
        &store,
        "FROM busybox\nCOPY only\n",
        &["COPY", "at least two arguments"],
    );
    refused(&store, "FROM busybox\nCOPY --form=x a b\n", &["form"]);
    refused(&store, "FROM busybox\nENV\n", &["ENV"]);
    refused(&store, "FROM busybox\nENV A=\"unclosed\n", &["quote"]);
    refused(&store, "FROM busybox\nEXPOSE eighty\n", &["eighty"]);
    refused(&store, "FROM busybox\nUSER\n", &["USER"]);
    refused(&store, "FROM busybox\nWORKDIR\n", &["WORKDIR"]);
    refused(&store, "FROM busybox\nLABEL =x\n", &["LABEL"]);
    refused(&store, "FROM busybox\nRUN echo ${A\n ENV B=${A\n", &["${"]);
    refused(&store, "FROM busybox\nENV B=${A:oops}\n", &["${A:oops}"]);
    refused(&store, "FROM busybox AS 1st\nRUN true\n", &["1st"]);
    refused(&store, "FROM Busybox\nRUN true\n", &["Busybox"]);
    refused(&store, "RUN echo\nFROM busybox\n", &["FROM"]);
    refused(&store, "FROM\n", &["FROM"]);
}

#[test]
fn dockerfiles_without_an_image() {
    let store = need!(Store::busybox());
    store
        .build("x", &Dir::dockerfile(""))
        .fails(1)
        .tells("Dockerfile");
    store
        .build("x", &Dir::dockerfile("# only this\n"))
        .fails(1)
        .tells("FROM");
    store.build("x", &Dir::new()).fails(1).tells("Dockerfile");
    store
        .rbuild(["build", "-t", "x", "/no/such/folder"])
        .fails(1)
        .tells("/no/such/folder");
    store
        .rbuild(["build", "-t", "x", "-f", "/no/such/file", "."])
        .current_dir(Dir::new().path())
        .fails(1)
        .tells("/no/such/file");
}

#[test]
fn what_is_not_supported_is_named() {
    let store = need!(Store::busybox());
    let mount = "FROM busybox\nRUN --mount=type=wat,target=/x true\n";
    refused(&store, mount, &["wat"]);
    let network = "FROM busybox\nRUN --network=wat true\n";
    refused(&store, network, &["wat"]);
}

#[test]
fn sources_that_are_missing() {
    let store = need!(Store::busybox());
    let context = Dir::dockerfile("FROM busybox\nCOPY none /\n").file("one", "");
    store
        .build("x", &context)
        .fails(1)
        .tells("none")
        .tells("not found")
        .tells("Dockerfile:2");
    let stage = "FROM busybox AS a\nFROM busybox\nCOPY --from=a /no/where /x\n";
    store
        .build("x", &Dir::dockerfile(stage))
        .fails(1)
        .tells("/no/where")
        .tells("Dockerfile:3");
    let outside = Dir::dockerfile("FROM busybox\nCOPY ../../../../../etc/shadow /x\n");
    store.build("x", &outside).fails(1);
    let link = Dir::dockerfile("FROM busybox\nCOPY link /x\n").link("link", "/etc/shadow");
    store.build("x", &link).fails(1).never_tells("root:");
    assert!(!store.has("x"));
}

#[test]
fn copies_that_cannot_be() {
    let store = need!(Store::busybox());
    let onto_file = Dir::dockerfile("FROM busybox\nCOPY d /etc/passwd\n").file("d/f", "");
    store
        .build("x", &onto_file)
        .fails(1)
        .tells("/etc/passwd")
        .tells("Dockerfile:2");
    let below_file = Dir::dockerfile("FROM busybox\nCOPY f /etc/passwd/f\n").file("f", "");
    store.build("x", &below_file).fails(1).tells("Dockerfile:2");
    let nobody = Dir::dockerfile("FROM busybox\nCOPY --chown=whoisthis f /\n").file("f", "");
    store
        .build("x", &nobody)
        .fails(1)
        .tells("whoisthis")
        .tells("Dockerfile:2");
    let user = Dir::dockerfile("FROM busybox\nUSER whoisthis\nRUN id\n");
    store
        .build("x", &user)
        .fails(1)
        .tells("whoisthis")
        .tells("Dockerfile:3");
}

#[test]
fn bases_out_of_reach() {
    let store = need!(Store::new());
    // Nothing listens on the discard port.
    let context = Dir::dockerfile("FROM 127.0.0.1:9/base:1\nRUN true\n");
    store
        .build("x", &context)
        .fails(1)
        .tells("127.0.0.1:9")
        .tells("Dockerfile:1");
}

#[test]
fn stages_that_are_misspelled() {
    let store = need!(Store::busybox());
    for (line, meant) in [
        ("COPY --from=bse /bin /x", Some("base")),
        (
            "RUN --mount=type=bind,from=bse,target=/x true",
            Some("base"),
        ),
        ("COPY --from=nothing-like-it /bin /x", None),
    ] {
        let text = format!("FROM busybox AS base\nFROM busybox\n{line}\n");
        let done = store
            .build("x", &Dir::dockerfile(&text))
            // No registry is in reach.
            .env("HTTPS_PROXY", "http://127.0.0.1:9")
            .fails(1);
        match meant {
            Some(stage) => done.tells(&format!("did you mean the stage {stage}?")),
            None => done.never_tells("did you mean"),
        };
        done.tells("Dockerfile:3");
    }
}

#[test]
fn bad_flags() {
    let store = need!(Store::busybox());
    let context = Dir::dockerfile("FROM busybox\n");
    let bad: [&[&str]; 9] = [
        &["-t", "UPPER"],
        &["-t", "a:b:c"],
        &["-t", "x@sha256:0123"],
        &["--memory", "lots"],
        &["--add-host", "nonsense"],
        &["--ulimit", "nofile"],
        &["--platform", "a/b/c/d"],
        &["--label", "=x"],
        &["--network", "moon"],
    ];
    for flags in bad {
        let done = store
            .rbuild(["build"])
            .args(flags)
            .arg(context.path())
            .run();
        assert!(matches!(done.status.code(), Some(1 | 2 | 125)), "{done}");
        done.tells(flags[1].trim_start_matches("x@"))
            .never_tells("#1");
    }
    store
        .rbuild(["build", "--no-such-flag", "."])
        .fails(125)
        .tells("--no-such-flag");
    store.rbuild(["build"]).fails(1).tells("PATH");
}

/// A file of this many instructions that make a layer each.
fn layered(base: &str, layers: usize) -> Dir {
    let copies = "COPY f /\n".repeat(layers.saturating_sub(1));
    Dir::dockerfile(&format!("FROM {base}\n{copies}RUN true\n")).file("f", "")
}

#[test]
fn images_of_too_many_layers() {
    let store = need!(Store::busybox());
    // The base has one.
    let done = store.build("few", &layered("busybox", 124)).ok();
    done.never_tells("layers");
    let done = store.build("many", &layered("few", 1)).ok();
    done.tells("126 layers").tells("Dockerfile:2:1");
    // What is told of docker is so.
    if let Ok(docker) = e2e::docker() {
        for (image, loads) in [("few", true), ("many", false)] {
            let archive = store.file(image);
            store.rbuild(["save", "-o"]).arg(&archive).arg(image).ok();
            let load = docker.cmd(["load", "-i"]).arg(&archive);
            match loads {
                true => load.ok(),
                false => load.fails(1).tells("max depth exceeded").clone(),
            };
        }
    }
    let done = store.build("more", &layered("many", 375)).fails(1);
    done.tells("501 layers, 126 of them")
        .tells("Dockerfile:376:1")
        .never_tells("] COPY");
}
