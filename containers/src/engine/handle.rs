//! The handle.

use std::os::unix::net::UnixStream;

use store::Store;

use super::container::Container;
use crate::error::{Error, Result};
use crate::events::{Actor, Event, journal};
use crate::protocol::{self, Answer, Request};

/// The containers of a store. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Containers {
    pub(super) store: Store,
}

impl Containers {
    /// Those of this store.
    pub fn new(store: Store) -> Self {
        Self { store }
    }

    /// The store.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// A container by ID, name, the beginning of its ID, or a link to it.
    ///
    /// # Errors
    /// [`store::Error::NoSuchContainer`] and its kin.
    pub async fn find(&self, text: &str) -> Result<Container> {
        match self.store.find_container(text).await {
            Ok(stored) => blocking(move || Container::read(stored)).await,
            Err(missing @ store::Error::NoSuchContainer(_)) => {
                let link = self.link_named(text).await?;
                link.map(|link| link.target).ok_or(missing.into())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Writes down what has happened to a network, a volume or an image.
    pub fn tell_of(&self, kind: &str, actor: Actor, action: &str) {
        journal::tell(self.store.root(), &Event::of(kind, actor, action));
    }

    /// Writes down what has happened to a container; `more` are attributes of this event alone.
    pub(super) fn tell(&self, of: &Container, action: impl Into<String>, more: &[(&str, String)]) {
        let event = Event::of_container(&of.actor(), action, more);
        journal::tell(self.store.root(), &event);
    }
}

/// Runs what blocks where it may.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work).await?
}

impl Container {
    /// How events tell of it.
    pub(super) fn actor(&self) -> Actor {
        let config = &self.record.config;
        let mut attributes = config.labels.clone();
        attributes.insert("image".to_owned(), config.image.clone());
        attributes.insert("name".to_owned(), self.name.clone());
        Actor {
            id: self.id.clone(),
            attributes,
        }
    }

    /// A connection to its monitor.
    pub(super) fn connect(&self) -> Result<UnixStream> {
        let socket = self.folder.connect();
        socket
            .map(UnixStream::from)
            .map_err(|cause| Error::Monitor {
                id: self.id.clone(),
                cause,
            })
    }

    /// Asks its monitor for something.
    pub(super) fn ask(&self, request: &Request) -> Result<Answer> {
        let answer = protocol::ask(&mut self.connect()?, request);
        answer.map_err(|cause| Error::Monitor {
            id: self.id.clone(),
            cause,
        })
    }

    /// The same, where a refusal is an error.
    pub(super) fn tell(&self, request: &Request) -> Result<()> {
        match self.ask(request)? {
            Answer::Failed { message, .. } => Err(Error::Invalid(message)),
            Answer::Done | Answer::Ended { .. } => Ok(()),
        }
    }
}
