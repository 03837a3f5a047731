//! How many connections are open, and which goes when there is no room.
//!
//! Who holds connections and asks nothing does not keep others out: when all that may be open is
//! open, a new one takes the place of the idlest one of whoever has most. Nobody gains by that who
//! has as many as they.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use super::activity::Activity;
use crate::limits::network;
use crate::sync::lock;

/// The open connections.
#[derive(Debug)]
pub(super) struct Connections {
    each: usize,
    all: usize,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    /// By network, and by number.
    by_network: HashMap<IpAddr, BTreeMap<u64, Arc<Activity>>>,
    count: usize,
    next: u64,
}

/// One open connection; closed when dropped.
#[derive(Debug)]
pub(super) struct Place {
    connections: Arc<Connections>,
    network: IpAddr,
    number: u64,
    pub(super) activity: Arc<Activity>,
}

impl Connections {
    /// At most `each` of everybody, and `all` altogether; 0 is no limit.
    pub(super) fn new(each: usize, all: usize) -> Arc<Self> {
        Arc::new(Self {
            each,
            all,
            open: Mutex::default(),
        })
    }

    /// A place for one more connection from an address; `None` when that is too many. One that
    /// stands for `many` clients may have more than its part.
    pub(super) fn admit(self: &Arc<Self>, address: IpAddr, many: bool) -> Option<Place> {
        let network = network(address);
        let activity = Activity::new();
        let mut open = lock(&self.open);
        let own = open.by_network.get(&network).map_or(0, BTreeMap::len);
        if self.each > 0 && own >= self.each && !many {
            return None;
        }
        if self.all > 0 && open.count >= self.all && !open.make_room(own) {
            return None;
        }
        let number = open.next;
        open.next += 1;
        open.count += 1;
        let of_network = open.by_network.entry(network).or_default();
        of_network.insert(number, Arc::clone(&activity));
        drop(open);
        Some(Place {
            connections: Arc::clone(self),
            network,
            number,
            activity,
        })
    }
}

impl Open {
    /// Ends the idlest connection of a network that has more than `own`, of that one with most;
    /// whether there was one.
    fn make_room(&mut self, own: usize) -> bool {
        let mut networks: Vec<(usize, IpAddr)> = self
            .by_network
            .iter()
            .map(|(network, connections)| (connections.len(), *network))
            .filter(|(count, _)| *count > own + 1)
            .collect();
        networks.sort_unstable_by_key(|(count, _)| std::cmp::Reverse(*count));
        for (_, network) in networks {
            let idlest = self.by_network[&network]
                .iter()
                .filter_map(|(number, activity)| Some((activity.idle_since()?, *number)))
                .min();
            if let Some((_, number)) = idlest
                && let Some(activity) = self.remove(network, number)
            {
                activity.evict();
                return true;
            }
        }
        false
    }

    fn remove(&mut self, network: IpAddr, number: u64) -> Option<Arc<Activity>> {
        let connections = self.by_network.get_mut(&network)?;
        let activity = connections.remove(&number)?;
        if connections.is_empty() {
            self.by_network.remove(&network);
        }
        self.count -= 1;
        Some(activity)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // One that was evicted is not there any more.
        lock(&self.connections.open).remove(self.network, self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> IpAddr {
        [192, 0, 2, last].into()
    }

    #[test]
    fn an_address_has_no_more_than_its_part_and_closed_ones_are_forgotten() {
        let connections = Connections::new(2, 0);
        let first = connections.admit(address(1), false);
        let second = connections.admit(address(1), false);
        assert!(first.is_some() && second.is_some());
        assert!(connections.admit(address(1), false).is_none());
        assert!(connections.admit(address(2), false).is_some());
        // A proxy's are its clients'.
        assert!(connections.admit(address(1), true).is_some());
        drop(first);
        assert!(connections.admit(address(1), false).is_some());
        drop(second);
        let open = lock(&connections.open);
        assert_eq!((open.count, open.by_network.len()), (0, 0));
    }

    #[test]
    fn a_full_house_has_room_for_who_has_less() {
        let connections = Connections::new(0, 6);
        let held: Vec<Place> = [1, 1, 1, 1, 2, 2]
            .map(|last| connections.admit(address(last), false).unwrap())
            .into();
        // The first is busy, so that the second is the idlest of whoever has most.
        let busy = held[0].activity.asked();
        let third = connections.admit(address(3), false).unwrap();
        let there = |place: &Place| {
            let open = lock(&connections.open);
            open.by_network[&place.network].contains_key(&place.number)
        };
        assert_eq!(
            held.iter().map(there).collect::<Vec<_>>(),
            [true, false, true, true, true, true]
        );
        // Whoever has most gains nothing by asking for more.
        assert!(connections.admit(address(1), false).is_none());
        // Nor does anybody who would have as many as the one that gives.
        assert!(connections.admit(address(2), false).is_none());
        drop((busy, third));
        drop(held);
        assert_eq!(lock(&connections.open).count, 0);
    }

    #[test]
    fn who_is_being_answered_keeps_the_place() {
        let connections = Connections::new(0, 3);
        let held = [1, 1, 1].map(|last| connections.admit(address(last), false).unwrap());
        let _busy = held.each_ref().map(|place| place.activity.asked());
        assert!(connections.admit(address(2), false).is_none());
    }
}
