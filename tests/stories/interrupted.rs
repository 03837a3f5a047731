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
    // 128 and the signal's number, as shells have it.
    for (signal, code) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 143)] {
        let running = in_the_middle(&store, &["--network", "none"]);
        running.signal(signal);
        let done = running.wait();
        assert_eq!(done.status.code(), Some(code), "{done}");
        assert_nothing_left(store.home());
    }
    next_build_works(&store);
}

/// Longer than any test has time: it ends because it is told to.
const HUGE: u64 = 1 << 40;

#[test]
fn interrupted_in_the_middle_of_a_huge_file() {
    let store = need!(Store::busybox());
    let copied = Dir::dockerfile("FROM busybox\nCOPY huge /\n").file("huge", "");
    let huge = std::fs::File::options()
        .write(true)
        .open(copied.join("huge"));
    huge.unwrap().set_len(HUGE).unwrap();
    let made =
        Dir::dockerfile("FROM busybox\nRUN truncate -s 1099511627776 /huge && echo all made\n");
    for (context, at) in [(&copied, "COPY huge"), (&made, " all made\n")] {
        for (signal, code) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 143)] {
            let running = store.build("app", context).spawn();
            running.until_err(at);
            // It is being read by then, or will be soon.
            std::thread::sleep(std::time::Duration::from_millis(300));
            running.signal(signal);
            let done = running.wait();
            assert_eq!(done.status.code(), Some(code), "{done}");
            assert_nothing_left(store.home());
        }
    }
    assert!(!store.has("app"));
}

#[test]
fn interrupted_while_it_downloads() {
    use std::io::{Read as _, Write as _};
    let store = need!(Store::busybox());
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/file", listener.local_addr().unwrap());
    let context = Dir::dockerfile(&format!("FROM busybox\nADD {url} /\n"));
    for (signal, code) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 143)] {
        let running = store.build("app", &context).spawn();
        let (mut stream, _) = listener.accept().unwrap();
        assert!(stream.read(&mut [0; 1024]).unwrap() > 0);
        // Once before an answer, once in the middle of one that never ends.
        if signal == Signal::SIGTERM {
            let head = b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\nsome";
            stream.write_all(head).unwrap();
        }
        running.signal(signal);
        let done = running.wait();
        assert_eq!(done.status.code(), Some(code), "{done}");
        assert_nothing_left(store.home());
    }
    assert!(!store.has("app"));
}

/// What a context is fetched into goes with it.
#[test]
fn interrupted_while_it_fetches_the_context() {
    let store = need!(Store::busybox());
    need!(e2e::program("git"));
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let here = Dir::dockerfile("FROM busybox\n");
    let here = here.path().to_str().unwrap();
    for name in ["repository.git", "context.tar"] {
        let url = format!("http://{address}/{name}");
        let named = format!("other={url}");
        let whole: &[&str] = &[&url];
        for args in [
            whole,
            &["--check", &url],
            &["--build-context", &named, here],
        ] {
            for (signal, code) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 143)] {
                let temporary = Dir::new();
                let running = store
                    .rbuild(["build"])
                    .args(args)
                    .env("TMPDIR", temporary.path())
                    .spawn();
                let (_stream, _) = listener.accept().unwrap();
                running.signal(signal);
                let done = running.wait();
                assert_eq!(done.status.code(), Some(code), "{args:?}: {done}");
                let left: Vec<_> = std::fs::read_dir(temporary.path()).unwrap().collect();
                assert!(left.is_empty(), "{args:?}: {left:?}");
            }
        }
    }
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
