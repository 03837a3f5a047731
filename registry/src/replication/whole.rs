//! All rules: what changes here given to those that are about it, and what is asked of them.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::error::ReplicationError;
use super::report::{RuleReport, render};
use super::rule::Rule;
use super::settings::Replicate;
use crate::meta::{Changed, MetaError, RuleSetup};
use crate::mirror::Mirror;
use crate::service::Registry;

/// Changes that are given to rules at once.
const BATCH: u32 = 256;
/// How often it is looked, in memory, whether anything was committed.
const LOOK: Duration = Duration::from_millis(200);

/// All rules of a registry.
#[derive(Debug)]
pub struct Replication {
    registry: Arc<Registry>,
    settings: Vec<Replicate>,
    rules: Vec<Arc<Rule>>,
    stopping: watch::Sender<bool>,
    tasks: std::sync::Mutex<Vec<JoinHandle<()>>>,
}

impl Replication {
    /// Begins to work by these rules; what others have left is forgotten. No other registry is
    /// asked anything before this returns.
    ///
    /// # Errors
    /// [`ReplicationError`].
    pub async fn start(
        settings: &[Replicate],
        registry: &Arc<Registry>,
        mirror: Option<&Arc<Mirror>>,
        read_only: &Arc<AtomicBool>,
    ) -> Result<Arc<Self>, ReplicationError> {
        let setups = settings.iter().map(|rule| RuleSetup {
            name: rule.name.clone(),
            fingerprint: rule.fingerprint(),
            on_event: rule.is_told(),
            disabled: rule.disabled,
        });
        let books = registry.replication();
        books.set_replication_rules(setups.collect()).await?;
        let mut rules = Vec::new();
        for rule in settings.iter().filter(|rule| !rule.disabled) {
            rules.push(Rule::open(rule, registry, mirror, read_only).await?);
        }
        let (stopping, stop) = watch::channel(false);
        let mut tasks = Vec::new();
        for rule in &rules {
            let settings = &rule.settings;
            tracing::info!(rule = settings.name, url = settings.url, "replicating");
            tasks.push(tokio::spawn(Arc::clone(rule).run(stop.clone())));
        }
        let told: Vec<Arc<Rule>> = rules
            .iter()
            .filter(|rule| rule.settings.is_told())
            .cloned()
            .collect();
        if !told.is_empty() {
            tasks.push(tokio::spawn(tell(Arc::clone(registry), told, stop)));
        }
        Ok(Arc::new(Self {
            registry: Arc::clone(registry),
            settings: settings.to_vec(),
            rules,
            stopping,
            tasks: std::sync::Mutex::new(tasks),
        }))
    }

    /// Ends all work; what is left is done after the next start.
    pub async fn stop(&self) {
        // Nobody listens where there is no rule.
        let _ = self.stopping.send(true);
        let tasks = std::mem::take(&mut *crate::sync::lock(&self.tasks));
        for task in tasks {
            let _ = task.await;
        }
    }

    /// Whether there are any.
    pub fn has_rules(&self) -> bool {
        !self.settings.is_empty()
    }

    /// How all rules are doing.
    ///
    /// # Errors
    /// [`MetaError`].
    pub async fn report(&self) -> Result<Vec<RuleReport>, MetaError> {
        let mut all = Vec::new();
        for settings in &self.settings {
            let mut rules = self.rules.iter();
            all.push(
                match rules.find(|rule| rule.settings.name == settings.name) {
                    Some(rule) => RuleReport::of(rule).await?,
                    None => RuleReport::idle(settings, &self.registry).await?,
                },
            );
        }
        Ok(all)
    }

    /// Lets a rule compare both sides, and try again what failed, as soon as can be.
    ///
    /// # Errors
    /// [`ReplicationError::Unknown`], [`ReplicationError::Meta`].
    pub async fn hurry(&self, name: &str) -> Result<(), ReplicationError> {
        let mut rules = self.rules.iter();
        let rule = rules.find(|rule| rule.settings.name == name);
        let rule = rule.ok_or_else(|| ReplicationError::Unknown(name.to_owned()))?;
        Ok(rule.hurry().await?)
    }

    /// Adds its numbers to `out`.
    ///
    /// # Errors
    /// [`MetaError`].
    pub async fn render(&self, out: &mut String) -> Result<(), MetaError> {
        let mut all = Vec::new();
        for rule in &self.rules {
            all.push((&**rule, RuleReport::of(rule).await?));
        }
        if !all.is_empty() {
            render(&all, out);
        }
        Ok(())
    }
}

/// How rules are doing that no registry works by now.
///
/// # Errors
/// [`MetaError`].
pub async fn report_stopped(
    settings: &[Replicate],
    registry: &Registry,
) -> Result<Vec<RuleReport>, MetaError> {
    let mut all = Vec::new();
    for settings in settings {
        all.push(RuleReport::idle(settings, registry).await?);
    }
    Ok(all)
}

/// Makes jobs of what changed here.
async fn tell(registry: Arc<Registry>, rules: Vec<Arc<Rule>>, mut stop: watch::Receiver<bool>) {
    let mut seen = None;
    loop {
        let commits = registry.replication().commits();
        // Of what others commit nothing is known.
        let same = seen == Some(commits) && !registry.is_shared();
        if !same && registry.leads() {
            match tell_once(&registry, &rules).await {
                // Our own commit is one, too.
                Ok(true) => continue,
                Ok(false) => seen = Some(commits),
                Err(e) => tracing::warn!(error = %e, "what is to be replicated cannot be read"),
            }
        }
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

/// The same for the oldest changes; whether there were any.
async fn tell_once(registry: &Registry, rules: &[Arc<Rule>]) -> Result<bool, MetaError> {
    let books = registry.replication();
    let (changes, last) = books.replication_changes(BATCH).await?;
    if changes.is_empty() {
        return Ok(false);
    }
    let mut jobs = Vec::new();
    let mut woken = Vec::new();
    for rule in rules {
        let settings = &rule.settings;
        let before = jobs.len();
        let wanted = changes.iter().filter(|change| {
            settings.wants_repository(&change.repository) && settings.may_want(&change.reference)
        });
        jobs.extend(wanted.map(|change| Changed {
            rule: settings.name.clone(),
            ..change.clone()
        }));
        if jobs.len() > before {
            woken.push(rule);
        }
    }
    books.add_replication_jobs(jobs, last).await?;
    for rule in woken {
        rule.wake.notify_one();
    }
    Ok(true)
}
