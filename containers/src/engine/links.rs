//! Links on the bridge that all containers share, after they were made: a link is another name of
//! the container that it leads to, `PARENT/ALIAS`, and can be taken away.

use super::container::Container;
use super::handle::{Containers, blocking};
use crate::error::{Error, Result};
use crate::network::Mode;
use crate::network::legacy;
use crate::protocol::Request;

/// A link of a container.
pub(super) struct Named {
    /// The one that has it.
    parent: Container,
    /// As it was told.
    text: String,
    /// What the other is called by it.
    alias: String,
    /// The one that it leads to.
    pub(super) target: Container,
}

impl Containers {
    /// The link that has a name; nothing where there is none.
    pub(super) async fn link_named(&self, text: &str) -> Result<Option<Named>> {
        let split = text.trim_start_matches('/').split_once('/');
        let Some((parent, wanted)) = split else {
            return Ok(None);
        };
        let Ok(stored) = self.store.find_container(parent).await else {
            return Ok(None);
        };
        let parent = blocking(move || Container::read(stored)).await?;
        let links: Vec<String> = parent.links().cloned().collect();
        for text in links {
            let (name, alias) = legacy::parse(&text)?;
            if alias != wanted {
                continue;
            }
            let Ok(stored) = self.store.find_container(&name).await else {
                return Ok(None);
            };
            let target = blocking(move || Container::read(stored)).await?;
            return Ok(Some(Named {
                text,
                parent,
                alias,
                target,
            }));
        }
        Ok(None)
    }

    /// Takes a link away, `PARENT/ALIAS`: of a container that runs at once.
    ///
    /// # Errors
    /// In docker's words.
    pub async fn remove_link(&self, text: &str) -> Result<()> {
        let missing = || store::Error::NoSuchContainer(text.trim_matches('/').to_owned());
        let Some(link) = self.link_named(text).await? else {
            if text.trim_matches('/').contains('/') || self.find(text).await.is_err() {
                return Err(missing().into());
            }
            return Err(Error::Invalid(
                "Conflict, cannot remove the default link name of the container".to_owned(),
            ));
        };
        let mut parent = link.parent;
        let (id, record) = blocking(move || {
            let _lock = parent.change()?;
            parent.again()?;
            let mut links = parent.record.host.links.take().unwrap_or_default();
            links.retain(|one| *one != link.text);
            parent.record.host.links = (!links.is_empty()).then_some(links);
            if parent.state.status.is_alive() {
                parent.tell(&Request::Unlink {
                    container: link.target.id,
                    alias: link.alias,
                })?;
            }
            parent.written()
        })
        .await?;
        Ok(self.store.update_container(&id, &record).await?)
    }

    /// The variables of those that a container is linked to, as far as they run.
    pub(super) async fn link_variables(&self, container: &Container) -> Result<Vec<String>> {
        let mut all = Vec::new();
        for link in container.links() {
            if let Ok(linked) = self.linked(container, link).await {
                all.extend(linked.variables(&container.name));
            }
        }
        Ok(all)
    }
}

impl Container {
    /// Its links on the bridge that all share, as they were told.
    pub fn links(&self) -> impl Iterator<Item = &String> {
        let host = &self.record.host;
        let counts = matches!(Mode::parse(&host.network_mode), Ok(Mode::Bridge));
        host.links.iter().flatten().filter(move |_| counts)
    }

    /// Its links by name: the name of the other, and what it is called by this one.
    pub fn linked_names(&self) -> impl Iterator<Item = (String, String)> {
        self.links()
            .filter_map(|text| legacy::parse(text).ok())
            .map(|(other, alias)| (other, format!("{}/{alias}", self.name)))
    }
}
