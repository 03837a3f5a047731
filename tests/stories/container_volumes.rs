//! Volumes and mounts: each line is typed to rbuild and to docker 28, and comes to the same.

use std::fs;

use e2e::{Done, Store, need};

use crate::both::{Both, inspect, turn};

/// Lines of which everything is the same.
const VOLUMES: &[&str] = &[
    "volume create my-vol",
    "volume create my-vol",
    "volume create 'a b'",
    "volume create a",
    "volume create -d local --label a=b --label c x2",
    "volume create -o type=tmpfs -o device=tmpfs -o o=size=1m,uid=1000 x3",
    "volume create -o foo=bar x4",
    "volume create -o type=tmpfs x5",
    "volume create -o device=/tmp x6",
    "volume ls",
    "volume ls -q",
    "volume ls -q -f dangling=true",
    "volume ls -f dangling=foo",
    "volume ls -f name=my",
    "volume ls -f label=a=b",
    "volume ls -f foo=bar",
    "volume ls --format '{{.Name}} {{.Driver}} {{.Scope}}'",
    "volume inspect -f '{{.Labels.a}} {{.Driver}} {{.Scope}} {{.Name}}' x2",
    "volume inspect -f '{{json .Options}}' x3",
    "run -d --net none --name uses -v my-vol:/webapp busybox sleep 1000",
    "volume rm my-vol",
    "volume rm -f my-vol",
    "volume ls -q -f dangling=false",
    "ps -f volume=my-vol --format '{{.Names}} {{.Mounts}} {{.LocalVolumes}}'",
    "ps -f volume=/webapp --format '{{.Names}}'",
    "ps -f volume=my --format '{{.Names}}'",
    "exec uses sh -c 'echo kept >/webapp/f'",
    "rm -f uses",
    "run --rm --net none -v my-vol:/again busybox cat /again/f",
    "volume rm -f nope",
    "run --rm --net none -v x3:/x busybox sh -c 'df /x | tail -1; ls -ldn /x | cut -c1-25'",
    "volume rm x2 x3 my-vol",
    "volume ls",
];

/// Lines of which everything is the same.
const MOUNTS: &[&str] = &[
    "run --rm --net none -v 'a b:/b' busybox true",
    "run --rm --net none -v /b:ro busybox true",
    "run --rm --net none -v /a:/b:foo busybox true",
    "run --rm --net none -v vv:/b:ro,rw busybox true",
    "run --rm --net none -v vv:/b:rshared busybox true",
    "run --rm --net none -v /tmp:/b:nocopy busybox true",
    "run --rm --net none -v vv:b busybox true",
    "run --rm --net none -v vv:/ busybox true",
    "run --rm --net none -v vv:/x -v vv:/x busybox true",
    "run --rm --net none -v vv:/x -v /etc:/x busybox true",
    "run --rm --net none -v vv:/x --tmpfs /x busybox true",
    "run --rm --net none -v vv:/x:z,Z busybox true",
    "run --rm --net none -v vv:/x:ro,nocopy,z busybox touch /x/f",
    "run --rm --net none -v /etc/hostname:/etc/name:ro busybox test -f /etc/name",
    "run --rm --net none -v /etc:/x:rshared busybox true",
    "run --rm --net none -v /etc:/x:rslave busybox true",
    "run --rm --net none -v /etc:/x:private,ro busybox touch /x/f",
    "run --rm --net none --mount type=bind,target=/x busybox true",
    "run --rm --net none --mount type=bind,source=/nope,target=/x busybox true",
    "run --rm --net none --mount type=bind,source=nope,target=/x busybox true",
    "run --rm --net none --mount type=bind,source=/etc,target=x busybox true",
    "run --rm --net none --mount type=bind,source=/etc,target=/ busybox true",
    "run --rm --net none --mount type=bind,source=/etc,target=/x,bind-propagation=foo busybox true",
    "run --rm --net none --mount type=bind,source=/etc,target=/x,bind-nonrecursive busybox true",
    "run --rm --net none --mount type=bind,source=/etc,target=/x,readonly,consistency=cached busybox touch /x/f",
    "run --rm --net none --mount target=/x,source=vm1 busybox touch /x/f",
    "run --rm --net none --mount target=/x,source=vm1,readonly busybox ls /x",
    "run --rm --net none --mount type=volume,target=/x,source=/tmp busybox true",
    "run --rm --net none --mount type=volume,target=/x,source=vm2,volume-opt=foo=bar busybox true",
    "run --rm --net none --mount type=tmpfs,source=/x,target=/x busybox true",
    "run --rm --net none --mount type=tmpfs,target=/x,tmpfs-size=1m,tmpfs-mode=0700 busybox grep ' /x ' /proc/mounts",
    "run --rm --net none --mount type=foo,target=/x busybox true",
    "run --rm --net none --mount type=tmpfs,target=/x --mount type=tmpfs,target=/x busybox true",
    "run --rm --net none --tmpfs /x:size=1m,mode=700,uid=3,noexec busybox grep ' /x ' /proc/mounts",
    "run --rm --net none --tmpfs /x busybox grep ' /x ' /proc/mounts",
    "run --rm --net none --tmpfs /x:exec,suid busybox sh -c 'cp /bin/busybox /x/echo && /x/echo runs'",
    "run --rm --net none --tmpfs /x:foo busybox true",
    "run --rm --net none --tmpfs /x:ro,nr_inodes=10 busybox grep ' /x ' /proc/mounts",
    "run --rm --net none --tmpfs x busybox true",
    "run --rm --net none --tmpfs / busybox true",
    "run --rm --net none --volumes-from nope busybox true",
    "create --net none --name lends -v vm3:/a -v /b -v /etc:/c:ro -v vm4:/d:ro --tmpfs /e busybox true",
    "run --rm --net none --volumes-from lends busybox sh -c 'for d in a b c d e; do touch /$d/f; done; ls /d'",
    "run --rm --net none --volumes-from lends:ro busybox sh -c 'for d in a b c d e; do touch /$d/f; done'",
    "run --rm --net none --volumes-from lends:foo busybox true",
    "run --rm --net none --volumes-from lends -v vm5:/a busybox ls /a",
    "inspect -f '{{json .HostConfig.VolumesFrom}} {{json .HostConfig.Tmpfs}} {{json .Config.Volumes}}' lends",
    "rm -v lends",
    "volume ls -q",
    "run --rm --net none --volume-driver local -v x9:/x busybox true",
    "run --rm --net none -v /run/rbuild-made-by-v/x:/x busybox sh -c 'ls -ldn /x | cut -c1-10'",
    "run --rm --net none -v /b -v vm5:/c busybox true",
    "volume ls -q",
    "volume rm vm1 vm3 vm4 vm5 vv x9",
];

#[test]
fn each_line_about_volumes_and_mounts_does_what_docker_does() {
    let both = need!(Both::new());
    let _turn = turn();
    both.all_same(VOLUMES);
    both.all_same(MOUNTS);
    // docker 28's client; an older one has words of its own for what is missing.
    for (line, why) in [
        ("volume rm nope", "get nope: no such volume"),
        ("volume inspect nope", "get nope: no such volume"),
        (
            "volume create --name x7 x8",
            "conflicting options: cannot specify a volume-name through both --name and as a \
             positional arg",
        ),
    ] {
        let done = both.ours.rbuild(line.split(' ')).fails(1);
        done.tells(why);
    }
    for (volume, why) in [
        ("", "invalid empty volume spec"),
        (":/b", "invalid spec: :/b: empty section between colons"),
        ("/a:/b:/c:ro", "invalid spec: /a:/b:/c:ro: too many colons"),
    ] {
        let run = [
            "run", "--rm", "--net", "none", "-v", volume, "busybox", "true",
        ];
        both.ours.rbuild(run).fails(125).tells(why);
    }
    let _ = fs::remove_dir_all("/run/rbuild-made-by-v");
}

/// docker shows mounts in no order of its own.
fn mounts(done: &Done) -> Vec<String> {
    let mut mounts: Vec<String> = done.json().as_array().unwrap().iter().map(fields).collect();
    mounts.sort();
    mounts
}

/// Without what is each one's own: folders, and names of 64 digits.
fn fields(mount: &serde_json::Value) -> String {
    let text = |key: &str| {
        let text = mount[key].as_str().unwrap_or("-").to_owned();
        match text.len() == 64 || text.contains("/volumes/") || text.contains("/merged") {
            true => "OWN".to_owned(),
            false => text,
        }
    };
    let keys = [
        "Destination",
        "Type",
        "Name",
        "Source",
        "Driver",
        "Mode",
        "Propagation",
    ];
    let own = mount["Type"] == "image";
    let shown = keys.map(|key| match own && key == "Source" {
        // Where docker has put the image together.
        true => "OWN".to_owned(),
        false => text(key),
    });
    format!("{} {}", shown.join(" "), mount["RW"])
}

#[test]
fn mounts_are_inspected_as_dockers() {
    let both = need!(Both::new());
    let _turn = turn();
    let line = "create --net none --name shown -v vm3:/a -v /b -v /etc:/c:ro -v vm4:/d:ro,z --tmpfs /e \
                --mount type=volume,source=vm6,target=/f,volume-nocopy,volume-label=a=b,readonly \
                --mount type=bind,source=/etc,target=/g,readonly \
                --mount type=tmpfs,target=/h,tmpfs-size=1m,tmpfs-mode=700 \
                --mount type=volume,target=/i busybox true";
    let (ours, theirs) = both.run(line);
    assert!(
        ours.status.success() && theirs.status.success(),
        "{ours}\n{theirs}"
    );
    let (ours, theirs) = both.run("inspect -f '{{json .Mounts}}' shown");
    assert_eq!(mounts(&ours), mounts(&theirs));
    both.all_same(&[
        "inspect -f '{{json .HostConfig.Mounts}} {{json .Config.Volumes}}' shown",
        "volume inspect -f '{{.Labels.a}}' vm6",
        "ps -a --format '{{.LocalVolumes}}' -f name=shown",
    ]);
    let (ours, theirs) =
        both.run("create --net none --name takes --volumes-from shown:ro busybox true");
    assert!(
        ours.status.success() && theirs.status.success(),
        "{ours}\n{theirs}"
    );
    let (ours, theirs) = both.run("inspect -f '{{json .Mounts}}' takes");
    assert_eq!(mounts(&ours), mounts(&theirs));
    both.all_same(&["rm -v shown takes", "volume rm vm3 vm4 vm6"]);
}

/// Lines of which everything is the same: an empty volume gets what the image has.
const COPY_UP: &[&str] = &[
    "run --net none --name mk busybox sh -c 'mkdir -p /srv/d/e; echo x >/srv/d/f; ln /srv/d/f /srv/g; ln -s /nowhere /srv/l; chown 5:6 /srv /srv/g; chmod 1750 /srv; chmod 4711 /srv/d/f; mkfifo /srv/p; touch -d 2001-02-03 /srv/d'",
    "commit -c 'VOLUME /srv' mk filled",
    "run --rm --net none -v named:/srv filled sh -c 'cd /srv; stat -c \"%n %F %a %u %g %h\" . d d/e d/f g l p; readlink l'",
    "run --rm --net none -v named:/x busybox rm /x/g",
    "run --rm --net none -v named:/srv filled ls /srv",
    "run --rm --net none -v other:/srv:nocopy filled ls /srv",
    "run --rm --net none --mount source=third,target=/srv,volume-nocopy filled ls /srv",
    "run --rm --net none filled sh -c 'ls /srv; grep -c \" /srv \" /proc/mounts'",
    "run --rm --net none -v named:/etc/passwd busybox true",
    "create --net none --name anon filled true",
    "volume ls -q",
    "rm anon",
    "volume ls -q",
    "run --rm --net none -v ro:/srv:ro filled ls /srv",
    "rm -v mk",
    "volume rm named other third ro",
];

#[test]
fn empty_volumes_get_the_images_files_as_dockers_do() {
    let both = need!(Both::new());
    let _turn = turn();
    let lines = COPY_UP.iter();
    // What cannot be mounted is told in words of each one's own.
    let told = |line: &&&str| line.contains("/etc/passwd");
    let wrong: Vec<String> = lines
        .filter_map(|line| match told(&line) {
            true => both.same_code(line),
            false => both.same(line),
        })
        .collect();
    let _ = both.run("rmi filled");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The lines are docker 28's for the same containers.
#[test]
fn space_is_counted_and_freed_as_docker_does() {
    let store = need!(Store::busybox());
    let line = |line: &str| store.rbuild(line.split(' ')).ok().out();
    line("volume create dfv");
    let script = "echo hello >/x/f; dd if=/dev/zero of=/y/g bs=1k count=3; dd if=/dev/zero of=/own bs=1k count=2";
    store
        .rbuild([
            "run", "--net", "none", "--name", "dfc", "-v", "dfv:/x", "-v", "/y",
        ])
        .args(["busybox", "sh", "-c", script])
        .ok();
    let told = line("system df");
    let rows: Vec<String> = told
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    assert!(
        rows.contains(&"Containers 1 0 2.048kB 2.048kB (100%)".to_owned()),
        "{told}"
    );
    assert!(
        rows.contains(&"Local Volumes 2 2 3.078kB 0B (0%)".to_owned()),
        "{told}"
    );
    let told = line("system df -v");
    assert!(
        told.contains(
            "dfv                                                                1         6B\n"
        ),
        "{told}"
    );
    line("volume create unused");
    // Nothing that a container has, and nothing with a name.
    assert_eq!(
        line("system prune --volumes -f --dry-run")
            .matches("Would delete")
            .count(),
        1
    );
    assert_eq!(line("volume prune -f"), "Total reclaimed space: 0B\n");
    let told = line("system prune --volumes -f");
    let mut lines = told.lines();
    assert_eq!(lines.next(), Some("Deleted Containers:"));
    assert_eq!(lines.nth(2), Some("Deleted Volumes:"), "{told}");
    assert_eq!(line("volume ls -q"), "dfv\nunused\n");
    assert_eq!(
        line("volume prune -af"),
        "Deleted Volumes:\ndfv\nunused\n\nTotal reclaimed space: 6B\n"
    );
    // What is lost is found.
    line("volume create lost");
    fs::remove_dir_all(store.root().join("volumes/lost")).unwrap();
    store
        .rbuild(["fsck"])
        .fails(1)
        .says("lost")
        .says("its files are gone");
    store.rbuild(["fsck", "--repair"]).ok();
    store.rbuild(["fsck"]).ok();
    store
        .rbuild(["volume", "update", "lost"])
        .fails(1)
        .tells("can only update cluster volumes");
}

/// Images are mounted read-only, and stay as long as the container does.
#[test]
fn an_image_is_mounted_and_stays() {
    let store = need!(Store::busybox());
    store.rbuild(["tag", "busybox", "other"]).ok();
    let run = |args: &[&str]| {
        let mut cmd = store.rbuild(["run", "--rm", "--net", "none", "--mount"]);
        cmd = cmd.args(args);
        cmd.run()
    };
    let part = run(&[
        "type=image,source=other,target=/x,image-subpath=etc",
        "busybox",
        "ls",
        "/x",
    ]);
    part.says("passwd");
    let write = run(&[
        "type=image,source=other,target=/x",
        "busybox",
        "touch",
        "/x/f",
    ]);
    assert_eq!(write.status.code(), Some(1));
    write.tells("touch: /x/f: Read-only file system");
    let none = run(&["type=image,target=/x", "busybox", "true"]);
    assert_eq!(none.status.code(), Some(125));
    none.tells("invalid mount config for type \"image\": field Source must not be empty");
}

/// Volumes are filled once, however many begin with them at the same time, and whenever they are
/// killed meanwhile.
#[test]
fn a_volume_is_filled_once_and_whole() {
    let store = need!(Store::busybox());
    let whole = store
        .rbuild([
            "run",
            "--rm",
            "--net",
            "none",
            "busybox",
            "sh",
            "-c",
            "ls /bin | wc -l",
        ])
        .ok()
        .out();
    let started: Vec<_> = (0..4)
        .map(|_| {
            let run = ["run", "--rm", "--net", "none", "-v", "bins:/bin"];
            let cmd = store
                .rbuild(run)
                .args(["busybox", "sh", "-c", "ls /bin | wc -l"]);
            cmd.spawn()
        })
        .collect();
    for run in started {
        assert_eq!(run.wait().out(), whole);
    }
    for round in 0..20_u64 {
        let volume = format!("killed-{}:/bin", round % 4);
        let create = store
            .rbuild(["create", "--net", "none", "-v", &volume, "busybox"])
            .spawn();
        std::thread::sleep(std::time::Duration::from_millis(round * 2));
        create.signal(nix::sys::signal::Signal::SIGKILL);
        let _ = create.wait();
        // Half of a volume is nobody's: it is empty, or it is whole.
        let found = store
            .root()
            .join(format!("volumes/killed-{}/_data", round % 4));
        let there = fs::read_dir(found).map_or(0, Iterator::count);
        let held = store
            .root()
            .join(format!("volumes/killed-{}/filled", round % 4));
        assert!(
            there == 0 || there.to_string() == whole.trim() || held.exists(),
            "{there}"
        );
    }
    for n in 0..4 {
        let volume = format!("killed-{n}:/bin");
        let run = store.rbuild(["run", "--rm", "--net", "none", "-v", &volume]);
        let listed = run
            .args(["busybox", "sh", "-c", "ls /bin | wc -l"])
            .ok()
            .out();
        assert_eq!(listed, whole, "{volume}");
    }
    let ids = store.rbuild(["ps", "-aq"]).ok().out();
    for id in ids.lines() {
        store.rbuild(["rm", "-v", id]).ok();
    }
    store.rbuild(["volume", "prune", "-af"]).ok();
    assert_eq!(store.rbuild(["volume", "ls", "-q"]).ok().out(), "");
    let left = fs::read_dir(store.root().join("volumes")).unwrap().count();
    assert_eq!(left, 0, "no folder is left");
}

/// What others do to a volume's folder by links is not followed.
#[test]
fn parts_of_volumes_are_found_inside_them() {
    let store = need!(Store::busybox());
    let run = |args: &[&str]| store.rbuild(["run", "--rm", "--net", "none"]).args(args);
    let make =
        "mkdir -p /v/a/b; echo deep >/v/a/b/f; ln -s /a /v/abs; ln -s ../../../../etc /v/out";
    run(&["-v", "parts:/v", "busybox", "sh", "-c", make]).ok();
    let part = |subpath: &str| {
        let mount = format!("type=volume,source=parts,target=/x,volume-subpath={subpath}");
        run(&["--mount", &mount, "busybox", "ls", "/x"]).run()
    };
    assert_eq!(part("a/b").out(), "f\n");
    assert_eq!(part("abs").out(), "b\n");
    assert!(
        !part("out").out().contains("passwd"),
        "it leads out of the volume"
    );
    for (subpath, why) in [
        ("../..", "subpath must be a relative path within the volume"),
        ("nope", "no such file or directory"),
    ] {
        part(subpath).tells(why);
    }
    // One that is removed takes nothing along that a link leads to.
    let kept = tempfile::tempdir().unwrap();
    fs::write(kept.path().join("kept"), "").unwrap();
    let data = store.root().join("volumes/parts/_data/host");
    std::os::unix::fs::symlink(kept.path(), data).unwrap();
    store.rbuild(["volume", "rm", "parts"]).ok();
    assert!(kept.path().join("kept").exists());
    assert!(!store.root().join("volumes/parts").exists());
    let binds = inspect_binds(&store);
    assert_eq!(binds, "[\"parts:/v\"]");
}

fn inspect_binds(store: &Store) -> String {
    let create = [
        "create", "--net", "none", "--name", "kept", "-v", "parts:/v", "busybox",
    ];
    store.rbuild(create).ok();
    let binds = inspect(store, "kept")["HostConfig"]["Binds"].to_string();
    store.rbuild(["rm", "kept"]).ok();
    binds
}
