//! What the builds of one command have in common: one, or those of several targets.

use std::sync::Arc;

use builder::engine::cancel::Cancel;
use builder::engine::common::Common;
use builder::solve::jobs::Bound;
use builder::solve::progress::Progress;
use builder::solve::together;
use images::Images;
use tokio::sync::OnceCell;

use super::among::{Among, Lines};
use super::interrupts::Interrupts;
use crate::app::App;
use crate::failure::Failure;
use crate::term::progress::{Mode, Shown};

/// Builds that one command does, at the same time where it can.
pub struct Together {
    /// What ends them, all or none.
    pub interrupts: Interrupts,
    /// What is told of them.
    pub shown: Arc<Shown>,
    /// Their turns, and the steps that they have in common.
    pub solving: together::Together,
    /// What their steps leave for each other.
    pub common: Common,
    lines: Arc<Lines>,
    images: OnceCell<Images>,
}

impl Together {
    /// Builds that are shown in this way, with so many steps at a time.
    pub fn new(app: &App, mode: Mode, jobs: Option<std::num::NonZeroUsize>) -> Self {
        Self {
            interrupts: Interrupts::watch(Arc::new(Cancel::default())),
            shown: Arc::new(Shown::new(mode, &app.printer)),
            solving: together::Together::new(jobs.map_or_else(Bound::cores, Bound::Steps)),
            common: Common::default(),
            lines: Arc::default(),
            images: OnceCell::new(),
        }
    }

    /// The store, opened once, and cleared of what killed builds have left on this host.
    pub async fn images(&self, app: &App) -> Result<Images, Failure> {
        let open = async || {
            let images = app.images().await?;
            sweep().await;
            Ok::<_, Failure>(images)
        };
        self.images.get_or_try_init(open).await.cloned()
    }

    /// Where one of the builds is told: by its name among others, if it has one.
    pub fn progress(&self, name: Option<&str>) -> Arc<dyn Progress> {
        let shown: Arc<dyn Progress> = self.shown.clone();
        match name {
            Some(name) => Arc::new(Among::targets(&shown, name, &self.lines)),
            None => shown,
        }
    }
}

/// Takes back what killed builds have left on this host, where a next one might not use it again.
async fn sweep() {
    let network = builder::engine::network::config();
    let _ = tokio::task::spawn_blocking(move || runtime::sweep(&network)).await;
}
