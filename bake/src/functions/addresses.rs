//! Functions of IP networks, `ADDRESS/LENGTH`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::wants::{Arguments as _, World};
use crate::value::Value;

type Result<T> = std::result::Result<T, String>;

/// The most bits that a prefix is made longer by in one call.
const LONGEST_STEP: i64 = 32;

/// A network as numbers.
#[derive(Clone, Copy)]
struct Network {
    /// Its first address.
    first: u128,
    /// The bits that are the same in all of it.
    length: u32,
    /// The bits of an address: 32 or 128.
    bits: u32,
}

impl Network {
    fn read(text: &str) -> Result<Self> {
        let read = || {
            let (address, length) = text.split_once('/')?;
            let (number, bits) = match address.parse().ok()? {
                IpAddr::V4(address) => (u128::from(u32::from(address)), 32),
                IpAddr::V6(address) => (u128::from(address), 128),
            };
            let digits = length.bytes().all(|c| c.is_ascii_digit());
            let length = length.parse().ok().filter(|n| digits && *n <= bits)?;
            let whole = Self {
                first: 0,
                length,
                bits,
            };
            Some(Self {
                first: number & !whole.hosts(),
                ..whole
            })
        };
        read().ok_or_else(|| format!("invalid CIDR expression: invalid CIDR address: {text}"))
    }

    /// The bits that are not the prefix's, all set.
    fn hosts(self) -> u128 {
        low(self.bits - self.length)
    }

    fn address(self, number: u128) -> IpAddr {
        match u32::try_from(number) {
            Ok(number) if self.bits == 32 => IpAddr::V4(Ipv4Addr::from(number)),
            _ => IpAddr::V6(Ipv6Addr::from(number)),
        }
    }

    fn text(self) -> String {
        format!("{}/{}", self.address(self.first), self.length)
    }
}

/// So many low bits.
fn low(bits: u32) -> u128 {
    match bits {
        0 => 0,
        bits => u128::MAX >> (128 - bits),
    }
}

/// `cidrhost`: the address of a number in a network; below 0 counted from its end.
pub fn host(of: &[Value], _: &World) -> Result<Value> {
    let network = Network::read(of.text(0))?;
    let number = of.whole(1)?;
    let size = number.unsigned_abs();
    let last = network.hosts();
    let at = match number {
        0.. => Some(u128::from(size)).filter(|at| *at <= last),
        _ => last.checked_sub(u128::from(size) - 1),
    };
    let at = at.ok_or_else(|| {
        format!(
            "prefix of {} does not accommodate a host numbered {number}",
            network.length
        )
    })?;
    Ok(Value::text(network.address(network.first | at).to_string()))
}

/// `cidrnetmask`: the mask of a network, as an address.
pub fn netmask(of: &[Value], _: &World) -> Result<Value> {
    let network = Network::read(of.text(0))?;
    let mask = low(network.bits) & !network.hosts();
    Ok(Value::text(network.address(mask).to_string()))
}

/// `cidrsubnet`: the subnet of a number, whose prefix is so many bits longer.
pub fn subnet(of: &[Value], _: &World) -> Result<Value> {
    let network = Network::read(of.text(0))?;
    let (more, number) = (of.whole(1)?, of.whole(2)?);
    if more > LONGEST_STEP {
        return Err("may not extend prefix by more than 32 bits".to_owned());
    }
    let more = u32::try_from(more).map_err(|_| "may not shorten the prefix".to_owned())?;
    let length = network.length + more;
    if length > network.bits {
        return Err(format!(
            "insufficient address space to extend prefix of {} by {more}",
            network.length
        ));
    }
    let at = u128::try_from(number).ok().filter(|at| *at <= low(more));
    let at = at.ok_or_else(|| {
        format!("prefix extension of {more} does not accommodate a subnet numbered {number}")
    })?;
    let shift = network.bits - length;
    let offset = if shift == 128 { 0 } else { at << shift };
    let found = Network {
        first: network.first | offset,
        length,
        ..network
    };
    Ok(Value::text(found.text()))
}

/// `cidrsubnets`: subnets one behind the other, each with a prefix so many bits longer.
pub fn subnets(of: &[Value], _: &World) -> Result<Value> {
    let whole = Network::read(of.text(0))?;
    let mut found: Vec<Network> = Vec::new();
    for at in 1..of.len() {
        let more = of.whole(at)?;
        if more > LONGEST_STEP {
            return Err("may not extend prefix by more than 32 bits".to_owned());
        }
        let more = u32::try_from(more).ok().filter(|more| *more > 0);
        let more = more.ok_or("must extend prefix by at least one bit")?;
        let length = whole.length + more;
        if length > whole.bits {
            let version = if whole.bits == 32 { 4 } else { 6 };
            return Err(format!(
                "would extend prefix to {length} bits, which is too long for an IPv{version} \
                 address"
            ));
        }
        let first = match found.last() {
            None => whole.first,
            Some(last) => {
                let end = last.first | last.hosts() | low(whole.bits - length);
                let next = end.checked_add(1);
                let inside = next.filter(|next| next & !whole.hosts() == whole.first);
                inside.ok_or_else(|| {
                    format!(
                        "not enough remaining address space for a subnet with a prefix of \
                         {length} bits after {}",
                        last.text()
                    )
                })?
            }
        };
        found.push(Network {
            first,
            length,
            ..whole
        });
    }
    let texts = found.into_iter().map(|one| Value::text(one.text()));
    Ok(Value::List(texts.collect()))
}
