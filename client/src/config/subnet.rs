//! Networks of addresses.

use std::net::IpAddr;

/// Whether an address is in a network.
pub(super) fn contains((network, bits): (IpAddr, u8), address: IpAddr) -> bool {
    let shift = |width: u8| u32::from(width.saturating_sub(bits));
    match (network, address) {
        (IpAddr::V4(network), IpAddr::V4(address)) => {
            let different = network.to_bits() ^ address.to_bits();
            different.checked_shr(shift(32)).unwrap_or(0) == 0
        }
        (IpAddr::V6(network), IpAddr::V6(address)) => {
            let different = network.to_bits() ^ address.to_bits();
            different.checked_shr(shift(128)).unwrap_or(0) == 0
        }
        _ => false,
    }
}
