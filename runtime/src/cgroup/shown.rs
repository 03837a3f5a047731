//! How a container sees its control groups: the mounts below /sys/fs/cgroup.

use std::sync::OnceLock;

use super::host::{Hierarchies, Version};

/// A hierarchy as it is mounted for a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shown {
    /// Its folder below /sys/fs/cgroup; nothing when it is that itself.
    pub(crate) name: Option<String>,
    /// `cgroup` or `cgroup2`.
    pub(crate) fs: &'static str,
    /// The options that mount it.
    pub(crate) options: Vec<String>,
}

impl Shown {
    /// Whether systemd keeps its own groups in it.
    pub(crate) fn is_systemds(&self) -> bool {
        self.fs == "cgroup2" || self.options.iter().any(|option| option == "name=systemd")
    }
}

/// All that this host has: the one of version 2 where it is alone, else those of version 1.
pub(crate) fn shown() -> &'static [Shown] {
    static SHOWN: OnceLock<Vec<Shown>> = OnceLock::new();
    SHOWN.get_or_init(|| {
        let Ok(host) = Hierarchies::of_this_host() else {
            return Vec::new();
        };
        let all = host.all();
        let of_one = all.iter().filter(|place| place.version == Version::One);
        let mut shown: Vec<Shown> = of_one
            .filter_map(|place| {
                let mut options: Vec<String> = place.options().map(str::to_owned).collect();
                if options.iter().any(|option| option.starts_with("name=")) {
                    options.insert(0, "none".to_owned());
                }
                Some(Shown {
                    name: Some(place.mount.file_name()?.to_str()?.to_owned()),
                    fs: "cgroup",
                    options,
                })
            })
            .collect();
        if shown.is_empty() && !all.is_empty() {
            shown.push(Shown {
                name: None,
                fs: "cgroup2",
                options: Vec::new(),
            });
        }
        shown
    })
}
