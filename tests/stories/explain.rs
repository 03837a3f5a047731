//! What builds leave behind to be asked about: why steps ran, and where the time went.

use e2e::{Dir, Done, Store, assert_nothing_left, need};
use nix::sys::signal::Signal;
use serde_json::Value;

fn explain(store: &Store, of: &[&str]) -> Done {
    store.rbuild(["explain"]).args(of).ok()
}

fn builds(store: &Store, args: &[&str]) -> String {
    store.rbuild(["builds"]).args(args).ok().out()
}

#[test]
fn each_change_of_a_file_is_told_as_what_it_is() {
    let store = need!(Store::busybox());
    let context = Dir::dockerfile("FROM busybox\nRUN true\nCOPY src /src\nRUN ls /src\n")
        .file("src/a.c", "a")
        .file("src/sub/b.c", "b")
        .mode("src/a.c", 0o644);
    store.build("app", &context).ok();
    let first = explain(&store, &[]);
    first.says("3 steps ran, 0 from the cache");
    first.says("No earlier build is known that did this step.");

    let rename = || std::fs::rename(context.join("src/sub/b.c"), context.join("src/b.c"));
    let changes: [(&dyn Fn(), &str); 5] = [
        (
            &|| context.write("src/a.c", "A"),
            "The content of src/a.c changed.",
        ),
        (
            &|| context.chmod("src/a.c", 0o755),
            "The mode of src/a.c changed from 0644 to 0755.",
        ),
        (
            &|| rename().unwrap(),
            "The file src/sub/b.c was renamed to src/b.c.",
        ),
        (&|| context.write("src/new", ""), "The file src/new is new."),
        (
            &|| std::fs::remove_file(context.join("src/a.c")).unwrap(),
            "The file src/a.c is gone.",
        ),
    ];
    for (change, told) in changes {
        change();
        let done = store.build("app", &context).ok();
        let clause = told.trim_end_matches('.').trim_start_matches("The ");
        done.tells("not cached: ").tells(clause);
        let why = explain(&store, &["latest"]);
        why.says("2 steps ran, 1 from the cache");
        let copy = "Dockerfile:3 [3/4] COPY src /src";
        why.says(copy).says(&format!("\n  {told}\n"));
        assert_eq!(why.out().matches("\n  The ").count(), 2, "{why}");
        let below = "they come from [3/4] COPY src /src.";
        why.says("Dockerfile:4 [4/4] RUN ls /src").says(below);
    }
    // What nothing has changed in ran nothing, and the image is still explained by what made it.
    store.build("app", &context).ok();
    explain(&store, &[]).says("0 steps ran, 3 from the cache");
    explain(&store, &["app"]).says("The file src/a.c is gone.");
    explain(&store, &[&store.id("app")]).says("The file src/a.c is gone.");
    // The first build of six.
    explain(&store, &["^6"]).says("No earlier build is known");
    let wrong = store.rbuild(["explain", "busybox"]).fails(1);
    wrong.tells("none of the builds that are kept has made busybox");
    store
        .rbuild(["explain", "99"])
        .fails(1)
        .tells("there is no build 99");
}

#[test]
fn many_files_are_counted_unless_all_are_asked_for() {
    let store = need!(Store::busybox());
    let mut context = Dir::dockerfile("FROM busybox\nCOPY . /src\n");
    store.build("app", &context).ok();
    for n in 0..30 {
        context = context.file(&format!("f{n:02}"), "x");
    }
    let done = store.build("app", &context).ok();
    done.tells("the file f02 is new, and 27 more files changed");
    let why = explain(&store, &[]);
    why.says("The file f19 is new.")
        .says("And 10 more files changed.");
    assert!(!why.out().contains("f20"), "{why}");
    explain(&store, &["--no-trunc"]).says("The file f29 is new.");
    let json = explain(&store, &["--format", "json"]).json();
    let changes = &json[0]["reason"]["differences"][0]["changes"];
    assert_eq!(changes.as_array().unwrap().len(), 30);
    assert_eq!(
        changes[7],
        serde_json::json!({"path": "f07", "change": "added"})
    );
}

#[test]
fn owners_arguments_and_bases_are_told() {
    let store = need!(Store::busybox());
    let context = Dir::dockerfile(
        "FROM busybox AS made\nARG OWNER=1\nRUN mkdir /d && echo x >/d/f && chown $OWNER:7 /d/f\n\
         FROM busybox\nARG LEVEL=1\nARG NPM_TOKEN=\nCOPY --from=made /d /d\nRUN echo $LEVEL\n",
    );
    let build = |args: &[&str]| {
        let all = args.iter().map(|arg| format!("--build-arg={arg}"));
        store.build("app", &context).args(all).ok()
    };
    build(&[]);
    build(&["OWNER=2"]).tells("OWNER changed from \"1\" to \"2\"");
    let why = explain(&store, &[]);
    why.says("Dockerfile:3 [made 2/2] RUN mkdir");
    why.says("  OWNER changed from \"1\" to \"2\".\n");
    why.says("  The owner of d/f changed from 1:7 to 2:7.\n");
    build(&["OWNER=2", "LEVEL=3", "NPM_TOKEN=h1dden-v4lue"]);
    let why = explain(&store, &[]);
    why.says("LEVEL changed from \"1\" to \"3\"");
    why.says("NPM_TOKEN changed (its values are not told)");
    for folder in ["records", "traces"] {
        for entry in std::fs::read_dir(store.root().join("build").join(folder)).unwrap() {
            let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
            assert!(!text.contains("h1dden"), "{text}");
        }
    }

    // Another image under the base's name.
    let base = Dir::dockerfile("FROM busybox\nRUN echo 1 >/1\n");
    let over = Dir::dockerfile("FROM base\nRUN true\n");
    store.build("base", &base).ok();
    store.build("over", &over).ok();
    base.write("Dockerfile", "FROM busybox\nRUN echo 2 >/2\n");
    store.build("base", &base).ok();
    store
        .build("over", &over)
        .ok()
        .tells("the layers below it changed (FROM ");
    explain(&store, &["over"])
        .says("they come from FROM ")
        .says("base:latest.");
}

#[test]
fn secrets_are_in_no_record() {
    let store = need!(Store::busybox());
    let context =
        Dir::dockerfile("FROM busybox\nARG A\nRUN --mount=type=secret,id=s,env=S echo $A $S\n");
    for (a, told) in [
        ("x", ""),
        ("s3cr3t-v4lue", "A changed from \"x\" to ***"),
        ("y", "A changed from *** to \"y\""),
    ] {
        let build = store.build("app", &context).arg("--secret=id=s,env=GIVEN");
        let build = build.arg(format!("--build-arg=A={a}"));
        let done = build.env("GIVEN", "s3cr3t-v4lue").ok();
        done.never_tells("s3cr3t");
        if a != "x" {
            done.tells(told);
            explain(&store, &["app"]).says(told);
        }
    }
    for name in std::fs::read_dir(store.root().join("build/records")).unwrap() {
        let text = std::fs::read_to_string(name.unwrap().path()).unwrap();
        assert!(!text.contains("s3cr3t-v4lue"), "{text}");
    }
}

#[test]
fn builds_are_listed_shown_and_forgotten() {
    let store = need!(Store::busybox());
    assert_eq!(builds(&store, &["-q"]), "");
    store
        .rbuild(["builds", "show"])
        .fails(1)
        .tells("no build is kept here yet");
    let good = Dir::dockerfile("FROM busybox AS base\nRUN sleep 0.2; echo 1 >/1\n");
    let bad = Dir::dockerfile("FROM busybox\nRUN exit 3\n");
    store.build("app", &good).arg("--target=base").ok();
    store.build("bad", &bad).fails(3);
    let name = |dir: &Dir| dir.path().file_name().unwrap().to_str().unwrap().to_owned();
    let (good_name, bad_name) = (name(&good), name(&bad));
    let table = builds(&store, &[]);
    let lines: Vec<&str> = table.lines().collect();
    let heads = lines[0].split("  ").map(str::trim);
    let heads: Vec<&str> = heads.filter(|head| !head.is_empty()).collect();
    assert_eq!(
        heads,
        ["BUILD ID", "NAME", "STATUS", "CREATED AT", "DURATION"]
    );
    assert!(
        lines[1].starts_with('2') && lines[1].contains("Error"),
        "{table}"
    );
    assert!(lines[2].contains(&format!("{good_name} (base)")), "{table}");
    assert!(lines[2].contains("Completed"), "{table}");
    let list = builds(&store, &["--format", "{{.Ref}} {{.Name}} {{.Status}}"]);
    assert_eq!(
        list,
        format!("2 {bad_name} Error\n1 {good_name} (base) Completed\n")
    );
    assert_eq!(builds(&store, &["-q", "--filter", "status=error"]), "2\n");
    assert_eq!(builds(&store, &["ls", "-q", "--filter", "tag=app"]), "1\n");
    let json: Value =
        serde_json::from_str(&builds(&store, &["--filter=tag=app", "--format=json"])).unwrap();
    assert_eq!(
        (&json["ref"], &json["cached_steps"]),
        (&"1".into(), &0.into())
    );

    let shown = builds(&store, &["show", "1"]);
    assert!(
        shown.contains(&store.id("app")) && shown.contains("RUN sleep"),
        "{shown}"
    );
    let step = shown
        .lines()
        .find(|line| line.contains("RUN sleep"))
        .unwrap();
    assert!(step.contains("done") && step.contains("2B"), "{step}");
    let history = store.rbuild(["buildx", "history", "inspect", "^0"]).ok();
    history.says("Error: failed to solve").says("failed");

    let file = store.file("trace.json");
    let out = store.rbuild(["builds", "trace", "1", "-o"]).arg(&file).ok();
    assert_eq!(out.out(), "");
    let trace: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    let events = trace["traceEvents"].as_array().unwrap();
    let time = |event: &Value, key: &str| event[key].as_u64().unwrap();
    let whole = events
        .iter()
        .find(|event| event["name"] == "build")
        .unwrap();
    let mut steps = 0;
    for event in events.iter().filter(|event| event["ph"] == "X") {
        assert!(
            time(event, "ts") + time(event, "dur") <= time(whole, "dur"),
            "{event}"
        );
        steps += usize::from(event["name"].as_str().unwrap().contains("RUN sleep"));
    }
    assert_eq!(steps, 1);

    // What is damaged is told, and the rest is there.
    std::fs::write(store.root().join("build/records/1.json"), "{").unwrap();
    let listed = store.rbuild(["builds", "-q"]).ok();
    listed.tells("the record of build 1 cannot be read");
    assert_eq!(listed.out(), "2\n");
    assert_eq!(builds(&store, &["rm", "1"]), "1\n");
    store
        .rbuild(["builds", "rm", "1"])
        .fails(1)
        .tells("there is no build 1");
    assert_eq!(builds(&store, &["rm", "--all"]), "2\n");
    assert_eq!(builds(&store, &["-q"]), "");
    store.rbuild(["fsck"]).ok();
}

#[test]
fn the_last_hundred_builds_are_kept() {
    let store = need!(Store::busybox());
    let context = Dir::dockerfile("FROM busybox\nCMD [\"true\"]\n");
    store.build("app", &context).ok();
    let records = store.root().join("build/records");
    for number in 2..=100 {
        std::fs::copy(
            records.join("1.json"),
            records.join(format!("{number}.json")),
        )
        .unwrap();
    }
    // Two at once get two numbers.
    let both = [0, 1].map(|_| store.build("app", &context).spawn());
    for one in both {
        let done = one.wait();
        assert!(done.status.success(), "{done}");
    }
    let listed = builds(&store, &["-q"]);
    let numbers: Vec<&str> = listed.lines().collect();
    assert_eq!(numbers.len(), 100);
    assert_eq!((numbers[0], numbers[99]), ("102", "3"));
}

#[test]
fn an_interrupted_build_is_listed_as_canceled() {
    let store = need!(Store::busybox());
    let context = Dir::dockerfile("FROM busybox\nRUN echo begun; sleep 3000\n");
    for (signal, kept) in [(Signal::SIGINT, 1), (Signal::SIGKILL, 1)] {
        let running = store
            .build("app", &context)
            .args(["--network", "none"])
            .spawn();
        running.until_err(" begun\n");
        running.signal(signal);
        running.wait();
        assert_eq!(builds(&store, &["-q"]).lines().count(), kept);
    }
    assert_eq!(builds(&store, &["--format", "{{.Status}}"]), "Canceled\n");
    explain(&store, &[])
        .says("It was interrupted.")
        .says("It did not come to an end.");
    store
        .build("other", &Dir::dockerfile("FROM busybox\nRUN true\n"))
        .ok();
    assert_nothing_left(store.home());
}

/// What a failed build has done counts as the last time for the next one.
#[test]
fn a_failed_build_is_compared_with_too() {
    let store = need!(Store::busybox());
    let context =
        |last: &str| Dir::dockerfile(&format!("FROM busybox\nARG A\nRUN echo $A\nRUN {last}\n"));
    let (good, bad) = (context("true"), context("false"));
    let build = |dir: &Dir, value: &str| {
        // Keys are kept by the context's path, which is one for both.
        good.write("Dockerfile", dir.read("Dockerfile"));
        store.build("app", &good).args(["--build-arg", value]).run()
    };
    let right = Dir::new().file("Dockerfile", good.read("Dockerfile"));
    assert!(build(&right, "A=1").status.success());
    assert!(!build(&bad, "A=2").status.success());
    let done = build(&right, "A=3");
    assert!(done.status.success(), "{done}");
    done.tells("A changed from \"2\" to \"3\"");
}
