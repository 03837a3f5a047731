//! Volumes that are something else than a directory here: `-o type=… -o device=… -o o=…`.

use std::collections::BTreeMap;
use std::net::ToSocketAddrs as _;
use std::path::PathBuf;

use runtime::{BindOptions, MountFlags, MountKind};

use crate::error::{Error, Result};

use super::tmpfs;

/// Checks the options of a volume.
///
/// # Errors
/// docker's sentences.
pub(crate) fn check(options: &BTreeMap<String, String>) -> Result<(), String> {
    const KNOWN: [&str; 4] = ["type", "o", "device", "size"];
    if let Some(key) = options.keys().find(|key| !KNOWN.contains(&key.as_str())) {
        return Err(format!("invalid option: {key:?}"));
    }
    if options.contains_key("size") {
        return Err("quota size requested but no quota support".to_owned());
    }
    for (key, needed) in [
        ("device", &["type"][..]),
        ("type", &["device"]),
        ("o", &["device", "type"]),
    ] {
        let missing = needed.iter().find(|needed| !options.contains_key(**needed));
        if let (true, Some(missing)) = (options.contains_key(key), missing) {
            return Err(format!("missing required option: {missing:?}"));
        }
    }
    Ok(())
}

/// What a volume with options is mounted from; nothing when it is a directory of its own.
pub(super) fn kind(
    options: &BTreeMap<String, String>,
    (subpath, readonly): (&str, bool),
) -> Result<Option<MountKind>> {
    let text = |key: &str| options.get(key).map(String::as_str).unwrap_or_default();
    let (fs, device) = (text("type"), text("device"));
    if device.is_empty() {
        return Ok(None);
    }
    let mut flags = MountFlags::default();
    let mut own = Vec::new();
    let mut binds = None;
    for word in text("o").split(',').filter(|word| !word.is_empty()) {
        match word {
            "bind" => binds = Some(true),
            "rbind" => binds = Some(false),
            word if tmpfs::flag(&mut flags, word) => {}
            word => own.push(match word.split_once('=') {
                Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
                None => (word.to_owned(), None),
            }),
        }
    }
    flags.readonly |= readonly;
    if let Some(alone) = binds {
        return Ok(Some(MountKind::Bind {
            source: PathBuf::from(device),
            below: subpath.to_owned(),
            options: BindOptions {
                readonly: flags.readonly,
                alone,
                propagates_below: true,
                ..BindOptions::default()
            },
        }));
    }
    for (key, value) in &mut own {
        if let ("addr", Some(host)) = (key.as_str(), value.as_mut()) {
            *host = address(host)?;
        }
    }
    Ok(Some(MountKind::Made {
        fs: fs.to_owned(),
        source: device.to_owned(),
        options: own,
        below: subpath.to_owned(),
        flags,
    }))
}

/// The kernel knows no names.
fn address(host: &str) -> Result<String> {
    let found = (host, 0).to_socket_addrs();
    let unknown = |why: String| {
        Error::Invalid(format!(
            "error resolving passed in network volume address: {why}"
        ))
    };
    let mut found = found.map_err(|error| unknown(error.to_string()))?;
    let first = found.next().ok_or_else(|| unknown(host.to_owned()))?;
    Ok(first.ip().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        let pairs = pairs.iter();
        pairs
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    }

    /// docker 28's sentences.
    #[test]
    fn options_are_checked_as_docker_does() {
        for (pairs, why) in [
            (&[("foo", "bar")][..], "invalid option: \"foo\""),
            (&[("type", "tmpfs")], "missing required option: \"device\""),
            (&[("o", "size=1m")], "missing required option: \"device\""),
            (&[("device", "/tmp")], "missing required option: \"type\""),
        ] {
            assert_eq!(check(&options(pairs)).unwrap_err(), why);
        }
        check(&options(&[
            ("type", "tmpfs"),
            ("device", "tmpfs"),
            ("o", "size=1m"),
        ]))
        .unwrap();
    }

    #[test]
    fn what_is_bound_is_a_bind_and_the_rest_a_file_system() {
        assert!(kind(&options(&[]), ("", false)).unwrap().is_none());
        let bind = options(&[("type", "none"), ("device", "/srv"), ("o", "bind,ro")]);
        let Some(MountKind::Bind {
            source,
            options: how,
            ..
        }) = kind(&bind, ("", false)).unwrap()
        else {
            panic!("not bound");
        };
        assert!(source.as_os_str() == "/srv" && how.readonly && how.alone);
        let nfs = options(&[
            ("type", "nfs"),
            ("device", ":/export"),
            ("o", "addr=127.0.0.1,rw,soft"),
        ]);
        let Some(MountKind::Made {
            fs,
            options: own,
            flags,
            ..
        }) = kind(&nfs, ("", true)).unwrap()
        else {
            panic!("not made");
        };
        assert!(fs == "nfs" && flags.readonly);
        let addr = ("addr".to_owned(), Some("127.0.0.1".to_owned()));
        assert_eq!(own, [addr, ("soft".to_owned(), None)]);
    }
}
