//! Dockerfiles of real projects.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use dockerfile::Parsed;
use dockerfile::diagnostic::{Code, render_all};
use dockerfile::lint::{Config, Options, Rule, lint};

use crate::{corpus, entries};

/// All Dockerfiles below `folder`.
fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for path in entries(folder) {
        if path.is_dir() {
            files(&path, found);
        } else if !path.extension().is_some_and(|e| e == "json" || e == "txt") {
            found.push(path);
        }
    }
}

/// Files that BuildKit refuses as well: a template, and a variable in a stage's name.
const REFUSED: [&str; 2] = [
    "docker-library__mysql/Dockerfile.oracle",
    "openshift__imagebuilder/dockerclient/testdata/Dockerfile.target",
];

/// Where a comment stands behind an array: BuildKit runs the whole line by a shell, and advises an
/// array; here it is one.
const COMMENTED: &str = "GoogleContainerTools__kaniko/integration/dockerfiles/Dockerfile_test_cmd";

fn sources(folder: &Path) -> Vec<(String, Parsed)> {
    let mut found = Vec::new();
    files(folder, &mut found);
    found
        .into_iter()
        .map(|path| {
            let name = path.strip_prefix(folder).unwrap().display().to_string();
            (name, dockerfile::parse_bytes(&std::fs::read(path).unwrap()))
        })
        .collect()
}

#[test]
fn all_parse() {
    let Some(folder) = corpus("dockerfiles") else {
        return;
    };
    let sources = sources(&folder);
    let mut failed = Vec::new();
    for (name, parsed) in &sources {
        let (_, syntax) = dockerfile::parser::parse(&parsed.source);
        let codes: Vec<Code> = syntax.iter().map(|d| d.code).collect();
        let expected: &[Code] = match name.as_str() {
            COMMENTED => &[Code::TrailingComment],
            _ => &[],
        };
        assert_eq!(codes, expected, "{name}: {syntax:?}");
        if parsed.has_errors() != REFUSED.contains(&name.as_str()) {
            failed.push(render_all(&parsed.diagnostics, name, &parsed.source, false));
        }
    }
    println!(
        "{} of {} parse",
        sources.len() - REFUSED.len() - failed.len(),
        sources.len()
    );
    assert!(failed.is_empty(), "{}", failed.join("\n\n"));
    assert!(!sources.is_empty());
}

#[derive(serde::Deserialize)]
struct Verdict {
    ok: bool,
    rules: Vec<String>,
}

#[test]
fn checks_agree_with_buildkits() {
    let Some(folder) = corpus("dockerfiles") else {
        return;
    };
    let verdicts = std::fs::read_to_string(folder.join("buildkit-lint.json")).unwrap();
    let verdicts: BTreeMap<String, Verdict> = serde_json::from_str(&verdicts).unwrap();
    let (mut total, mut clean, mut failed) = (0, 0, Vec::new());
    for (name, parsed) in sources(&folder) {
        let Some(Verdict { ok: true, rules }) = verdicts.get(&name) else {
            continue;
        };
        // That run took everything below a syntax directive for comments.
        let no_directives = Config::default();
        let config = parsed
            .dockerfile
            .directives
            .syntax
            .as_ref()
            .map(|_| &no_directives);
        let report = lint(
            &parsed,
            &Options {
                config,
                ..Options::default()
            },
        );
        let mut ours: Vec<&str> = report.rules().map(Rule::name).collect();
        let mut theirs: Vec<&str> = rules.iter().map(String::as_str).collect();
        ours.sort_unstable();
        theirs.sort_unstable();
        if name == COMMENTED {
            assert_eq!(theirs, ["JSONArgsRecommended"]);
            theirs.clear();
        }
        total += 1;
        clean += usize::from(theirs.is_empty());
        if ours != theirs && !REFUSED.contains(&name.as_str()) {
            failed.push(format!("{name}\n  ours:   {ours:?}\n  theirs: {theirs:?}"));
        }
    }
    println!(
        "{} of {total} verdicts agree, {clean} of them clean",
        total - failed.len()
    );
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    assert!(total > 0);
}
