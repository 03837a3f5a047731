//! What is seen while something takes time, and when it goes wrong.

use e2e::{Dir, Done, Registry, Store, need};
use nix::sys::signal::Signal;

/// The lines as the terminal got them, without colours and cursor movements.
fn seen(done: &Done) -> Vec<String> {
    let out = done.out();
    let mut text = String::new();
    let mut chars = out.chars();
    while let Some(c) = chars.next() {
        match c {
            '\u{1b}' => {
                chars.by_ref().find(|c| c.is_ascii_alphabetic());
                text.push('\n');
            }
            '\r' => text.push('\n'),
            c => text.push(c),
        }
    }
    let lines = text.lines().map(|line| line.trim_end().to_owned());
    lines.filter(|line| !line.is_empty()).collect()
}

#[track_caller]
fn shows(done: &Done, wanted: &str) {
    let lines = seen(done);
    assert!(
        lines.iter().any(|line| line.contains(wanted)),
        "never shows {wanted:?}: {lines:#?}"
    );
}

/// BuildKit's words: `[+] Building 0.8s (5/5) FINISHED`.
#[test]
fn a_build_shows_how_far_it_is() {
    let store = need!(Store::busybox());
    let long = "x".repeat(300);
    let text = format!("FROM busybox\nCOPY f /\nRUN echo {long}\n");
    let context = Dir::dockerfile(&text).file("f", "1");
    let build = |context: &Dir| {
        store
            .rbuild(["build", "--network=none", "--progress=auto", "-t", "x"])
            .arg(context.path())
            .env("RBUILD_PROGRESS", "auto")
            .on_terminal(60)
            .ok()
    };
    let done = build(&context);
    shows(&done, "[+] Building ");
    shows(&done, "(4/4) FINISHED");
    let steps = seen(&done)
        .into_iter()
        .filter(|line| line.starts_with(" => "));
    let steps: Vec<String> = steps.collect();
    assert!(
        steps
            .iter()
            .any(|line| line.contains("RUN echo xxx") && line.contains('…'))
    );
    for line in &steps {
        assert!(
            line.chars().count() <= 60,
            "wider than the terminal: {line}"
        );
    }
    // The reason of a miss stays readable.
    std::fs::write(context.path().join("f"), "2").unwrap();
    let done = build(&context);
    shows(&done, " => => not cached: the content of f changed");
}

#[test]
fn a_build_that_is_interrupted_is_canceled() {
    let store = need!(Store::busybox());
    let context = Dir::dockerfile("FROM busybox\nRUN echo begun; sleep 60\n");
    let running = store.build("x", &context).spawn();
    running.until_err("begun");
    running.signal(Signal::SIGINT);
    let done = running.wait();
    assert_eq!(done.status.code(), Some(130), "{done}");
    // As BuildKit says it: `#5 CANCELED`.
    done.tells(" CANCELED\n").never_tells(" ERROR");
}

#[test]
fn a_failing_run_tells_the_command_once_and_the_end_of_its_log_last() {
    let store = need!(Store::busybox());
    let context = Dir::dockerfile(
        "FROM busybox\nRUN for i in $(seq 30); do echo line $i; done; echo the cause >&2; exit 3\n",
    );
    let done = store.build("x", &context).fails(3);
    let err = done.err();
    let (_, told) = err.split_once(" ERROR: ").expect("the step's end");
    assert_eq!(told.matches("for i in").count(), 1, "{told}");
    let place = told.find("for i in").unwrap();
    let cause = told.find("\nthe cause\n").expect("the end of the log");
    assert!(place < cause, "{told}");
    assert!(!told.contains("line 20\n"), "all of it again: {told}");
    assert!(told.contains("line 22\n"), "{told}");
    let last = told.trim_end().lines().last().unwrap();
    assert_eq!(
        last,
        "ERROR: failed to solve: process did not complete successfully: exit code: 3"
    );
    // One word for errors, whoever tells them.
    assert!(!err.contains("error:") && !err.contains("error["), "{err}");
    store
        .rbuild(["build"])
        .fails(1)
        .tells("ERROR: ")
        .never_tells("error:");

    let quiet = store
        .rbuild(["build", "-q", "--network=none"])
        .arg(context.path())
        .fails(3);
    quiet.tells("line 1\n").tells("the cause\n");
    assert_eq!(quiet.out(), "");
}

/// docker's words: Extracting, Pull complete; Preparing, Pushed; Loading layer.
#[test]
fn transfers_are_seen_on_a_terminal() {
    let store = need!(Store::busybox());
    // Long enough to be seen at work.
    let big = "FROM busybox\nRUN dd if=/dev/urandom of=/big bs=1M count=48\n";
    store.build("big", &Dir::dockerfile(big)).ok();
    let registry = Registry::start();
    let name = registry.name("big:1");
    store.rbuild(["tag", "big", &name]).ok();
    let pushed = store.rbuild(["push", &name]).on_terminal(100).ok();
    shows(&pushed, ": Preparing [");
    shows(&pushed, ": Pushed");

    let other = need!(Store::new());
    let pulled = other.rbuild(["pull", &name]).on_terminal(100).ok();
    shows(&pulled, ": Extracting [");
    shows(&pulled, ": Pull complete");

    let tar = store.file("big.tar");
    let path = tar.to_str().unwrap();
    let saved = store
        .rbuild(["save", "-o", path, "big"])
        .on_terminal(100)
        .ok();
    shows(&saved, ": Saving layer [");
    let third = need!(Store::new());
    let loaded = third.rbuild(["load", "-i", path]).on_terminal(100).ok();
    shows(&loaded, ": Loading layer [");
    shows(&loaded, "Loaded image: big:latest");

    // Elsewhere docker's client prints no more than this.
    let done = third.rbuild(["load", "-i", path]).ok();
    assert_eq!(done.out(), "Loaded image: big:latest\n");
    assert_eq!(done.err(), "");
    assert_eq!(store.rbuild(["save", "-o", path, "big"]).ok().err(), "");
}
