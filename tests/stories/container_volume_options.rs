//! Volumes that are something else than a directory here: NFS, CIFS, memory, folders, devices,
//! overlays; and what docker says where they cannot be mounted.

use e2e::{Cmd, Done, Store, need};

use crate::both::{Both, plain, turn};

/// Volumes, by the options that follow `volume create`, and what a container finds in one.
const VOLUMES: &[(&str, &str)] = &[
    (
        "--opt type=nfs --opt o=addr=127.0.0.1,rw,nolock,soft --opt device=:/export",
        "ls /x",
    ),
    (
        "--opt type=nfs --opt o=addr=127.0.0.1,ro,nosuid --opt device=:/export",
        "ls /x",
    ),
    (
        "--opt type=nfs4 --opt o=addr=127.0.0.1,nfsvers=4.2 --opt device=:/export",
        "ls /x",
    ),
    (
        "--opt type=nfs --opt o=rw --opt device=127.0.0.1:/export",
        "ls /x",
    ),
    (
        "--opt type=cifs --opt o=username=u,password=p,vers=3.0 --opt device=//127.0.0.1/share",
        "ls /x",
    ),
    (
        "--opt type=tmpfs --opt o=size=1m,uid=7,mode=700 --opt device=tmpfs",
        "stat -c '%u %a' /x",
    ),
    (
        "--opt type=tmpfs --opt o=noexec,nosuid --opt device=tmpfs",
        "grep -o ' /x tmpfs rw,nosuid,noexec' /proc/mounts",
    ),
    (
        "--opt type=tmpfs --opt o=size=frob --opt device=tmpfs",
        "ls /x",
    ),
    (
        "--opt type=tmpfs --opt o= --opt device=tmpfs",
        "stat -c %F /x",
    ),
    (
        "--opt type=none --opt o=bind --opt device=/nowhere/at/all",
        "ls /x",
    ),
    (
        "--opt type=none --opt o=bind --opt device=/etc",
        "ls /x/passwd",
    ),
    (
        "--opt type=none --opt o=bind,ro --opt device=/etc",
        "sh -c 'ls /x/passwd; touch /x/new'",
    ),
    (
        "--opt type=none --opt o=rbind --opt device=/etc",
        "ls /x/passwd",
    ),
    ("--opt type=none --opt device=/etc", "ls /x"),
    ("--opt type=bind --opt device=/etc", "ls /x"),
    ("--opt type=frob --opt device=x", "ls /x"),
    ("--opt type=ext4 --opt device=/nowhere.img", "ls /x"),
    ("--opt type=ext4 --opt device=/dev/null", "ls /x"),
    (
        "--opt type=overlay --opt o=lowerdir=/etc:/usr,xino=off --opt device=overlay",
        "ls /x/passwd",
    ),
    (
        "--opt type=overlay --opt o=lowerdir=/nowhere --opt device=overlay",
        "ls /x",
    ),
    ("--opt o=bind --opt device=/etc", "ls /x"),
    ("--opt device=/etc", "ls /x"),
    ("--opt type=none", "ls /x"),
    ("--opt type=nfs", "ls /x"),
    ("--opt o=bind", "ls /x"),
    ("--opt size=10m", "ls /x"),
    ("--opt frob=1", "ls /x"),
    ("--opt TYPE=tmpfs", "ls /x"),
    ("-d nope", "ls /x"),
];

#[test]
fn volumes_are_mounted_or_refused_as_dockers() {
    let _turn = turn();
    let both = need!(Both::new());
    // Where volumes lie is each one's own.
    let of = |done: &Done| {
        let code = done.status.code();
        let told = plain(&done.err());
        let words = told.split(' ').map(|word| match word.find("/volumes/") {
            Some(at) if word.starts_with('\'') => format!("'VOLUMES{}", &word[at..]),
            Some(at) => match word[..at].find(":/") {
                Some(source) => format!("{}:VOLUMES{}", &word[..source], &word[at..]),
                None => word.to_owned(),
            },
            None => word.to_owned(),
        });
        (
            code,
            plain(&done.out()),
            words.collect::<Vec<_>>().join(" "),
        )
    };
    let mut wrong = Vec::new();
    for (options, command) in VOLUMES {
        for line in [
            format!("volume create {options} options-volume"),
            "volume inspect -f '{{json .Options}}' options-volume".to_owned(),
            format!("run --rm --net none -v options-volume:/x busybox {command}"),
        ] {
            let (ours, theirs) = both.run(&line);
            let is_there = ours.status.success();
            let (ours, theirs) = (of(&ours), of(&theirs));
            if ours != theirs {
                wrong.push(format!("{line}\n  rbuild: {ours:?}\n  docker: {theirs:?}"));
            }
            if !is_there {
                break;
            }
        }
        both.run("volume rm -f options-volume");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_file_with_a_file_system_is_a_volume() {
    let store = need!(Store::busybox());
    let image = store.file("disk");
    Cmd::new("truncate").args(["-s", "8M"]).arg(&image).ok();
    Cmd::new("mkfs.ext4").arg("-q").arg(&image).ok();
    let device = Cmd::new("losetup")
        .args(["--find", "--show"])
        .arg(&image)
        .ok();
    let device = device.out().trim().to_owned();
    let option = format!("device={device}");
    let create = [
        "volume",
        "create",
        "--opt",
        "type=ext4",
        "--opt",
        &option,
        "disk",
    ];
    store.rbuild(create).ok();
    let run = [
        "run", "--rm", "--net", "none", "-v", "disk:/x", "busybox", "sh", "-c",
    ];
    store.rbuild(run).arg("echo kept >/x/file").ok();
    let later = store
        .rbuild(run)
        .arg("cat /x/file; grep -o ' /x ext4' /proc/mounts")
        .ok();
    assert_eq!(later.out(), "kept\n /x ext4\n");
    // A prune leaves what lies elsewhere.
    let prune = ["volume", "prune", "-af"];
    assert_eq!(
        store.rbuild(prune).ok().out(),
        "Total reclaimed space: 0B\n"
    );
    store.rbuild(["volume", "rm", "disk"]).ok();
    Cmd::new("losetup").args(["--detach", &device]).ok();
}
