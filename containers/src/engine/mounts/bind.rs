//! `-v`, and what stands behind `--volumes-from`.

use std::collections::BTreeMap;

use crate::error::{Error, Result};
use crate::record::{BindRule, DriverRule, MountPoint, MountRule, MountSource, VolumeRule};

use super::rule;

/// `ro` or `rw`, propagation, label, copying and consistency, each at most once.
const MODES: [&[&str]; 5] = [
    &["rw", "ro"],
    &[
        "private", "rprivate", "shared", "rshared", "slave", "rslave",
    ],
    &["Z", "z"],
    &["nocopy"],
    &["consistent", "cached", "delegated"],
];
const PROPAGATION: usize = 1;
const COPY: usize = 3;

/// Whether a text is a mode of `-v`.
fn is_mode(mode: &str) -> bool {
    if mode.is_empty() {
        return true;
    }
    let kinds = mode.split(',').map(kind_of);
    let mut seen = [false; MODES.len()];
    for kind in kinds {
        match kind.and_then(|kind| seen.get_mut(kind)) {
            Some(seen) if !*seen => *seen = true,
            _ => return false,
        }
    }
    true
}

fn kind_of(word: &str) -> Option<usize> {
    MODES.iter().position(|words| words.contains(&word))
}

fn of_kind(mode: &str, kind: usize) -> Option<&str> {
    mode.split(',').find(|word| kind_of(word) == Some(kind))
}

fn is_readonly(mode: &str) -> bool {
    mode.split(',').any(|word| word == "ro")
}

fn bad_mode(mode: &str) -> Error {
    Error::Invalid(format!("invalid mode: {mode}"))
}

/// `SOURCE:TARGET[:MODE]`, where the source is a path of this machine or a volume's name.
pub(super) fn bind(text: &str, driver: &str) -> Result<MountPoint> {
    let wrong = || Error::Invalid(format!("invalid volume specification: '{text}'"));
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, mode) = match parts.as_slice() {
        // A mode needs a source.
        [_, target] if is_mode(target) => return Err(wrong()),
        [source, target] => (*source, *target, ""),
        [source, target, mode] => (*source, *target, *mode),
        _ => return Err(wrong()),
    };
    if source.is_empty() {
        return Err(wrong());
    }
    if !is_mode(mode) {
        return Err(bad_mode(mode));
    }
    let mut asked = MountRule {
        source: source.to_owned(),
        target: target.to_owned(),
        read_only: is_readonly(mode),
        ..MountRule::default()
    };
    asked.kind = match source.starts_with('/') {
        true => "bind".to_owned(),
        false => "volume".to_owned(),
    };
    if let Some(propagation) = of_kind(mode, PROPAGATION) {
        asked.bind_options = Some(BindRule {
            propagation: propagation.to_owned(),
            ..BindRule::default()
        });
    }
    let copies = of_kind(mode, COPY).is_none();
    if !copies || (!driver.is_empty() && asked.kind == "volume") {
        asked.volume_options = Some(VolumeRule {
            no_copy: !copies,
            driver_config: (!driver.is_empty()).then(|| DriverRule {
                name: driver.to_owned(),
                options: BTreeMap::new(),
            }),
            ..VolumeRule::default()
        });
    }
    let point = rule::settle(&asked, rule::Missing::IsMade)
        .map_err(|error| Error::Invalid(format!("{}: {error}", wrong())))?;
    Ok(MountPoint {
        mode: mode.to_owned(),
        ..point
    })
}

/// `CONTAINER[:MODE]`: the container, and whether what it has can be written to.
///
/// # Errors
/// What is no mode, or none for this.
pub(super) fn source_of_volumes(text: &str) -> Result<(&str, bool)> {
    if text.is_empty() {
        let why = "volumes-from specification cannot be an empty string";
        return Err(Error::Invalid(why.to_owned()));
    }
    let (container, mode) = text.split_once(':').unwrap_or((text, ""));
    let is_own = of_kind(mode, PROPAGATION).is_some() || of_kind(mode, COPY).is_some();
    if !is_mode(mode) || is_own {
        return Err(bad_mode(mode));
    }
    Ok((container, !is_readonly(mode)))
}

/// A mount of another container, for one that takes its volumes.
pub(super) fn taken(point: &MountPoint, writable: bool) -> MountPoint {
    let mut taken = MountPoint {
        readonly: point.readonly || !writable,
        mode: String::new(),
        ..point.clone()
    };
    if let MountSource::Volume { copies, .. } = &mut taken.source {
        *copies = false;
    }
    taken
}

#[cfg(test)]
mod tests {
    use super::*;

    /// docker 28's sentences.
    #[test]
    fn binds_are_read_or_refused_in_dockers_words() {
        let point = bind("/a:/b/../c:ro,z", "").unwrap();
        assert_eq!((point.name(), point.target.as_str()), ("/a", "/c"));
        assert!(point.readonly);
        let point = bind("data:/b:nocopy", "").unwrap();
        assert!(matches!(
            &point.source,
            MountSource::Volume { name, copies: false, anonymous: false, .. } if name == "data"
        ));
        for (text, why) in [
            ("/b:ro", "invalid volume specification: '/b:ro'"),
            ("/a:/b:ro:x", "invalid volume specification: '/a:/b:ro:x'"),
            ("/a:/b:foo", "invalid mode: foo"),
            ("/a:/b:ro,rw", "invalid mode: ro,rw"),
            ("vv:/b:z,Z", "invalid mode: z,Z"),
            (
                "vv:/b:rshared",
                "invalid volume specification: 'vv:/b:rshared': invalid mount config for type \
                 \"volume\": field BindOptions must not be specified",
            ),
            (
                "/a:/b:nocopy",
                "invalid volume specification: '/a:/b:nocopy': invalid mount config for type \
                 \"bind\": field VolumeOptions must not be specified",
            ),
            (
                "/a:/",
                "invalid volume specification: '/a:/': invalid mount config for type \"bind\": \
                 invalid specification: destination can't be '/'",
            ),
            (
                "vv:b",
                "invalid volume specification: 'vv:b': invalid mount config for type \"volume\": \
                 invalid mount path: 'b' mount path must be absolute",
            ),
        ] {
            assert_eq!(bind(text, "").unwrap_err().to_string(), why);
        }
    }

    #[test]
    fn volumes_of_others_are_taken_as_they_are_or_read_only() {
        assert_eq!(source_of_volumes("web").unwrap(), ("web", true));
        assert_eq!(source_of_volumes("web:ro").unwrap(), ("web", false));
        assert_eq!(source_of_volumes("web:z").unwrap(), ("web", true));
        for (text, why) in [
            ("", "volumes-from specification cannot be an empty string"),
            ("web:foo", "invalid mode: foo"),
            ("web:nocopy", "invalid mode: nocopy"),
            ("web:rslave", "invalid mode: rslave"),
        ] {
            assert_eq!(source_of_volumes(text).unwrap_err().to_string(), why);
        }
        let point = bind("data:/b", "").unwrap();
        assert!(taken(&point, false).readonly && !taken(&point, true).readonly);
    }
}
