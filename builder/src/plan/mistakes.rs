//! All that is wrong with a Dockerfile, as far as that can be told before anything is fetched.

use std::collections::{BTreeMap, HashSet};

use dockerfile::Parsed;
use dockerfile::diagnostic::{Code, Diagnostic};
use dockerfile::span::Span;
use dockerfile::stage::Dockerfile;
use oci::config::Config;

use super::expand::{Declared, ExpandedStage, StageInput, sketch_stage};
use super::graph::{Graph, GraphOptions, no_target};
use super::image::ImageRequest;
use super::names::Base;

/// What is looked at, and what is known.
pub struct Survey<'a> {
    /// The build.
    pub options: &'a GraphOptions<'a>,
    /// What is known of an image's configuration. Where nothing is, an instruction with variables
    /// is given the benefit of the doubt.
    pub config: &'a dyn Fn(&ImageRequest) -> Option<Config>,
    /// Stages that the target does not need are looked at too.
    pub all_stages: bool,
    /// It is to be built: what this builder does not carry out is a mistake.
    pub building: bool,
}

/// Looks for mistakes in a file that may have been refused already; they come in order of place.
/// Where there are none, the graph is what is to be built.
pub fn survey(parsed: &Parsed, survey: &Survey<'_>) -> (Option<Graph>, Vec<Diagnostic>) {
    let (file, options) = (&parsed.dockerfile, survey.options);
    let mut errors: Vec<Diagnostic> = parsed.diagnostics.clone();
    errors.retain(Diagnostic::is_error);
    // What follows from an instruction that was dropped is no mistake of its own.
    let doubtful = !errors.is_empty();
    let froms = parsed
        .ast
        .nodes
        .iter()
        .filter(|n| n.name() == "from")
        .count();
    let whole = froms == file.stages.len();
    let Some(target) = file.target(options.target) else {
        // Of a file without stages all was said.
        if whole && (errors.is_empty() || froms > 0) {
            errors.extend(no_target(file, options.target).0);
        }
        return (None, errors);
    };
    let (mut graph, stages) = Graph::sketch(file, options, target);
    if whole {
        errors.extend(stages);
    }
    if !survey.all_stages {
        graph.prune();
    }
    let mut done: BTreeMap<usize, (ExpandedStage, bool)> = BTreeMap::new();
    for stage in &graph.stages {
        let (base, declared, open) = match &stage.base {
            Base::Stage(earlier) => match done.get(earlier) {
                Some((e, open)) => ((*e.config).clone(), e.declared.clone(), *open),
                None => (Config::default(), Declared::default(), true),
            },
            Base::Image(name) => {
                let known = (survey.config)(name);
                let open = known.is_none();
                (known.unwrap_or_default(), Declared::default(), open)
            }
            Base::Unknown => (Config::default(), Declared::default(), true),
            Base::Scratch | Base::Tree(_) => (Config::default(), Declared::default(), false),
        };
        let open = open || doubtful;
        let (expanded, found) = sketch_stage(&StageInput {
            names: options.names(file),
            stage,
            global: &graph.global,
            args: options.args,
            consent: options.consent.clone(),
            base,
            author: None,
            declared,
            open,
        });
        // What the graph tells of a COPY --from is told again when it is expanded.
        let known: HashSet<(Span, String)> =
            errors.iter().map(|d| (d.span, d.message.clone())).collect();
        let mut found = found;
        found.retain(|d| !known.contains(&(d.span, d.message.clone())));
        errors.append(&mut found);
        done.insert(stage.index, (expanded, open));
    }
    if !survey.building {
        errors.retain(|d| d.code != Code::CannotBuild);
    }
    errors.sort_by_key(|d| (d.span.start, d.span.end));
    match errors.is_empty() {
        true => (Some(graph), errors),
        false => (None, errors),
    }
}

/// The images that stages are based on, needed or not.
pub fn base_images(file: &Dockerfile, options: &GraphOptions<'_>) -> Vec<ImageRequest> {
    let (graph, _) = Graph::sketch(file, options, 0);
    let images = graph
        .stages
        .into_iter()
        .filter_map(|stage| match stage.base {
            Base::Image(name) => Some(name),
            _ => None,
        });
    images.collect()
}

#[cfg(test)]
mod tests {
    use oci::Platform;

    use super::*;
    use crate::plan::{BuildArgs, Consent, NamedContexts};

    fn found(text: &str) -> Vec<String> {
        let parsed = dockerfile::parse(text);
        let platform: Platform = "linux/amd64".parse().unwrap();
        let options = GraphOptions {
            target: "",
            args: &BuildArgs::default(),
            build_platform: &platform,
            target_platform: &platform,
            named: &NamedContexts::default(),
            consent: Consent::default(),
        };
        let (_, found) = survey(
            &parsed,
            &Survey {
                options: &options,
                config: &|_| None,
                all_stages: false,
                building: true,
            },
        );
        let index = dockerfile::span::LineIndex::new(text);
        let told = found.iter();
        told.map(|d| format!("{}: {}", index.line(d.span.start), d.message))
            .collect()
    }

    #[test]
    fn mistakes_of_all_kinds_are_told_at_once() {
        let text = "FROM scratch AS a\nSTOPSIGNAL FOO\nEXPOSE foo 80/bar\nCOPY --from=5 a b\n\
                    COPY --chmod=999 a b\nCOPY https://x/y /z\nFROM --platform=a/b/c/d x AS unused\n\
                    FROM a\nEXPOSE 90-80\nADD --checksum=foo a b /c/\n";
        let found = found(text);
        let lines: Vec<&str> = found.iter().filter_map(|t| t.split(':').next()).collect();
        assert_eq!(
            lines,
            ["2", "3", "3", "4", "5", "6", "7", "9", "10"],
            "{found:#?}"
        );
    }

    #[test]
    fn what_the_base_may_set_is_no_mistake() {
        assert!(found("FROM unknown\nEXPOSE $PORT\nSTOPSIGNAL $SIG\nVOLUME $DIR\n").is_empty());
        let known = found("FROM scratch\nSTOPSIGNAL $SIG\nFROM scratch\nVOLUME $DIR\n");
        assert_eq!(known.len(), 1, "{known:?}");
        assert!(known[0].starts_with("4: VOLUME"), "{known:?}");
    }

    #[test]
    fn what_follows_from_a_mistake_is_none() {
        for (text, lines) in [
            ("ARG image\nFROM ${image}\nCOPY $FILE /x\n", &["2"][..]),
            ("FROM scratch\nENV A\nCOPY $A /x\nVOLUME $A\n", &["2"]),
            (
                "FROM scratch AS a\nARG A=1\nFROM --foo scratch\nARG Z=1\nCOPY $A /x\n",
                &["3"],
            ),
            ("FROM nginx\nEXPOSE ${A}/tcp ${B}/tcp\n", &[]),
            (
                "FROM nginx\nENV X=${FOO:?}\nCOPY <<E /x\n${FOO:?}\nE\n",
                &[],
            ),
            (
                "FROM scratch\nCOPY --from=nope! --chmod=999 a b\n",
                &["2", "2"],
            ),
            ("FROM scratch\nRUM x\nCOPY --from=9 a b\n", &["2", "3"]),
        ] {
            let found = found(text);
            let told: Vec<&str> = found.iter().filter_map(|t| t.split(':').next()).collect();
            assert_eq!(told, lines, "{text}: {found:?}");
        }
    }

    #[test]
    fn ports_of_a_trigger_are_told_at_the_from_that_fires_it() {
        let found = found("FROM scratch AS a\nONBUILD EXPOSE foo bar\nFROM a\n");
        assert_eq!(found.len(), 2);
        assert!(
            found
                .iter()
                .all(|t| t.starts_with("3: in the base image's ONBUILD"))
        );
    }

    #[test]
    fn a_file_without_stages_is_one_mistake() {
        for text in ["", "\n", "# comment\n", "ARG A\n"] {
            assert_eq!(found(text).len(), 1, "{text:?}");
        }
    }
}
