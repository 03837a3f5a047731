//! Instructions that only describe the image: what ends up in its configuration.

use e2e::{Dir, Store, need};
use serde_json::{Value, json};

#[track_caller]
fn config(store: &Store, dockerfile: &str) -> Value {
    store.build("built", &Dir::dockerfile(dockerfile)).ok();
    store.config("built")
}

#[track_caller]
fn output_of_run(store: &Store, dockerfile: &str) -> String {
    store.built(&Dir::dockerfile(dockerfile)).1.text("out")
}

#[test]
fn env_in_both_forms() {
    let store = need!(Store::busybox());
    let config = config(
        &store,
        r#"
FROM busybox
ENV ONE=1 TWO="second word" THREE=three\ words
ENV FOUR all of  this
ENV PATH=/opt/bin:$PATH FIVE=${ONE}x${NONE:-d}${ONE:+p}
"#,
    );
    let path = "PATH=/opt/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let env = config["Env"].as_array().unwrap().clone();
    assert!(env.contains(&json!(path)), "{env:?}");
    for expected in [
        "ONE=1",
        "TWO=second word",
        "THREE=three words",
        "FOUR=all of  this",
        "FIVE=1xdp",
    ] {
        assert!(env.contains(&json!(expected)), "{expected} in {env:?}");
    }
}

#[test]
fn env_reaches_run_and_stays_in_the_line_it_was_set() {
    let store = need!(Store::busybox());
    let out = output_of_run(
        &store,
        "FROM busybox\nENV abc=hello\nENV abc=bye def=$abc\nENV ghi=$abc\nRUN echo $abc $def $ghi >/out\n",
    );
    assert_eq!(out, "bye hello bye\n");
}

#[test]
fn args_before_and_after_from() {
    let store = need!(Store::busybox());
    let context = Dir::dockerfile(
        "ARG BASE=busybox\nARG VERSION=1\nFROM $BASE AS it\nARG VERSION\nARG WITH=default\nARG WITHOUT\n\
         RUN echo \"$VERSION $WITH [$WITHOUT] [$BASE]\" >/out\n",
    );
    store.build("plain", &context).ok();
    assert_eq!(store.tree("plain").text("out"), "1 default [] []\n");
    store
        .build("set", &context)
        .args([
            "--build-arg",
            "VERSION=2",
            "--build-arg=WITH=given",
            "--build-arg",
            "WITHOUT",
        ])
        .env("WITHOUT", "from the environment")
        .ok();
    assert_eq!(
        store.tree("set").text("out"),
        "2 given [from the environment] []\n"
    );
    let env = store.config("set")["Env"].to_string();
    assert!(!env.contains("WITH"), "arguments do not stay: {env}");
}

#[test]
fn env_wins_over_arg() {
    let store = need!(Store::busybox());
    let context = Dir::dockerfile("FROM busybox\nARG V=arg\nENV V=env\nRUN echo $V >/out\n");
    store
        .build("built", &context)
        .args(["--build-arg", "V=flag"])
        .ok();
    assert_eq!(store.tree("built").text("out"), "env\n");
}

#[test]
fn labels() {
    let store = need!(Store::busybox());
    let context = Dir::dockerfile(
        "FROM busybox\nLABEL a=1 \"b c\"=\"two words\"\nLABEL multi=\"one \\\ntwo\" a=2\n",
    );
    store
        .build("built", &context)
        .args(["--label", "flag=yes", "--label", "a=3"])
        .ok();
    assert_eq!(
        store.config("built")["Labels"],
        json!({"a": "3", "b c": "two words", "multi": "one two", "flag": "yes"})
    );
}

#[test]
fn expose_and_volume() {
    let store = need!(Store::busybox());
    let config = config(
        &store,
        "FROM busybox\nARG P=90\nEXPOSE 80 443/tcp 53/udp 8000-8002\nEXPOSE $P\nVOLUME /data\nVOLUME [\"/a b\", \"/c\"]\nVOLUME /d /e\n",
    );
    assert_eq!(
        config["ExposedPorts"],
        json!({"443/tcp": {}, "53/udp": {}, "80/tcp": {}, "8000/tcp": {}, "8001/tcp": {},
               "8002/tcp": {}, "90/tcp": {}})
    );
    assert_eq!(
        config["Volumes"],
        json!({"/a b": {}, "/c": {}, "/d": {}, "/data": {}, "/e": {}})
    );
}

#[test]
fn cmd_and_entrypoint_in_both_forms() {
    let store = need!(Store::busybox());
    let shell = config(
        &store,
        "FROM busybox\nENTRYPOINT exec top -b\nCMD echo $HOME\n",
    );
    assert_eq!(shell["Entrypoint"], json!(["/bin/sh", "-c", "exec top -b"]));
    assert_eq!(shell["Cmd"], json!(["/bin/sh", "-c", "echo $HOME"]));
    let exec = config(
        &store,
        "FROM busybox\nENTRYPOINT [\"top\", \"-b\"]\nCMD [\"-n\", \"a \\\"b\\\"\"]\n",
    );
    assert_eq!(exec["Entrypoint"], json!(["top", "-b"]));
    assert_eq!(exec["Cmd"], json!(["-n", "a \"b\""]));
}

#[test]
fn entrypoint_clears_the_cmd_of_the_base_only() {
    let store = need!(Store::busybox());
    let cleared = config(&store, "FROM busybox\nENTRYPOINT [\"/e\"]\n");
    assert_eq!(cleared["Cmd"], Value::Null);
    let kept = config(
        &store,
        "FROM busybox\nCMD [\"mine\"]\nENTRYPOINT [\"/e\"]\n",
    );
    assert_eq!(kept["Cmd"], json!(["mine"]));
}

#[test]
fn user_decides_who_runs() {
    let store = need!(Store::busybox());
    let out = output_of_run(
        &store,
        "FROM busybox\nRUN echo team:x:700:app >>/etc/group && echo app:x:600:100::/home/app:/bin/sh >>/etc/passwd \\\n\
           && touch /out && chmod 666 /out\n\
         USER app\nRUN id >>/out; echo $HOME >>/out\nUSER 600:33\nRUN id -u >>/out; id -g >>/out\n\
         USER 12345\nRUN id -u >>/out; id -g >>/out; echo $HOME >>/out\nUSER :www-data\n",
    );
    assert_eq!(
        out,
        "uid=600(app) gid=100(users) groups=100(users),700(team)\n/home/app\n600\n33\n12345\n0\n/\n"
    );
    assert_eq!(store.config("built")["User"], ":www-data");
}

#[test]
fn workdir_is_made_and_stays() {
    let store = need!(Store::busybox());
    let (_, tree) = store.built(&Dir::dockerfile(
        "FROM busybox\nENV TOP=/srv\nWORKDIR $TOP/a\nWORKDIR b/../c\nRUN pwd >/out\nWORKDIR /\nWORKDIR made\n",
    ));
    assert_eq!(tree.text("out"), "/srv/a/c\n");
    assert_eq!(tree.owner("srv/a/c"), "0:0 755");
    assert_eq!(tree.get("made").kind, 'd');
    assert_eq!(store.config("built")["WorkingDir"], "/made");
}

#[test]
fn maintainer_is_the_author() {
    let store = need!(Store::busybox());
    config(
        &store,
        "FROM busybox\nMAINTAINER Jane Doe <jane@example.com>\n",
    );
    assert_eq!(
        store.inspect("built")["Author"],
        "Jane Doe <jane@example.com>"
    );
}

#[test]
fn run_in_both_forms_with_continuations_and_comments() {
    let store = need!(Store::busybox());
    let out = output_of_run(
        &store,
        "# a comment\nFROM busybox\nRUN echo one >/out \\\n  # in the middle\n\n  && echo two >>/out\n\
         RUN [\"sh\", \"-c\", \"echo three $0 >>/out\", \"$HOME\"]\n\
         RUN for i in 4 5; do \\\n      echo $i >>/out; \\\n    done\n",
    );
    assert_eq!(out, "one\ntwo\nthree $HOME\n4\n5\n");
}

#[test]
fn history_tells_every_step() {
    let store = need!(Store::busybox());
    let context = Dir::dockerfile(
        "FROM busybox\nARG X=1\nENV A=1\nWORKDIR /w\nCOPY Dockerfile d\nRUN echo hi\nRUN echo $X >f\nCMD [\"/f\"]\nUSER nobody\n",
    );
    store.build("built", &context).ok();
    let archive = store.archive("built");
    let history = archive.history();
    let ours: Vec<(&str, bool)> = history
        .iter()
        .skip(1)
        .map(|(by, e)| (&by[..], *e))
        .collect();
    assert_eq!(
        ours,
        [
            ("ARG X=1", true),
            ("ENV A=1", true),
            ("WORKDIR /w", false),
            ("COPY Dockerfile d # buildkit", false),
            ("RUN |1 X=1 /bin/sh -c echo hi # buildkit", false),
            ("RUN |1 X=1 /bin/sh -c echo $X >f # buildkit", false),
            ("CMD [\"/f\"]", true),
            ("USER nobody", true),
        ]
    );
    let layers = history.iter().filter(|(_, empty)| !empty).count();
    assert_eq!(layers, archive.layers);
}
