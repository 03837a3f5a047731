//! The same Dockerfiles built by docker (BuildKit) and by rbuild make the same image: its
//! configuration, its history, its files.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use e2e::{Archive, Cmd, Dir, Docker, Store, docker, need};
use serde_json::Value;

/// Names and Dockerfiles; all share the [`context`]. Add a line for each question of the kind
/// "what does docker do when…". (Not of supplementary groups: later versions add the user's own.)
const SAME: &[(&str, &str)] = &[
    ("nothing at all", "FROM busybox\n"),
    (
        "env forms",
        "FROM busybox\nENV A=1 B=\"two words\" C=th\\ ree\nENV D the rest of it\nENV PATH=/x:$PATH E=${A:-d}${NO:+n}\n",
    ),
    (
        "env expansion",
        "FROM busybox\nENV a=1\nENV a=2 b=$a\nENV c=${a} d=\\$a e='$a' f=\"${none:-x y}\"\n",
    ),
    ("env replaced", "FROM busybox\nENV A=1 B=2\nENV A=3\n"),
    (
        "arg",
        "ARG V=busybox\nFROM $V\nARG X=1\nARG Y\nRUN echo $X[$Y] >/out\nARG Z=$X\nRUN echo $Z >>/out\n",
    ),
    (
        "labels",
        "FROM busybox\nLABEL b=1 a=\"x y\"\nLABEL \"k e\"=v b=2\nLABEL m=\"one \\\n two\"\n",
    ),
    (
        "expose",
        "FROM busybox\nEXPOSE 80\nEXPOSE 443/tcp 53/udp\nENV P=99\nEXPOSE $P 8000-8002\n",
    ),
    (
        "volumes",
        "FROM busybox\nVOLUME /a\nVOLUME [\"/b\", \"/c d\"]\nVOLUME /e /f\n",
    ),
    (
        "workdir",
        "FROM busybox\nWORKDIR /a/b\nWORKDIR c\nWORKDIR ../d/./e\nRUN pwd >/out\nWORKDIR /\n",
    ),
    (
        "workdir exists",
        "FROM busybox\nWORKDIR /etc\nWORKDIR /tmp\n",
    ),
    (
        "workdir with a user",
        "FROM busybox\nUSER nobody\nWORKDIR /home/n/m\nRUN pwd\n",
    ),
    (
        "cmd and entrypoint",
        "FROM busybox\nCMD echo $HOME\nENTRYPOINT [\"top\", \"-b\"]\n",
    ),
    (
        "entrypoint clears cmd",
        "FROM busybox\nENTRYPOINT exec sh\n",
    ),
    (
        "entrypoint of a base",
        "FROM busybox AS a\nENTRYPOINT [\"a\"]\nCMD [\"b\"]\nFROM a\nENTRYPOINT [\"c\"]\n",
    ),
    (
        "cmd keeps entrypoint",
        "FROM busybox AS a\nENTRYPOINT [\"a\"]\nCMD [\"b\"]\nFROM a\nCMD [\"c\"]\n",
    ),
    ("empty cmd", "FROM busybox\nCMD []\nENTRYPOINT []\n"),
    (
        "empty shell forms",
        "FROM busybox AS a\nCMD\nENTRYPOINT\nFROM busybox\nRUN\nCMD\n",
    ),
    (
        "exec form with escapes",
        "FROM busybox\nCMD [\"a\\\"b\", \"c\\\\d\", \"\\u00e9\"]\n",
    ),
    (
        "not json is shell form",
        "FROM busybox\nCMD ['single', 'quotes']\n",
    ),
    (
        "user",
        "FROM busybox\nUSER nobody\nRUN (id -u; id -g) >/tmp/out; echo $HOME >>/tmp/out\nUSER 33\nRUN (id -u; id -g) >/tmp/out33; echo $HOME >>/tmp/out33\nUSER 5:6\nRUN (id -u; id -g) >/tmp/out56\n",
    ),
    (
        "users of the image",
        "FROM busybox\nRUN echo team:x:700:app >>/etc/group && echo app:x:600:100::/home/app:/bin/sh >>/etc/passwd\nUSER app\nRUN (id -u; id -g) >/tmp/out\nUSER app:33\nRUN (id -u; id -g) >/tmp/out2\n",
    ),
    (
        "maintainer",
        "FROM busybox\nMAINTAINER Jane <j@example.com>\n",
    ),
    ("stopsignal", "FROM busybox\nSTOPSIGNAL SIGUSR1\n"),
    (
        "shell",
        "FROM busybox\nSHELL [\"/bin/sh\", \"-ec\"]\nRUN echo $- >/out\nCMD x y\n",
    ),
    (
        "healthcheck",
        "FROM busybox\nHEALTHCHECK --interval=5m --timeout=3s --retries=4 CMD test -e /x\n",
    ),
    (
        "healthcheck exec",
        "FROM busybox\nHEALTHCHECK --start-period=1s CMD [\"test\", \"-e\"]\n",
    ),
    ("no healthcheck", "FROM busybox\nHEALTHCHECK NONE\n"),
    (
        "onbuild",
        "FROM busybox\nONBUILD RUN echo later\nONBUILD COPY . /x\n",
    ),
    (
        "onbuild of a stage",
        "FROM busybox AS a\nONBUILD RUN echo built >/built\nONBUILD ENV O=1\nFROM a\nRUN echo after >/after\n",
    ),
    (
        "run forms",
        "FROM busybox\nRUN echo a >/a \\\n # comment\n && echo b >/b\nRUN [\"sh\", \"-c\", \"echo c >/c\"]\n",
    ),
    (
        "run that changes nothing",
        "FROM busybox\nRUN true\nRUN echo hi\n",
    ),
    (
        "run with args and env",
        "FROM busybox\nARG ONE=1\nENV TWO=2\nARG THREE=\"x y\"\nRUN echo $ONE$TWO$THREE >/out\n",
    ),
    (
        "whiteouts",
        "FROM busybox\nRUN mkdir /d && touch /d/a /d/b\nRUN rm /d/a && rm -r /home\nRUN rm -r /d && mkdir /d && touch /d/c\n",
    ),
    (
        "kinds of files",
        "FROM busybox\nRUN mkdir /k && cd /k && touch f && ln f hard && ln -s f soft && mkfifo p && mknod c c 1 3 && chmod 4755 f && chmod 1777 . && chown 3:4 p && chown -h 5:6 soft\n",
    ),
    (
        "directory becomes file",
        "FROM busybox\nRUN mkdir -p /d/e && touch /d/e/f\nRUN rm -r /d && echo x >/d\nRUN rm /d && mkdir /d && touch /d/g\n",
    ),
    (
        "mode of a directory only",
        "FROM busybox\nRUN chmod 700 /home && chown 1:2 /var/www\n",
    ),
    (
        "unset umask",
        "FROM busybox\nRUN mkdir /m && touch /m/f && umask >/m/umask\n",
    ),
    (
        "copy file",
        "FROM busybox\nCOPY one /\nCOPY one /named\nCOPY one /new/dir/\nCOPY one two /both/\nCOPY one /etc\n",
    ),
    (
        "copy tree",
        "FROM busybox\nCOPY tree /tree\nCOPY tree /into/deeper/\nCOPY tree/deep .\n",
    ),
    ("copy all", "FROM busybox\nWORKDIR /all\nCOPY . .\n"),
    (
        "copy modes",
        "FROM busybox\nCOPY run.sh secret /m/\nCOPY closed /closed\nCOPY closed /tmp\n",
    ),
    (
        "copy link",
        "FROM busybox\nCOPY tree/link /followed\nCOPY tree/linked /linked\nCOPY tree /kept\n",
    ),
    (
        "copy onto a link",
        "FROM busybox\nRUN mkdir /real && ln -s real /rel && ln -s /real /abs && ln -s real/f /tofile\nCOPY one /rel/\nCOPY two /abs/\nCOPY tree /rel\nCOPY one /tofile\n",
    ),
    (
        "copy wildcards",
        "FROM busybox\nCOPY *.txt /t/\nCOPY t*/a /u/\nCOPY ?n? /v/\n",
    ),
    (
        "copy json form",
        "FROM busybox\nCOPY [\"a b\", \"/c d/\"]\n",
    ),
    (
        "copy chown",
        "FROM busybox\nCOPY --chown=nobody:www-data tree /t\nCOPY --chown=12:34 one /o\nCOPY --chown=mail one /n/m/\nCOPY --chown=7 one /seven\n",
    ),
    (
        "copy with a user",
        "FROM busybox\nUSER nobody\nCOPY one /o\nCOPY tree /t/t\n",
    ),
    (
        "copy over what is there",
        "FROM busybox\nRUN mkdir -m 700 /tree && echo old >/tree/a && chmod 600 /tree/a\nCOPY tree /tree\n",
    ),
    (
        "copy the same twice",
        "FROM busybox\nCOPY one /one\nCOPY one /one\n",
    ),
    (
        "copy to workdir",
        "FROM busybox\nWORKDIR /w\nCOPY one .\nCOPY one two ./sub/\nCOPY one named\n",
    ),
    (
        "copy with env",
        "FROM busybox\nENV D=/dest S=one\nCOPY $S $D/\nCOPY ${S} ${D}/named\n",
    ),
    (
        "copy an empty folder",
        "FROM busybox\nCOPY empty /empty\nCOPY empty /etc\n",
    ),
    (
        "add",
        "FROM busybox\nADD one /o\nADD pkg.tar.gz /p\nADD pkg.tar.gz one /q/\nADD plain.gz /plain\nADD tree /t\n",
    ),
    (
        "add with chown",
        "FROM busybox\nADD --chown=3:4 one /o\nADD --chown=3:4 tree /t\n",
    ),
    (
        "add onto what is there",
        "FROM busybox\nRUN mkdir -p /p/pkg && echo mine >/p/pkg/mine && echo old >/p/pkg/prog\nADD pkg.tar.gz /p\n",
    ),
    (
        "stages",
        "FROM busybox AS build\nRUN mkdir /o && echo x >/o/x && chown 3:4 /o/x && chmod 750 /o\nFROM busybox\nCOPY --from=build /o /o\nCOPY --from=0 /o/x /y\nCOPY --from=build --chown=1:1 /o/x /z\n",
    ),
    (
        "scratch",
        "FROM scratch\nCOPY one /\nCOPY tree /tree\nCMD [\"/one\"]\n",
    ),
    (
        "scratch with a binary",
        "FROM scratch\nCOPY --from=busybox /bin/busybox /bin/sh\nRUN [\"/bin/sh\", \"-c\", \"echo made >/made\"]\n",
    ),
    (
        "stage of a stage",
        "FROM busybox AS a\nENV A=1\nWORKDIR /a\nUSER nobody\nFROM a AS b\nENV B=$A\nFROM b\nCOPY one two/\n",
    ),
    (
        "escape directive",
        "# escape=`\nFROM busybox\nRUN echo one `\n && echo two >/out\nENV A=a`$b\n",
    ),
    (
        "odd spacing",
        "\n\n   FROM   busybox  \n\tenv   A=1\n  run echo   a   b  >/out\n\n# end\n",
    ),
    (
        "windows line ends",
        "FROM busybox\r\nENV A=1\r\nRUN echo x >/x\r\n",
    ),
    (
        "healthcheck of a base",
        "FROM busybox AS a\nHEALTHCHECK --interval=7s --retries=2 CMD true\nFROM a AS b\nENV X=1\nFROM b\nHEALTHCHECK CMD [\"false\"]\n",
    ),
    (
        "files after a volume",
        "FROM busybox\nRUN mkdir /v && echo x >/v/x\nVOLUME /v\nRUN echo y >/v/y\nCOPY one /v/one\n",
    ),
    (
        "arg shadowing",
        "ARG A=global\nARG B=global\nFROM busybox\nARG A\nARG B=stage\nARG C=$A-$B\nENV B=env\nRUN echo $A $B $C >/out\n",
    ),
    (
        "args of a base stage",
        "FROM busybox AS a\nARG X=1\nARG Y\nENV Z=$X\nFROM a AS b\nARG Y=2\nRUN echo $X $Y $Z >/out\nFROM b\nLABEL x=$X y=$Y\nRUN echo $X $Y >/out2\n",
    ),
    (
        "args of unrelated stages",
        "FROM busybox AS a\nARG X=1\nFROM busybox\nCOPY --from=a /etc/group /g\nLABEL x=$X\nRUN echo [$X] >/out\n",
    ),
    (
        "platform args",
        "FROM --platform=$BUILDPLATFORM busybox\nARG TARGETPLATFORM\nARG TARGETOS TARGETARCH\nARG BUILDPLATFORM BUILDOS BUILDARCH\nARG TARGETVARIANT\nRUN echo $TARGETPLATFORM $TARGETOS $TARGETARCH $BUILDPLATFORM $BUILDOS $BUILDARCH [$TARGETVARIANT] >/out\n",
    ),
    (
        "cmd around shell",
        "FROM busybox\nCMD one two\nENTRYPOINT three\nSHELL [\"/bin/sh\", \"-xc\"]\nENTRYPOINT four five\nCMD six\n",
    ),
    (
        "onbuild chain",
        "FROM busybox AS a\nONBUILD ENV ONE=1\nONBUILD RUN echo $ONE >/one\nFROM a AS b\nONBUILD COPY two /two\nFROM b AS c\nRUN ls / >/list\nFROM c\nENV LAST=1\n",
    ),
    (
        "stopsignal forms",
        "FROM busybox\nENV S=9\nSTOPSIGNAL $S\nSTOPSIGNAL SIGRTMIN+3\n",
    ),
    (
        "values with odd characters",
        "FROM busybox\nENV A= B== C=a=b D=\"\" E='' F=\"a\\\"b\" G=a\\\\b\nLABEL e=\"\" h='#no comment' \"a.b/c\"=\"d\\\n e\"\nENV K  spaces   kept \nENV L=x#y\n",
    ),
    (
        "copy of odd names",
        "FROM busybox\nCOPY odd /odd\nCOPY [\"odd/ sp ace \", \"odd/gr\u{fc}n\", \"/named/\"]\nCOPY odd/gr* /w/\n",
    ),
    (
        "copy of odd modes",
        "FROM busybox\nCOPY modes /modes\nCOPY modes/setuid modes/none modes/all /m/\n",
    ),
    (
        "copy of hard links",
        "FROM busybox\nCOPY hard /hard\nCOPY hard/a hard/b /two/\n",
    ),
    (
        "copy chmod",
        // 0755 is what docker 20.10 gives new folders; newer ones give them the mode of --chmod.
        "FROM busybox\nCOPY --chmod=0600 one /o\nCOPY --chmod=755 --chown=3:4 tree /t\n",
    ),
    (
        "copy dots and slashes",
        "FROM busybox\nWORKDIR /w/x\nCOPY ./tree/../one ../up\nCOPY /two //abs//\nCOPY tree/. here\nCOPY tree/deep/ there/\nCOPY . /all/\n",
    ),
    (
        "add archives",
        "FROM busybox\nADD pkg.tar /tar\nADD pkg.tar.bz2 /bz2\nADD pkg.tar.xz /xz\nADD fake.tar /fake/\nADD fake.tar /named.tar\n",
    ),
    (
        "workdir with variables",
        "FROM busybox\nENV D=/data\nWORKDIR $D/${S:-sub}\nWORKDIR ${NONE}rel\nRUN pwd >/out\nCOPY one $D\n",
    ),
    (
        "user, copy and workdir",
        "FROM busybox\nUSER 1000:1001\nWORKDIR /srv/app\nCOPY one .\nRUN id -u >/tmp/u; touch /srv/app/mine || true\nUSER root\nWORKDIR /srv/other\n",
    ),
    (
        "comments and continuations",
        "# first\nFROM busybox\nRUN echo a \\\n  # inside\n\n  b \\\n\t# more\n  >/out\nENV A=1 \\\n    # of B\n    B=2\nCMD [ \"a\", \\\n  \"b\" ]\n",
    ),
    (
        "labels of a base",
        "FROM busybox AS a\nLABEL keep=1 change=1\nFROM a\nLABEL change=2 \"new\"=3\n",
    ),
];

/// Dockerfiles that neither builds.
const REFUSED: &[&str] = &[
    "FROM busybox\nCOPY none /\n",
    "FROM busybox\nCOPY one /etc/passwd/x\n",
    "FROM busybox\nCOPY tree /etc/passwd\n",
    "FROM busybox\nCOPY ignored /\n",
    "FROM busybox\nUSER whoisthis\nRUN true\n",
    "FROM busybox\nRUN exit 3\n",
    "FROM busybox\nENV A\n",
    "FROM busybox\nEXPOSE a\n",
    "FROM busybox\nRNU true\n",
    "FROM busybox\nHEALTHCHECK --what=1 CMD x\n",
    "FROM busybox\nADD http://127.0.0.1:9/none /\n",
    "FROM busybox AS 1a\n",
    "RUN true\n",
    "FROM busybox\nCOPY --from=5 /a /b\n",
];

fn context() -> Dir {
    let dir = Dir::new()
        .file("one", "1")
        .file("two", "22")
        .file("run.sh", "#!/bin/sh\necho run\n")
        .mode("run.sh", 0o755)
        .file("secret", "s")
        .mode("secret", 0o600)
        .file("tree/a", "a")
        .file("tree/b", "bb")
        .file("tree/deep/er/file", "deep")
        .link("tree/link", "a")
        .link("tree/linked", "deep")
        .file("closed/in", "in")
        .mode("closed", 0o700)
        .dir("empty")
        .file("a b", "space")
        .file("x.txt", "x")
        .file("y.txt", "y")
        .file("plain", "no archive")
        .file("fake.tar", "no archive either")
        .file("odd/quo\"te'", "q")
        .file("odd/gr\u{fc}n", "g")
        .file("odd/ sp ace ", "s")
        .file("modes/setuid", "s")
        .mode("modes/setuid", 0o4755)
        .file("modes/setgid", "s")
        .mode("modes/setgid", 0o2755)
        .file("modes/none", "")
        .mode("modes/none", 0o000)
        .file("modes/all", "")
        .mode("modes/all", 0o777)
        .dir("modes/sticky")
        .mode("modes/sticky", 0o1777)
        .file("hard/a", "linked")
        .file("make/pkg/prog", "program")
        .mode("make/pkg/prog", 0o4751)
        .mode("make/pkg", 0o750)
        .link("make/pkg/soft", "prog")
        .file("ignored", "")
        .file(".dockerignore", "ignored\nmake\nDockerfile*\n");
    let make = dir.join("make");
    let script = "ln pkg/prog pkg/hard && tar -czf ../pkg.tar.gz --owner=21 --group=22 pkg && gzip -nc <../plain >../plain.gz && \
         tar -cf ../pkg.tar --owner=21 --group=22 pkg && bzip2 -k ../pkg.tar && xz -k ../pkg.tar && ln ../hard/a ../hard/b";
    Cmd::new("sh").args(["-c", script]).current_dir(make).ok();
    for name in [
        "pkg.tar.gz",
        "pkg.tar",
        "pkg.tar.bz2",
        "pkg.tar.xz",
        "plain.gz",
    ] {
        dir.touch(name, e2e::OLD);
    }
    dir
}

/// What is compared of a configuration; absent and empty are the same.
fn described(archive: &Archive) -> Vec<(String, Value)> {
    let config = &archive.config["config"];
    let fields = [
        "Env",
        "Cmd",
        "Entrypoint",
        "WorkingDir",
        "User",
        "ExposedPorts",
        "Volumes",
        "Labels",
        "Shell",
        "StopSignal",
        "Healthcheck",
        "OnBuild",
    ];
    let mut all: Vec<(String, Value)> = fields
        .iter()
        .map(|name| ((*name).to_owned(), config[name].clone()))
        .collect();
    for name in ["author", "architecture", "os"] {
        all.push((name.to_owned(), archive.config[name].clone()));
    }
    for (_, value) in &mut all {
        let empty = match &*value {
            Value::String(text) => text.is_empty(),
            Value::Array(list) => list.is_empty(),
            Value::Object(map) => map.is_empty(),
            _ => false,
        };
        if empty {
            *value = Value::Null;
        }
    }
    all
}

fn differences(docker: &Archive, ours: &Archive) -> Vec<String> {
    let mut found = Vec::new();
    for ((name, theirs), (_, ours)) in described(docker).iter().zip(described(ours)) {
        if *theirs != ours {
            found.push(format!(
                "{name}:\n      docker {theirs}\n      rbuild {ours}"
            ));
        }
    }
    let (theirs, own) = (steps(docker), steps(ours));
    if theirs != own {
        found.push(format!(
            "history:\n      docker {theirs:#?}\n      rbuild {own:#?}"
        ));
    }
    let files = docker.tree.differences(&ours.tree);
    // Early BuildKits leave the places of their mounts in an image that has none.
    let places = ["dev", "etc", "proc", "sys"].map(|dir| format!("{dir}: only in the first"));
    let files = files.into_iter().filter(|line| !places.contains(line));
    found.extend(files.map(|line| format!("file {line}")));
    found
}

/// The history but for the base's own line. Debian's docker has an early BuildKit: later ones list
/// ports in their own way, add `--chown` to the text, and tell health checks differently (the
/// configuration has them all the same). They add `--chmod` too, and the values that arguments have
/// from the global scope.
fn steps(archive: &Archive) -> Vec<(String, bool)> {
    let lines = archive
        .history()
        .into_iter()
        .filter(|(by, _)| !by.is_empty());
    lines
        .map(|(by, empty)| {
            let text = if let Some(ports) = by.strip_prefix("EXPOSE ") {
                let ports = ports.replace("map[", "[").replace(":{}", "");
                let mut ports: Vec<&str> = ports.trim_matches(['[', ']']).split(' ').collect();
                ports.sort_unstable();
                format!("EXPOSE {}", ports.join(" "))
            } else if by.starts_with("HEALTHCHECK ") {
                "HEALTHCHECK".to_owned()
            } else if let Some(args) = by.strip_prefix("ARG ") {
                let names = args
                    .split(' ')
                    .map(|arg| arg.split('=').next().unwrap_or(arg));
                format!("ARG {}", names.collect::<Vec<_>>().join(" "))
            } else {
                let told =
                    |word: &&str| !word.starts_with("--chown=") && !word.starts_with("--chmod=");
                by.split(' ').filter(told).collect::<Vec<_>>().join(" ")
            };
            (text, empty)
        })
        .collect()
}

/// Runs `check` for every row, a few at once, and collects what is wrong.
fn each<T: Sync>(rows: &[T], check: impl Fn(usize, &T) -> Vec<String> + Sync) -> Vec<String> {
    let (next, wrong) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while let Some((i, row)) = {
                    let i = next.fetch_add(1, Ordering::SeqCst);
                    rows.get(i).map(|row| (i, row))
                } {
                    let found = check(i, row);
                    wrong.lock().unwrap().extend(found);
                }
            });
        }
    });
    wrong.into_inner().unwrap()
}

/// Docker's image of a Dockerfile.
fn by_docker(docker: &Docker, context: &Dir, file: &str, tag: &str) -> Result<Archive, String> {
    let done = docker
        .build(tag, context.path())
        .args(["-f"])
        .arg(context.join(file))
        .run();
    if done.status.success() {
        Ok(docker.archive(tag))
    } else {
        Err(done.to_string())
    }
}

#[test]
fn the_same_image() {
    the_same_image_as(need!(docker()), &[]);
}

#[test]
fn the_same_image_as_of_the_newest_docker() {
    // It tells in the history of a RUN what the stages below have declared, which the earlier one
    // does not, and neither do we.
    let except = ["args of a base stage"];
    the_same_image_as(need!(e2e::modern_docker()), &except);
}

fn the_same_image_as(docker: &Docker, except: &[&str]) {
    let store = need!(Store::busybox());
    let context = context();
    let wrong = each(SAME, |i, (name, dockerfile)| {
        if except.contains(name) {
            return Vec::new();
        }
        let (file, tag) = (format!("Dockerfile{i}"), format!("same{i}"));
        context.write(&file, dockerfile);
        let ours = store
            .build(&tag, &context)
            .arg("-f")
            .arg(context.join(&file))
            .run();
        let found = match by_docker(docker, &context, &file, &tag) {
            Err(theirs) => vec![format!("docker cannot build it: {theirs}")],
            Ok(_) if !ours.status.success() => vec![format!("rbuild cannot build it: {ours}")],
            Ok(theirs) => differences(&theirs, &store.archive(&tag)),
        };
        let found = found.iter().map(|line| format!("{name}: {line}"));
        found.collect()
    });
    assert!(
        wrong.is_empty(),
        "{} of {} Dockerfiles make another image:\n{}",
        wrong.len(),
        SAME.len(),
        wrong.join("\n")
    );
}

#[test]
fn the_same_refusals() {
    let docker = need!(docker());
    let store = need!(Store::busybox());
    let context = context();
    let wrong = each(REFUSED, |i, dockerfile| {
        let (file, tag) = (format!("Dockerfile{i}"), format!("refused{i}"));
        context.write(&file, dockerfile);
        let ours = store
            .build(&tag, &context)
            .arg("-f")
            .arg(context.join(&file))
            .run();
        let mut found = Vec::new();
        if by_docker(docker, &context, &file, &tag).is_ok() {
            found.push(format!("docker builds {dockerfile:?}"));
        }
        if ours.status.success() {
            found.push(format!("rbuild builds {dockerfile:?}: {ours}"));
        } else if !ours.err().contains(&format!("{file}:")) {
            found.push(format!(
                "rbuild does not say where in {dockerfile:?}: {ours}"
            ));
        }
        found
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
