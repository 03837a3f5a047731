//! Volumes that are something else than a directory here: `-o type=… -o device=… -o o=…`.

use std::collections::BTreeMap;
use std::net::ToSocketAddrs as _;
use std::path::{Path, PathBuf};

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
        if let ("addr", Some(host), true) = (key.as_str(), value.as_mut(), is_remote(fs)) {
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

/// How failures to mount such a volume are told, by docker's library: what the runtime says it was
/// doing, and docker's sentence for it, in which passwords are left out.
pub(super) fn told(options: &BTreeMap<String, String>, data: &Path) -> Option<(String, String)> {
    let text = |key: &str| options.get(key).map(String::as_str).unwrap_or_default();
    let (fs, device) = (text("type"), text("device"));
    if device.is_empty() {
        return None;
    }
    let (mut flags, mut own, mut binds) = (0, Vec::new(), false);
    for word in text("o").split(',').filter(|word| !word.is_empty()) {
        binds |= matches!(word, "bind" | "rbind");
        match (
            FLAGS.iter().find(|(name, ..)| *name == word),
            word.split_once('='),
        ) {
            (Some((_, true, bits)), _) => flags |= bits,
            (Some((_, false, bits)), _) => flags &= !bits,
            (None, Some(("addr", host))) if is_remote(fs) => {
                own.push(format!(
                    "addr={}",
                    address(host).unwrap_or_else(|_| host.to_owned())
                ));
            }
            (None, Some(("password", _))) => own.push("password=********".to_owned()),
            (None, _) => own.push(word.to_owned()),
        }
    }
    let data = data.display();
    let mut sentence = format!(
        "error while mounting volume '{data}': failed to mount local volume: mount {device}:{data}"
    );
    if flags != 0 {
        sentence.push_str(&format!(", flags: {flags:#x}"));
    }
    if !own.is_empty() {
        sentence.push_str(&format!(", data: {}", own.join(",")));
    }
    let step = match binds {
        true => format!("bind {device}"),
        false => format!("mount {device} as {fs}"),
    };
    Some((step, sentence))
}

/// What mount(8) calls flags, whether it sets or clears them, and their bits (mount(2)).
const FLAGS: [(&str, bool, u32); 22] = [
    ("defaults", false, 0),
    ("rw", false, 0x1),
    ("ro", true, 0x1),
    ("suid", false, 0x2),
    ("nosuid", true, 0x2),
    ("dev", false, 0x4),
    ("nodev", true, 0x4),
    ("exec", false, 0x8),
    ("noexec", true, 0x8),
    ("async", false, 0x10),
    ("sync", true, 0x10),
    ("nomand", false, 0x40),
    ("mand", true, 0x40),
    ("dirsync", true, 0x80),
    ("atime", false, 0x400),
    ("noatime", true, 0x400),
    ("diratime", false, 0x800),
    ("nodiratime", true, 0x800),
    ("bind", true, 0x1000),
    ("rbind", true, 0x5000),
    ("relatime", true, 0x20_0000),
    ("strictatime", true, 0x100_0000),
];

/// Whether a file system is another machine's, which is named by `addr`.
fn is_remote(fs: &str) -> bool {
    matches!(fs, "nfs" | "nfs4" | "cifs")
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

    /// docker 28's sentences, of a kernel that has none of these file systems.
    #[test]
    fn failures_are_told_as_docker_tells_them() {
        let data = Path::new("/v/_data");
        let start = "error while mounting volume '/v/_data': failed to mount local volume: mount";
        for (pairs, step, rest) in [
            (
                &[
                    ("type", "nfs"),
                    ("device", ":/export"),
                    ("o", "addr=127.0.0.1,rw"),
                ][..],
                "mount :/export as nfs",
                ":/export:/v/_data, data: addr=127.0.0.1",
            ),
            (
                &[
                    ("type", "cifs"),
                    ("device", "//a/b"),
                    ("o", "username=u,password=p,vers=3.0"),
                ],
                "mount //a/b as cifs",
                "//a/b:/v/_data, data: username=u,password=********,vers=3.0",
            ),
            (
                &[("type", "none"), ("device", "/nowhere"), ("o", "bind,ro")],
                "bind /nowhere",
                "/nowhere:/v/_data, flags: 0x1001",
            ),
            (
                &[
                    ("type", "nfs"),
                    ("device", "a:/b"),
                    ("o", "nosuid,suid,noatime"),
                ],
                "mount a:/b as nfs",
                "a:/b:/v/_data, flags: 0x400",
            ),
        ] {
            let found = told(&options(pairs), data).unwrap();
            assert_eq!(found, (step.to_owned(), format!("{start} {rest}")));
        }
        assert!(told(&options(&[]), data).is_none());
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
