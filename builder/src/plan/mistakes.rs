//! All that is wrong with a Dockerfile, as far as that can be told before anything is fetched.

use std::collections::BTreeMap;

use dockerfile::diagnostic::Diagnostic;
use dockerfile::stage::Dockerfile;
use oci::config::Config;

use super::expand::{Declared, ExpandedStage, StageInput, sketch_stage};
use super::graph::{Base, Graph, GraphOptions, no_target};
use super::named::ImageName;

/// What was found, in order of place.
#[derive(Clone, Debug, Default)]
pub struct Mistakes {
    /// With the stages: what they are based on, and what they copy from.
    pub stages: Vec<Diagnostic>,
    /// With instructions of the stages that the target needs.
    pub instructions: Vec<Diagnostic>,
}

impl Mistakes {
    /// All of them, in order of place.
    pub fn all(self) -> Vec<Diagnostic> {
        let mut all = self.stages;
        all.extend(self.instructions);
        all.sort_by_key(|d| (d.span.start, d.span.end));
        all
    }
}

/// Looks for mistakes. `config` tells what is known of an image's configuration; where nothing is,
/// an instruction with variables is given the benefit of the doubt.
pub fn mistakes(
    file: &Dockerfile,
    options: &GraphOptions<'_>,
    config: &dyn Fn(&ImageName) -> Option<Config>,
) -> Mistakes {
    let Some(target) = file.target(options.target) else {
        return Mistakes {
            stages: no_target(file, options.target).0,
            ..Mistakes::default()
        };
    };
    let (graph, stages) = Graph::sketch(file, options, target);
    let mut done: BTreeMap<usize, (ExpandedStage, bool)> = BTreeMap::new();
    let mut instructions = Vec::new();
    for stage in &graph.stages {
        let (base, declared, open) = match &stage.base {
            Base::Stage(earlier) => match done.get(earlier) {
                Some((e, open)) => ((*e.config).clone(), e.declared.clone(), *open),
                None => (Config::default(), Declared::default(), true),
            },
            Base::Image(name) => {
                let known = config(name);
                let open = known.is_none();
                (known.unwrap_or_default(), Declared::default(), open)
            }
            Base::Scratch | Base::Tree(_) => (Config::default(), Declared::default(), false),
        };
        let (expanded, mut found) = sketch_stage(&StageInput {
            file,
            stage,
            global: &graph.global,
            args: options.args,
            named: options.named,
            base,
            author: None,
            declared,
            open,
        });
        instructions.append(&mut found);
        done.insert(stage.index, (expanded, open));
    }
    // What the graph tells of a COPY --from is told again when it is expanded.
    instructions.retain(|d| !stages.iter().any(|s| s.span == d.span));
    Mistakes {
        stages,
        instructions,
    }
}

/// The images that stages are based on, needed or not.
pub fn base_images(file: &Dockerfile, options: &GraphOptions<'_>) -> Vec<ImageName> {
    let bases = Graph::bases(file, options);
    let images = bases.into_iter().filter_map(|base| match base {
        Base::Image(name) => Some(name),
        _ => None,
    });
    images.collect()
}

#[cfg(test)]
mod tests {
    use oci::Platform;

    use super::*;
    use crate::plan::{BuildArgs, NamedContexts};

    fn found(text: &str) -> Vec<String> {
        let parsed = dockerfile::parse(text);
        let platform: Platform = "linux/amd64".parse().unwrap();
        let options = GraphOptions {
            target: "",
            args: &BuildArgs::default(),
            build_platform: &platform,
            target_platform: &platform,
            named: &NamedContexts::default(),
        };
        let found = mistakes(&parsed.dockerfile, &options, &|_| None).all();
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
}
