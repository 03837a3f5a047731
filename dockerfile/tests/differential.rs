//! The dockerfile-parser crate as a second opinion: where it reads a file, we agree with it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use std::path::{Path, PathBuf};

use dockerfile::instruction::{CommandLine, Kind};
use dockerfile::parse;
use dockerfile_parser::{BreakableStringComponent, Dockerfile, Instruction, ShellOrExecExpr};

/// One line of what an instruction says, in words both parsers have.
fn ours(source: &str) -> Vec<String> {
    let parsed = parse(source);
    assert!(!parsed.has_errors(), "{source}: {:?}", parsed.diagnostics);
    let file = parsed.dockerfile;
    let mut lines = Vec::new();
    for global in &file.global_args {
        lines.extend(arg_line(&global.arg));
    }
    for stage in &file.stages {
        let name = stage.name_text.as_ref().map_or("", |name| name.as_str());
        lines.push(format!("FROM {} {name}", stage.base.as_str()));
        for instruction in &stage.instructions {
            match &instruction.kind {
                Kind::Run(run) if run.heredocs.is_empty() => {
                    lines.push(format!("RUN {}", command(&run.command)));
                }
                Kind::Cmd(line) => lines.push(format!("CMD {}", command(line))),
                Kind::Entrypoint(line) => lines.push(format!("ENTRYPOINT {}", command(line))),
                Kind::Copy(copy) if copy.files.heredocs.is_empty() => {
                    let words: Vec<_> = copy.files.sources.iter().map(|s| s.as_str()).collect();
                    lines.push(format!(
                        "COPY {} {}",
                        words.join(" "),
                        copy.files.dest.as_str()
                    ));
                }
                Kind::Arg(arg) => lines.extend(arg_line(arg)),
                Kind::Env(env) => {
                    let keys: Vec<_> = env.pairs.iter().map(|pair| pair.key.as_str()).collect();
                    lines.push(format!("ENV {}", keys.join(" ")));
                }
                Kind::Label(label) => {
                    let keys: Vec<_> = label
                        .pairs
                        .iter()
                        .map(|pair| unquoted(pair.key.as_str()))
                        .collect();
                    lines.push(format!("LABEL {}", keys.join(" ")));
                }
                Kind::Run(_) | Kind::Copy(_) => lines.push("HEREDOC".to_owned()),
                other => lines.push(other.keyword().to_owned()),
            }
        }
    }
    lines
}

fn arg_line(arg: &dockerfile::instruction::Arg) -> Option<String> {
    // The crate knows one variable a line only.
    let [only] = arg.args.as_slice() else {
        return None;
    };
    Some(format!("ARG {}", only.name.as_str()))
}

fn unquoted(text: &str) -> String {
    text.trim_matches(['"', '\'']).to_owned()
}

/// Without the flags at its start, which the crate takes for part of the command.
fn flagless(text: &str) -> String {
    let words = text
        .split_whitespace()
        .skip_while(|word| word.starts_with("--"));
    words.collect::<Vec<_>>().join(" ")
}

/// White space runs differ where continuation lines are joined, and mean nothing there.
fn squeezed(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn command(command: &CommandLine) -> String {
    match command {
        CommandLine::Exec(words) => {
            format!(
                "{:?}",
                words.iter().map(|word| word.as_str()).collect::<Vec<_>>()
            )
        }
        CommandLine::Shell(text) => squeezed(&text.text),
    }
}

fn theirs(file: &Dockerfile) -> Vec<String> {
    let shell_or_exec = |expr: &ShellOrExecExpr| match expr {
        ShellOrExecExpr::Exec(words) => {
            format!(
                "{:?}",
                words
                    .elements
                    .iter()
                    .map(|word| word.content.as_str())
                    .collect::<Vec<_>>()
            )
        }
        ShellOrExecExpr::Shell(text) => {
            let parts: Vec<&str> = text
                .components
                .iter()
                .filter_map(|component| match component {
                    BreakableStringComponent::String(text) => Some(text.content.as_str()),
                    BreakableStringComponent::Comment(_) => None,
                })
                .collect();
            squeezed(&parts.concat())
        }
    };
    file.instructions
        .iter()
        .map(|instruction| match instruction {
            Instruction::From(from) => {
                let name = from
                    .alias
                    .as_ref()
                    .map_or("", |alias| alias.content.as_str());
                format!("FROM {} {name}", from.image.content)
            }
            Instruction::Arg(arg) => format!("ARG {}", arg.name.content),
            Instruction::Run(run) => format!("RUN {}", flagless(&shell_or_exec(&run.expr))),
            Instruction::Cmd(cmd) => format!("CMD {}", shell_or_exec(&cmd.expr)),
            Instruction::Entrypoint(entrypoint) => {
                format!("ENTRYPOINT {}", shell_or_exec(&entrypoint.expr))
            }
            Instruction::Copy(copy) => {
                let words: Vec<_> = copy
                    .sources
                    .iter()
                    .map(|source| source.content.as_str())
                    .collect();
                let words = format!("{} {}", words.join(" "), copy.destination.content);
                format!("COPY {}", flagless(&words))
            }
            Instruction::Env(env) => {
                let keys: Vec<_> = env
                    .vars
                    .iter()
                    .map(|var| var.key.content.as_str())
                    .collect();
                format!("ENV {}", keys.join(" "))
            }
            Instruction::Label(label) => {
                let keys: Vec<_> = label
                    .labels
                    .iter()
                    .map(|label| unquoted(&label.name.content))
                    .collect();
                format!("LABEL {}", keys.join(" "))
            }
            Instruction::Misc(misc) => misc.instruction.content.to_uppercase(),
        })
        .collect()
}

/// Whether the file uses what came after the crate, which then misreads it without an error.
fn is_beyond_it(source: &str) -> bool {
    let several_args = |line: &&str| {
        let mut words = line.split_whitespace();
        words
            .next()
            .is_some_and(|word| word.eq_ignore_ascii_case("arg"))
            && words.count() > 1
    };
    let misread = |line: &str| {
        let json_copy = line.starts_with("COPY") && line.contains(" [");
        let escaped_escape = line.ends_with("\\\\");
        let variable_name = line.starts_with("ARG $");
        json_copy || escaped_escape || variable_name
    };
    source.contains("<<")
        || source.lines().any(misread)
        || source.contains("escape=")
        || source.lines().any(|line| several_args(&line))
}

#[test]
fn fixtures_agree() {
    for source in [
        "FROM alpine:3.10\nRUN apk add --no-cache curl && \\\n    rm -rf /x\nCMD [\"a\", \"b c\"]\n",
        "ARG V=1\nFROM base:$V AS build\n# comment\nCOPY --from=x a b /c/\nENV A=1 B=\"x y\"\n",
        "FROM a\nLABEL \"k\"=v l=w\nENTRYPOINT x y\nEXPOSE 80\nUSER root\nVOLUME /v\n",
        "FROM a\nRUN one \\\n  # note\n  two\nWORKDIR /w\nARG X\nCMD x\n",
    ] {
        assert_eq!(
            ours(source),
            theirs(&Dockerfile::parse(source).unwrap()),
            "{source}"
        );
    }
}

#[test]
fn real_files_agree() {
    let root = std::env::var_os("RBUILD_CORPORA").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/corpora"),
        PathBuf::from,
    );
    let folder = root.join("dockerfiles");
    if !folder.exists() {
        println!("skipped: no {}", folder.display());
        return;
    }
    let mut open = vec![folder];
    let (mut compared, mut differing) = (0, Vec::new());
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(
                std::fs::read_dir(&path)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
            continue;
        }
        let Ok(source) = std::fs::read_to_string(&path) else {
            continue;
        };
        if is_beyond_it(&source) || parse(&source).has_errors() {
            continue;
        }
        let Ok(file) = Dockerfile::parse(&source) else {
            continue;
        };
        compared += 1;
        let (ours, theirs) = (ours(&source), theirs(&file));
        if ours != theirs {
            let at = ours
                .iter()
                .zip(&theirs)
                .position(|(a, b)| a != b)
                .unwrap_or(0);
            let line = |lines: &[String]| lines.get(at).cloned().unwrap_or_default();
            differing.push(format!(
                "{}\n  {}\n  {}",
                path.display(),
                line(&ours),
                line(&theirs)
            ));
        }
    }
    println!("{} of {compared} files agree", compared - differing.len());
    assert!(
        differing.is_empty(),
        "{} differ\n{}",
        differing.len(),
        differing.join("\n")
    );
    assert!(compared > 0);
}
