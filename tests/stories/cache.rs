//! The step cache: what hits, what misses, and why.

use e2e::{Cmd, Dir, Done, Store, need};

fn context() -> Dir {
    Dir::dockerfile(
        "FROM busybox\nARG LEVEL=1\nRUN echo first >/first\nCOPY src /src\nRUN echo second $LEVEL >/second\n",
    )
    .file("src/a", "a")
    .file("src/b", "b")
    .file("unrelated", "")
}

/// How many steps were taken from the cache.
fn cached(done: &Done) -> usize {
    done.err()
        .lines()
        .filter(|line| line.ends_with("CACHED"))
        .count()
}

#[test]
fn an_unchanged_build_runs_nothing() {
    let store = need!(Store::busybox());
    let context = context();
    let first = store.build("app", &context).ok();
    assert_eq!(cached(&first), 0, "{first}");
    let id = store.id("app");
    let again = store.build("app", &context).ok();
    assert_eq!(cached(&again), 3, "{again}");
    assert_eq!(store.id("app"), id);
}

#[test]
fn a_copy_of_the_context_hits() {
    let store = need!(Store::busybox());
    let context = context();
    store.build("app", &context).ok();
    let elsewhere = Dir::new().copy_of(context.path());
    let again = store.build("app2", &elsewhere).ok();
    assert_eq!(cached(&again), 3, "{again}");
    assert_eq!(store.id("app2"), store.id("app"));
}

#[test]
fn times_owners_and_other_files_do_not_count() {
    let store = need!(Store::busybox());
    let context = context();
    store.build("app", &context).ok();
    let id = store.id("app");
    context.touch("src/a", 1_600_000_000);
    Cmd::new("chown")
        .arg("12:34")
        .arg(context.join("src/b"))
        .ok();
    context.write("unrelated", "changed");
    context.write("Dockerfile", context.read("Dockerfile") + "# a comment\n");
    let again = store.build("app", &context).ok();
    assert_eq!(cached(&again), 3, "{again}");
    assert_eq!(store.id("app"), id);
}

#[test]
fn content_and_modes_count_from_their_copy_on() {
    let store = need!(Store::busybox());
    let context = context();
    store.build("app", &context).ok();
    let changes: [(&str, &dyn Fn()); 4] = [
        ("src/a", &|| context.write("src/a", "A")),
        ("src/b", &|| context.chmod("src/b", 0o755)),
        ("src/c", &|| context.write("src/c", "")),
        ("src/b", &|| {
            std::fs::remove_file(context.join("src/b")).unwrap()
        }),
    ];
    for (what, change) in changes {
        change();
        let again = store.build("app", &context).ok();
        assert_eq!(cached(&again), 1, "after {what}: {again}");
        again.tells("not cached: ").tells("echo second");
        let again = store.build("app", &context).ok();
        assert_eq!(cached(&again), 3, "once more after {what}: {again}");
    }
    // Back to what was there before: its record is still known.
    std::fs::remove_file(context.join("src/c")).unwrap();
    context.write("src/a", "a");
    context.write("src/b", "b");
    let again = store.build("app", &context).ok();
    assert_eq!(cached(&again), 3, "{again}");
}

#[test]
fn the_reason_of_a_miss_is_told() {
    let store = need!(Store::busybox());
    let context = context();
    store.build("app", &context).ok();
    context.write("src/a", "A");
    let again = store.build("app", &context).ok();
    let lines = again.err();
    let reasons: Vec<&str> = lines
        .lines()
        .filter(|l| l.contains("not cached: "))
        .collect();
    assert_eq!(
        reasons.len(),
        2,
        "one for COPY and one for what follows: {again}"
    );
    assert!(reasons[0].contains("content of src/a changed"), "{again}");
    assert_ne!(reasons[0], reasons[1]);
}

#[test]
fn arguments_count_where_they_are_declared() {
    let store = need!(Store::busybox());
    let context = Dir::dockerfile(
        "FROM busybox\nRUN echo before >/before\nARG LEVEL=1\nRUN echo $LEVEL >/level\n",
    );
    store.build("app", &context).ok();
    let other = store
        .build("app", &context)
        .args(["--build-arg", "LEVEL=2"])
        .ok();
    assert_eq!(cached(&other), 1, "{other}");
    other.tells("not cached: ").tells("LEVEL");
    assert_eq!(store.tree("app").text("level"), "2\n");
    let back = store.build("app", &context).ok();
    assert_eq!(cached(&back), 2, "{back}");
}

#[test]
fn env_counts_from_its_line_on() {
    let store = need!(Store::busybox());
    let with = |value: &str| {
        Dir::dockerfile(&format!(
            "FROM busybox\nRUN echo before >/before\nENV MODE={value}\nRUN echo $MODE >/mode\nLABEL x=1\n"
        ))
    };
    store.build("app", &with("slow")).ok();
    let other = store.build("app", &with("fast")).ok();
    assert_eq!(cached(&other), 1, "{other}");
    assert_eq!(store.tree("app").text("mode"), "fast\n");
}

#[test]
fn a_changed_command_runs_it_and_all_after_it() {
    let store = need!(Store::busybox());
    let with = |what: &str| {
        Dir::dockerfile(&format!(
            "FROM busybox\nRUN echo 1 >/1\nRUN {what}\nRUN echo 3 >/3\n"
        ))
    };
    store.build("app", &with("echo 2 >/2")).ok();
    let other = store.build("app", &with("echo two >/2")).ok();
    assert_eq!(cached(&other), 1, "{other}");
}

#[test]
fn a_changed_base_runs_everything() {
    let store = need!(Store::busybox());
    let context = Dir::dockerfile("FROM base\nRUN echo 1 >/1\n");
    store
        .build("base", &Dir::dockerfile("FROM busybox\nRUN echo a >/a\n"))
        .ok();
    store.build("app", &context).ok();
    store
        .build("base", &Dir::dockerfile("FROM busybox\nRUN echo b >/a\n"))
        .ok();
    let again = store.build("app", &context).ok();
    assert_eq!(cached(&again), 0, "{again}");
    assert_eq!(store.tree("app").text("a"), "b\n");
}

#[test]
fn no_cache_runs_everything() {
    let store = need!(Store::busybox());
    let context = Dir::dockerfile("FROM busybox\nRUN cat /proc/sys/kernel/random/uuid >/uuid\n");
    store.build("one", &context).ok();
    let again = store.build("two", &context).arg("--no-cache").ok();
    assert_eq!(cached(&again), 0, "{again}");
    assert_ne!(
        store.tree("one").text("uuid"),
        store.tree("two").text("uuid")
    );
    // What it made is what later builds find.
    let later = store.build("three", &context).ok();
    assert_eq!(cached(&later), 1, "{later}");
    assert_eq!(
        store.tree("three").text("uuid"),
        store.tree("two").text("uuid")
    );
}

#[test]
fn stages_are_cached_on_their_own() {
    let store = need!(Store::busybox());
    let context = Dir::dockerfile(
        "FROM busybox AS a\nCOPY a /a\nRUN cat /a >/out\nFROM busybox AS b\nCOPY b /b\nRUN cat /b >/out\n\
         FROM busybox\nCOPY --from=a /out /a\nCOPY --from=b /out /b\n",
    )
    .file("a", "1")
    .file("b", "1");
    store.build("app", &context).ok();
    context.write("b", "2");
    let again = store.build("app", &context).ok();
    // Stage a and what is copied of it; not b's, nor its copy.
    assert_eq!(cached(&again), 3, "{again}");
    assert_eq!(store.tree("app").text("b"), "2");
}

#[test]
fn a_failed_build_keeps_what_was_done() {
    let store = need!(Store::busybox());
    let with = |what: &str| Dir::dockerfile(&format!("FROM busybox\nRUN echo 1 >/1\nRUN {what}\n"));
    store.build("app", &with("false")).fails(1);
    let mended = store.build("app", &with("true")).ok();
    assert_eq!(cached(&mended), 1, "{mended}");
}

#[test]
fn the_same_files_make_the_same_image_in_another_store() {
    let context = Dir::dockerfile(
        "FROM scratch\nENV A=1\nWORKDIR /w\nCOPY src /src\nCOPY src/a .\nCMD [\"/src/a\"]\n",
    )
    .file("src/a", "a")
    .file("src/b", "b");
    let ids = [(); 2].map(|()| {
        let store = Store::new().ok()?;
        store
            .build("app", &context)
            .env("SOURCE_DATE_EPOCH", "1000000000")
            .ok();
        Some(store.id("app"))
    });
    let [Some(one), Some(two)] = ids else {
        e2e::skip!("root is needed");
    };
    assert_eq!(one, two);
}

/// A store that has the steps without a date, or with another one, comes to the same.
#[test]
fn an_epoch_gives_the_same_image_whatever_is_cached() {
    let context = Dir::dockerfile(
        "FROM scratch\nENV A=1\nWORKDIR /w\nCOPY src /src\nCOPY src/a .\nCMD [\"/src/a\"]\n",
    )
    .file("src/a", "a");
    let (warm, fresh) = (need!(Store::new()), need!(Store::new()));
    context.touch("src/a", 1_500_000_000);
    warm.build("app", &context).ok();
    let dated = |store: &Store, epoch: &str| {
        store
            .build("app", &context)
            .env("SOURCE_DATE_EPOCH", epoch)
            .ok();
        store.id("app")
    };
    dated(&warm, "1200000000");
    let (one, two) = (dated(&warm, "1000000000"), dated(&fresh, "1000000000"));
    assert_eq!(one, two);
    assert_eq!(warm.inspect("app")["Created"], "2001-09-09T01:46:40Z");
    warm.rbuild(["fsck"]).ok();
}

#[test]
fn a_changed_file_among_many_comes_to_what_a_new_build_comes_to() {
    let store = need!(Store::busybox());
    let mut context = Dir::dockerfile("FROM busybox\nCOPY src /app\nRUN ls -lR /app >/list\n");
    for i in 0..300 {
        context = context.file(&format!("src/d{}/f{i}", i / 90), i.to_string());
    }
    store.build("app", &context).ok();
    let first = store.tree("app");
    context.write("src/d1/f100", "changed");
    context.chmod("src/d2/f200", 0o600);
    let changed = store.build("app:changed", &context).ok();
    assert_eq!(cached(&changed), 0, "{changed}");
    let fresh = need!(Store::busybox());
    fresh.build("app", &context).ok();
    // The first layer is the base, the second the copy.
    let layer = |store: &Store, image: &str| {
        store.inspect(image)["RootFS"]["Layers"][1]
            .as_str()
            .unwrap()
            .to_owned()
    };
    assert_eq!(layer(&store, "app:changed"), layer(&fresh, "app"));
    assert_ne!(layer(&store, "app"), layer(&fresh, "app"));
    // The second image needs nothing of the first, and the first kept what it had.
    assert!(store.tree("app").differences(&first).is_empty());
    store.rbuild(["rmi", "app"]).ok();
    store.rbuild(["prune", "-f"]).ok();
    store.rbuild(["fsck"]).ok();
    let tree = store.tree("app:changed");
    assert_eq!(tree.text("app/d1/f100"), "changed");
    assert_eq!(tree.text("app/d3/f299"), "299");
}
