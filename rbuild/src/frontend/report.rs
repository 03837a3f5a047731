//! What a check found, as `docker build --check` shows it and as BuildKit's JSON.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dockerfile::Parsed;
use dockerfile::diagnostic::{Code, Diagnostic};
use dockerfile::lint::{Report, Rule};
use dockerfile::span::LineIndex;
use serde_json::{Value, json};

/// The first and last line of the instruction that a diagnostic is about, as BuildKit has it.
fn lines(parsed: &Parsed, index: &LineIndex, diagnostic: &Diagnostic) -> (usize, usize) {
    let line = index.line(diagnostic.span.start);
    if diagnostic.code == Code::Rule(Rule::NoEmptyContinuation) {
        let mut empty = parsed.ast.empty_continuations.iter();
        let line = empty
            .find(|empty| empty.span == diagnostic.span)
            .map_or(line, |empty| empty.line);
        return (line, line);
    }
    // A comment belongs to the instruction below it.
    let node = parsed
        .ast
        .nodes
        .partition_point(|node| node.lines.end < line);
    match parsed.ast.nodes.get(node) {
        Some(node) => (node.lines.start, node.lines.end),
        None => (line, line),
    }
}

/// Violations as `docker build --check` prints them.
pub fn text(parsed: &Parsed, name: &str, report: &Report) -> String {
    let index = LineIndex::new(&parsed.source);
    let count = report.rules().count();
    let mut out = match count {
        0 => "Check complete, no warnings found.\n".to_owned(),
        1 => "Check complete, 1 warning has been found!\n".to_owned(),
        n => format!("Check complete, {n} warnings have been found!\n"),
    };
    for diagnostic in &report.diagnostics {
        let Code::Rule(rule) = diagnostic.code else {
            continue;
        };
        out.push_str(&format!("\nWARNING: {}", rule.name()));
        if let Some(url) = &diagnostic.url {
            out.push_str(&format!(" - {url}"));
        }
        out.push_str(&format!("\n{}\n", diagnostic.message));
        let (first, last) = lines(parsed, &index, diagnostic);
        out.push_str(&excerpt(&parsed.source, name, first, last));
    }
    out
}

/// The lines with those around them, as BuildKit shows a place in a Dockerfile.
fn excerpt(source: &str, name: &str, first: usize, last: usize) -> String {
    const RULE: &str = "--------------------";
    let around = if first == last { 2 } else { 1 };
    let from = first.saturating_sub(around).max(1);
    let mut out = format!("{name}:{first}\n{RULE}\n");
    // What is behind the last newline is a line too, as BuildKit counts.
    let lines = source.split('\n').map(|line| line.trim_end_matches('\r'));
    let shown = lines.enumerate().skip(from - 1);
    for (n, line) in shown.map(|(n, line)| (n + 1, line)) {
        if n > last + around {
            break;
        }
        let mark = if (first..=last).contains(&n) {
            ">>>"
        } else {
            "   "
        };
        out.push_str(&format!("{n:4} | {mark} {line}\n"));
    }
    out.push_str(RULE);
    out.push('\n');
    out
}

/// Violations and errors as `docker build --call=lint,format=json` prints them: the first error in
/// BuildKit's shape, and all of them beside it.
pub fn document(parsed: &Parsed, name: &str, report: &Report, errors: &[Diagnostic]) -> Value {
    let index = LineIndex::new(&parsed.source);
    let place = |diagnostic: &Diagnostic| {
        let (first, last) = lines(parsed, &index, diagnostic);
        location(first, last)
    };
    let warnings = report.diagnostics.iter().filter_map(|diagnostic| {
        let Code::Rule(rule) = diagnostic.code else {
            return None;
        };
        Some(json!({
            "ruleName": rule.name(),
            "description": rule.description(),
            "url": diagnostic.url,
            "detail": diagnostic.message,
            "location": place(diagnostic),
        }))
    });
    let mut document = json!({
        "warnings": warnings.collect::<Vec<_>>(),
        "sources": [source(parsed, name)],
    });
    let errors = errors.iter().filter(|diagnostic| diagnostic.is_error());
    let errors: Vec<Value> = errors
        .map(|diagnostic| {
            let at = index.line_column(&parsed.source, diagnostic.span.start);
            json!({
                "message": diagnostic.message,
                "help": diagnostic.help,
                "line": at.line,
                "column": at.column,
                "location": place(diagnostic),
            })
        })
        .collect();
    if let Some(first) = errors.first() {
        document["buildError"] =
            json!({"message": first["message"], "location": first["location"]});
        document["errors"] = json!(errors);
    }
    document
}

/// Lines of the one source, as BuildKit writes them: a range for each. Numbers that are 0, as its
/// index and the columns, are left out there.
pub fn location(first: usize, last: usize) -> Value {
    let at = |line: usize| json!({"line": line});
    let ranges: Vec<Value> = (first..=last)
        .map(|line| json!({"start": at(line), "end": at(line)}))
        .collect();
    json!({"ranges": ranges})
}

/// What deserves attention, as a line of `--progress rawjson`: BuildKit's `SolveStatus` with its
/// `VertexWarning`s. The step that reads the Dockerfile, which they belong to there, is none here.
pub fn status(parsed: &Parsed, name: &str, found: &[&Diagnostic]) -> Value {
    let index = LineIndex::new(&parsed.source);
    let warnings = found.iter().map(|diagnostic| {
        let (first, last) = lines(parsed, &index, diagnostic);
        let mut warning = json!({"level": 1});
        let mut short = format!("{} (line {first})", diagnostic.message);
        if let Code::Rule(rule) = diagnostic.code {
            short = format!("{}: {short}", rule.name());
            warning["detail"] = json!([STANDARD.encode(rule.description())]);
        }
        warning["short"] = json!(STANDARD.encode(short));
        if let Some(url) = &diagnostic.url {
            warning["url"] = json!(url);
        }
        warning["sourceInfo"] = source(parsed, name);
        warning["range"] = location(first, last)["ranges"].take();
        warning
    });
    json!({"warnings": warnings.collect::<Vec<_>>()})
}

fn source(parsed: &Parsed, name: &str) -> Value {
    json!({
        "filename": name,
        "data": STANDARD.encode(&parsed.source),
        "language": "Dockerfile",
    })
}

#[cfg(test)]
mod tests {
    use dockerfile::lint;

    use super::*;

    #[test]
    fn a_refused_file_is_told_as_json_too() {
        let parsed = dockerfile::parse("FROM a AS B\nRUM x\nCOPY --form=b c d\n");
        let report = lint::lint_text(&parsed);
        let document = document(&parsed, "Dockerfile", &report, &parsed.diagnostics);
        assert_eq!(document["errors"].as_array().unwrap().len(), 2);
        let error = &document["buildError"];
        assert!(error["message"].as_str().unwrap().contains("RUM"));
        assert_eq!(error["location"]["ranges"][0]["start"]["line"], 2);
        assert_eq!(document["errors"][1]["column"], 6);
        assert_eq!(document["warnings"][0]["ruleName"], "StageNameCasing");
    }

    #[test]
    fn places_are_the_lines_of_the_instruction() {
        let text =
            "FROM scratch\nENV A=1 \\\n B=$X\nRUN a && \\\n\n  b && \\\n\n\n  c\n# no\nARG Q\n";
        let parsed = dockerfile::parse(&format!("# check=experimental=all\n{text}"));
        let report = lint::lint(&parsed, &lint::Options::default());
        let document = document(&parsed, "Dockerfile", &report, &[]);
        let warnings = document["warnings"].as_array().unwrap().iter();
        let found: Vec<String> = warnings
            .map(|warning| {
                let ranges = warning["location"]["ranges"].as_array().unwrap().iter();
                let lines: Vec<u64> = ranges.filter_map(|r| r["start"]["line"].as_u64()).collect();
                format!("{} {lines:?}", warning["ruleName"].as_str().unwrap())
            })
            .collect();
        assert_eq!(
            found,
            [
                "UndefinedVar [3, 4]",
                "NoEmptyContinuation [10]",
                "InvalidDefinitionDescription [12]",
            ]
        );
    }

    fn report(source: &str) -> (Parsed, Report) {
        let parsed = dockerfile::parse(source);
        let report = lint::lint(&parsed, &lint::Options::default());
        (parsed, report)
    }

    /// The lines are those of docker 28 for the same file.
    #[test]
    fn violations_are_shown_as_docker_shows_them() {
        let (parsed, found) = report("FROM alpine\n\nMAINTAINER me\nRUN true\nCMD echo hi\n");
        let rules = "https://docs.docker.com/go/dockerfile/rule";
        let lines = [
            "Check complete, 2 warnings have been found!",
            "",
            &format!("WARNING: MaintainerDeprecated - {rules}/maintainer-deprecated/"),
            "Maintainer instruction is deprecated in favor of using label",
            "Dockerfile:3",
            "--------------------",
            "   1 |     FROM alpine",
            "   2 |     ",
            "   3 | >>> MAINTAINER me",
            "   4 |     RUN true",
            "   5 |     CMD echo hi",
            "--------------------",
            "",
            &format!("WARNING: JSONArgsRecommended - {rules}/json-args-recommended/"),
            "JSON arguments recommended for CMD to prevent unintended behavior related to OS signals",
            "Dockerfile:5",
            "--------------------",
            "   3 |     MAINTAINER me",
            "   4 |     RUN true",
            "   5 | >>> CMD echo hi",
            "   6 |     ",
            "--------------------",
            "",
        ];
        assert_eq!(text(&parsed, "Dockerfile", &found), lines.join("\n"));
        let document = document(&parsed, "Dockerfile", &found, &[]);
        assert_eq!(document["warnings"][0]["ruleName"], "MaintainerDeprecated");
        assert_eq!(
            document["warnings"][0]["location"]["ranges"][0]["start"]["line"],
            3
        );
    }

    #[test]
    fn a_clean_file_has_nothing_to_tell() {
        let (parsed, found) = report("FROM alpine\nRUN true\n");
        assert_eq!(
            text(&parsed, "Dockerfile", &found),
            "Check complete, no warnings found.\n"
        );
    }
}
