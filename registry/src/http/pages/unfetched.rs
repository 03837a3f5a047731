//! Tags of a mirrored repository that its upstream lists and nobody has pulled through yet.

use std::time::Duration;

use maud::{Markup, html};
use tokio::time::timeout;

use super::parts::command;
use super::path;
use super::stop::Stop;
use super::view::View;
use crate::mirror::{MirrorError, Stale};
use crate::name::RepositoryName;
use crate::service::{MAX_PAGE, ServiceError};

/// Tags in a page.
const PAGE: usize = 100;
/// How long a page waits for an upstream.
const PATIENCE: Duration = Duration::from_secs(3);

/// A page of them.
#[derive(Debug, Default)]
pub(super) struct Unfetched {
    /// By name.
    names: Vec<String>,
    /// Whether there are more after the last one.
    more: bool,
    /// Why the list may not be what the upstream has by now.
    stale: Option<Stale>,
    /// Why there is no list.
    failed: Option<String>,
}

impl Unfetched {
    /// The tags after the one that the parameter `beyond` names, of those that have `filter` in
    /// their names; nothing where no upstream answers for the repository.
    ///
    /// # Errors
    /// What the registry fails with.
    pub(super) async fn of(
        view: &View<'_>,
        name: &RepositoryName,
        filter: &str,
    ) -> Result<Option<Self>, Stop> {
        let Some(mirror) = view.api.mirror.as_ref().filter(|m| m.is_mirrored(name)) else {
            return Ok(None);
        };
        let mut found = Self::default();
        let mut last = view.parameter("beyond").to_owned();
        loop {
            let asked = timeout(PATIENCE, mirror.tags(name, MAX_PAGE, &last));
            let page = match asked.await {
                Ok(Ok(shown)) => {
                    found.stale = shown.stale;
                    shown.page
                }
                Ok(Err(MirrorError::Service(ServiceError::NameUnknown(_)))) => break,
                Ok(Err(MirrorError::Service(e))) => return Err(e.into()),
                Ok(Err(MirrorError::Unavailable(why))) => {
                    found.failed = Some(format!("No list of tags can be had: {why}"));
                    break;
                }
                // It is asked on, for whoever looks next.
                Err(_) => {
                    found.failed = Some("The upstream has not answered yet.".to_owned());
                    break;
                }
            };
            let end = page.names.last().cloned();
            let mut names = page.names;
            names.retain(|tag| tag.contains(filter));
            let missing = view.api.registry.tags_not_here(name, &names).await?;
            found.names.extend(missing);
            match end {
                Some(end) if page.more && found.names.len() <= PAGE => last = end,
                _ => break,
            }
        }
        found.more = found.names.len() > PAGE;
        found.names.truncate(PAGE);
        Ok(Some(found))
    }

    /// Whether there is nothing to be shown.
    pub(super) fn is_empty(&self) -> bool {
        self.names.is_empty() && self.failed.is_none()
    }

    /// Its part of the page.
    pub(super) fn part(&self, view: &View<'_>, name: &RepositoryName, filter: &str) -> Markup {
        let next = self.names.last().filter(|_| self.more);
        let next = next.map(|last| {
            path::with(
                &path::of("tags", name),
                &[("q", filter), ("beyond", last.as_str())],
            )
        });
        html! {
            @if !self.is_empty() { h2 #unfetched { "Not fetched yet" } }
            @if let Some(why) = &self.failed { p.error { (why) } }
            @if let Some(first) = self.names.first() {
                p.quiet {
                    "The upstream lists these too; a pull brings them here."
                    @match self.stale {
                        None => {}
                        Some(Stale::Asking) => { " The list is an older one; it is asked for now." }
                        Some(Stale::Unanswered) => {
                            " The list is an older one: the upstream does not answer."
                        }
                    }
                }
                (command(&format!("docker pull {}/{name}:{first}", view.host())))
                ul.unfetched { @for tag in &self.names { li { code { (tag) } } } }
            }
            @if let Some(next) = next { p.more { a.button href=(next) { "Next page" } } }
        }
    }
}
