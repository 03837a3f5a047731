//! What COPY and ADD make of files: the right values are BuildKit's, unless a line says otherwise.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixListener;
use std::sync::atomic::{AtomicBool, Ordering};

use e2e::{Dir, Files, Store, Tree, need};

/// A tar archive of files and symbolic links (a target instead of content).
enum Item<'a> {
    File(&'a str, &'a str),
    Link(&'a str, &'a str),
}

fn tar(items: &[Item<'_>]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for item in items {
        let mut header = tar::Header::new_ustar();
        header.set_mode(0o644);
        let (name, content) = match item {
            Item::File(name, content) => (name, content.as_bytes()),
            Item::Link(name, target) => {
                header.set_entry_type(tar::EntryType::Symlink);
                header.set_link_name_literal(target).unwrap();
                (name, &b""[..])
            }
        };
        // By hand: no library writes such names.
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_size(content.len() as u64);
        header.set_cksum();
        builder.append(&header, content).unwrap();
    }
    builder.into_inner().unwrap()
}

fn owner(tree: &Tree, path: &str) -> (u64, u64) {
    let entry = tree.get(path);
    (entry.uid, entry.gid)
}

fn mode(tree: &Tree, path: &str) -> u32 {
    tree.get(path).mode
}

#[test]
fn parents_come_along_as_they_are() {
    let store = need!(Store::busybox());
    let context = Dir::dockerfile(
        "FROM scratch\nCOPY --parents a/**/*.txt /o/\nCOPY --parents d*/./* /p/\n\
         COPY --parents --exclude=**/*.txt a /q/\n",
    )
    .file("a/top.txt", "")
    .file("a/b/mid.txt", "")
    .file("a/b/c/deep.txt", "")
    .file("a/b/c/other.md", "")
    .file("d1/x", "1")
    .file("d2/y", "2")
    .mode("a/b/c", 0o2750)
    .mode("a/b", 0o700);
    let (_, tree) = store.built(&context);
    assert_eq!(
        tree.below("o"),
        [
            "a",
            "a/b",
            "a/b/c",
            "a/b/c/deep.txt",
            "a/b/mid.txt",
            "a/top.txt"
        ]
    );
    assert_eq!(
        (mode(&tree, "o/a/b"), mode(&tree, "o/a/b/c")),
        (0o700, 0o2750)
    );
    assert_eq!(tree.below("p"), ["x", "y"]);
    assert_eq!(tree.below("q"), ["a", "a/b", "a/b/c", "a/b/c/other.md"]);
}

/// The values are what docker 28's BuildKit makes of the same Dockerfile.
#[test]
fn what_is_set_by_a_mode_takes_special_bits_away() {
    let store = need!(Store::busybox());
    let modes = ["go=", "a=rx", "a=t", "u=rwx", "g=u", "a=rwxs", "u+s,g="];
    let copies: String = modes
        .iter()
        .enumerate()
        .map(|(i, text)| format!("COPY --from=s --chmod={text} /d /m{i}\n"))
        .collect();
    let (_, tree) = store.built(&Dir::dockerfile(&format!(
        "FROM busybox AS s\nRUN mkdir /d && cd /d && mkdir d && touch f && chmod 7777 f && \
         chmod 6775 d\nFROM busybox\n{copies}"
    )));
    let found: Vec<(u32, u32)> = (0..modes.len())
        .map(|i| {
            (
                mode(&tree, &format!("m{i}/d")),
                mode(&tree, &format!("m{i}/f")),
            )
        })
        .collect();
    let wanted = [
        (0o4700, 0o5700),
        (0o555, 0o1555),
        (0o1000, 0o1000),
        (0o2775, 0o3777),
        (0o6775, 0o7777),
        (0o6777, 0o7777),
        (0o4705, 0o5707),
    ];
    assert_eq!(found, wanted, "{modes:?}");
}

#[test]
fn wildcards_and_what_is_left_out() {
    let store = need!(Store::busybox());
    let context = Dir::dockerfile(
        "FROM scratch\nCOPY --exclude=a* a.txt b* /o/\nCOPY d? /p\nADD *.tar /q\n\
         COPY --chmod=0710 a.txt /new/dir/\nCOPY --chmod=u=rwx,go= a.txt /other/dir/\n",
    )
    .file("a.txt", "a")
    .file("b.txt", "b")
    .file("d1/x", "1")
    .file("d2/y", "2")
    .file("one.tar", tar(&[Item::File("one", "1")]))
    .file("two.tar", tar(&[Item::File("two", "2")]));
    let (_, tree) = store.built(&context);
    assert_eq!(tree.below("o"), ["a.txt", "b.txt"]);
    assert_eq!(tree.below("p"), ["x", "y"]);
    assert_eq!(tree.below("q"), ["one", "two"]);
    assert_eq!((mode(&tree, "new"), mode(&tree, "new/dir")), (0o710, 0o710));
    assert_eq!(
        (mode(&tree, "other"), mode(&tree, "other/dir")),
        (0o755, 0o755)
    );
    for (copy, why) in [
        ("COPY nope/*.txt /o/", "\"/nope\": not found"),
        ("COPY d1/*.none /o/", "\"d1/*.none\": not found"),
        ("COPY ?.txt /file", "2 files are copied"),
        (
            "COPY --parents --exclude=d1 d1 /o/",
            "excluded by --exclude",
        ),
        (
            "FROM busybox AS l\nRUN mkdir /d && touch /d/f && ln -s d /l\n\
             FROM scratch\nCOPY --from=l --parents /l/f /o/",
            "\"/l/f\": not found: --parents follows no link",
        ),
    ] {
        context.write("Dockerfile", format!("FROM scratch\n{copy}\n"));
        store.build("refused", &context).fails(1).tells(why);
    }
}

#[test]
fn links_at_the_destination_are_followed_unless_it_is_linked() {
    let store = need!(Store::busybox());
    let context = Dir::dockerfile(
        "FROM busybox\nRUN mkdir -m 1777 /real /keep && ln -s /real /l && ln -s /real /m\n\
         COPY f /m/x\nCOPY --link f /l/x\nCOPY --link --chown=5:6 f /keep/y\n\
         RUN ls -d /l/. /l/x /real/x /keep/y >/seen\n",
    )
    .file("f", "f");
    let (_, tree) = store.built(&context);
    assert_eq!((tree.get("m").kind, tree.get("l").kind), ('l', 'd'));
    assert_eq!(tree.below("l"), ["x"]);
    assert_eq!(tree.below("real"), ["x"]);
    assert_eq!(
        (mode(&tree, "keep"), owner(&tree, "keep/y")),
        (0o1777, (5, 6))
    );
    assert_eq!(tree.text("seen"), "/keep/y\n/l/.\n/l/x\n/real/x\n");
    // The layers say the same to others.
    let layers = store.archive("built").tree;
    assert_eq!(layers.differences(&tree), Vec::<String>::new());
}

/// As with BuildKit: what is empty once it is expanded is the working directory, also to `--link`.
#[test]
fn an_empty_destination_is_the_working_directory() {
    let store = need!(Store::busybox());
    let context = Dir::dockerfile(
        "FROM busybox\nENV E=\"\"\nWORKDIR /w/x\nCOPY a $E\nCOPY --link b $E\nCOPY --link b ..\n\
         RUN ls >/seen\n",
    )
    .file("a", "a")
    .file("b", "b");
    let (_, tree) = store.built(&context);
    assert_eq!(tree.text("seen"), "a\nb\n");
    assert_eq!(tree.below("w"), ["b", "x", "x/a", "x/b"]);
}

/// What docker 28's BuildKit makes of symbolic modes of a file of 0654 and one of 4421.
#[test]
fn symbolic_modes_are_buildkits() {
    let store = need!(Store::busybox());
    let modes = [
        ("o+t", 0o654, 0o4421),
        ("u+t", 0o1654, 0o5421),
        ("o=rt", 0o654, 0o4424),
        ("a=u", 0o666, 0o4444),
        ("u=u", 0o654, 0o4421),
        ("u=", 0o054, 0o021),
        ("a+X", 0o755, 0o4531),
        ("o+s", 0o654, 0o4421),
    ];
    let mut file = String::from(
        "FROM busybox AS b\nRUN touch /f /g && chmod 654 /f && chmod 4421 /g\nFROM scratch\n",
    );
    for (mode, ..) in &modes {
        file.push_str(&format!("COPY --from=b --chmod={mode} /f /g /{mode}/\n"));
    }
    let (_, tree) = store.built(&Dir::dockerfile(&file));
    for (name, f, g) in modes {
        let got = (
            mode(&tree, &format!("{name}/f")),
            mode(&tree, &format!("{name}/g")),
        );
        assert_eq!(got, (f, g), "{name}");
    }
}

#[test]
fn an_empty_group_is_roots() {
    let store = need!(Store::busybox());
    let context = Dir::dockerfile(
        "FROM busybox\nRUN echo u:x:7:8::/:/bin/sh >>/etc/passwd\nCOPY --chown=u f /a\n\
         COPY --chown=u: f /b\nCOPY --chown=9: f /c\nCOPY --chown=9 f /d\nCOPY --chown=:5 f /e\n",
    )
    .file("f", "f");
    let (_, tree) = store.built(&context);
    for (path, expected) in [
        ("a", (7, 8)),
        ("b", (7, 0)),
        ("c", (9, 0)),
        ("d", (9, 9)),
        ("e", (0, 5)),
    ] {
        assert_eq!(owner(&tree, path), expected, "{path}");
    }
}

#[test]
fn a_download_without_a_name_gets_one() {
    let store = need!(Store::busybox());
    let files = Files::serve(&[("/", b"index")]);
    let context = Dir::dockerfile(&format!("FROM scratch\nADD {} /d/\n", files.url("/")));
    let (_, tree) = store.built(&context);
    assert_eq!(tree.text("d/__unnamed__"), "index");
}

#[test]
fn archives_see_nothing_but_their_destination() {
    let store = need!(Store::busybox());
    let context = Dir::dockerfile(
        "FROM busybox\nADD up.tar /dst\nADD climbs.tar /dst\nADD nameless.tar /dst\n",
    )
    .file(
        "up.tar",
        tar(&[Item::Link("l", ".."), Item::File("l/etc/passwd", "evil")]),
    )
    .file(
        "climbs.tar",
        tar(&[Item::File("../x", "x"), Item::File("a/../../y", "y")]),
    )
    .file(
        "nameless.tar",
        tar(&[Item::File("", "none"), Item::File("z", "z")]),
    );
    let (_, tree) = store.built(&context);
    assert_eq!(tree.below("dst"), ["etc", "etc/passwd", "l", "x", "y", "z"]);
    let base = store.tree("busybox");
    assert_eq!(tree.text("etc/passwd"), base.text("etc/passwd"));
    assert!(!tree.has("x") && !tree.has("y"));

    let absolute = tar(&[Item::Link("l", "/etc"), Item::File("l/passwd", "evil")]);
    let context = Dir::dockerfile("FROM busybox\nADD t.tar /dst\n").file("t.tar", absolute);
    store
        .build("refused", &context)
        .fails(1)
        .tells("l is no directory");
}

#[test]
fn sockets_are_left_out_and_the_rest_is_copied() {
    let store = need!(Store::busybox());
    let context = Dir::dockerfile(
        "FROM busybox AS made\nRUN mkdir /s && echo 1 >/s/f && cd /s && (nc -l -s local:sock & sleep 1) || true\n\
         FROM busybox\nCOPY . /c/\nCOPY --parents **/f /p/\nCOPY --from=made /s /s\n",
    )
    .file("d/f", "f");
    let _listener = UnixListener::bind(context.join("d/sock")).unwrap();
    let (_, tree) = store.built(&context);
    assert_eq!(tree.below("c"), ["Dockerfile", "d", "d/f"]);
    assert_eq!(tree.below("p"), ["d", "d/f"]);
    assert_eq!(tree.text("s/f"), "1\n");
    context.write("Dockerfile", "FROM busybox\nCOPY d/sock /\n");
    store.build("refused", &context).fails(1).tells("socket");
}

#[test]
fn a_log_that_grows_is_copied_as_it_was_found() {
    let store = need!(Store::busybox());
    let context = Dir::dockerfile("FROM busybox\nCOPY . /c/\nRUN ls /c\n")
        .file("log", "line\n".repeat(200_000))
        .file("short", "x".repeat(100_000));
    let (log, short) = (context.join("log"), context.join("short"));
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut log = File::options().append(true).open(&log).unwrap();
            let short = File::options().write(true).open(&short).unwrap();
            for length in (0..100_000).rev().cycle() {
                if stop.load(Ordering::SeqCst) {
                    break;
                }
                log.write_all(b"line\n").unwrap();
                short.set_len(length).unwrap();
            }
        });
        for _ in 0..3 {
            store.build("growing", &context).ok();
        }
        stop.store(true, Ordering::SeqCst);
    });
    // What has come to rest is copied whole, whatever was remembered of it.
    store.build("done", &context).ok();
    let copied = store.file("copied");
    store.rbuild(["export", "-o"]).arg(&copied).arg("done").ok();
    let mut archive = tar::Archive::new(File::open(&copied).unwrap());
    let mut seen = 0;
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().into_owned();
        if path.ends_with("c/log") || path.ends_with("c/short") {
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            let now = std::fs::read(context.join(path.file_name().unwrap().to_str().unwrap()));
            assert!(bytes == now.unwrap(), "{}", path.display());
            seen += 1;
        }
    }
    assert_eq!(seen, 2);
}

#[test]
fn with_an_epoch_the_machine_that_built_has_what_others_pull() {
    let store = need!(Store::busybox());
    let context = Dir::dockerfile(
        "FROM busybox AS made\n\
         RUN mkdir -p /r/d && echo 1 >/r/d/f && ln /r/d/f /r/hard && ln -s f /r/d/soft && touch /etc/new\n\
         COPY f /c/d/\nADD t.tar /a/b\nWORKDIR /w/x\n\
         FROM busybox\nCOPY --from=made /r /r\nCOPY --from=made /c /c\nCOPY --from=made /a /a\n\
         COPY --from=made /w /w\nRUN rm /etc/group; touch -d @5 /old\n\
         RUN find /r /c /a /w /old /etc -exec stat -c '%Y %n' {} + | sort -k2 >/seen\n",
    )
    .file("f", "f")
    .file("t.tar", tar(&[Item::File("x/y", "y"), Item::Link("l", "x")]));
    context.touch("f", 2_000);
    let epoch = 1_000;
    let build = store.build("built", &context);
    build.env("SOURCE_DATE_EPOCH", epoch.to_string()).ok();
    let here = store.tree("built");
    let seen = here.text("seen");
    let base = store.tree("busybox");
    let mut checked = 0;
    for line in seen.lines() {
        let (time, path) = line.split_once(' ').unwrap();
        let name = path.trim_start_matches('/');
        // The container's own files are mounted, and change the folder they are in.
        let mounted = ["etc/hosts", "etc/hostname", "etc/resolv.conf"];
        if !here.has(name) || name == "etc" || mounted.contains(&name) {
            continue;
        }
        checked += 1;
        let expected = match path {
            "/old" => 5,
            _ if base.has(name) => base.get(name).mtime,
            _ => epoch.min(here.get(name).mtime),
        };
        assert_eq!(time, expected.to_string(), "{path}");
        assert!(base.has(name) || here.get(name).mtime <= epoch, "{path}");
    }
    assert!(checked > 15, "{seen}");
    // Exactly what somebody else has.
    let image = store.file("image.tar");
    store.rbuild(["save", "-o"]).arg(&image).arg("built").ok();
    let other = need!(Store::new());
    other.rbuild(["load", "-i"]).arg(&image).ok();
    let there = other.tree("built");
    assert_eq!(here.differences(&there), Vec::<String>::new());
    assert_eq!(here.without(&["seen"]), there.without(&["seen"]));
}
