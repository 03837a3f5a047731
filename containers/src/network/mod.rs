//! Networks: what they are, and which a container gets. No effects.
//!
//! - [`definition`]: a network
//! - [`new`]: what is asked for, and how its parts are read
//! - [`parent`]: links of this machine that take the place of a bridge
//! - [`template`]: networks that are none, but what others are made from
//! - [`request`]: from what is asked for to a network
//! - [`note`]: what a container lets others read as long as it is on a network
//! - [`ports`]: from what is to be published to what is
//! - [`legacy`]: links on the bridge that all share

pub mod definition;
pub(crate) mod legacy;
pub mod new;
pub(crate) mod note;
mod parent;
pub mod ports;
pub mod request;
mod template;

use std::path::{Path, PathBuf};

use runtime::network::{Between, Config};

use crate::error::{Error, Result};

/// The bridge that containers share unless told otherwise.
pub(crate) const BRIDGE: &str = "rbuild1";
/// Where every process of this machine leases addresses, whatever its store is.
pub(crate) const LEASES: &str = "/run/rbuild";

/// What `--network` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The bridge that containers share.
    Bridge,
    /// This machine's network.
    Host,
    /// Nothing but `lo`.
    None,
    /// Another container's network, by its name or ID.
    Container(String),
    /// A network that somebody has made, by its name or ID.
    User(String),
}

impl Mode {
    /// Reads it.
    ///
    /// # Errors
    /// `container:` without one.
    pub fn parse(text: &str) -> Result<Self> {
        Ok(match text {
            "" | "default" | "bridge" => Self::Bridge,
            "host" => Self::Host,
            "none" => Self::None,
            "container:" => {
                let text = "invalid network mode: invalid container format container:<name|id>";
                return Err(Error::Invalid(text.to_owned()));
            }
            other => match other.strip_prefix("container:") {
                Some(container) => Self::Container(container.to_owned()),
                None => Self::User(other.to_owned()),
            },
        })
    }
}

/// How the bridge is made that containers share.
pub(crate) fn default_bridge() -> Config {
    Config {
        state_dir: PathBuf::from(LEASES),
        bridge: BRIDGE.to_owned(),
        between: Between::Everything,
        publishes: true,
        ..Config::default()
    }
}

/// Where all about this machine's bridges is kept.
pub(crate) fn directory() -> Result<PathBuf> {
    Ok(runtime::network::directory(Path::new(LEASES))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_read() {
        for (text, mode) in [
            ("", Mode::Bridge),
            ("default", Mode::Bridge),
            ("host", Mode::Host),
            ("none", Mode::None),
            ("container:x", Mode::Container("x".to_owned())),
            ("n1", Mode::User("n1".to_owned())),
        ] {
            assert_eq!(Mode::parse(text).unwrap(), mode);
        }
        let error = Mode::parse("container:").unwrap_err();
        let want = "invalid network mode: invalid container format container:<name|id>";
        assert_eq!(error.to_string(), want);
    }
}
