//! How many layers an image gets, and whether it can have them, which is known before the first of
//! them is made.

use std::collections::BTreeMap;

use dockerfile::diagnostic::{Code, Diagnostic};
use dockerfile::span::Span;
use dockerfile::stage::Dockerfile;
use oci::Platform;

use super::copy::CopyFrom;
use super::expand::ExpandedStage;
use super::graph::Graph;
use super::image::ImageRequest;
use super::names::Base;
use super::windows;

/// What the kernel lays one upon another, `OVL_MAX_STACK` of overlayfs: what a RUN works on, with
/// the directory of its mount points, and what is read of an image.
const MOST: usize = 500;

/// What docker's overlay2 takes: it refuses to load the next one ("max depth exceeded").
const DOCKER_MOST: usize = 125;

const FEWER: &str = "join RUN instructions with && or a here-document, or copy the result into a \
                     stage of its own: FROM scratch, then COPY --from=STAGE / /";

/// Counts the layers of stages that were expanded in order, bases included. More than can be
/// mounted are errors, more than docker takes a warning for the image that is wanted.
pub fn check(
    file: &Dockerfile,
    graph: &Graph,
    expanded: &[ExpandedStage],
    layers_of: &dyn Fn(&ImageRequest) -> usize,
) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    let mut known: BTreeMap<usize, usize> = BTreeMap::new();
    for (stage, steps) in graph.stages.iter().zip(expanded) {
        let from = file.stages.get(stage.index);
        let from = from.map_or(Span::default(), |s| s.base.span);
        let below = match &stage.base {
            Base::Image(image) => layers_of(image),
            Base::Stage(earlier) => known.get(earlier).copied().unwrap_or_default(),
            _ => 0,
        };
        for (source, span) in &stage.sources {
            if let CopyFrom::Image(image) = source {
                let layers = layers_of(image);
                found.extend((layers > MOST).then(|| unreadable(layers, *span)));
            }
        }
        let places: Vec<Span> = steps
            .steps
            .iter()
            .filter(|step| step.op.is_some())
            .map(|step| step.span)
            .collect();
        let layers = below + places.len();
        known.insert(stage.index, layers);
        // The place of the layer with this number, if it is made here.
        let place = |number: usize| match number.checked_sub(below + 1) {
            Some(nth) => places.get(nth).copied(),
            None => places.first().copied(),
        };
        if let Some(span) = place(MOST + 1) {
            found.push(unmountable(below, layers, span));
        } else if stage.index == graph.target && layers > DOCKER_MOST {
            found.push(heavy(layers, place(DOCKER_MOST + 1).unwrap_or(from)));
        }
    }
    found
}

/// Where a stage of the image that is wanted makes a layer for Windows. Such layers have another
/// form, and docker's own store refuses them too; files can be written to a folder.
pub fn of_windows(
    graph: &Graph,
    expanded: &[ExpandedStage],
    target: &Platform,
) -> Option<Diagnostic> {
    let mut wanted = graph.target;
    let mut place = None;
    loop {
        let mut stages = graph.stages.iter().zip(expanded);
        let (stage, steps) = stages.find(|(stage, _)| stage.index == wanted)?;
        if windows::is(stage.platform.as_ref().unwrap_or(target)) {
            let first = steps.steps.iter().find(|step| step.op.is_some());
            place = first.map(|step| step.span).or(place);
        }
        match stage.base {
            Base::Stage(earlier) => wanted = earlier,
            _ => break,
        }
    }
    let message = "operating system is not supported: this makes a layer of an image for Windows";
    let help = "write the files to a folder with -o DIR, or set nothing but the configuration";
    place.map(|span| Diagnostic::error(Code::CannotBuild, message, span).help(help))
}

fn unmountable(below: usize, layers: usize, span: Span) -> Diagnostic {
    let of_base = match below {
        0 => String::new(),
        below => format!(", {below} of them its base's"),
    };
    let message = format!(
        "this stage has {layers} layers{of_base}: the kernel mounts no more than {MOST} at once"
    );
    Diagnostic::error(Code::TooManyLayers, message, span).help(FEWER)
}

fn unreadable(layers: usize, span: Span) -> Diagnostic {
    let message = format!(
        "the image has {layers} layers: the kernel mounts no more than {MOST} at once, so that \
         nothing can be copied from it"
    );
    Diagnostic::error(Code::TooManyLayers, message, span)
}

fn heavy(layers: usize, span: Span) -> Diagnostic {
    let message =
        format!("the image has {layers} layers: docker loads none with more than {DOCKER_MOST}");
    Diagnostic::warning(Code::TooManyLayers, message, span).help(FEWER)
}

#[cfg(test)]
mod tests {
    use oci::config::Config;

    use super::*;
    use crate::plan::expand::{Declared, StageInput, expand_stage};
    use crate::plan::graph::GraphOptions;
    use crate::plan::{BuildArgs, Consent, NamedContexts};

    /// What is found in a file whose images have `base` layers each: severity, line, message.
    fn found(text: &str, base: usize) -> Vec<(bool, usize, String)> {
        let parsed = dockerfile::parse(text);
        let file = &parsed.dockerfile;
        let platform: Platform = "linux/amd64".parse().unwrap();
        let (args, named) = (BuildArgs::default(), NamedContexts::default());
        let options = GraphOptions {
            target: "",
            args: &args,
            build_platform: &platform,
            target_platform: &platform,
            named: &named,
            consent: Consent::default(),
        };
        let graph = Graph::new(file, &options).unwrap();
        let expanded: Vec<ExpandedStage> = graph
            .stages
            .iter()
            .map(|stage| {
                expand_stage(&StageInput {
                    names: options.names(file),
                    stage,
                    global: &graph.global,
                    args: &args,
                    consent: Consent::default(),
                    base: Config::default(),
                    author: None,
                    declared: Declared::default(),
                    open: false,
                })
                .unwrap()
            })
            .collect();
        let found = check(file, &graph, &expanded, &|_| base);
        let index = dockerfile::span::LineIndex::new(text);
        let told = found.into_iter();
        told.map(|d| (d.is_error(), index.line(d.span.start), d.message))
            .collect()
    }

    fn copies(count: usize) -> String {
        "COPY a /\n".repeat(count)
    }

    #[test]
    fn the_first_layer_too_many_is_told() {
        for (text, base, expected) in [
            (format!("FROM scratch\n{}", copies(125)), 0, None),
            (
                format!("FROM scratch\n{}", copies(126)),
                0,
                Some((false, 127)),
            ),
            (format!("FROM x\nENV A=1\n{}", copies(122)), 3, None),
            (
                format!("FROM x\nENV A=1\n{}", copies(123)),
                3,
                Some((false, 125)),
            ),
            // All of it is the base's.
            ("FROM x\nENV A=1\n".to_owned(), 126, Some((false, 1))),
            (format!("FROM x\n{}", copies(200)), 300, Some((false, 2))),
            (format!("FROM x\n{}", copies(201)), 300, Some((true, 202))),
            // Nothing is mounted where nothing is made.
            ("FROM x\n".to_owned(), 501, Some((false, 1))),
            ("FROM x\nWORKDIR /d\n".to_owned(), 500, Some((true, 2))),
            ("FROM scratch\nCOPY --from=x a /\n".to_owned(), 500, None),
            (
                "FROM scratch\nCOPY --from=x a /\n".to_owned(),
                501,
                Some((true, 2)),
            ),
            // Layers of stages add up; what is only copied from may have more than docker takes.
            (
                format!("FROM scratch AS a\n{}FROM a\n{}", copies(300), copies(201)),
                0,
                Some((true, 503)),
            ),
            (
                format!(
                    "FROM scratch AS a\n{}FROM scratch\nCOPY --from=a / /\n",
                    copies(300)
                ),
                0,
                None,
            ),
        ] {
            let found = found(&text, base);
            assert!(found.len() < 2, "{found:?}");
            let place = found.first().map(|(error, line, _)| (*error, *line));
            let start: String = text.chars().take(60).collect();
            assert_eq!(place, expected, "{start}… {base}: {found:?}");
        }
    }
}
