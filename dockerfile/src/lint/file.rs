//! Rules that look at the text alone.

use std::collections::BTreeSet;

use super::config::Config;
use super::reporter::Reporter;
use crate::build::Parsed;
use crate::instruction::{Header, Kind};
use crate::rule::Rule;
use crate::span::{Span, Text};
use crate::stage::{Dockerfile, Stage};

pub(super) fn check(parsed: &Parsed, reporter: &mut Reporter) {
    let file = &parsed.dockerfile;
    for empty in &parsed.ast.empty_continuations {
        reporter.report(
            Rule::NoEmptyContinuation,
            empty.span,
            "Empty continuation line".to_owned(),
            "remove the empty line, or put a # in it",
        );
    }
    for arg in &file.global_args {
        let names: Vec<&str> = arg.arg.args.iter().map(|def| def.name.as_str()).collect();
        description(parsed, &arg.header, "ARG", &names, reporter);
    }
    let mut names = BTreeSet::new();
    for stage in &file.stages {
        from(parsed, stage, reporter);
        if let (Some(name), Some(text)) = (stage.name(), &stage.name_text) {
            stage_name(&name, text, &mut names, reporter);
        }
        for instruction in &stage.instructions {
            match &instruction.kind {
                Kind::Maintainer(_) => reporter.report(
                    Rule::MaintainerDeprecated,
                    instruction.header.keyword.span,
                    "Maintainer instruction is deprecated in favor of using label".to_owned(),
                    "write LABEL org.opencontainers.image.authors=\"NAME\" instead",
                ),
                Kind::Arg(arg) => {
                    let names: Vec<&str> = arg.args.iter().map(|def| def.name.as_str()).collect();
                    description(parsed, &instruction.header, "ARG", &names, reporter);
                }
                _ => {}
            }
        }
    }
    casing(file, reporter);
}

fn from(parsed: &Parsed, stage: &Stage, reporter: &mut Reporter) {
    let (Some(name), Some(keyword)) = (&stage.name_text, &stage.as_keyword) else {
        return;
    };
    if name.text != name.text.to_lowercase() {
        reporter.report(
            Rule::StageNameCasing,
            name.span,
            format!("Stage name '{}' should be lowercase", name.text),
            format!("write {}", name.text.to_lowercase()),
        );
    }
    let from = &stage.header.keyword.text;
    let (lower, upper) = (is_lower(from), is_upper(from));
    let matches = if lower {
        is_lower(&keyword.text)
    } else {
        is_upper(&keyword.text)
    };
    // A FROM in mixed case has a violation of its own.
    if (lower || upper) && !matches {
        reporter.report(
            Rule::FromAsCasing,
            keyword.span,
            format!(
                "'{}' and '{from}' keywords' casing do not match",
                keyword.text
            ),
            format!("write {}", if lower { "as" } else { "AS" }),
        );
    }
    let lower = name.text.to_lowercase();
    description(parsed, &stage.header, "FROM", &[lower.as_str()], reporter);
}

fn stage_name(name: &str, text: &Text, seen: &mut BTreeSet<String>, reporter: &mut Reporter) {
    if matches!(name, "scratch" | "context") {
        reporter.report(
            Rule::ReservedStageName,
            text.span,
            format!("Stage name should not use the same name as reserved stage {name:?}"),
            "call the stage something else",
        );
    }
    if !seen.insert(name.to_owned()) {
        reporter.report(
            Rule::DuplicateStageName,
            text.span,
            format!("Duplicate stage name {name:?}, stage names should be unique"),
            "rename one of the stages",
        );
    }
}

/// The comment right above an ARG or FROM ought to begin with the name it describes.
fn description(
    parsed: &Parsed,
    header: &Header,
    keyword: &str,
    names: &[&str],
    reporter: &mut Reporter,
) {
    let rule = Rule::InvalidDefinitionDescription;
    if !reporter.config_at(header.keyword.span).runs(rule) {
        return;
    }
    let mut comments = header.comments.iter();
    let Some(last) = comments.rfind(|text| Config::from_comment(text).is_none()) else {
        return;
    };
    let first_word = last.split(' ').next().unwrap_or_default();
    if names.contains(&first_word) {
        return;
    }
    let example = match names {
        [name] => *name,
        _ => "<arg_key>",
    };
    let span = parsed
        .ast
        .nodes
        .iter()
        .find(|node| node.span == header.span)
        .and_then(|node| {
            let mut comments = node.comments.iter();
            comments.rfind(|comment| Config::from_comment(&comment.text).is_none())
        })
        .map_or(header.keyword.span, |comment| comment.span);
    reporter.report(
        rule,
        span,
        format!("Comment for {keyword} should follow the format: `# {example} <description>`"),
        "begin the comment with the name, or put an empty line below it",
    );
}

fn is_lower(text: &str) -> bool {
    text == text.to_lowercase()
}

fn is_upper(text: &str) -> bool {
    text == text.to_uppercase()
}

/// Keywords ought to be all lower or all upper case, as most of them are.
fn casing(file: &Dockerfile, reporter: &mut Reporter) {
    let keywords: Vec<(&str, Span)> = file
        .stages
        .iter()
        .flat_map(|stage| {
            let own = std::iter::once(&stage.header);
            own.chain(
                stage
                    .instructions
                    .iter()
                    .map(|instruction| &instruction.header),
            )
        })
        .map(|header| (header.keyword.as_str(), header.keyword.span))
        .collect();
    let lower = keywords
        .iter()
        .filter(|(keyword, _)| is_lower(keyword))
        .count();
    let upper = keywords
        .iter()
        .filter(|(k, _)| !is_lower(k) && is_upper(k))
        .count();
    let majority_lower = lower > upper;
    for (keyword, span) in keywords {
        let (fits, casing, right) = if majority_lower {
            (is_lower(keyword), "lowercase", keyword.to_lowercase())
        } else {
            (is_upper(keyword), "uppercase", keyword.to_uppercase())
        };
        if !fits {
            reporter.report(
                Rule::ConsistentInstructionCasing,
                span,
                format!(
                    "Command '{keyword}' should match the case of the command majority ({casing})"
                ),
                format!("write {right}"),
            );
        }
    }
}
