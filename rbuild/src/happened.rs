//! What has happened to images, as events tell it.

use containers::events::{Actor, Event, journal};
use oci::Digest;
use store::Store;

/// Writes down what has happened to an image of a name; docker takes its ID where there is none.
pub fn tell(store: &Store, id: &Digest, name: Option<&str>, action: &str) {
    let id = id.to_string();
    let actor = Actor::image(&id, name.unwrap_or(&id));
    journal::tell(store.root(), &Event::of("image", actor, action));
}
