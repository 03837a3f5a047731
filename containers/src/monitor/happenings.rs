//! What a container's coming and going means for its networks and volumes, as events tell it.

use crate::events::{Actor, Event, journal};
use crate::launch::{Launch, NetworkPlan, PlacePlan};

/// What only the event of a mount tells.
const OF_A_MOUNT: [&str; 3] = ["destination", "propagation", "read/write"];

fn tell(launch: &Launch, kind: &str, actor: Actor, action: &str) {
    journal::tell(&launch.root, &Event::of(kind, actor, action));
}

/// How events tell of a network that a container comes to or leaves.
pub(super) fn network(launch: &Launch, place: &PlacePlan) -> Option<Actor> {
    let parent = place.parent.as_ref();
    let driver = parent.map_or("bridge", |parent| parent.kind.as_str());
    let network = (place.network_id.as_str(), place.network.as_str(), driver);
    Some(Actor::network(network, Some(&launch.id)))
}

/// The same of the network of an ID, if the container is on it.
pub(super) fn network_of(launch: &Launch, id: &str) -> Option<Actor> {
    let NetworkPlan::Bridges { places, .. } = &launch.network else {
        return None;
    };
    let place = places.iter().find(|place| place.network_id == id)?;
    network(launch, place)
}

/// Tells it when it was done.
pub(super) fn tell_if(
    done: &Result<(), String>,
    launch: &Launch,
    actor: Option<Actor>,
    action: &str,
) {
    if let (Ok(()), Some(actor)) = (done, actor) {
        tell(launch, "network", actor, action);
    }
}

fn networks(launch: &Launch, action: &str) {
    let places = match &launch.network {
        NetworkPlan::Bridges { places, .. } => places.as_slice(),
        _ => &[],
    };
    let bridges = places.iter().filter_map(|place| network(launch, place));
    for actor in bridges.chain(launch.other_network.clone()) {
        tell(launch, "network", actor, action);
    }
}

/// It has started.
pub(super) fn came(launch: &Launch) {
    for actor in &launch.volumes {
        tell(launch, "volume", actor.clone(), "mount");
    }
    networks(launch, "connect");
}

/// It has ended.
pub(super) fn left(launch: &Launch) {
    networks(launch, "disconnect");
    for actor in &launch.volumes {
        let mut actor = actor.clone();
        for key in OF_A_MOUNT {
            actor.attributes.remove(key);
        }
        tell(launch, "volume", actor, "unmount");
    }
}
