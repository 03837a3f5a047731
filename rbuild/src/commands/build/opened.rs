//! The contexts of a build, opened.

use builder::auth::Auth;
use builder::context::BuildContext;

use super::options::Options;
use crate::failure::Failure;
use crate::frontend::contexts::{self, Layouts, Trees};
use crate::frontend::text;

/// What files are taken from.
pub struct Opened {
    /// The build context.
    pub context: BuildContext,
    /// Those of `--build-context` that are trees.
    pub named: Trees,
    /// Those that are layouts of images.
    pub layouts: Layouts,
}

impl Opened {
    /// The context, and those of `--build-context`.
    pub async fn of(
        options: &Options,
        context: BuildContext,
        auth: &Auth,
    ) -> Result<Self, Failure> {
        let opened = contexts::open(&options.contexts, auth).await;
        let (named, layouts) = opened.map_err(text::without_context)?;
        Ok(Self {
            context,
            named,
            layouts,
        })
    }

    /// The context alone, where no file is asked for.
    pub fn alone(context: BuildContext) -> Self {
        Self {
            context,
            named: Trees::new(),
            layouts: Layouts::new(),
        }
    }
}
