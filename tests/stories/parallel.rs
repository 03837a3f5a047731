//! Steps that need each other not run at the same time, in one build and in several.

use e2e::{Dir, Machine, Meeting, Running, Store, assert_nothing_left, need};
use nix::sys::signal::Signal;

/// A context whose stages run these each, on the host's network, and whose last copies from all.
fn fan(commands: &[String]) -> Dir {
    let mut text = String::new();
    for (i, command) in commands.iter().enumerate() {
        text.push_str(&format!(
            "FROM busybox AS s{i}\nRUN {command} && echo {i} >/f{i}\n"
        ));
    }
    text.push_str("FROM scratch\n");
    for i in 0..commands.len() {
        text.push_str(&format!("COPY --from=s{i} /f{i} /\n"));
    }
    Dir::dockerfile(&text)
}

#[test]
fn stages_that_wait_for_each_other_all_run() {
    let store = need!(Store::busybox());
    // More than there are processors: who sleeps holds nobody back.
    let number = 2 * std::thread::available_parallelism().unwrap().get() + 1;
    let meeting = Meeting::of(number);
    // Equal ones would run once.
    let steps = (0..number).map(|i| meeting.attend(&i.to_string()));
    let context = fan(&steps.collect::<Vec<_>>());
    let host = ["--network", "host"];
    store.build("app", &context).args(host).ok();
    assert_eq!(meeting.came(), number);
    let tree = store.tree("app");
    for i in 0..number {
        assert_eq!(tree.text(&format!("f{i}")), format!("{i}\n"));
    }
    let again = store.build("app", &context).args(host).ok();
    assert_eq!(again.err().matches(" CACHED").count(), 2 * number);
}

#[test]
fn a_number_of_jobs_is_not_exceeded() {
    let store = need!(Store::busybox());
    let context = fan(&["sleep 0.2", "sleep 0.3", "sleep 0.1"].map(str::to_owned));
    let one = ["--jobs", "1"];
    let done = store.build("app", &context).args(one).ok();
    let text = done.err();
    // A step begins when the one before it is done.
    let mut running = 0;
    for line in text.lines() {
        running += i32::from(line.contains("2/2] RUN sleep"));
        running -= i32::from(line.contains(" DONE 0."));
        assert!(running <= 1, "{text}");
        running = running.max(0);
    }
    store
        .build("app", &context)
        .args(["--jobs", "0"])
        .fails(125);
}

#[test]
fn equal_steps_of_two_stages_run_once() {
    let store = need!(Store::busybox());
    let meeting = Meeting::of(1);
    let step = meeting.attend("x");
    let context = Dir::dockerfile(&format!(
        "FROM busybox AS a\nRUN {step}; date +%N >/t\nFROM busybox AS b\nRUN {step}; date +%N >/t\n\
         FROM scratch\nCOPY --from=a /t /a\nCOPY --from=b /t /b\n"
    ));
    store
        .build("app", &context)
        .args(["--network", "host"])
        .ok();
    assert_eq!(meeting.came(), 1);
    let tree = store.tree("app");
    assert_eq!(tree.text("a"), tree.text("b"));
}

#[test]
fn two_servers_on_one_port_do_not_meet() {
    let store = need!(Store::busybox());
    let machine = need!(Machine::new());
    let meeting = Meeting::on(&machine, 2);
    let port = meeting.port();
    let serve = |name: &str| {
        format!(
            "(nc -ll -p 7777 -e echo {name} &) ; \
             while ! netstat -ltn | grep -q :7777; do sleep 0.01; done; \
             gateway=$(ip route | awk '/^default/ {{print $3}}'); \
             own=$(ip -4 addr show eth0 | awk '/inet/ {{sub(\"/.*\", \"\", $2); print $2}}'); \
             other=$(echo $own | nc $gateway {port} | grep -v -x $own); test -n \"$other\"; \
             nc 127.0.0.1 7777 </dev/null >/own; nc -w 1 $other 7777 </dev/null >/other || true"
        )
    };
    let context = Dir::dockerfile(&format!(
        "FROM busybox AS a\nRUN set -e; {}\nFROM busybox AS b\nRUN set -e; {}\nFROM scratch\n\
         COPY --from=a /own /a\nCOPY --from=a /other /a2\n\
         COPY --from=b /own /b\nCOPY --from=b /other /b2\n",
        serve("first"),
        serve("second")
    ));
    let build = store.build("app", &context).args(["--network", "default"]);
    machine.on(build).ok();
    let tree = store.tree("app");
    assert_eq!([tree.text("a"), tree.text("b")], ["first\n", "second\n"]);
    assert_eq!([tree.text("a2"), tree.text("b2")], ["", ""]);
}

#[test]
fn a_step_finds_nothing_of_the_one_before_in_its_network() {
    let store = need!(Store::busybox());
    // The server closes first, so that its port stays taken for a minute where that is known.
    let serve = "nc -l -p 7777 -e echo served & \
                 while ! netstat -ltn | grep -q :7777; do sleep 0.01; done; \
                 nc 127.0.0.1 7777 </dev/null; wait";
    let context = Dir::dockerfile(&format!(
        "FROM busybox\nRUN {serve}; netstat -tan | grep -c TIME_WAIT >/left\n\
         RUN netstat -tan | grep -c 7777 >/found || true\nRUN {serve}\n"
    ));
    let own = ["--network", "default"];
    let done = store.build("app", &context).args(own).ok();
    let tree = store.tree("app");
    assert_ne!(
        tree.text("left"),
        "0\n",
        "the first step leaves a connection"
    );
    assert_eq!(tree.text("found"), "0\n");
    assert_eq!(done.err().matches(" served\n").count(), 2, "{done}");
}

#[test]
fn the_first_failure_ends_the_others_and_is_told_last() {
    let store = need!(Store::busybox());
    let meeting = Meeting::of(2);
    let (step, loud) = (
        meeting.attend("x"),
        "for i in $(seq 30); do echo noise; done",
    );
    let context = Dir::dockerfile(&format!(
        "FROM busybox AS a\nRUN {step}; {loud}; sleep 3000\n\
         FROM busybox AS b\nRUN {step}; echo last words; exit 7\n\
         FROM scratch\nCOPY --from=a / /\nCOPY --from=b / /\n"
    ));
    let build = store.build("app", &context).args(["--network", "host"]);
    for command in [build.clone(), build.on_terminal(100)] {
        let done = command.run();
        assert_eq!(done.status.code(), Some(7), "{done}");
        let text = format!("{}{}", done.out(), done.err());
        let (before, after) = text.rsplit_once("last words").expect("what it said");
        assert!(before.contains("CANCELED"), "{done}");
        assert!(
            !after.contains("CANCELED") && !after.contains("noise"),
            "{done}"
        );
        assert_nothing_left(store.home());
    }
}

/// A build of this on the host's network.
fn start(store: &Store, tag: &str, context: &Dir) -> Running {
    store
        .build(tag, context)
        .args(["--network", "host"])
        .spawn()
}

/// Two steps, of which each waits for a meeting.
fn two_steps(first: &Meeting, second: &Meeting) -> Dir {
    Dir::dockerfile(&format!(
        "FROM busybox\nRUN {} && date +%N >/a\nRUN {} && date +%N >/b\n",
        first.attend("first"),
        second.attend("second")
    ))
}

/// What a build says that waits.
const WAITS: &str = "waiting for another build that does the same step";

#[test]
fn two_builds_at_once_run_each_step_once() {
    let store = need!(Store::busybox());
    let (first, second) = (Meeting::closed(), Meeting::closed());
    let context = two_steps(&first, &second);
    let one = start(&store, "one", &context);
    first.until(1);
    let other = start(&store, "other", &context);
    other.until_err(WAITS);
    first.open();
    second.until(1);
    second.open();
    for build in [one, other] {
        let done = build.wait();
        assert!(done.status.success(), "{done}");
    }
    assert_eq!((first.came(), second.came()), (1, 1));
    assert_eq!(store.tree("one").text("b"), store.tree("other").text("b"));
    let claims = std::fs::read_dir(store.root().join("claims")).unwrap();
    assert_eq!(claims.count(), 0);
}

#[test]
fn a_build_goes_on_where_the_one_that_it_waited_for_was_ended() {
    let store = need!(Store::busybox());
    // Killed, interrupted, and failed on its own.
    for signal in [Some(Signal::SIGKILL), Some(Signal::SIGINT), None] {
        let (first, second) = (Meeting::closed(), Meeting::of(1));
        let context = two_steps(&first, &second);
        if signal.is_none() {
            let text = context.read("Dockerfile");
            // The first who comes fails: it finds nobody before it.
            let step = format!(
                "test $(echo | nc 127.0.0.1 {} | wc -l) -gt 1 &&",
                first.port()
            );
            context.write(
                "Dockerfile",
                text.replacen("RUN ", &format!("RUN {step} "), 1),
            );
        }
        let one = start(&store, "one", &context);
        first.until(1);
        let other = start(&store, "other", &context);
        other.until_err(WAITS);
        match signal {
            Some(signal) => one.signal(signal),
            None => first.open(),
        }
        assert!(!one.wait().status.success());
        first.until(2);
        first.open();
        let done = other.wait();
        assert!(done.status.success(), "{done}");
        assert!(store.has("other"));
        assert_nothing_left(store.home());
    }
    let claims = std::fs::read_dir(store.root().join("claims")).unwrap();
    assert_eq!(claims.count(), 0);
}

#[test]
fn who_waits_for_another_build_can_be_interrupted() {
    let store = need!(Store::busybox());
    let (first, second) = (Meeting::closed(), Meeting::of(1));
    let context = two_steps(&first, &second);
    let one = start(&store, "one", &context);
    first.until(1);
    let other = start(&store, "other", &context);
    other.until_err(WAITS);
    other.signal(Signal::SIGTERM);
    let done = other.wait();
    assert_eq!(done.status.code(), Some(143), "{done}");
    done.tells("CANCELED");
    first.open();
    let done = one.wait();
    assert!(done.status.success(), "{done}");
    assert_eq!(first.came(), 1);
}

#[test]
fn linked_layers_outlive_their_base() {
    let store = need!(Store::busybox());
    let base = |n: u8| {
        Dir::dockerfile(&format!(
            "FROM busybox\nRUN echo {n} >/base; mkdir -m 700 /d\n"
        ))
    };
    store.build("base1", &base(1)).ok();
    store.build("base2", &base(2)).ok();
    let app = |base: &str, link: &str| {
        Dir::dockerfile(&format!("FROM {base}\nCOPY --link{link} f /d/e/\nCOPY --link f /x\nRUN cat /base /d/e/f /x >/all\n"))
            .file("f", "content\n")
    };
    store.build("one", &app("base1", "")).ok();
    let done = store.build("two", &app("base2", "")).ok();
    done.tells("COPY --link f /d/e/").tells("COPY --link f /x");
    assert_eq!(done.err().matches(" CACHED").count(), 2, "{done}");
    let layers = |image: &str| {
        let layers = store.inspect(image)["RootFS"]["Layers"].clone();
        layers.as_array().unwrap().clone()
    };
    assert_eq!(layers("one")[2..4], layers("two")[2..4]);

    // The first image and its base go; what both have stays as long as the second is there.
    let fsck = || store.rbuild(["fsck"]).ok();
    fsck();
    store.rbuild(["rmi", "one", "base1"]).ok();
    store.rbuild(["prune", "-f"]).ok();
    fsck();
    let tree = store.tree("two");
    assert_eq!(tree.text("all"), "2\ncontent\ncontent\n");
    assert_eq!(
        tree.get("d").mode & 0o7777,
        0o700,
        "the image's own directory"
    );
    let again = store.build("two", &app("base2", "")).ok();
    again.tells("CACHED");

    // Another image's directory looks otherwise: the layer is made for it.
    let other = Dir::dockerfile("FROM busybox\nRUN echo 3 >/base; mkdir -m 755 /d\n");
    store.build("base3", &other).ok();
    let done = store.build("three", &app("base3", "")).ok();
    assert_eq!(done.err().matches(" CACHED").count(), 1, "{done}");
    assert_eq!(store.tree("three").get("d").mode & 0o7777, 0o755);
    fsck();
}

#[test]
fn one_layer_lies_twice_in_a_stack() {
    let store = need!(Store::busybox());
    let context = Dir::dockerfile(
        "FROM busybox\nCOPY --link f /d/f\nRUN echo other >/d/f; rm -r /d/g; echo x >/d/h\n\
         COPY --link f /d/f\nRUN cat /d/f >/seen; ls /d >>/seen\n",
    );
    context.write("f", "content\n");
    let context = context;
    let mended = context.read("Dockerfile").replace("rm -r /d/g; ", "");
    context.write("Dockerfile", mended);
    store.build("app", &context).ok();
    assert_eq!(store.tree("app").text("seen"), "content\nf\nh\n");
    store.rbuild(["fsck"]).ok();
    let size = store.rbuild(["export", "app", "-o", "/dev/null"]);
    size.run();
}

#[test]
fn a_process_that_wants_to_know_of_the_end_is_told() {
    let store = need!(Store::busybox());
    for (signal, code) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 143)] {
        // The shell looks at its trap when its child has ended, which is told as well.
        let context = Dir::dockerfile(
            "FROM busybox\nRUN trap 'echo tidying up; exit 3' TERM; echo running; sleep 3000\n",
        );
        let running = store.build("app", &context).spawn();
        running.until_err(" running\n");
        running.signal(signal);
        let done = running.wait();
        assert_eq!(done.status.code(), Some(code), "{done}");
        done.tells(" tidying up\n").tells("CANCELED");
        assert_nothing_left(store.home());
    }
}

#[test]
fn a_second_signal_ends_a_build_whose_process_does_not() {
    let store = need!(Store::busybox());
    let context = Dir::dockerfile(
        "FROM busybox\nRUN trap 'echo not yet' TERM; echo running; while :; do sleep 3000; done\n",
    );
    for second in [true, false] {
        let running = store.build("app", &context).spawn();
        running.until_err(" running\n");
        running.signal(Signal::SIGINT);
        running.until_err(" not yet\n");
        if second {
            running.signal(Signal::SIGINT);
        }
        let done = running.wait();
        assert_eq!(done.status.code(), Some(130), "{done}");
        assert_nothing_left(store.home());
    }
}

/// The holder of the mount waits for what the other build can only do beside the step that waits.
#[test]
fn a_step_that_waits_for_a_cache_mount_lets_others_go_on() {
    let store = need!(Store::busybox());
    let dir = tempfile::tempdir().unwrap();
    let volume = format!("-v{}:/vol", dir.path().display());
    let mount = "--mount=type=cache,id=l,target=/c,sharing=locked";
    let holder = Dir::dockerfile(&format!(
        "FROM busybox\nRUN {mount} echo >/vol/held; until [ -e /vol/go ]; do sleep 0.05; done\n"
    ));
    let waiter = Dir::dockerfile(&format!(
        "FROM busybox AS a\nRUN {mount} cat /vol/go >/a\n\
         FROM busybox AS b\nRUN echo go >/vol/go; echo b >/b\n\
         FROM scratch\nCOPY --from=a /a /\nCOPY --from=b /b /\n"
    ));
    let holding = store.build("holder", &holder).arg(&volume).spawn();
    while !dir.path().join("held").exists() {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let done = store
        .build("waiter", &waiter)
        .args(["--jobs=1", &volume])
        .ok();
    let held = holding.wait();
    assert!(held.status.success(), "{held}");
    done.tells("waiting for the cache mount of another step");
    assert_eq!(store.tree("waiter").text("a"), "go\n");
}

/// A number below `limit`, another one each time.
fn random(limit: u64) -> u64 {
    use std::hash::BuildHasher as _;
    std::collections::hash_map::RandomState::new().hash_one(limit) % limit
}

#[test]
fn kills_at_any_moment_of_a_parallel_build_leave_nothing() {
    let store = need!(Store::busybox());
    let mut text = String::new();
    for i in 0..4 {
        text.push_str(&format!(
            "FROM busybox AS s{i}\nRUN echo {i} >/a; sleep 0.0{i}\nCOPY --link . /c\n\
             RUN cat /a >/b; ls /c | wc -l >>/b\n"
        ));
    }
    text.push_str("FROM busybox\n");
    for i in 0..4 {
        text.push_str(&format!("COPY --from=s{i} /b /b{i}\n"));
    }
    let mut context = Dir::dockerfile(&text);
    for i in 0..50 {
        context = context.file(&format!("file{i}"), vec![i as u8; 5000]);
    }
    let build = |tag: &str| store.build(tag, &context).args(["--memory", "64m"]);
    let begun = std::time::Instant::now();
    build("first").arg("--no-cache").ok();
    let took = u64::try_from(begun.elapsed().as_micros()).unwrap();
    // Every hundredth of a build gets its turn, in an order in which also a slow machine, which
    // ends sooner, has come by all parts of it.
    let (rounds, least) = (100, 25);
    for turn in 0..rounds {
        if turn >= least && begun.elapsed() > std::time::Duration::from_secs(45) {
            break;
        }
        let round = turn * 37 % rounds;
        let build = match turn % 2 {
            0 => build("app").arg("--no-cache"),
            _ => build("app"),
        };
        let running = build.spawn();
        let moment = took * round / rounds + random(took / rounds + 1);
        std::thread::sleep(std::time::Duration::from_micros(moment));
        running.signal(Signal::SIGKILL);
        running.wait();
    }
    store.rbuild(["fsck"]).ok();
    build("app").ok();
    let tree = store.tree("app");
    for i in 0..4 {
        assert_eq!(tree.text(&format!("b{i}")), format!("{i}\n51\n"));
    }
    assert_nothing_left(store.home());
    store.rbuild(["fsck"]).ok();
    build("app").ok().tells("CACHED");
    let claims = std::fs::read_dir(store.root().join("claims")).unwrap();
    assert_eq!(claims.count(), 0);
}
