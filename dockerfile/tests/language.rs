//! What instructions mean: the typed form of each corner.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use dockerfile::instruction::{CommandLine, Kind, MountKind, Network, Run, Script, Security};
use dockerfile::parse;
use dockerfile::shell::Lexer;
use dockerfile::stage::{Dockerfile, Stage};

fn file(source: &str) -> Dockerfile {
    let parsed = parse(source);
    assert!(!parsed.has_errors(), "{source}: {:?}", parsed.diagnostics);
    parsed.dockerfile
}

/// The only stage of a file that begins with `FROM scratch`.
fn stage(body: &str) -> Stage {
    file(&format!("FROM scratch\n{body}")).stages.remove(0)
}

fn kind(line: &str) -> Kind {
    stage(line).instructions.remove(0).kind
}

fn run(line: &str) -> Run {
    match kind(line) {
        Kind::Run(run) => run,
        other => panic!("{other:?}"),
    }
}

fn shell_text(command: &CommandLine) -> &str {
    match command {
        CommandLine::Shell(text) => &text.text,
        CommandLine::Exec(words) => panic!("{words:?}"),
    }
}

fn exec_words(command: &CommandLine) -> Vec<&str> {
    match command {
        CommandLine::Exec(words) => words.iter().map(|word| word.as_str()).collect(),
        CommandLine::Shell(text) => panic!("{text:?}"),
    }
}

#[test]
fn stages_and_global_arguments() {
    let file = file(
        "# syntax=docker/dockerfile:1\n# escape=`\nARG A=1 B\nARG C\nFROM --platform=$BUILDPLATFORM img:$A AS Build\nRUN x\nfrom build as test\nFROM scratch\n",
    );
    assert_eq!(
        file.directives.syntax.as_ref().unwrap().text,
        "docker/dockerfile:1"
    );
    assert_eq!(file.directives.escape_char(), '`');
    let names: Vec<_> = file
        .global_args
        .iter()
        .flat_map(|g| g.arg.args.iter().map(|a| a.name.as_str()))
        .collect();
    assert_eq!(names, ["A", "B", "C"]);
    let build = &file.stages[0];
    assert_eq!(build.name().unwrap(), "build");
    assert_eq!(build.base.as_str(), "img:$A");
    assert_eq!(build.platform.as_ref().unwrap().as_str(), "$BUILDPLATFORM");
    assert_eq!(
        build.header.code,
        "FROM --platform=$BUILDPLATFORM img:$A AS Build"
    );
    assert_eq!(build.instructions.len(), 1);
    assert_eq!(file.earlier_stage_named("BUILD", 1), Some(0));
    assert_eq!(file.earlier_stage_named("0", 1), None);
    assert_eq!(file.earlier_stage("0", 1), Some(0));
    assert_eq!(file.earlier_stage("1", 1), None);
    assert_eq!(file.target("test"), Some(1));
    assert_eq!(file.target(""), Some(2));
    assert_eq!(file.target("2"), Some(2));
    assert_eq!(file.target("nope"), None);
}

#[test]
fn the_latest_stage_of_a_name_counts() {
    let file = file("FROM a AS x\nFROM b AS x\nFROM x\n");
    assert_eq!(file.earlier_stage_named("x", 2), Some(1));
    assert_eq!(file.earlier_stage_named("x", 1), Some(0));
}

#[test]
fn descriptions_are_comments_that_begin_with_the_name() {
    let file = file(
        "# V is the version\nARG V\n# build makes it\nFROM scratch AS build\n# not about it\nARG W\n",
    );
    assert_eq!(
        file.global_args[0].arg.args[0].comment.as_deref(),
        Some("is the version")
    );
    assert_eq!(file.stages[0].comment.as_deref(), Some("makes it"));
    match &file.stages[0].instructions[0].kind {
        Kind::Arg(arg) => assert_eq!(arg.args[0].comment, None),
        other => panic!("{other:?}"),
    }
}

#[test]
fn run_flags() {
    let run = run(
        "RUN --mount=type=cache,target=/c --mount=type=secret,id=s --network=none --security=insecure --device=gpu,required -- --x y",
    );
    assert_eq!(run.mounts.len(), 2);
    assert_eq!(
        (run.network, run.security),
        (Network::None, Security::Insecure)
    );
    assert!(run.devices[0].parse().unwrap().required);
    assert_eq!(shell_text(&run.command), "--x y");
    let mount = run.mounts[0].resolve(|word| Ok(word.to_owned())).unwrap();
    assert!(matches!(mount.kind, MountKind::Cache { .. }));
}

#[test]
fn mounts_are_expanded_late() {
    let run = run("RUN --mount=type=$T,target=$D true");
    let values = |word: &str| match word {
        "$T" => Ok("tmpfs".to_owned()),
        "$D" => Ok("/d".to_owned()),
        other => Err(other.to_owned()),
    };
    let mount = run.mounts[0].resolve(values).unwrap();
    assert_eq!(
        (mount.target.as_deref(), mount.kind),
        (Some("/d"), MountKind::Tmpfs { size: None })
    );
    let error = run.mounts[0]
        .resolve(|_| Err("T: set it".to_owned()))
        .unwrap_err();
    assert_eq!(error.message, "T: set it");
}

#[test]
fn exec_and_shell_form() {
    assert_eq!(
        exec_words(&run("RUN [\"a b\", \"\\u00e9\"]").command),
        ["a b", "é"]
    );
    assert_eq!(
        shell_text(&run("RUN [ -f x ] && y").command),
        "[ -f x ] && y"
    );
    assert_eq!(
        shell_text(&run("RUN a \\\n  # comment\n\n  b   c  ").command),
        "a   b   c"
    );
    match (kind("CMD []"), kind("CMD"), kind("CMD [\"a\" b]")) {
        (Kind::Cmd(exec), Kind::Cmd(empty), Kind::Cmd(shell)) => {
            assert_eq!(exec.argv(&["sh"]), Vec::<String>::new());
            assert_eq!(empty.argv(&["sh", "-c"]), ["sh", "-c", ""]);
            assert_eq!(shell.argv(&["sh", "-c"]), ["sh", "-c", "[\"a\" b]"]);
            assert!(exec.is_exec() && !shell.is_exec());
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn heredocs_of_run() {
    let script = run("RUN <<EOF\nset -e\n\techo $x\nEOF\n");
    assert_eq!(
        script.script(),
        Script::Shell("set -e\n\techo $x\n".to_owned())
    );
    let script = run("RUN <<-'END'\n\t#!/usr/bin/env python3\n\t\tprint(1)\n\tEND\n");
    assert!(!script.heredocs[0].expand);
    // With leading tabs gone the first line is a shebang.
    assert_eq!(
        script.script(),
        Script::File {
            path: "/dev/pipes/END".to_owned(),
            body: "#!/usr/bin/env python3\nprint(1)\n".to_owned()
        }
    );
    let script = run("RUN cat <<A 3<<B && x\na\nA\nb\nB\n");
    assert_eq!(
        script.heredocs.iter().map(|h| h.fd).collect::<Vec<_>>(),
        [0, 3]
    );
    assert_eq!(
        script.script(),
        Script::Shell("cat <<A 3<<B && x\na\nA\nb\nB".to_owned())
    );
    assert!(matches!(run("RUN true").script(), Script::Plain(_)));
    // Neither a here-string nor a shift nor anything quoted is a here-document.
    for line in [
        "RUN cat <<<x",
        "RUN echo $((1<<2))",
        "RUN echo '<<EOF'",
        "RUN [\"<<EOF\"]",
    ] {
        assert!(run(line).heredocs.is_empty(), "{line}");
    }
    let lines = stage("RUN <<EOF\na\nEOF\nUSER x\n");
    assert_eq!(
        (
            lines.instructions[0].header.lines.start,
            lines.instructions[0].header.lines.end
        ),
        (2, 4)
    );
    assert_eq!(lines.instructions[1].header.line(), 5);
}

#[test]
fn heredocs_of_copy() {
    match kind("COPY --chown=a <<one <<\"two\" c /d/\n$x\none\n$y\ntwo\n") {
        Kind::Copy(copy) => {
            let files = &copy.files;
            assert_eq!(
                files.sources.iter().map(|s| s.as_str()).collect::<Vec<_>>(),
                ["c"]
            );
            let found: Vec<_> = files
                .heredocs
                .iter()
                .map(|h| (h.name.as_str(), h.body().into_owned(), h.expand))
                .collect();
            assert_eq!(
                found,
                [
                    ("one", "$x\n".to_owned(), true),
                    ("two", "$y\n".to_owned(), false)
                ]
            );
            let vars = [("x", "it's \"1\"")];
            let body = Lexer::heredoc().process_word(&files.heredocs[0].body(), &vars.as_slice());
            assert_eq!(body.unwrap(), "it's \"1\"\n");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn copy_and_add_flags() {
    match kind(
        "COPY --from=0 --chmod=u+x --link --parents=true --exclude=*.md --exclude=x [\"a b\", \"/d/\"]",
    ) {
        Kind::Copy(copy) => {
            assert_eq!(copy.from.unwrap().text, "0");
            assert_eq!(copy.chmod.unwrap().as_str(), "u+x");
            assert!(copy.link && copy.parents);
            assert_eq!(copy.exclude.len(), 2);
            assert_eq!(
                (copy.files.sources[0].as_str(), copy.files.dest.as_str()),
                ("a b", "/d/")
            );
        }
        other => panic!("{other:?}"),
    }
    match kind("ADD --keep-git-dir --checksum=$C --unpack=false https://h/x.git#v1 /d") {
        Kind::Add(add) => {
            assert_eq!((add.keep_git_dir, add.unpack), (Some(true), Some(false)));
            assert_eq!(add.checksum.unwrap().as_str(), "$C");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn env_label_arg() {
    match kind("ENV a=1 b=\"x y\" c=z\\ w 'd=e'=f") {
        Kind::Env(env) => {
            let pairs: Vec<_> = env
                .pairs
                .iter()
                .map(|p| (p.key.as_str(), p.value.as_str(), p.legacy))
                .collect();
            assert_eq!(
                pairs,
                [
                    ("a", "1", false),
                    ("b", "\"x y\"", false),
                    ("c", "z\\ w", false),
                    ("'d", "e'=f", false)
                ]
            );
        }
        other => panic!("{other:?}"),
    }
    match kind("ENV key  a value = with  everything ") {
        Kind::Env(env) => {
            assert_eq!(env.pairs[0].value.as_str(), "a value = with  everything");
            assert!(env.pairs[0].legacy);
        }
        other => panic!("{other:?}"),
    }
    match kind("ARG a b= c=\"1 2\"") {
        Kind::Arg(arg) => {
            let defaults: Vec<_> = arg
                .args
                .iter()
                .map(|a| a.default.as_ref().map(|d| d.as_str()))
                .collect();
            assert_eq!(defaults, [None, Some(""), Some("\"1 2\"")]);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn healthchecks() {
    match kind(
        "HEALTHCHECK --interval=1m30s --timeout=3s --start-period=0s --start-interval=1s --retries=5 CMD curl -f x",
    ) {
        Kind::Healthcheck(check) => {
            assert_eq!(check.test_words(), ["CMD-SHELL", "curl -f x"]);
            assert_eq!(check.interval, Duration::from_secs(90));
            assert_eq!((check.start_period, check.retries), (Duration::ZERO, 5));
        }
        other => panic!("{other:?}"),
    }
    for (line, test) in [
        ("HEALTHCHECK cmd [\"a\", \"b\"]", vec!["CMD", "a", "b"]),
        ("HEALTHCHECK none", vec!["NONE"]),
    ] {
        match kind(line) {
            Kind::Healthcheck(check) => assert_eq!(check.test_words(), test),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn triggers() {
    match kind("onbuild   COPY <<EOF /x\nhi\nEOF\n") {
        Kind::Onbuild(onbuild) => {
            assert_eq!(onbuild.trigger, "COPY <<EOF /x\nhi\nEOF");
            assert!(
                matches!(onbuild.kind(), Some(Kind::Copy(copy)) if copy.files.heredocs.len() == 1)
            );
        }
        other => panic!("{other:?}"),
    }
    match kind("ONBUILD RUN a \\\n b") {
        Kind::Onbuild(onbuild) => assert_eq!(onbuild.trigger, "RUN a  b"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn simple_instructions() {
    let stage = stage(
        "EXPOSE 90 80/udp\nVOLUME /a /b\nVOLUME [\"/c d\"]\nWORKDIR a b\nUSER u:g\nSTOPSIGNAL SIGTERM\nSHELL [\"sh\", \"-c\"]\nMAINTAINER A <b>\n",
    );
    let keywords: Vec<_> = stage
        .instructions
        .iter()
        .map(|i| i.kind.keyword())
        .collect();
    assert_eq!(
        keywords,
        [
            "EXPOSE",
            "VOLUME",
            "VOLUME",
            "WORKDIR",
            "USER",
            "STOPSIGNAL",
            "SHELL",
            "MAINTAINER"
        ]
    );
    match &stage.instructions[0].kind {
        Kind::Expose(expose) => {
            assert_eq!(
                expose.ports.iter().map(|p| p.as_str()).collect::<Vec<_>>(),
                ["80/udp", "90"]
            );
        }
        other => panic!("{other:?}"),
    }
    match (&stage.instructions[2].kind, &stage.instructions[3].kind) {
        (Kind::Volume(volume), Kind::Workdir(workdir)) => {
            assert_eq!(volume.paths[0].as_str(), "/c d");
            assert_eq!(workdir.path.as_str(), "a b");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn line_ends_marks_and_escapes() {
    let windows = file("\u{feff}FROM scratch\r\nRUN a \\\r\n  b\r\nUSER x\r\n");
    assert_eq!(windows.stages[0].instructions.len(), 2);
    match &windows.stages[0].instructions[0].kind {
        Kind::Run(run) => assert_eq!(shell_text(&run.command), "a   b"),
        other => panic!("{other:?}"),
    }
    let backtick = file("# escape=`\nFROM scratch\nCOPY a `\n  c:\\\nRUN dir c:\\\n");
    assert_eq!(backtick.stages[0].instructions.len(), 2);
    // After any other comment a directive is one as well.
    let late = file("# about\n# escape=`\nFROM scratch\nRUN a \\\n b\n");
    assert_eq!(late.directives.escape_char(), '\\');
    // An escaped escape character does not continue the line.
    assert_eq!(stage("RUN a\\\\\nUSER x\n").instructions.len(), 2);
    assert_eq!(
        stage("  RUN a\n\t# indented comment\n  USER x")
            .instructions
            .len(),
        2
    );
}

#[test]
fn code_is_the_instruction_on_one_line() {
    let stage = stage("RUN  a \\\n  # c\n  b <<EOF\nx\nEOF\n");
    assert_eq!(stage.instructions[0].header.code, "RUN  a   b <<EOF");
    assert_eq!(stage.instructions[0].header.keyword.text, "RUN");
}
