//! What `RUN --mount` shows: files of the context, of stages and images, caches, memory.

use e2e::{Dir, Store, assert_nothing_left, need};
use nix::sys::signal::Signal;

fn context(dockerfile: &str) -> Dir {
    Dir::new()
        .file("Dockerfile", dockerfile)
        .file(".dockerignore", "ign.txt\n")
        .file("a.txt", "hello\n")
        .mode("a.txt", 0o640)
        .file("ign.txt", "ignored\n")
        .file("sub/b.txt", "in\n")
        .link("lnk", "sub")
}

/// The values are what docker 28's BuildKit prints for the same Dockerfiles.
#[test]
fn what_steps_see_is_what_buildkit_shows() {
    let store = need!(Store::busybox());
    for (run, want) in [
        (
            "--mount=target=/x cat /x/a.txt; stat -c '%u %a' /x/a.txt; ls /x/ign.txt 2>/dev/null; true",
            "hello\n0 640\n",
        ),
        ("--mount=target=/x touch /x/new 2>/dev/null; echo $?", "1\n"),
        (
            "--mount=target=/x,rw touch /x/new; ls /x",
            "Dockerfile\na.txt\nlnk\nnew\nsub\n",
        ),
        (
            "--mount=source=sub/b.txt,target=/f/g cat /f/g; ls -A /f",
            "in\ng\n",
        ),
        ("--mount=source=lnk,target=/x ls /x", "b.txt\n"),
        ("--mount=source=../../sub,target=rel ls /w/rel", "b.txt\n"),
        (
            "--mount=from=busybox,source=/etc/passwd,target=/m,rw echo x >/m; cat /m",
            "x\n",
        ),
        (
            "--mount=from=made,source=/made,target=/m cat /m/file",
            "made\n",
        ),
        (
            "--mount=type=bind,from=made,source=$S,target=${T}/x cat /t/x/file",
            "made\n",
        ),
        (
            "--mount=type=tmpfs,target=/t,size=700k mount | grep ' /t '; stat -c %a /t",
            "tmpfs on /t type tmpfs (rw,nosuid,relatime,size=700k)\n1777\n",
        ),
        (
            "--mount=type=tmpfs,target=/etc stat -c %a /etc; ls /etc",
            "755\n",
        ),
        (
            "--mount=type=tmpfs,target=/dev/foo stat -c %a /dev/foo",
            "1777\n",
        ),
        (
            "--mount=target=/t/a/b --mount=type=tmpfs,target=/t --mount=type=cache,target=/t/a ls /t/a/b",
            "Dockerfile\na.txt\nlnk\nsub\n",
        ),
        (
            "--mount=type=tmpfs,target=/t --mount=source=sub,target=/t ls /t",
            "b.txt\n",
        ),
        ("--mount=source=sub,target=/lnk/q ls /made/q", "b.txt\n"),
        (
            "--mount=type=tmpfs,target=/dang stat -c %a /nowhere/x",
            "1777\n",
        ),
        (
            "--mount=type=tmpfs,target=/esc/x stat -c %a /bin/x",
            "1777\n",
        ),
        (
            "--mount=type=cache,target=/c stat -c '%u:%g %a' /c",
            "0:0 755\n",
        ),
        (
            "--mount=type=cache,target=/o,uid=7,mode=0700 stat -c '%u:%g %a' /o",
            "7:0 700\n",
        ),
        (
            "--mount=type=cache,target=/c,ro touch /c/x 2>/dev/null; echo $?",
            "1\n",
        ),
        (
            "--mount=type=cache,target=/p,from=busybox,source=/etc ls /p/passwd",
            "/p/passwd\n",
        ),
        (
            "--mount=type=cache,target=/p,from=kept,source=/d stat -c '%u:%g %a' /p /p/f",
            "33:44 750\n5:6 640\n",
        ),
        (
            "--mount=type=tmpfs,target=/t <<EOF\nls -A /t; echo in\nEOF",
            "in\n",
        ),
        (
            "--mount=source=sub,target=/t <<EOF\n#!/bin/sh\nls /t\nEOF",
            "b.txt\n",
        ),
    ] {
        // The step's own words leave what they print in a file, here-documents theirs.
        let (run, want_file) = match run.split_once(" <<EOF\n") {
            Some((flags, body)) => {
                let body = body.trim_end_matches("\nEOF");
                let (head, rest) = match body.strip_prefix("#!/bin/sh\n") {
                    Some(rest) => ("#!/bin/sh\n", rest),
                    None => ("", body),
                };
                (format!("{flags} <<EOF\n{head}( {rest} ) >/out\nEOF"), want)
            }
            None => {
                let flags = run
                    .split(' ')
                    .take_while(|word| word.starts_with("--"))
                    .count();
                let words: Vec<&str> = run.splitn(flags + 1, ' ').collect();
                let flags = words[..flags].join(" ");
                (
                    format!("{flags} ( {} ) >/out", words[words.len() - 1]),
                    want,
                )
            }
        };
        let context = context(&format!(
            "FROM busybox AS made\nRUN mkdir /made; echo made >/made/file\n\
             FROM busybox AS kept\nRUN mkdir -m 750 /d; touch /d/f; chmod 640 /d/f\n\
             RUN chown 33:44 /d; chown 5:6 /d/f\n\
             FROM busybox\nARG S=/made\nENV T=/t\n\
             RUN mkdir /made; ln -s /made /lnk; ln -s /nowhere/x /dang; ln -s ../../../../bin /esc\n\
             WORKDIR /w\nRUN {run}\n"
        ));
        store.build("seen", &context).ok();
        let tree = store.tree("seen");
        assert_eq!(tree.text("out"), want_file, "{run}");
        // No mount point is left, as with BuildKit.
        for point in [
            "x", "f", "m", "t", "c", "o", "p", "w/rel", "nowhere", "made/q", "bin/x",
        ] {
            assert!(!tree.has(point), "{run} left {point}");
        }
    }
}

/// The words after the place are BuildKit's, but where it has none of its own.
#[test]
fn mistakes_are_told_at_their_place() {
    let store = need!(Store::busybox());
    for (run, told) in [
        ("--mount=source=a.txt true", "invalid mount target \"/\""),
        ("--mount=type=cache true", "invalid mount target \"/\""),
        (
            "--mount=type=tmpfs,target=/ true",
            "invalid mount target \"/\"",
        ),
        ("--mount=source=nope,target=/x true", "\"/nope\": not found"),
        (
            "--mount=source=ign.txt,target=/x true",
            "excluded by the .dockerignore",
        ),
        (
            "--mount=type=tmpfs,target=/proc true",
            "cannot mount on /proc",
        ),
        (
            "--mount=type=tmpfs,target=/proc/self true",
            "cannot mount on /proc/self",
        ),
        ("--mount=target=/etc/passwd true", "not a directory"),
        (
            "--mount=source=a.txt,target=/etc true",
            "has a directory there",
        ),
        (
            "--mount=from=$X,target=/x true",
            "'from' doesn't support variable expansion",
        ),
        (
            "--mount=from=later,target=/x true",
            "cannot copy from stage \"later\", it needs to be defined",
        ),
        (
            "--mount=type=cache,target=/c,source=/none,from=busybox true",
            "not found",
        ),
        (
            "--mount=type=secret,id=nope,required true",
            "secret nope: not found",
        ),
        (
            "--mount=type=ssh,required true",
            "unset ssh forward key default",
        ),
        (
            "--security=insecure true",
            "security.insecure is not allowed",
        ),
        ("--device=vendor.com/class=x true", "device is not allowed"),
    ] {
        let context = context(&format!(
            "FROM busybox\nRUN {run}\nFROM busybox AS later\nFROM busybox AS last\n\
             COPY --from=0 /bin/sh /x\n"
        ));
        let done = store.build("wrong", &context).fails(1);
        done.tells(told).tells(&format!("RUN {run}"));
    }
    assert_nothing_left(store.home());
}

/// Content counts, and nothing else of the files.
#[test]
fn what_is_bound_is_part_of_the_key() {
    let store = need!(Store::busybox());
    let context = context("FROM busybox\nRUN --mount=source=sub,target=/x cat /x/b.txt >/out\n");
    store.build("app", &context).ok();
    context.touch("sub/b.txt", 1_000_000);
    context.write("a.txt", "not bound\n");
    store.build("app", &context).ok().tells("CACHED");
    context.write("sub/b.txt", "changed\n");
    let done = store.build("app", &context).ok();
    done.tells("the content of /x/b.txt changed");
    assert_eq!(store.tree("app").text("out"), "changed\n");
}

#[test]
fn a_stage_that_is_only_mounted_is_built() {
    let store = need!(Store::busybox());
    let dockerfile = "FROM busybox AS unused\nRUN false\nFROM busybox AS tool\n\
        RUN echo tool >/tool\nFROM busybox\nRUN --mount=from=tool,target=/t cp /t/tool /out\n";
    let (_, tree) = store.built(&Dir::dockerfile(dockerfile));
    assert_eq!(tree.text("out"), "tool\n");
    // And again when what it makes has changed.
    let changed = dockerfile.replace("echo tool", "echo other");
    let (_, tree) = store.built(&Dir::dockerfile(&changed));
    assert_eq!(tree.text("out"), "other\n");
}

fn count(store: &Store, flags: &[&str], mount: &str, salt: usize) -> String {
    let context = Dir::dockerfile(&format!(
        "FROM busybox\nRUN --mount=type=cache,{mount} echo {salt} >>/c/log; cat /c/log >/out\n"
    ));
    store.build("counted", &context).args(flags).ok();
    store.tree("counted").text("out")
}

#[test]
fn a_cache_outlives_builds_until_no_cache_or_prune() {
    let store = need!(Store::busybox());
    assert_eq!(count(&store, &[], "target=/c", 1), "1\n");
    assert_eq!(count(&store, &[], "target=/c", 2), "1\n2\n");
    // Another target is another cache, another target of one ID is not.
    assert_eq!(count(&store, &[], "target=/c,id=other", 3), "3\n");
    assert_eq!(count(&store, &[], "target=/c,id=/c", 4), "1\n2\n4\n");
    // What it begins with is part of what it is.
    let filled = "target=/c,from=busybox,source=/etc";
    assert_eq!(count(&store, &[], filled, 5), "5\n");
    assert_eq!(count(&store, &["--no-cache"], "target=/c", 6), "6\n");
    assert_eq!(count(&store, &[], "target=/c,id=other", 7), "3\n7\n");

    let listed = store.rbuild(["df", "-v"]).ok().out();
    let mounts: Vec<&str> = listed
        .lines()
        .filter(|l| l.contains("exec.cachemount"))
        .collect();
    assert_eq!(mounts.len(), 3, "{listed}");
    assert!(
        mounts
            .iter()
            .any(|line| line.ends_with("with id \"other\"")),
        "{listed}"
    );

    let dry = store.rbuild(["builder", "prune", "--dry-run"]).ok().out();
    assert_eq!(dry.matches("cached mount /c from exec").count(), 3, "{dry}");
    store.rbuild(["prune", "-f", "--filter", "until=1h"]).ok();
    assert_eq!(count(&store, &[], "target=/c", 8), "6\n8\n");
    store.rbuild(["image", "prune", "-f"]).ok();
    assert_eq!(count(&store, &[], "target=/c", 9), "6\n8\n9\n");
    store
        .rbuild(["builder", "prune", "-f", "--keep-storage", "1g"])
        .ok();
    assert_eq!(count(&store, &[], "target=/c", 10), "6\n8\n9\n10\n");
    store
        .rbuild(["builder", "prune", "-f", "--keep-storage", "0b"])
        .ok();
    assert_eq!(count(&store, &[], "target=/c", 11), "11\n");
    store.rbuild(["builder", "prune", "-f"]).ok();
    assert_eq!(count(&store, &[], "target=/c", 12), "12\n");
}

#[test]
fn a_namespace_keeps_caches_apart() {
    let store = need!(Store::busybox());
    let named = |name: &str| format!("--build-arg=BUILDKIT_CACHE_MOUNT_NS={name}");
    for (name, salt, seen) in [
        ("", 1, "1\n"),
        ("one", 2, "2\n"),
        ("two", 3, "3\n"),
        ("one", 4, "2\n4\n"),
        ("", 5, "1\n5\n"),
    ] {
        let flags = [&*named(name)];
        assert_eq!(count(&store, &flags, "target=/c", salt), seen, "{name}");
    }
}

/// Owner and mode are those of its first use: the user's that runs the step, if none is named.
#[test]
fn a_cache_belongs_to_whoever_runs_the_step() {
    let store = need!(Store::busybox());
    let context = Dir::dockerfile(
        "FROM busybox\nRUN echo 'app:x:1000:100::/:/bin/sh' >>/etc/passwd; mkdir -m 777 /out\n\
         USER app\nRUN --mount=type=cache,target=/c touch /c/mine; stat -c '%u:%g %a' /c >/out/1\n\
         RUN --mount=type=cache,target=/g,gid=5 stat -c '%u:%g %a' /g >/out/2\nUSER root\n\
         RUN --mount=type=cache,target=/c,uid=9,mode=0700 stat -c '%u:%g %a' /c /c/mine >/out/3\n",
    );
    let (_, tree) = store.built(&context);
    assert_eq!(tree.text("out/1"), "1000:100 755\n");
    assert_eq!(tree.text("out/2"), "0:5 755\n");
    assert_eq!(tree.text("out/3"), "1000:100 755\n1000:100 644\n");
}

/// Each step notes what is in its cache while it is alone with it, or not.
#[test]
fn two_builds_share_a_cache_as_they_are_told() {
    let store = need!(Store::busybox());
    for (sharing, meets) in [("locked", false), ("private", false), ("shared", true)] {
        let with = |script: &str| {
            let flags = format!("type=cache,id={sharing},target=/c,sharing={sharing}");
            Dir::dockerfile(&format!("FROM busybox\nRUN --mount={flags} {script}\n"))
        };
        let holds = with("touch /c/here; echo holding; sleep 2; rm /c/here");
        let looks = with("ls -A /c >/out; touch /c/left");
        let first = store.build("first", &holds).spawn();
        first.until_err(" holding\n");
        let second = store.build("second", &looks).spawn();
        assert!(second.wait().status.success(), "{sharing}");
        assert!(first.wait().status.success(), "{sharing}");
        let met = store.tree("second").text("out") == "here\n";
        assert_eq!(met, meets, "{sharing}");
        // Private ones were two directories; of the others there is one.
        let listed = store.rbuild(["df", "-v"]).ok().out();
        let wanted = format!("with id \"{sharing}\"");
        let found = listed
            .lines()
            .filter(|line| line.ends_with(&wanted))
            .count();
        assert_eq!(found, if sharing == "private" { 2 } else { 1 }, "{listed}");
    }
}

#[test]
fn an_interrupted_build_leaves_no_mount() {
    let store = need!(Store::busybox());
    let context = context(
        "FROM busybox\nRUN --mount=target=/x,rw --mount=type=cache,target=/c,sharing=locked \
         --mount=type=tmpfs,target=/t --mount=from=busybox,target=/b echo running; sleep 3000\n",
    );
    for signal in [Signal::SIGINT, Signal::SIGKILL] {
        let running = store.build("app", &context).spawn();
        running.until_err(" running\n");
        running.signal(signal);
        running.wait();
        assert_nothing_left(store.home());
        // Nobody holds the lock any more.
        assert_eq!(
            count(&store, &[], "target=/c,sharing=locked,id=/c2", 1),
            "1\n"
        );
        store.rbuild(["builder", "prune", "-f"]).ok();
    }
    store.rbuild(["fsck"]).ok();
}
