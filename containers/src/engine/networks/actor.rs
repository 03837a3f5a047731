//! How events tell of networks.

use crate::events::Actor;
use crate::network::definition::Network;

/// How events tell of a network, and of a container that comes to it.
pub(super) fn actor(network: &Network, container: Option<&str>) -> Actor {
    let known = (
        network.id.as_str(),
        network.name.as_str(),
        network.driver.as_str(),
    );
    Actor::network(known, container)
}
