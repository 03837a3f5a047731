//! Networks on a link of this machine, in place of a bridge: macvlan and ipvlan. Pure; the words of
//! what is refused are docker's.

use std::collections::BTreeMap;

use runtime::network::{ChildKind, Parent};

use super::definition::{Driver, Network};
use super::new::invalid;
use crate::error::Result;

/// docker's option for the link.
const PARENT: &str = "parent";
const MACVLAN_MODE: &str = "macvlan_mode";
const IPVLAN_MODE: &str = "ipvlan_mode";
const IPVLAN_FLAG: &str = "ipvlan_flag";
/// What the name of a link begins with that is made for a network.
const OWN: &str = "dm-";
/// Digits of the network's ID that follow.
const DIGITS: usize = 12;

type Options = BTreeMap<String, String>;

/// Words and what the kernel calls them (linux/if_link.h); the first is meant when none is said.
const MACVLAN_MODES: [(&str, u32); 4] = [
    ("bridge", 4),
    ("private", 1),
    ("vepa", 2),
    ("passthru", PASSTHRU),
];
const PASSTHRU: u32 = 8;
const IPVLAN_MODES: [(&str, u16); 3] = [("l2", 0), ("l3", 1), ("l3s", 2)];
const IPVLAN_FLAGS: [(&str, u16); 3] = [("bridge", 0), ("private", 1), ("vepa", 2)];

fn one_of<T: Copy>(options: &Options, key: &str, all: &[(&str, T)]) -> Option<T> {
    let said = options.get(key).map_or("", String::as_str);
    let found = all.iter().find(|(word, _)| *word == said);
    let first = all.first().filter(|_| said.is_empty());
    found.or(first).map(|(_, value)| *value)
}

fn kind(driver: Driver, options: &Options) -> Option<ChildKind> {
    match driver {
        Driver::Macvlan => one_of(options, MACVLAN_MODE, &MACVLAN_MODES).map(ChildKind::Macvlan),
        Driver::Ipvlan => Some(ChildKind::Ipvlan {
            mode: one_of(options, IPVLAN_MODE, &IPVLAN_MODES)?,
            flags: one_of(options, IPVLAN_FLAG, &IPVLAN_FLAGS)?,
        }),
        Driver::Bridge | Driver::Host | Driver::Null => None,
    }
}

fn said(options: &Options) -> Option<&String> {
    options.get(PARENT).filter(|link| !link.is_empty())
}

impl Network {
    /// The link of this machine that takes the place of a bridge.
    pub fn parent(&self) -> Option<Parent> {
        if self.record.config_only {
            return None;
        }
        let own = || format!("{OWN}{}", self.id.get(..DIGITS).unwrap_or(&self.id));
        let said = said(&self.record.options);
        Some(Parent {
            kind: kind(self.driver, &self.record.options)?,
            is_own: said.is_none(),
            link: said.cloned().unwrap_or_else(own),
        })
    }
}

/// Refuses options that make no sense, and links that others have for themselves.
pub(super) fn check(driver: Driver, options: &Options, others: &[Network]) -> Result<()> {
    let name = driver.as_str();
    let text = |key: &str| options.get(key).map_or("", String::as_str);
    let (what, key, default) = match driver {
        _ if kind(driver, options).is_some() => ("", "", ""),
        Driver::Macvlan => (
            "mode",
            MACVLAN_MODE,
            "'bridge' mode is the macvlan driver default",
        ),
        _ if one_of(options, IPVLAN_MODE, &IPVLAN_MODES).is_none() => (
            "mode",
            IPVLAN_MODE,
            "'l2' mode is the ipvlan driver default",
        ),
        _ => ("flag", IPVLAN_FLAG, "'bridge' is the ipvlan driver default"),
    };
    if !what.is_empty() {
        let value = text(key);
        return invalid(format!(
            "requested {name} {what} '{value}' is not valid, {default}"
        ));
    }
    let Some(link) = said(options) else {
        return Ok(());
    };
    if link == "lo" {
        return invalid(format!(
            "loopback interface is not a valid {name} parent link"
        ));
    }
    let alone = ChildKind::Macvlan(PASSTHRU);
    let is_alone = kind(driver, options) == Some(alone);
    for other in others.iter().filter(|other| other.driver == driver) {
        let Some(parent) = other.parent().filter(|parent| parent.link == *link) else {
            continue;
        };
        if is_alone {
            return invalid(format!(
                "cannot use mode passthru, macvlan network {} is already using parent interface \
                 {link}",
                other.id
            ));
        }
        if parent.kind == alone {
            return invalid(format!(
                "macvlan network {} is already using parent interface {link} in mode passthru",
                other.id
            ));
        }
    }
    Ok(())
}
