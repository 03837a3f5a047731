//! What the names in FROM and `--from` mean: stages, contexts, images.

use dockerfile::diagnostic::{Code, Diagnostic};
use dockerfile::span::Span;
use dockerfile::stage::{Dockerfile, Stage};
use oci::{Platform, Reference};

use super::copy::CopyFrom;
use super::image::{ImageName, ImageRequest};
use super::named::{NamedContext, NamedContexts};

/// What a stage starts from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Base {
    /// The FROM is wrong: there is no such base.
    Unknown,
    /// Nothing.
    Scratch,
    /// An earlier stage.
    Stage(usize),
    /// An image.
    Image(ImageRequest),
    /// The files of a named context.
    Tree(String),
}

/// What there is to be named.
#[derive(Clone, Copy, Debug)]
pub struct Names<'a> {
    /// The Dockerfile, with its stages.
    pub file: &'a Dockerfile,
    /// The names given with `--build-context`.
    pub named: &'a NamedContexts,
    /// The platform of an image where no other is asked for: the one that is built for.
    pub platform: &'a Platform,
}

impl Names<'_> {
    /// The base that stands in for a stage of this name, when a context was given it.
    pub(super) fn replacement(&self, stage: &str, platform: Option<&Platform>) -> Option<Base> {
        let (name, context) = self.named.get(stage)?;
        Some(self.context_base(name, context, platform))
    }

    /// What a FROM means in the stage of this index; `platform` is its `--platform`.
    pub(super) fn base(
        &self,
        index: usize,
        base: &str,
        platform: Option<&Platform>,
        span: Span,
    ) -> Result<Base, Diagnostic> {
        if base.is_empty() {
            let written = self.file.stages.get(index).map_or("", |s| s.base.as_str());
            let message = format!("base name ({written}) should not be blank");
            return Err(Diagnostic::error(Code::InvalidArgument, message, span)
                .help("give the ARG a default before the first FROM, or pass --build-arg"));
        }
        if let Some(earlier) = self.file.earlier_stage_named(base, index) {
            return Ok(Base::Stage(earlier));
        }
        if base == "scratch" {
            return Ok(Base::Scratch);
        }
        if let Some((name, context)) = self.named.get(base) {
            return Ok(self.context_base(name, context, platform));
        }
        let name = image(base, span)?;
        Ok(Base::Image(self.request(name, platform)))
    }

    /// What a `--from` means in the stage of this index: a named context, an earlier stage, or an
    /// image, which is one for the platform that is built for, whatever the stage's own is.
    ///
    /// # Errors
    /// When it is none of them, or the stage itself or a later one.
    pub fn copy_from(&self, index: usize, from: &str, span: Span) -> Result<CopyFrom, Diagnostic> {
        let number = from.parse::<usize>().is_ok();
        if !number && let Some((name, context)) = self.named.get(from) {
            let stage = self.file.earlier_stage(from, index);
            return Ok(match (context.image(name), stage) {
                // It took the stage's place, and is for the stage's platform.
                (Some(_), Some(stage)) => CopyFrom::Stage(stage),
                (Some(image), None) => CopyFrom::Image(self.request(image, None)),
                (None, _) if *context == NamedContext::Scratch => CopyFrom::Scratch,
                (None, _) => CopyFrom::Named(name.to_owned()),
            });
        }
        if let Some(earlier) = self.file.earlier_stage(from, index) {
            return Ok(CopyFrom::Stage(earlier));
        }
        if let Some(stage) = self.file.stages.iter().position(|s| s.is_named(from)) {
            let here = match self.file.stages.get(index).and_then(Stage::name) {
                Some(name) => name,
                None => format!("stage-{index}"),
            };
            let message = match stage == index {
                true => format!("circular dependency detected on stage: {here}"),
                false => format!(
                    "cannot copy from stage {from:?}, it needs to be defined before current stage \
                     {here:?}"
                ),
            };
            return Err(Diagnostic::error(Code::InvalidFlag, message, span)
                .help("a stage can only copy from stages above it: move that stage up"));
        }
        if number {
            let message = format!("--from={from}: there is no stage {from} above this one");
            return Err(Diagnostic::error(Code::InvalidFlag, message, span).help(
                "stages are counted from 0; a name (FROM … AS name) is easier to keep right",
            ));
        }
        if from == "scratch" {
            return Ok(CopyFrom::Scratch);
        }
        let name = image(from, span)?;
        Ok(CopyFrom::Image(self.request(name, None)))
    }

    /// A named context as a base.
    fn context_base(
        &self,
        name: &str,
        context: &NamedContext,
        platform: Option<&Platform>,
    ) -> Base {
        match context.image(name) {
            Some(image) => Base::Image(self.request(image, platform)),
            None if *context == NamedContext::Scratch => Base::Scratch,
            None => Base::Tree(name.to_owned()),
        }
    }

    fn request(&self, name: ImageName, platform: Option<&Platform>) -> ImageRequest {
        ImageRequest {
            name,
            platform: platform.unwrap_or(self.platform).clone(),
        }
    }
}

fn image(name: &str, span: Span) -> Result<ImageName, Diagnostic> {
    name.parse::<Reference>()
        .map(|reference| ImageName::Reference(reference.or_latest()))
        .map_err(|e| {
            let message = format!("{name:?} is no stage and no image reference: {e}");
            Diagnostic::error(Code::InvalidArgument, message, span)
                .help("write an image as [registry/]name[:tag], in lower case")
        })
}
