//! Events: what has happened to containers, and what happens, as docker tells it.

use e2e::{Store, need};
use serde_json::Value;

use crate::both::{Both, eventually, plain};

/// What is done with both, one after the other.
const DONE: &[&str] = &[
    "run -d --name one --net none -l k=v --health-cmd true --health-interval 200ms busybox sleep 1000",
    "exec one sh -c 'exit 3'",
    "pause one",
    "unpause one",
    "rename one two",
    "kill -s HUP two",
    "stop -t 0 two",
    "start two",
    "update -m 64m --memory-swap 64m two",
    "commit -m why two img:events",
    "rm -f two",
    "run --name three --net none -l k=v busybox false",
    "rm three",
];

/// What is asked of both.
const FORMS: &[&str] = &[
    "--filter event=die --format '{{.Status}} {{.Action}} {{.Type}} {{.From}} {{.Scope}} {{.Actor.Attributes.exitCode}}'",
    "--filter event=create --filter image=busybox --format '{{.Actor.Attributes.image}} {{.Actor.Attributes.k}}'",
    "--filter event=rename --format '{{.Actor.Attributes.oldName}} {{.Actor.Attributes.name}}'",
    "--filter event=kill --format '{{.Actor.Attributes.signal}}'",
    "--filter event=commit --format '{{.Actor.Attributes.comment}} {{.Actor.Attributes.imageRef}}'",
    "--filter event=exec_create --filter label=nope --format '{{.Action}}'",
    "--filter container=two --filter event=update --format '{{.Action}}'",
    "--filter event=destroy --format '{{.Action}} {{.Actor.Attributes.image}}'",
];

#[test]
fn events_are_dockers() {
    let both = need!(Both::new());
    both.all_same(&DONE[..1]);
    eventually("both are well", || {
        let (ours, theirs) = both.run("ps -f health=healthy --format {{.Names}}");
        ours.out() == "one\n" && theirs.out() == "one\n"
    });
    let wrong: Vec<String> = DONE[1..]
        .iter()
        .filter_map(|line| both.same_code(line))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // docker counts `--until 0s` in whole seconds: what has happened in this one is not told yet.
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let ask = "events --since 10m --until 0s --filter type=container --filter label=k=v";
    let wrong: Vec<String> = FORMS
        .iter()
        .filter_map(|form| both.same(&format!("{ask} {form}")))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // All that has happened; health checks tell of themselves as further commands in docker alone,
    // and what ends a container and what has seen it end come in any order.
    let actions = |text: String| {
        let of = |line: &str| Some(line.split_once(" container ")?.1.to_owned());
        let told = text.lines().filter_map(of);
        let told = told.filter(|line| !line.contains("/bin/sh -c true"));
        let mut told: Vec<String> = told.map(|line| plain(&line)).collect();
        told.retain(|line| !line.starts_with("exec_die"));
        for line in &mut told {
            // Names of their own, and how long it ran.
            let (start, _) = line.split_once(" (").unwrap();
            *line = start.to_owned();
        }
        told.sort();
        // How often it was well depends on how long the commands between took.
        told.dedup_by(|a, b| a == b && a.starts_with("health_status"));
        told
    };
    let (ours, theirs) = both.run(ask);
    assert_eq!(actions(ours.out()), actions(theirs.out()));
    let (ours, theirs) = both.run(&format!(
        "{ask} --filter event=create --format '{{{{json .}}}}'"
    ));
    let keys = |text: String| {
        let first: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        let keys: Vec<String> = first.as_object().unwrap().keys().cloned().collect();
        (keys, first["Actor"]["Attributes"].clone())
    };
    assert_eq!(keys(ours.out()), keys(theirs.out()));
    both.run("rmi img:events");
}

#[test]
fn what_happens_is_told_while_it_happens() {
    let store = need!(Store::busybox());
    let follows = store
        .rbuild([
            "events",
            "--format",
            "{{.Action}} {{.Actor.Attributes.exitCode}}",
        ])
        .args(["--filter", "event=die", "--since", "0"])
        .spawn();
    let run = ["run", "--rm", "--net", "none", "busybox", "sh", "-c"];
    store.rbuild(run).arg("exit 3").fails(3);
    follows.until_out("die 3\n");
    store.rbuild(run).arg("exit 4").fails(4);
    follows.until_out("die 4\n");
    follows.signal(nix::sys::signal::Signal::SIGKILL);
    follows.wait();
}
