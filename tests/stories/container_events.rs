//! Events: what has happened to containers, and what happens, as docker tells it.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use e2e::{Dir, Running, Store, need};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::both::{Both, eventually, plain, turn, words};

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

/// docker keeps the last 256 events, of all stories together: it is followed from the beginning.
struct Followed(Vec<Running>);

impl Followed {
    /// Begins to follow with each of these forms.
    fn begin(both: &Both, ask: &str, forms: &[String]) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        // docker's `--since` is in whole seconds here: a second of others' events does no harm.
        let since = format!("events --since {} {ask}", now.as_secs());
        let follow = |form: &String| both.docker.cmd(words(&format!("{since} {form}"))).spawn();
        Self(forms.iter().map(follow).collect())
    }

    /// What docker has told in each form, once there are as many lines as `ours` have.
    fn end(self, ours: &[String]) -> Vec<String> {
        let pairs = self.0.into_iter().zip(ours);
        let told = pairs.map(|(follows, ours)| {
            let lines = ours.lines().count();
            let until = Instant::now() + Duration::from_secs(60);
            while follows.out_so_far().lines().count() < lines && Instant::now() < until {
                std::thread::sleep(Duration::from_millis(20));
            }
            follows.signal(Signal::SIGKILL);
            follows.wait().out()
        });
        told.collect()
    }
}

#[test]
fn events_are_dockers() {
    let both = need!(Both::new());
    let ask = "--filter type=container --filter label=k=v";
    let mut forms: Vec<String> = FORMS.iter().map(|form| (*form).to_owned()).collect();
    forms.push("--filter event=create --format '{{json .}}'".to_owned());
    let followed = Followed::begin(&both, ask, &forms);
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
    let ours = |form: &String| {
        let line = words(&format!("events --since 1h --until 0s {ask} {form}"));
        both.ours.rbuild(line).ok().out()
    };
    // What is told of the end of a container comes from its monitor, at once but not before.
    eventually("the last has ended", || {
        ours(&forms[0]).lines().count() == 3
    });
    let mut ours: Vec<String> = forms.iter().map(ours).collect();
    let mut theirs = followed.end(&ours);
    let keys = |text: String| {
        let first: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        let keys: Vec<String> = first.as_object().unwrap().keys().cloned().collect();
        (keys, first["Actor"]["Attributes"].clone())
    };
    assert_eq!(
        keys(ours.pop().unwrap()),
        keys(theirs.pop().unwrap()),
        "{ask}"
    );
    for ((form, ours), theirs) in forms.iter().zip(ours).zip(theirs) {
        assert_eq!(plain(&ours), plain(&theirs), "{form}");
    }
    both.run("rmi img:events");
}

/// What happens to volumes and images, and a command in the background.
const OTHERS: &[&str] = &[
    "volume create evvol",
    "run -d --name evone --net none -v evvol:/data:ro -v evnew:/new busybox sleep 1000",
    "exec -d evone sh -c 'exit 3'",
    "tag busybox evtag:1",
    "rmi evtag:1",
    "rm -f evone",
    "volume rm evvol evnew",
];

#[test]
fn events_of_volumes_and_images_are_dockers() {
    let both = need!(Both::new());
    let forms = [
        "--filter type=volume --filter volume=evvol",
        "--filter type=volume --filter volume=evnew",
        "--filter type=image --filter event=tag --filter image=evtag:1",
        "--filter event=exec_die --filter container=evone",
    ];
    let shape = "--format '{{.Type}} {{.Action}} {{.Actor.Attributes.name}} \
                 {{.Actor.Attributes.type}} {{.Actor.Attributes.destination}} \
                 {{index .Actor.Attributes \"read/write\"}} {{.Actor.Attributes.exitCode}} \
                 {{.Status}}'";
    let forms: Vec<String> = forms.iter().map(|form| format!("{form} {shape}")).collect();
    let followed = Followed::begin(&both, "--filter scope=local", &forms);
    let ours = |form: &String| {
        let line = words(&format!("events --since 1h --until 0s {form}"));
        both.ours.rbuild(line).ok().out()
    };
    let _turn = turn();
    for line in OTHERS {
        if line.starts_with("rm ") {
            // The command in the background ends with its container otherwise.
            eventually("it has ended", || !ours(&forms[3]).is_empty());
        }
        assert_eq!(both.same_code(line), None);
    }
    let ours: Vec<String> = forms.iter().map(ours).collect();
    let theirs = followed.end(&ours);
    for ((form, ours), theirs) in forms.iter().zip(ours).zip(theirs) {
        // Those that a container's coming and going is for come in any order.
        let sorted = |text: &str| {
            let text = plain(text);
            let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
            lines.sort();
            lines
        };
        assert_eq!(sorted(&ours), sorted(&theirs), "{form}");
    }
}

/// What happens to images that have labels, and to a container of which they are made; `DIR` is a
/// folder for archives.
const OF_IMAGES: &[&str] = &[
    "run -d --name evimg --net none busybox sleep 1000",
    "rename evimg evimg2",
    "pause evimg2",
    "unpause evimg2",
    "commit -p=false -c 'LABEL evlab=1' evimg2 evlab:1",
    "cp evimg2:/etc/passwd DIR/passwd",
    "cp DIR/passwd evimg2:/tmp/",
    "export -o DIR/files.tar evimg2",
    "tag evlab:1 evlab:2",
    "save -o DIR/evlab.tar evlab:2",
    "rmi evlab:1 evlab:2",
    "load -q -i DIR/evlab.tar",
    "rm -f evimg2",
    "rmi evlab:2",
];

#[test]
fn events_of_images_have_their_labels() {
    let both = need!(Both::new());
    let dir = Dir::new();
    let path = dir.path().display().to_string();
    let of_container = ["pause", "unpause", "commit", "rename", "archive-path"];
    let events = of_container.iter().chain(&["extract-to-dir", "export"]);
    let events: Vec<String> = events
        .map(|event| format!("--filter event={event}"))
        .collect();
    let forms = [
        "--filter type=image --filter label=evlab=1 --filter event=tag --filter event=untag \
         --filter event=save --filter event=load --format \
         '{{.Action}} {{.Actor.Attributes.evlab}}'"
            .to_owned(),
        format!(
            "--filter type=container --filter container=evimg2 {} --format \
             '{{{{.Action}}}} {{{{.Actor.Attributes.name}}}}'",
            events.join(" ")
        ),
    ];
    let followed = Followed::begin(&both, "--filter scope=local", &forms);
    for line in OF_IMAGES {
        assert_eq!(both.same_code(&line.replace("DIR", &path)), None);
    }
    let ours = |form: &String| {
        let line = words(&format!("events --since 1h --until 0s {form}"));
        both.ours.rbuild(line).ok().out()
    };
    let ours: Vec<String> = forms.iter().map(ours).collect();
    let theirs = followed.end(&ours);
    for ((form, ours), theirs) in forms.iter().zip(ours).zip(theirs) {
        assert_eq!(plain(&ours), plain(&theirs), "{form}");
    }
}

/// A build tells of its image, and a prune of what it took.
#[test]
fn builds_and_prunes_are_told() {
    let store = need!(Store::busybox());
    let context = Dir::new().file("Dockerfile", "FROM busybox\nLABEL a=b\n");
    store.build("told:1", &context).ok();
    store
        .rbuild(["create", "--net", "none", "told:1", "true"])
        .ok();
    store.rbuild(["container", "prune", "-f"]).ok();
    store.rbuild(["volume", "prune", "-f"]).ok();
    store.rbuild(["image", "prune", "-af"]).ok();
    let told = store
        .rbuild(["events", "--since", "1h", "--until", "0s"])
        .args(["--format", "{{json .}}"])
        .args(["--filter", "event=tag", "--filter", "event=create"])
        .args(["--filter", "event=prune", "--filter", "type=image"])
        .args(["--filter", "type=volume", "--filter", "type=container"])
        .ok()
        .out();
    let told: Vec<(String, Value, Value)> = told
        .lines()
        .map(|line| {
            let event: Value = serde_json::from_str(line).unwrap();
            let text = |key: &str| event[key].as_str().unwrap().to_owned();
            let known = &event["Actor"]["Attributes"];
            let words = format!("{} {}", text("Type"), text("Action"));
            (words, known["a"].clone(), known["reclaimed"].clone())
        })
        .collect();
    let words: Vec<&str> = told.iter().map(|(words, ..)| words.as_str()).collect();
    let want = "image tag, image create, container create, container prune, volume prune, \
                image prune";
    assert_eq!(words.join(", "), want);
    assert!(told[..3].iter().all(|(_, label, _)| label == "b"));
    assert_eq!([&told[3].2, &told[4].2], ["0", "0"]);
    assert!(told[5].2.is_string());
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
    follows.signal(Signal::SIGKILL);
    follows.wait();
}
