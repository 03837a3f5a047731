//! Health checks: of the image and of one's own, what `ps` and `inspect` say of them.

use e2e::{Store, need};
use serde_json::Value;

use crate::both::{Both, eventually, inspect};

/// Lines of which everything is the same.
const SAME: &[&str] = &[
    "run --rm --net none --health-cmd x --no-healthcheck busybox true",
    "run --rm --net none --health-interval -1s busybox true",
    "run --rm --net none --health-retries -1 busybox true",
    "run --rm --net none --health-timeout 1ns busybox true",
    "run --rm --net none --health-start-period 1ns --health-cmd x busybox true",
    "create --name none --net none --no-healthcheck busybox true",
    "inspect -f '{{json .Config.Healthcheck}} {{json .State.Health}}' none",
    "create --name times --net none --health-cmd x --health-interval 1m --health-retries 2 busybox true",
    "inspect -f '{{json .Config.Healthcheck}} {{json .State.Health}}' times",
    "ps -a -f health=none -f name=none -f name=times --format '{{.Names}} {{.Status}}'",
    "ps -a -f health=x",
    "run -d --name well --net none --health-cmd 'echo well' --health-interval 200ms busybox sleep 1000",
    "run -d --name calm --net none --health-cmd true busybox sleep 1000",
    "run -d --name ill --net none --health-cmd 'echo out; exit 7' --health-interval 200ms --health-retries 1 busybox sleep 1000",
    "run -d --name slow --net none --health-cmd 'echo begun; sleep 50' --health-interval 200ms --health-timeout 500ms --health-retries 1 busybox sleep 1000",
    "run -d --name early --net none --health-cmd 'exit 1' --health-interval 200ms --health-retries 1 --health-start-period 1h busybox sleep 1000",
];

/// What is the same once three checks have been done.
const LATER: &[&str] = &[
    "ps -f health=healthy -f name=well -f name=calm -f name=ill -f name=slow -f name=early --format {{.Names}}",
    "ps -f health=unhealthy -f name=well -f name=calm -f name=ill -f name=slow -f name=early --format {{.Names}}",
    "ps -f health=starting -f name=well -f name=calm -f name=ill -f name=slow -f name=early --format {{.Names}}",
    "inspect -f '{{.State.Health.Status}} {{.State.Health.FailingStreak}}' well",
    "inspect -f '{{.State.Health.Status}} {{.State.Health.FailingStreak}}' early",
    "inspect -f '{{with index .State.Health.Log 0}}{{.ExitCode}} {{.Output}}{{end}}' well",
    "inspect -f '{{with index .State.Health.Log 0}}{{.ExitCode}} {{.Output}}{{end}}' ill",
    "inspect -f '{{with index .State.Health.Log 0}}{{.ExitCode}} {{.Output}}{{end}}' slow",
    "pause well",
    "inspect -f '{{.State.Health.Status}}' well",
    "unpause well",
    "kill well",
    "inspect -f '{{.State.Health.Status}}' well",
    "rm -f well calm ill slow early none times",
];

#[test]
fn each_line_about_health_does_what_docker_does() {
    let both = need!(Both::new());
    both.all_same(SAME);
    for name in ["well", "ill", "slow", "early"] {
        eventually("three checks are done", || {
            let (ours, theirs) = both.run(&format!(
                "inspect -f '{{{{len .State.Health.Log}}}}' {name}"
            ));
            let three = |text: String| text.trim().parse::<u32>().unwrap() >= 3;
            three(ours.out()) && three(theirs.out())
        });
    }
    both.all_same(LATER);
}

fn log(store: &Store, name: &str) -> Vec<Value> {
    let health = inspect(store, name)["State"]["Health"].take();
    health["Log"].as_array().unwrap().clone()
}

#[test]
fn a_container_becomes_well_and_ill_and_five_checks_are_remembered() {
    let store = need!(Store::busybox());
    store
        .rbuild(["run", "-d", "--name", "web", "--net", "none"])
        .args(["--health-cmd", "cat /well", "--health-interval", "100ms"])
        .args(["--health-retries", "2"])
        .args(["busybox", "sleep", "1000"])
        .ok();
    let status = || store.rbuild(["ps", "--format", "{{.Status}}"]).ok().out();
    let becomes = |state: &str| {
        eventually(state, || {
            let shown = status();
            shown.starts_with("Up ") && shown.trim_end().ends_with(&format!("({state})"))
        });
    };
    becomes("unhealthy");
    let first = &log(&store, "web")[0];
    assert_eq!(first["ExitCode"], 1);
    let said = "cat: can't open '/well': No such file or directory\n";
    assert_eq!(first["Output"], said);
    // What a check says is cut.
    let fill = "head -c 5000 /dev/zero | tr '\\0' a >/well";
    store.rbuild(["exec", "web", "sh", "-c", fill]).ok();
    becomes("healthy");
    eventually("five checks have gone well", || {
        let log = log(&store, "web");
        log.len() == 5 && log.iter().all(|check| check["ExitCode"] == 0)
    });
    let kept = log(&store, "web")[4]["Output"].as_str().unwrap().to_owned();
    assert_eq!(kept, format!("{}...", "a".repeat(4096)));
    store.rbuild(["restart", "-t", "0", "web"]).ok();
    assert_eq!(log(&store, "web").len(), 5, "it remembers over a new start");
    store.rbuild(["rm", "-f", "web"]).ok();
}

#[test]
fn a_check_whose_time_is_over_is_killed_with_all_that_it_started() {
    let store = need!(Store::busybox());
    store
        .rbuild(["run", "-d", "--name", "web", "--net", "none"])
        .args([
            "--health-cmd",
            "sleep 54321; true",
            "--health-interval",
            "50ms",
        ])
        .args(["--health-timeout", "200ms", "--health-retries", "1"])
        .args(["busybox", "sleep", "1000"])
        .ok();
    eventually("three checks were killed", || log(&store, "web").len() >= 3);
    let listed = store.rbuild(["top", "web", "-o", "pid,args"]).ok().out();
    let left = listed
        .lines()
        .filter(|line| line.ends_with("sleep 54321") && !line.contains("-c"));
    assert!(left.count() <= 1, "{listed}");
    // The monitor answers while a check hangs, and the container ends all the same.
    store.rbuild(["stop", "-t", "0", "web"]).ok();
    let health = inspect(&store, "web")["State"]["Health"].take();
    assert_eq!(health["Status"], "unhealthy");
    store.rbuild(["rm", "web"]).ok();
}

#[test]
fn the_images_check_is_done_unless_it_is_not_wanted() {
    let store = need!(Store::busybox());
    let change = "HEALTHCHECK --interval=100ms CMD [\"echo\", \"of the image\"]";
    store.rbuild(["create", "--name", "made", "busybox"]).ok();
    store
        .rbuild(["commit", "-c", change, "made", "checked"])
        .ok();
    store
        .rbuild(["run", "-d", "--name", "web", "--net", "none", "checked"])
        .args(["sleep", "1000"])
        .ok();
    eventually("it is well", || {
        inspect(&store, "web")["State"]["Health"]["Status"] == "healthy"
    });
    assert_eq!(log(&store, "web")[0]["Output"], "of the image\n");
    store
        .rbuild(["run", "-d", "--name", "not", "--net", "none"])
        .args(["--no-healthcheck", "checked", "sleep", "1000"])
        .ok();
    assert_eq!(inspect(&store, "not")["State"]["Health"], Value::Null);
    store.rbuild(["rm", "-f", "web", "not", "made"]).ok();
}
