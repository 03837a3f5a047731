//! Builds that are ended from outside leave nothing, and the next one works.

use e2e::{Dir, Running, Store, assert_nothing_left, need};
use nix::sys::signal::Signal;

fn endless() -> Dir {
    // Children that ignore what may be ignored, in a session of their own.
    Dir::dockerfile(
        "FROM busybox\nRUN echo 1 >/1\nRUN trap '' INT TERM HUP; setsid sleep 3000 & echo running; sleep 3000; sleep 3000\n",
    )
}

#[track_caller]
fn in_the_middle(store: &Store, flags: &[&str]) -> Running {
    let context = endless();
    let running = store
        .rbuild(["build", "-t", "app"])
        .args(flags)
        .arg(context.path())
        .spawn();
    running.until_err(" running\n");
    running
}

#[track_caller]
fn next_build_works(store: &Store) {
    assert_nothing_left(store.home());
    assert!(!store.has("app"));
    let mended = Dir::dockerfile("FROM busybox\nRUN echo 1 >/1\nRUN echo 2 >/2\n");
    // The limit makes it look for what a dead build left of its control groups.
    let done = store.build("app", &mended).args(["--memory", "64m"]).ok();
    done.tells("CACHED");
    assert_eq!(store.tree("app").text("2"), "2\n");
}

#[test]
fn interrupted_from_the_keyboard() {
    let store = need!(Store::busybox());
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let running = in_the_middle(&store, &["--network", "none"]);
        running.signal(signal);
        let done = running.wait();
        assert_eq!(done.status.code(), Some(130), "{done}");
        assert_nothing_left(store.home());
    }
    next_build_works(&store);
}

#[test]
fn killed() {
    let store = need!(Store::busybox());
    for network in ["default", "none", "host"] {
        let running = in_the_middle(&store, &["--network", network]);
        running.signal(Signal::SIGKILL);
        assert_eq!(running.wait().signal(), Some(9));
        assert_nothing_left(store.home());
    }
    next_build_works(&store);
}

#[test]
fn killed_with_limits() {
    let store = need!(Store::busybox());
    let running = in_the_middle(&store, &["--memory", "64m"]);
    running.signal(Signal::SIGKILL);
    assert_eq!(running.wait().signal(), Some(9));
    // The empty control group is the next build's to remove.
    let next = Dir::dockerfile("FROM busybox\nRUN echo 1 >/1\n");
    store.build("next", &next).args(["--memory", "64m"]).ok();
    next_build_works(&store);
}

#[test]
fn killed_while_it_copies() {
    let store = need!(Store::busybox());
    let mut context = Dir::dockerfile("FROM busybox\nCOPY . /c\nRUN ls /c | wc -l >/count\n");
    for i in 0..400 {
        context = context.file(&format!("file{i}"), vec![i as u8; 20_000]);
    }
    for _ in 0..3 {
        let running = store.build("app", &context).spawn();
        running.until_err("COPY");
        running.signal(Signal::SIGKILL);
        running.wait();
    }
    store.build("app", &context).ok();
    assert_eq!(store.tree("app").text("count"), "401\n");
}
