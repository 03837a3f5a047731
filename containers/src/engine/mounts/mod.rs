//! What is mounted in a container: from what was asked for to what the runtime mounts.
//!
//! | module | what it holds |
//! |---|---|
//! | [`bind`] | `-v` and `--volumes-from` |
//! | [`rule`] | `--mount` |
//! | [`tmpfs`] | options of memory file systems |
//! | [`local`] | volumes that are no directory of their own |
//! | [`make`] | mounts for the runtime |
//! | [`shared`] | what of this machine is shared, for propagation |
//! | [`show`] | mounts as docker shows them |

mod bind;
pub(super) mod local;
mod make;
mod rule;
mod shared;
mod show;
mod tmpfs;

use std::collections::BTreeMap;

use crate::error::{Error, Result};
use crate::record::{Config, HostConfig, MountPoint, MountSource};

pub(super) use make::{Places, mount, told};
pub(super) use show::document;

fn invalid(text: impl Into<String>) -> Error {
    Error::Invalid(text.into())
}

/// The containers whose volumes are taken, and whether they can be written to.
///
/// # Errors
/// What is no mode.
pub(super) fn lenders(host: &HostConfig) -> Result<Vec<(&str, bool)>> {
    let texts = host.volumes_from.iter().flatten();
    texts.map(|text| bind::source_of_volumes(text)).collect()
}

/// All mounts of a container, in the order in which they are made: what lies in another comes
/// after it. `lent` has the mounts of other containers that it takes.
///
/// # Errors
/// What cannot be understood, in docker's words.
pub(super) fn settle(
    config: &Config,
    host: &HostConfig,
    lent: &[(&[MountPoint], bool)],
) -> Result<Vec<MountPoint>> {
    let mut points: BTreeMap<String, MountPoint> = BTreeMap::new();
    for (theirs, writable) in lent {
        for point in theirs.iter().filter(|point| lends(point)) {
            let taken = bind::taken(point, *writable);
            points.insert(taken.target.clone(), taken);
        }
    }
    // What is asked for comes before what others have, and only once.
    let mut own: BTreeMap<String, MountPoint> = BTreeMap::new();
    let mut add = |point: MountPoint| match own.contains_key(&point.target) {
        true => Err(invalid(format!("Duplicate mount point: {}", point.target))),
        false => {
            own.insert(point.target.clone(), point);
            Ok(())
        }
    };
    for text in host.binds.iter().flatten() {
        add(named(bind::bind(text, &host.volume_driver)?))?;
    }
    for asked in &host.mounts {
        add(named(rule::settle(asked, rule::Missing::IsRefused)?))?;
    }
    for (target, options) in &host.tmpfs {
        add(memory(target, options)?)?;
    }
    points.append(&mut own);
    for path in config.volumes.iter().flatten().map(|(path, _)| path) {
        let target = golang::path::clean(&format!("/{path}"));
        if target == "/" {
            return Err(invalid("invalid specification: destination can't be '/'"));
        }
        // Whatever is mounted there already takes its place.
        points
            .entry(target.clone())
            .or_insert_with(|| anonymous(target));
    }
    let mut points: Vec<MountPoint> = points.into_values().collect();
    points.sort_by_key(|point| point.target.split('/').count());
    Ok(points)
}

/// Memory is nobody else's.
fn lends(point: &MountPoint) -> bool {
    !matches!(point.source, MountSource::Tmpfs { .. })
}

/// What docker shows of a volume that was asked for without a mode.
fn named(mut point: MountPoint) -> MountPoint {
    if point.volume().is_some() && point.mode.is_empty() {
        point.mode = "z".to_owned();
    }
    point
}

/// `--tmpfs TARGET[:OPTIONS]`
fn memory(target: &str, options: &str) -> Result<MountPoint> {
    let read = tmpfs::read(options).map_err(invalid)?;
    Ok(MountPoint {
        target: rule::target(target).map_err(invalid)?,
        readonly: read.flags.readonly,
        mode: options.to_owned(),
        source: MountSource::Tmpfs {
            options: options.to_owned(),
            told: false,
        },
    })
}

fn anonymous(target: String) -> MountPoint {
    MountPoint {
        target,
        readonly: false,
        mode: String::new(),
        source: MountSource::Volume {
            name: String::new(),
            anonymous: true,
            copies: true,
            subpath: String::new(),
            labels: BTreeMap::new(),
            options: BTreeMap::new(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binds(texts: &[&str]) -> HostConfig {
        HostConfig {
            binds: Some(texts.iter().map(|&text| text.to_owned()).collect()),
            ..HostConfig::default()
        }
    }

    fn shown(points: &[MountPoint]) -> Vec<String> {
        let shown = points.iter().map(|point| {
            let how = if point.readonly { ":ro" } else { "" };
            format!("{}:{}{how}", point.name(), point.target)
        });
        shown.collect()
    }

    #[test]
    fn what_lies_in_another_mount_comes_after_it() {
        let host = binds(&["/x:/a/b/c", "/y:/a"]);
        let points = settle(&Config::default(), &host, &[]).unwrap();
        assert_eq!(shown(&points), ["/y:/a", "/x:/a/b/c"]);
    }

    #[test]
    fn own_mounts_come_before_those_of_others_and_the_images_volumes_last() {
        let theirs = settle(
            &Config::default(),
            &HostConfig {
                tmpfs: [("/t".to_owned(), String::new())].into(),
                ..binds(&["v1:/a", "v2:/b", "/tmp:/c:ro"])
            },
            &[],
        )
        .unwrap();
        let config = Config {
            volumes: Some(
                ["/a", "/d"]
                    .map(|p| (p.to_owned(), Default::default()))
                    .into(),
            ),
            ..Config::default()
        };
        let lent: &[MountPoint] = &theirs;
        let points = settle(&config, &binds(&["v3:/b"]), &[(lent, false)]).unwrap();
        assert_eq!(shown(&points), ["v1:/a:ro", "v3:/b", "/tmp:/c:ro", ":/d"]);
    }

    #[test]
    fn two_of_one_place_are_refused() {
        for host in [
            binds(&["vv:/x", "v2:/x"]),
            HostConfig {
                tmpfs: [("/x".to_owned(), String::new())].into(),
                ..binds(&["vv:/x"])
            },
        ] {
            let error = settle(&Config::default(), &host, &[]).unwrap_err();
            assert_eq!(error.to_string(), "Duplicate mount point: /x");
        }
    }
}
