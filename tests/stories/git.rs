//! Git repositories: as contexts, and as what ADD takes.

use e2e::{Dir, OLD, Repositories, Store, need};

/// `r.git` with three commits: a tag with a message on the first, a branch on the second. All of
/// them have the submodule `mod`.
struct Three {
    all: Repositories,
    commits: Vec<String>,
}

fn three(format: &str) -> Result<Three, e2e::Missing> {
    let all = Repositories::new()?;
    all.init("mod.git", format);
    all.commit("mod.git", &[("inner", "inner")]);
    all.init("r.git", format);
    all.git("r.git", &["submodule", "add", "-q", "../mod.git", "mod"]);
    let dockerfile = "FROM scratch\nCOPY . /\n";
    let mut commits = Vec::new();
    for n in ["1", "2", "3"] {
        commits.push(all.commit(
            "r.git",
            &[
                ("Dockerfile", dockerfile),
                ("n", n),
                ("deep/er/Dockerfile", dockerfile),
                ("deep/er/n", &format!("deep {n}")),
            ],
        ));
        match n {
            "1" => drop(all.git("r.git", &["tag", "-a", "-m", "first", "v1"])),
            "2" => drop(all.git("r.git", &["branch", "side"])),
            _ => {}
        }
    }
    Ok(Three { all, commits })
}

#[test]
fn a_repository_is_a_context() {
    let store = need!(Store::new());
    let Three { all, commits } = need!(three("sha1"));
    let server = all.serve();
    let (first, second) = (&commits[0], &commits[1]);
    let tag = all.git("r.git", &["rev-parse", "v1"]);
    for (context, n) in [
        (String::new(), "3"),
        ("#side".to_owned(), "2"),
        ("#v1".to_owned(), "1"),
        ("#refs/tags/v1".to_owned(), "1"),
        (format!("#{second}"), "2"),
        ("#v1:deep/er".to_owned(), "deep 1"),
        ("#:deep/er".to_owned(), "deep 3"),
        ("?branch=side".to_owned(), "2"),
        ("?tag=v1&subdir=deep/er".to_owned(), "deep 1"),
        (format!("?ref=side&checksum={second}"), "2"),
        (format!("?commit={second}"), "2"),
        (
            format!("?ref=v1&checksum={}&submodules=false", &first[..12]),
            "1",
        ),
        // The tag's own ID says as much as its commit's.
        (format!("?tag=v1&commit={tag}"), "1"),
        // Of the commit that no branch leads to, the beginning.
        (format!("?commit={}", &first[..9]), "1"),
        (format!("#{}:deep/er", &second[..9]), "deep 2"),
    ] {
        let url = format!("{}{context}", server.url("r.git"));
        store.rbuild(["build", "-t", "x", &url]).ok();
        let tree = store.tree("x");
        assert_eq!(tree.text("n"), n, "{context}");
        assert!(!tree.has(".git"));
        // Modes that git knows, and the time of the commit.
        assert_eq!(
            (tree.owner("n").as_str(), tree.get("n").mtime),
            ("0:0 644", OLD)
        );
        let whole = !context.contains("deep") && !context.contains("submodules=false");
        assert_eq!(tree.has("mod/inner"), whole, "{context}");
        assert!(!tree.has("mod/.git"));
        store.rbuild(["rmi", "x"]).ok();
    }
    for (context, why) in [
        ("#none", "none"),
        ("#:none", "none"),
        (&*format!("?ref=side&checksum={first}"), "not"),
        ("?checksum=", "query \"checksum\" has no value"),
        ("?tag=v1&branch=side", "branch conflicts with tag"),
        (
            "?tag=v1#side",
            "ref conflicts: \"side\" vs \"refs/tags/v1\"",
        ),
        ("?commit=0000000", "0000000"),
    ] {
        let url = format!("{}{context}", server.url("r.git"));
        store.rbuild(["build", &url]).fails(1).tells(why);
    }
    // The history's data comes along for who asks for it, and says the same twice.
    let argument = "--build-arg=BUILDKIT_CONTEXT_KEEP_GIT_DIR";
    for (query, flag, kept) in [
        ("?keep-git-dir=true", "--no-cache", true),
        ("?tag=v1&keep-git-dir", &*format!("{argument}=1"), true),
        ("", &*format!("{argument}=true"), true),
        ("", &*format!("{argument}=0"), false),
    ] {
        let url = format!("{}{query}", server.url("r.git"));
        store.rbuild(["build", "-t", "x", flag, &url]).ok();
        assert_eq!(store.tree("x").has(".git/HEAD"), kept, "{query} {flag}");
    }
    let url = format!("{}?keep-git-dir=0", server.url("r.git"));
    let both = store.rbuild(["build", &format!("{argument}=1"), &url]);
    both.fails(1)
        .tells("inconsistent keep-git-dir configuration");
}

#[test]
fn plain_file_servers_and_sha256_do_too() {
    let store = need!(Store::new());
    for format in ["sha1", "sha256"] {
        let Three { all, commits } = need!(three(format));
        let (plain, server) = (all.plainly(&["r.git", "mod.git"]), all.serve());
        for url in [plain.url("/r.git"), server.url("r.git")] {
            for (name, n) in [
                ("v1", "1"),
                ("side", "2"),
                (&*commits[1], "2"),
                ("HEAD", "3"),
            ] {
                let context = format!("{url}#{name}");
                store.rbuild(["build", "-t", "x", &context]).ok();
                let tree = store.tree("x");
                assert_eq!(tree.text("n"), n, "{format} {context}");
                assert_eq!(tree.text("mod/inner"), "inner", "{format} {context}");
            }
        }
    }
}

#[test]
fn add_takes_a_commit() {
    let store = need!(Store::busybox());
    let Three { all, commits } = need!(three("sha1"));
    let server = all.serve();
    let url = server.url("r.git");
    let context = Dir::dockerfile(&format!(
        "FROM busybox\nARG REF=side\nADD {url}#$REF /dst\n\
         ADD --keep-git-dir=true {url}?tag=v1 /kept\n\
         ADD --chown=3:4 --exclude=**/D* {url}#main:deep /sub/\nADD --checksum={} {url}#v1 /same\n",
        &commits[0][..12],
    ));
    store.build("x", &context).ok();
    let tree = store.tree("x");
    let files = ["dst/n", "kept/n", "sub/er/n", "same/n"].map(|file| tree.text(file));
    assert_eq!(files, ["2", "1", "deep 3", "1"]);
    assert_eq!(tree.text("dst/mod/inner"), "inner");
    assert_eq!(
        (tree.owner("dst"), tree.owner("dst/n")),
        ("0:0 755".into(), "0:0 644".into())
    );
    assert_eq!(tree.get("dst/n").mtime, OLD);
    assert_eq!(tree.owner("sub/er/n"), "3:4 644");
    assert!(!tree.has("sub/er/Dockerfile"), "--exclude");
    assert!(!tree.has("dst/.git") && !tree.has("dst/mod/.git"));
    // As docker's: the commit itself is checked out.
    assert_eq!(tree.text("kept/.git/HEAD").trim(), commits[0]);
    assert!(tree.text("kept/.git/config").contains(&url));
    let history = store.rbuild(["history", "--no-trunc", "x"]).ok().out();
    assert!(
        history.contains(&format!("ADD {url}#side /dst # buildkit")),
        "{history}"
    );

    // What is left out is part of what the step is.
    let all_of_it = Dir::dockerfile(&format!("FROM busybox\nADD {url}#main:deep /sub/\n"));
    let part = Dir::dockerfile(&format!(
        "FROM busybox\nADD --exclude=er/n {url}#main:deep /sub/\n"
    ));
    for (context, there) in [(&all_of_it, true), (&part, false), (&all_of_it, true)] {
        store.build("part", context).ok();
        assert_eq!(store.tree("part").has("sub/er/n"), there);
    }

    // Nothing is fetched as long as the names mean the same commits.
    let asked = server.requests();
    let again = store.build("x", &context).ok();
    assert_eq!(again.err().matches("CACHED").count(), 4, "{again}");
    assert!(
        server.requests() - asked <= 8,
        "{} requests",
        server.requests() - asked
    );
    all.git("r.git", &["branch", "-f", "side", "main"]);
    store.build("x", &context).ok();
    assert_eq!(store.tree("x").text("dst/n"), "3");
}

#[test]
fn what_a_repository_may_not_do_is_told() {
    let store = need!(Store::busybox());
    let Three { all, commits } = need!(three("sha1"));
    let server = all.serve();
    let url = server.url("r.git");
    for (add, why) in [
        (format!("ADD {url}#none /x"), "there is no none"),
        (format!("ADD {url}#side:none /x"), "none"),
        (format!("ADD {url}#side:n /x"), "the folder \"n\""),
        (
            format!("ADD --checksum={} {url}#side /x", commits[0]),
            "side is commit",
        ),
        (format!("ADD --checksum=sha256:00 {url} /x"), "is no commit"),
        (
            format!("ADD {url}?tag=v1&branch=side /x"),
            "branch conflicts with tag",
        ),
        (
            format!("ADD --keep-git-dir=true {url}?keep-git-dir=0 /x"),
            "inconsistent keep-git-dir configuration",
        ),
        (
            format!(
                "ADD --checksum={} {url}?tag=v1&commit={} /x",
                commits[0], commits[1]
            ),
            "checksum mismatch",
        ),
        (format!("ADD {} /x", server.url("none.git")), "none.git"),
    ] {
        let context = Dir::dockerfile(&format!("FROM busybox\n{add}\n"));
        let done = store.build("x", &context).fails(1);
        done.tells(why).tells("Dockerfile:2");
        assert!(!store.has("x"));
    }
    // A commit that no git would write.
    let tree = all.git("r.git", &["rev-parse", "HEAD^{tree}"]);
    let bad = Dir::new().file("bad", format!("tree {tree}\n\nno author\n"));
    let path = bad.join("bad").display().to_string();
    let literally = ["hash-object", "-t", "commit", "-w", "--literally", &path];
    let commit = all.git("r.git", &literally);
    all.git("r.git", &["update-ref", "refs/heads/bad", &commit]);
    let context = Dir::dockerfile(&format!("FROM busybox\nADD {url}#bad /x\n"));
    store.build("x", &context).fails(1).tells("missingAuthor");
}

#[test]
fn a_build_is_dated_by_what_it_is_made_of() {
    let store = need!(Store::busybox());
    let Three { all, .. } = need!(three("sha1"));
    let server = all.serve();
    let url = server.url("r.git");
    let first = "ARG SOURCE_DATE_EPOCH=";
    let then = "FROM busybox\nARG SOURCE_DATE_EPOCH\nRUN echo $SOURCE_DATE_EPOCH >/seen\n";
    let dated = |image: &str| {
        let seen = store.tree(image).text("seen").trim().to_owned();
        (
            store.inspect(image)["Created"].as_str().unwrap().to_owned(),
            seen,
        )
    };
    let old = ("2001-09-09T01:46:40Z".to_owned(), OLD.to_string());
    let date = |start: &str, flags: &[&str]| {
        let context = Dir::dockerfile(&format!("{start}{then}"));
        store.build("x", &context).args(flags).ok();
        dated("x")
    };
    assert_eq!(date(&format!("{first}1000000000\n"), &[]), old);
    let given = ["--build-arg", "SOURCE_DATE_EPOCH=1000000000"];
    assert_eq!(date(&format!("{first}7\n"), &given), old);
    let named = format!("src={url}");
    assert_eq!(
        date(&format!("{first}src\n"), &["--build-context", &named]),
        old
    );
    let stage = format!("{first}src\nFROM scratch AS src\nADD {url}#v1 /\n");
    assert_eq!(date(&stage, &[]), old);
    // A folder is of no time.
    let (created, seen) = date(&format!("{first}context\n"), &[]);
    assert!(created.as_str() > "2026", "{created}");
    assert_eq!(seen, "");
    all.commit(
        "r.git",
        &[("Dockerfile", &format!("{first}context\n{then}"))],
    );
    store.rbuild(["build", "-t", "x", &url]).ok();
    assert_eq!(dated("x"), old);
    // A file by URL is of the time that its server tells.
    let files = e2e::Files::serve(&[("/f", b"f")]);
    let stage = format!(
        "{first}src\nFROM scratch AS src\nADD {} /\n",
        files.url("/f")
    );
    assert_eq!(date(&stage, &[]), old);

    let wrong = Dir::dockerfile(&format!("{first}soon\n{then}"));
    let done = store.build("y", &wrong).fails(1);
    done.tells("invalid SOURCE_DATE_EPOCH: soon")
        .tells("Dockerfile:1:23");
    let wrong = ["--build-arg", "SOURCE_DATE_EPOCH=soon"];
    store
        .build("y", &Dir::dockerfile(then))
        .args(wrong)
        .fails(125);
}

/// The contexts of targets are folders of the repository.
#[test]
fn a_repository_defines_what_is_baked() {
    let store = need!(Store::busybox());
    let all = need!(Repositories::new());
    all.init("r.git", "sha1");
    let definition = "\
group \"default\" { targets = [\"whole\", \"part\", \"here\"] }\n\
target \"whole\" { tags = [\"whole\"] }\n\
target \"part\" {\n  context = \"sub\"\n  dockerfile = \"D\"\n  contexts = { more = \"more\" }\n  \
tags = [\"part\"]\n}\n\
target \"here\" {\n  context = \"cwd://own\"\n  tags = [\"here\"]\n}\n\
target \"inline\" {\n  dockerfile-inline = \"FROM busybox\\nCOPY n /inline\\n\"\n  \
tags = [\"inline\"]\n}\n\
target \"mine\" {\n  dockerfile = \"cwd://own/Mine\"\n  tags = [\"mine\"]\n}\n";
    let copied = "FROM busybox\nCOPY n /n\n";
    let commit = |n: &str| {
        all.commit(
            "r.git",
            &[
                ("docker-bake.hcl", definition),
                ("Dockerfile", copied),
                ("n", n),
                (
                    "sub/D",
                    "FROM busybox\nCOPY n /n\nCOPY --from=more n /more\n",
                ),
                ("sub/n", &format!("sub {n}")),
                ("more/n", &format!("more {n}")),
                (
                    "deep/docker-bake.hcl",
                    "target \"default\" { tags = [\"deep\"] }\n",
                ),
                ("deep/Dockerfile", copied),
                ("deep/n", &format!("deep {n}")),
            ],
        )
    };
    commit("1");
    all.git("r.git", &["tag", "v1"]);
    commit("2");
    let server = all.serve();
    let url = server.url("r.git");
    let dir = Dir::new()
        .file("own/Dockerfile", copied)
        .file("own/Mine", "FROM busybox\nCOPY . /all/\n")
        .file("own/Mine.dockerignore", "*\n!n\n")
        .file("own/n", "own");
    let bake = |words: &[&str]| {
        let line = [&["bake"], words].concat();
        store.rbuild(line).current_dir(dir.path())
    };
    bake(&[&url]).ok();
    assert_eq!(store.tree("whole").text("n"), "2");
    assert_eq!(store.tree("part").text("n"), "sub 2");
    assert_eq!(store.tree("part").text("more"), "more 2");
    assert_eq!(store.tree("here").text("n"), "own");
    // A Dockerfile that is none of the repository's, beside a context that is.
    bake(&[&url, "inline", "mine"]).ok();
    assert_eq!(store.tree("inline").text("inline"), "2");
    assert_eq!(store.tree("mine").text("all/n"), "2");
    let ignored = store.tree("mine").has("all/Dockerfile");
    assert!(!ignored, "the file's own ignore file counts");
    let mine = dir.join("own/Mine");
    let typed = format!("cwd://{}", mine.display());
    store
        .rbuild(["build", "-t", "typed", "-f", &typed, &url])
        .ok();
    assert_eq!(store.tree("typed").text("all/n"), "2");
    bake(&[&format!("{url}#v1"), "whole", "part"]).ok();
    assert_eq!(store.tree("whole").text("n"), "1");
    assert_eq!(store.tree("part").text("more"), "more 1");
    bake(&[&format!("{url}#v1:deep")]).ok();
    assert_eq!(store.tree("deep").text("n"), "deep 1");
    bake(&["-f", "none.hcl", &url])
        .fails(1)
        .tells("open none.hcl: no such file or directory");
}
