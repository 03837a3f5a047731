//! Stages that are built at the same time.

use super::*;

fn at_once(number: usize) -> Bound {
    Bound::Steps(NonZeroUsize::new(number).unwrap())
}

/// Stages that run these each, and a last one that copies from all of them.
fn fan(commands: &[&str]) -> String {
    let mut text = String::new();
    for (i, command) in commands.iter().enumerate() {
        text.push_str(&format!("FROM base AS s{i}\nRUN {command}\n"));
    }
    text.push_str("FROM scratch\n");
    for i in 0..commands.len() {
        text.push_str(&format!("COPY --from=s{i} / /s{i}/\n"));
    }
    text
}

#[test]
fn stages_that_need_each_other_not_run_at_once() {
    let fake = Fake::default();
    let text = fan(&["meet 3 a", "meet 3 b", "meet 3 c"]);
    // With one turn: those who wait for each other do not count.
    let one = Bound::Work(NonZeroUsize::MIN);
    solve_with(&fake, &text, one).0.unwrap();
    assert_eq!(fake.met.get(), 3);
}

#[test]
fn jobs_bound_what_runs_at_once_and_the_file_says_what_comes_first() {
    for bound in 1..4 {
        let fake = Fake::default();
        let text = fan(&["pause 1", "pause 2", "pause 3", "pause 4", "pause 5"]);
        solve_with(&fake, &text, at_once(bound)).0.unwrap();
        assert_eq!(fake.most.get(), bound);
        let begun = fake.begun.borrow();
        let first: Vec<&str> = begun.iter().take(5).map(|name| &name[..4]).collect();
        assert_eq!(first, ["[s0 ", "[s1 ", "[s2 ", "[s3 ", "[s4 "]);
    }
}

#[test]
fn the_first_failure_stops_what_runs_and_begins_nothing_more() {
    let fake = Fake::default();
    let text = fan(&["sleep 1", "sleep 2", "false", "never"]);
    let (solved, log) = solve_with(&fake, &text, at_once(3));
    let Err(SolveError::Step { span, cause }) = solved else {
        panic!("it must fail")
    };
    assert_eq!(span.text(&text), "RUN false");
    assert_eq!(cause.exit_code(), 1);
    assert_eq!(log[0], "failed [s2 2/2] RUN false");
    let mut ended = log[1..].to_vec();
    ended.sort();
    let expected = [
        "canceled [s0 2/2] RUN sleep 1",
        "canceled [s1 2/2] RUN sleep 2",
    ];
    assert_eq!(ended, expected);
    assert_eq!(fake.begun.borrow().len(), 3);
}

#[test]
fn equal_steps_of_several_stages_run_once() {
    let fake = Fake::default();
    let text = fan(&["pause same", "pause same", "pause same"]);
    let (solved, log) = solve_with(&fake, &text, at_once(3));
    solved.unwrap();
    let runs = fake.executed.borrow();
    let runs: Vec<&String> = runs.iter().filter(|name| name.contains("RUN")).collect();
    assert_eq!(runs, ["[s0 2/2] RUN pause same"]);
    let cached = log.iter().filter(|line| line.starts_with("CACHED")).count();
    assert_eq!(cached, 2, "{log:?}");
}

#[test]
fn what_another_build_does_is_waited_for() {
    let text = "FROM base\nRUN make\n";
    let made = Fake::default();
    solve(&made, text, Trace::default()).0.unwrap();
    let layer = made.cache.borrow().values().next().cloned();

    // It comes to a layer, or to nothing: then the step is done here.
    for (layer, executed) in [(layer, 0), (None, 1)] {
        let fake = Fake::default();
        fake.elsewhere.set(true);
        *fake.other.borrow_mut() = layer;
        solve(&fake, text, Trace::default()).0.unwrap();
        assert_eq!(fake.executed.borrow().len(), executed);
    }
}

#[test]
fn a_linked_copy_is_found_again_on_another_base() {
    let linked = |command: &str| format!("FROM base\nRUN {command}\nCOPY --link f /d/f\n");
    let fake = Fake::default();
    let (first, _) = solve(&fake, &linked("one"), Trace::default());
    let (second, log) = solve(&fake, &linked("two"), Trace::default());
    assert_eq!(log, ["CACHED [3/3] COPY --link f /d/f"]);
    let (first, second) = (first.unwrap().0, second.unwrap().0);
    assert_eq!(first.diff_ids.last(), second.diff_ids.last());
    assert_ne!(first.chain, second.chain);
    let chain = ChainId::chain(&second.diff_ids).pop();
    assert_eq!(second.chain, chain, "it lies on what is below it");

    // What it takes from the image counts.
    let trace = solve(&fake, &linked("two"), Trace::default()).0.unwrap().1;
    *fake.below.borrow_mut() = vec![("/d".to_owned(), "0700 0:0".to_owned())];
    let (_, log) = solve(&fake, &linked("two"), trace);
    let expected = [
        "CACHED [2/3] RUN two",
        "missed [3/3] COPY --link f /d/f: the image's /d is new, with the value \"0700 0:0\"",
    ];
    assert_eq!(log, expected);
}

#[test]
fn a_thousand_stages_are_each_looked_at_once() {
    let mut text = String::from("FROM base AS s0\nCOPY f /f\n");
    for i in 1..1000 {
        text.push_str(&format!(
            "FROM base AS s{i}\nCOPY --from=s{} /f /f{i}\n",
            i - 1
        ));
    }
    let fake = Fake::default();
    let (solved, _) = solve(&fake, &text, Trace::default());
    let image = solved.unwrap().0;
    assert_eq!(image.diff_ids.len(), 2);
    assert_eq!(fake.begun.borrow().len(), 1000);
    let (solved, log) = solve(&fake, &text, Trace::default());
    solved.unwrap();
    assert_eq!((fake.begun.borrow().len(), log.len()), (1000, 1000));
}

/// Builds two files at the same time, in one budget of turns.
fn solve_two(fake: &Fake, texts: [&str; 2], no_cache: [NoCache<'_>; 2]) -> Vec<SolveError> {
    let platform: Platform = "linux/amd64".parse().unwrap();
    let (args, named) = (BuildArgs::default(), NamedContexts::default());
    let consent = Consent::default();
    let together = Together::new(at_once(2));
    let parsed = texts.map(parse);
    let graphs = parsed.each_ref().map(|parsed| {
        let options = GraphOptions {
            target: "",
            args: &args,
            build_platform: &platform,
            target_platform: &platform,
            named: &named,
            consent: consent.clone(),
        };
        Graph::new(&parsed.dockerfile, &options).unwrap()
    });
    let build = |at: usize| Build {
        file: &parsed[at].dockerfile,
        graph: &graphs[at],
        args: &args,
        named: &named,
        consent: &consent,
        platform: &platform,
        run_flags: "default",
        no_cache: no_cache[at],
        together: &together,
        whole: true,
        image: true,
    };
    let logs = [Log::default(), Log::default()];
    let solve = async |at: usize| {
        let mut solver = Solver::new(build(at), fake, &logs[at], Trace::default());
        solver.prepare().await?;
        solver.solve().await.0
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let (first, second) = runtime.block_on(async { tokio::join!(solve(0), solve(1)) });
    [first, second]
        .into_iter()
        .filter_map(Result::err)
        .collect()
}

#[test]
fn builds_at_the_same_time_have_one_budget_and_do_equal_steps_once() {
    let fake = Fake::default();
    let texts = [
        "FROM base\nRUN pause 1\nRUN a\n",
        "FROM base\nRUN pause 1\nRUN b\n",
    ];
    let failed = solve_two(&fake, texts, [NoCache::No; 2]);
    assert!(failed.is_empty(), "{failed:?}");
    let executed = fake.executed.borrow();
    let times = |what: &str| executed.iter().filter(|name| name.ends_with(what)).count();
    assert_eq!(
        (times("pause 1"), times("RUN a"), times("RUN b")),
        (1, 1, 1)
    );
    assert!(fake.most.get() <= 2);

    let fake = Fake::default();
    let texts = [
        &fan(&["meet 2 a", "pause 1"]),
        &fan(&["meet 2 b", "pause 2"]),
    ];
    let texts = texts.map(String::as_str);
    let failed = solve_two(&fake, texts, [NoCache::No; 2]);
    assert!(failed.is_empty(), "{failed:?}");
    assert_eq!(fake.met.get(), 2);
}

#[test]
fn what_one_build_finds_in_the_cache_is_no_answer_for_one_without_cache() {
    let fake = Fake::default();
    let text = "FROM base\nRUN make\n";
    solve(&fake, text, Trace::default()).0.unwrap();
    let failed = solve_two(&fake, [text; 2], [NoCache::No, NoCache::All]);
    assert!(failed.is_empty(), "{failed:?}");
    assert_eq!(
        fake.executed.borrow().len(),
        2,
        "the second time for who asked for it"
    );
}

#[test]
fn a_failure_ends_what_others_do_at_the_same_time() {
    let fake = Fake::default();
    let failed = solve_two(
        &fake,
        [
            "FROM base\nRUN sleep\n",
            "FROM base\nRUN pause 1\nRUN false\n",
        ],
        [NoCache::No; 2],
    );
    let told: Vec<String> = failed.iter().map(ToString::to_string).collect();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(
        told[0].contains("cancelled") && told[1].contains("exit code: 1"),
        "{told:?}"
    );
}
