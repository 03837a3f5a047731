//! For which platforms processes are to run.

use dockerfile::span::Span;
use oci::Platform;

use super::Solver;
use crate::plan::{Base, Op, StagePlan};

impl<B> Solver<'_, B> {
    /// The platforms that RUN steps of a build that is prepared run on, each with the place of its
    /// first. What is not based on an image has the platform of whatever is copied into it.
    pub fn run_platforms(&self) -> Vec<(Platform, Span)> {
        let mut found: Vec<(Platform, Span)> = Vec::new();
        for (stage, expanded) in self.graph.stages.iter().zip(&self.expanded) {
            let mut steps = expanded.steps.iter();
            let run = steps.find(|step| matches!(step.op, Some(Op::Run(_))));
            let (Some(run), Some(platform)) = (run, self.platform_of(stage)) else {
                continue;
            };
            if !found.iter().any(|(known, _)| known == platform) {
                found.push((platform.clone(), run.span));
            }
        }
        found
    }

    /// What the image is for that a stage goes back to.
    fn platform_of<'s>(&'s self, stage: &'s StagePlan) -> Option<&'s Platform> {
        let mut stage = stage;
        // A stage is only ever based on an earlier one.
        loop {
            match &stage.base {
                Base::Image(image) => return Some(&image.platform),
                Base::Stage(earlier) => {
                    let mut stages = self.graph.stages.iter();
                    stage = stages.find(|other| other.index == *earlier)?;
                }
                _ => return None,
            }
        }
    }
}
