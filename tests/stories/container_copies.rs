//! Files copied out of containers and into them: each line is typed to rbuild and to docker 28, and
//! comes to the same.

use std::fs;
use std::path::{Path, PathBuf};

use e2e::{Cmd, Done, Store, need};

use crate::both::{Both, eventually, plain, turn};

/// A folder to copy from and to, one for each.
fn folder(root: &Path) -> PathBuf {
    fs::create_dir_all(root.join("d/sub")).unwrap();
    fs::create_dir(root.join("empty")).unwrap();
    fs::write(root.join("f"), "hi\n").unwrap();
    fs::write(root.join("d/x"), "x\n").unwrap();
    fs::create_dir_all(root.join("clash/passwd")).unwrap();
    for (target, link) in [("f", "lf"), ("d", "ld"), ("nowhere", "dangling")] {
        std::os::unix::fs::symlink(target, root.join(link)).unwrap();
    }
    root.canonicalize().unwrap()
}

/// What is copied where: docker's rules, and its sentences where they do not allow it.
const COPIES: &[&str] = &[
    "cp c1:/etc/passwd out1",
    "cp c1:/etc/passwd nodir/out1",
    "cp c1:/etc/passwd nodir/",
    "cp c1:/etc/passwd empty",
    "cp c1:/etc/passwd f/",
    "cp c1:/bin f",
    "cp c1:/home new",
    "cp c1:/home/. new2",
    "cp c1:/var/ empty",
    "cp c1:/var/. empty",
    "cp c1:/var nodir/new",
    "cp c1:/etc/passwd/ .",
    "cp c1:/etc/passwd/x .",
    "cp c1:/etc/passwd c1:/x",
    "cp f g",
    "cp - -",
    "cp f c1:/newf",
    "cp f c1:/newf/",
    "cp f c1:/tmp",
    "cp f c1:/tmp/",
    "cp f c1:tmp/rel",
    "cp nope c1:/tmp",
    "cp f/ c1:/tmp",
    "cp d c1:/newd",
    "cp d c1:/newd",
    "cp d/ c1:/newd2",
    "cp d/. c1:/newd2",
    "cp d/. c1:/newd3",
    "cp d c1:/newf",
    "cp lf c1:/tmp/",
    "cp -L lf c1:/tmp/lfL",
    "cp ld c1:/tmp/",
    "cp -L ld c1:/tmp/ldL",
    "cp dangling c1:/tmp/",
    "cp -L dangling c1:/tmp/dL",
    "cp f c1:/vol/",
    "cp f c1:/ro/f",
    "cp f c1:/",
    "cp d c1:/",
    "cp d/. c1:/root",
    "cp c1:/vol/f from-vol",
    "cp c1:/tmp/ld o-ld",
    "cp c1:/tmp/lf o-lf",
    "cp -L c1:/tmp/lf o-lfL",
    "cp c1:/bin/sh sh",
    "cp c1:/etc/passwd .",
    "cp c1:/etc/passwd /dev/null",
    "cp '' c1:/x",
    "cp c1:/x ''",
    "cp f read:/x",
    "cp f read:/vol/x",
    "cp read:/etc/group .",
];

/// What is missing, in the words of docker 28's client; an older one has its own.
const MISSING: &[(&str, &str)] = &[
    (
        "cp c1:/nope .",
        "Could not find the file /nope in container c1",
    ),
    (
        "cp f c1:/nodir/f",
        "Could not find the file /nodir in container c1",
    ),
    (
        "cp d c1:/nodir/d",
        "Could not find the file /nodir in container c1",
    ),
    (
        "cp c1:/lost/ -",
        "Could not find the file /lost/ in container c1",
    ),
    ("cp nope:/etc .", "No such container: nope"),
    ("cp f nope:/x", "No such container: nope"),
];

/// Copies on both, each in its folder.
fn copied(both: &Both, line: &str, (ours, theirs): (&Path, &Path)) -> Option<String> {
    let mut words: Vec<&str> = line.split(' ').collect();
    words
        .iter_mut()
        .filter(|word| **word == "''")
        .for_each(|word| *word = "");
    let of = |cmd: Cmd, dir: &Path| {
        let done = cmd.current_dir(dir).run();
        let told = plain(&done.err()).replace(&dir.display().to_string(), "DIR");
        (done.status.code(), done.out(), told)
    };
    let ours = of(both.ours.rbuild(&words), ours);
    let theirs = of(both.docker.cmd(&words), theirs);
    let text = || format!("{line}\n  rbuild: {ours:?}\n  docker: {theirs:?}");
    (ours != theirs).then(text)
}

/// All files below a folder, with modes, sizes and links.
fn tree(dir: &Path) -> String {
    let found = Cmd::new("find")
        .args([".", "-printf", "%p %y %m %s %l\\n"])
        .current_dir(dir)
        .ok();
    let mut lines: Vec<String> = found
        .out()
        .lines()
        // The size of a folder is the file system's.
        .map(|line| match line.split(' ').nth(1) {
            Some("d") => line.split(' ').take(3).collect::<Vec<_>>().join(" "),
            _ => line.to_owned(),
        })
        .collect();
    lines.sort();
    lines.join("\n")
}

/// The names in a tar that a command writes.
fn listed(cmd: Cmd) -> Vec<String> {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), cmd.ok().stdout).unwrap();
    let tar = Cmd::new("tar")
        .args(["--numeric-owner", "-tvf"])
        .arg(file.path())
        .ok();
    // Times are each one's own.
    let line = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        [&words[..3], &words[5..]].concat().join(" ")
    };
    let mut lines: Vec<String> = tar.out().lines().map(line).collect();
    lines.sort();
    lines
}

#[test]
fn copies_go_where_docker_puts_them() {
    let both = need!(Both::new());
    let _turn = turn();
    let dir = tempfile::tempdir().unwrap();
    let dirs = (
        folder(&dir.path().join("ours")),
        folder(&dir.path().join("theirs")),
    );
    let dirs = (dirs.0.as_path(), dirs.1.as_path());
    both.all_same(&[
        "create --net none --name c1 -v cpv:/vol -v cpv2:/ro:ro busybox sleep 1000",
        "create --net none --read-only --name read -v cpv3:/vol busybox true",
    ]);
    let copies = COPIES.iter();
    let mut wrong: Vec<String> = copies
        .filter_map(|line| copied(&both, line, dirs))
        .collect();
    for (line, why) in MISSING {
        let cmd = both.ours.rbuild(line.split(' ')).current_dir(dirs.0);
        cmd.fails(1).tells(why);
    }
    // The same into one that runs.
    wrong.extend(both.same("start c1"));
    let running = [
        "cp f c1:/vol/g",
        "cp d c1:/run",
        "cp c1:/run/d back",
        "cp f c1:/ro/f",
    ];
    wrong.extend(running.iter().filter_map(|line| copied(&both, line, dirs)));
    let seen = both
        .ours
        .rbuild(["exec", "c1", "sh", "-c", "ls /vol /run/d; cat /vol/g"]);
    assert_eq!(seen.ok().out(), "/run/d:\nsub\nx\n\n/vol:\nf\ng\nhi\n");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(tree(dirs.0), tree(dirs.1));
    for path in [
        "/root", "/tmp", "/tmp/.", "/tmp/lf", "/vol", "/home/", "/newd2", "/ro",
    ] {
        let words = ["cp".to_owned(), format!("c1:{path}"), "-".to_owned()];
        let (ours, theirs) = (both.ours.rbuild(&words), both.docker.cmd(&words));
        assert_eq!(listed(ours), listed(theirs), "{path}");
    }
    both.all_same(&["rm -f -v c1 read", "volume rm cpv cpv2 cpv3"]);
}

#[test]
fn archives_are_copied_in_and_owners_with_them() {
    let both = need!(Both::new());
    let _turn = turn();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("own");
    fs::write(&file, "x").unwrap();
    std::os::unix::fs::chown(&file, Some(1234), Some(1235)).unwrap();
    let tar = Cmd::new("tar")
        .args(["-c", "own"])
        .current_dir(dir.path())
        .ok()
        .stdout;
    both.all_same(&["create --net none -u 7:8 --name c2 busybox sleep 1000"]);
    let on_both = |words: &[&str], stdin: &[u8]| {
        let run = |cmd: Cmd| {
            let done = cmd.current_dir(dir.path()).stdin(stdin).run();
            (done.status.code(), done.out(), plain(&done.err()))
        };
        let (ours, theirs) = (run(both.ours.rbuild(words)), run(both.docker.cmd(words)));
        assert_eq!(ours, theirs, "{words:?}");
    };
    on_both(&["cp", "-", "c2:/var"], &tar);
    on_both(&["cp", "-", "c2:/var/own"], &tar);
    on_both(&["cp", "-", "c2:/var/gone"], &tar);
    on_both(&["cp", "own", "c2:/var/plain"], b"");
    on_both(&["cp", "-a", "own", "c2:/home/users"], b"");
    let of = |path: &str| {
        let words = ["cp".to_owned(), format!("c2:{path}"), "-".to_owned()];
        (
            listed(both.ours.rbuild(&words)),
            listed(both.docker.cmd(&words)),
        )
    };
    for path in ["/var", "/home"] {
        let (ours, theirs) = of(path);
        assert_eq!(ours, theirs, "{path}");
    }
    // Compressed, as docker takes it too.
    let packed = Cmd::new("gzip").arg("-c").stdin(&tar).ok().stdout;
    on_both(&["cp", "-", "c2:/root"], &packed);
    let (ours, theirs) = of("/root");
    assert_eq!(ours, theirs);
    let junk = both
        .ours
        .rbuild(["cp", "-", "c2:/root"])
        .stdin("junk\n")
        .run();
    assert_eq!(junk.status.code(), Some(1), "{junk}");
    both.all_same(&["rm c2"]);
}

#[test]
fn what_is_exported_is_what_docker_exports() {
    let both = need!(Both::new());
    let _turn = turn();
    both.all_same(&[
        "run --net none --name c3 -v ex:/x -v /y busybox sh -c 'echo >/x/f; echo >/y/g; echo >/own'",
        "run --rm --net none -w /etc/passwd busybox true",
        "commit c3 kept",
        "run --rm --net none kept sh -c 'ls /x /y; ls /own'",
        "inspect -f '{{json .Config.Volumes}}' kept",
    ]);
    let names = |cmd: Cmd| {
        let mut names = listed(cmd);
        // Files that are mounted over are empty in docker's, whatever the image has there.
        names.retain(|line| !line.ends_with("/hosts"));
        names
    };
    let export = ["export", "c3"];
    assert_eq!(
        names(both.ours.rbuild(export)),
        names(both.docker.cmd(export))
    );
    let changes = |done: Done| {
        let mut lines: Vec<String> = done.out().lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let (ours, theirs) = both.run("diff c3");
    assert_eq!(changes(ours), changes(theirs));
    both.all_same(&["rm -v c3", "volume rm ex"]);
    let _ = both.run("rmi kept");
}

/// A container whose processes swap what is copied with links out of it (CVE-2018-15664).
#[test]
fn a_hostile_container_gains_nothing_by_a_copy() {
    let store = need!(Store::busybox());
    let outside = tempfile::tempdir().unwrap();
    let secret = outside.path().join("secret");
    fs::write(&secret, "the host's").unwrap();
    let up = "../".repeat(20);
    let target = format!("{up}{}", outside.path().display());
    let script = format!(
        "mkdir -p /in/real /other; echo own >/in/real/secret; ln -s {target} /in/link; \
         while :; do mv /in/real /in/dir; mv /in/dir /in/real; mv /in/link /in/dir; \
         mv /in/dir /in/link; done"
    );
    store
        .rbuild([
            "run", "-d", "--net", "none", "--name", "evil", "-v", "evv:/vol",
        ])
        .args(["busybox", "sh", "-c", &script])
        .ok();
    let exec = |script: &str| store.rbuild(["exec", "evil", "sh", "-c", script]).ok();
    exec(&format!(
        "ln -s {target} /vol/out; ln -s /proc/1/root{target} /vol/magic; ln -s / /vol/root"
    ));
    let own = outside.path().join("own");
    fs::write(&own, "written").unwrap();
    let copies = tempfile::tempdir().unwrap();
    for n in 0..60 {
        let into = store
            .rbuild(["cp"])
            .arg(&own)
            .arg("evil:/in/dir/secret")
            .run();
        assert!(into.status.code().is_some(), "{into}");
        let to = copies.path().join(n.to_string());
        let _ = store.rbuild(["cp", "evil:/in/dir/secret"]).arg(&to).run();
        let read = fs::read_to_string(&to).unwrap_or_default();
        assert!(read != "the host's", "a file of the host came out");
    }
    for path in [
        "/vol/out/secret",
        "/vol/magic/secret",
        "/vol/out/new",
        "/vol/magic/new",
    ] {
        let _ = store
            .rbuild(["cp"])
            .arg(&own)
            .arg(format!("evil:{path}"))
            .run();
        let to = copies.path().join("x");
        let _ = store
            .rbuild(["cp"])
            .arg(format!("evil:{path}"))
            .arg(&to)
            .run();
        let read = fs::read_to_string(&to).unwrap_or_default();
        assert!(read != "the host's", "{path}");
    }
    assert_eq!(fs::read_to_string(&secret).unwrap(), "the host's");
    let left: Vec<_> = fs::read_dir(outside.path()).unwrap().collect();
    assert_eq!(left.len(), 2, "nothing was written out there");
    // A link to the root is the container's own.
    store
        .rbuild(["cp"])
        .arg(&own)
        .arg("evil:/vol/root/came")
        .ok();
    exec("test -f /came");
    store.rbuild(["rm", "-f", "-v", "evil"]).ok();
    // Nothing stays mounted.
    let root = store.root().display().to_string();
    eventually("all mounts are gone", || {
        let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
        !table.contains(&root)
    });
}
