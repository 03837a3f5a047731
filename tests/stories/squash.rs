//! `--squash`: one layer on top of the base, as docker's classic builder makes it.

use e2e::{Archive, Dir, Docker, Store, docker, need};
use serde_json::Value;

/// What both start with.
const BASE: &str = "FROM busybox\nRUN mkdir -p /d/sub /e && echo x >/d/f && echo y >/d/sub/g && \
    echo z >/e/h && echo w >/file && mkdir -m 700 /looks\n";

/// Layers that add, change, remove, and replace one kind of file by another.
const LAYERS: &str = "FROM base\n\
    RUN mkdir -p /keep/in /gone && echo 1 >/keep/a && ln /keep/a /keep/hard && \
        ln -s a /keep/soft && mkfifo /keep/pipe && echo 2 >/keep/in/b && chmod 4755 /keep/in/b\n\
    RUN rm /keep/in/b && echo new >/keep/in/c && rm -rf /gone && chown 7:8 /keep/in\n\
    RUN rm /d/f && echo added >/d/added && chmod 755 /looks\n\
    RUN rm -rf /d/sub && mkdir /d/sub && echo n >/d/sub/n\n\
    RUN rm -rf /e && echo file >/e && rm /file && mkdir /file && echo i >/file/i\n\
    RUN echo t >/tmp1 && mkdir /t && echo 1 >/t/1\n\
    RUN rm -r /tmp1 /t && touch /bin/once && rm /bin/once\n\
    ENV X=1\n\
    COPY f /copied/f\n";

/// Stages, of which only the last one's layers are merged, and one without a base.
const STAGES: &str = "FROM base AS one\nRUN echo 1 >/one\nRUN echo 2 >/two\n\
    FROM one\nRUN rm /one\nRUN echo 3 >/three\nLABEL a=b\n";
const SCRATCH: &str = "FROM scratch\nCOPY f /f\nCOPY f /g/f\nCMD [\"/f\"]\n";
/// Without a layer of its own; docker fails.
const NOTHING: &str = "FROM base\nENV A=1\n";

fn by_docker(docker: &Docker, context: &Dir, name: &str, squash: bool) -> Archive {
    let command = docker.cmd(["build", "--network", "host", "-t", name]);
    let command = command.env("DOCKER_BUILDKIT", "0");
    let flag = format!("--squash={squash}");
    command.arg(flag).arg(context.path()).ok();
    docker.archive(name)
}

/// The history's entries: whether they made no layer; and the last comment without its digests.
fn history(archive: &Archive) -> (Vec<bool>, String) {
    let all = archive.config["history"].as_array().unwrap();
    let empty = |entry: &Value| entry["empty_layer"].as_bool().unwrap_or_default();
    let comment = all.last().unwrap()["comment"].as_str().unwrap();
    let words = comment
        .split(' ')
        .map(|word| match word.strip_prefix("sha256:") {
            Some(hex) if hex.len() == 64 => "ID",
            _ => word,
        });
    let words: Vec<&str> = words.collect();
    (all.iter().map(empty).collect(), words.join(" "))
}

#[test]
fn layers_become_one_as_with_docker() {
    let (store, docker) = (need!(Store::busybox()), need!(docker()));
    let base = Dir::dockerfile(BASE);
    by_docker(docker, &base, "base", false);
    store.build("base", &base).ok();
    for (n, text) in [LAYERS, STAGES, SCRATCH].into_iter().enumerate() {
        let context = Dir::dockerfile(text).file("f", "content");
        let theirs = by_docker(docker, &context, &format!("squash{n}"), true);
        store.build("app", &context).arg("--squash").ok();
        let ours = store.archive("app");
        let (a, b) = (ours.tree.clone(), theirs.tree.clone());
        assert_eq!(a.differences(&b), Vec::<String>::new(), "{text}");
        assert_eq!(ours.layers, theirs.layers, "{text}");
        // What the layer has beside removals: docker removes what is in a directory one by one.
        let listed = |archive: &Archive| archive.paths.last().cloned().unwrap_or_default();
        let mut theirs_listed = listed(&theirs);
        theirs_listed.retain(|path| !path.contains(".wh."));
        let mut ours_listed = listed(&ours);
        ours_listed.retain(|path| !path.contains(".wh."));
        assert_eq!(ours_listed, theirs_listed, "{text}");
        assert_eq!(history(&ours), history(&theirs), "{text}");
        // Without the flag the same steps, all of them cached, are layers of their own.
        let plain = store.build("plain", &context).ok();
        assert!(
            !plain.err().contains("] DONE") || plain.err().contains("CACHED"),
            "{plain}"
        );
        let unsquashed = store.archive("plain");
        let files = unsquashed.tree.clone();
        assert_eq!(files.differences(&a), Vec::<String>::new(), "{text}");
        let comment = ours.config["history"].as_array().unwrap().last().unwrap()["comment"].clone();
        let comment = comment.as_str().unwrap();
        let id = store.id("plain");
        assert!(comment.contains(&id), "{comment} names {id}");
        store.rbuild(["rmi", "app", "plain"]).ok();
    }
    store
        .build("app", &Dir::dockerfile(NOTHING))
        .arg("--squash")
        .ok();
    store.build("plain", &Dir::dockerfile(NOTHING)).ok();
    assert_eq!(store.id("app"), store.id("plain"));
    store.rbuild(["fsck"]).ok();
}

#[test]
fn a_squashed_layer_is_cached_and_gone_with_the_cache() {
    let store = need!(Store::busybox());
    let context = Dir::dockerfile("FROM busybox\nRUN echo 1 >/a\nRUN echo 2 >/b && rm /a\n");
    let build = |flags: &[&str]| {
        store
            .build("app", &context)
            .arg("--squash")
            .args(flags)
            .ok()
    };
    build(&[]).tells("merging layers");
    let id = store.id("app");
    let again = build(&[]);
    assert_eq!(store.id("app"), id, "the same image comes of it");
    let line = again.err();
    let line = line
        .lines()
        .skip_while(|line| !line.contains("merging layers"));
    let told: Vec<&str> = line.take(2).collect();
    assert!(told.iter().any(|line| line.contains("CACHED")), "{again}");
    // With a date the layer is the same in another store.
    let dated = |store: &Store| {
        let flags = ["--squash", "--build-arg", "SOURCE_DATE_EPOCH=1000000"];
        store.build("dated", &context).args(flags).ok();
        store.archive("dated").config["rootfs"]["diff_ids"].clone()
    };
    let other = need!(Store::busybox());
    assert_eq!(dated(&store), dated(&other));
    let archive = store.archive("dated");
    assert!(archive.tree.get("b").mtime <= 1_000_000);
    // The layers that were merged are not touched by that.
    build(&["--squash=false"]);
    store.archive("app");
    store.rbuild(["rmi", "app", "dated"]).ok();
    store.rbuild(["prune", "-af"]).ok();
    store.rbuild(["fsck"]).ok();
}
