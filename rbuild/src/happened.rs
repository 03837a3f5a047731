//! What has happened to images, as events tell it.

use std::collections::BTreeMap;

use containers::events::{Actor, Event, journal};
use oci::{Digest, ImageConfig};
use store::Store;

/// An image as events tell of it: its ID, and its labels.
#[derive(Clone, Debug)]
pub struct Told {
    id: Digest,
    labels: BTreeMap<String, String>,
}

impl Told {
    /// What is known of an image, or of an index, which has no labels.
    pub async fn of(store: &Store, id: &Digest) -> Self {
        let config = store.config(id).await.ok();
        let config = config.and_then(|bytes| serde_json::from_slice::<ImageConfig>(&bytes).ok());
        Self {
            id: id.clone(),
            labels: config
                .and_then(|config| config.config)
                .map(|config| config.labels)
                .unwrap_or_default(),
        }
    }

    /// Whether it has this ID.
    pub fn is(&self, id: &Digest) -> bool {
        self.id == *id
    }

    /// Writes down what has happened to it by a name; docker takes its ID where there is none.
    pub fn tell(&self, store: &Store, name: Option<&str>, action: &str) {
        self.write(store, name, action, self.labels.clone());
    }

    /// The same, when nothing more is known of it: it is gone.
    pub fn tell_end(&self, store: &Store, action: &str) {
        self.write(store, None, action, BTreeMap::new());
    }

    fn write(
        &self,
        store: &Store,
        name: Option<&str>,
        action: &str,
        labels: BTreeMap<String, String>,
    ) {
        let id = self.id.to_string();
        let actor = Actor::image(&id, name.unwrap_or(&id)).labeled(labels);
        journal::tell(store.root(), &Event::of("image", actor, action));
    }
}

/// Writes down what has happened to an image of a name; docker takes its ID where there is none.
pub async fn tell(store: &Store, id: &Digest, name: Option<&str>, action: &str) {
    Told::of(store, id).await.tell(store, name, action);
}

/// Writes down that all of a kind was removed that nobody used, and how many bytes it had.
pub fn tell_of_prune(store: &Store, kind: &str, reclaimed: u64) {
    let actor = Actor::pruned(reclaimed);
    journal::tell(store.root(), &Event::of(kind, actor, "prune"));
}
