//! What package managers wrote down as installed.

use serde::{Deserialize, Serialize};

/// A database larger than this is not read, in bytes.
pub(super) const MAX_DATABASE: u64 = 64 << 20;

/// One package.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
}

/// A file in which a package manager keeps what is installed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Database {
    /// Its path in the layer.
    pub path: String,
    /// The package manager.
    pub manager: String,
    /// What is installed, by name.
    pub packages: Vec<Package>,
}

/// The package manager whose database is at a path.
pub(super) fn manager(path: &str) -> Option<&'static str> {
    match path {
        "var/lib/dpkg/status" => Some("dpkg"),
        "lib/apk/db/installed" | "usr/lib/apk/db/installed" => Some("apk"),
        // Images without dpkg itself have a file for each package.
        _ => {
            let name = path.strip_prefix("var/lib/dpkg/status.d/")?;
            (!name.ends_with(".md5sums") && !name.contains('/')).then_some("dpkg")
        }
    }
}

/// Reads a database.
pub(super) fn read(path: &str, manager: &str, bytes: &[u8]) -> Database {
    let text = String::from_utf8_lossy(bytes);
    let (name, version) = match manager {
        "apk" => ("P", "V"),
        _ => ("Package", "Version"),
    };
    let mut packages: Vec<Package> = text
        .split("\n\n")
        .filter_map(|stanza| package(stanza, name, version))
        .collect();
    packages.sort_unstable();
    packages.dedup();
    Database {
        path: path.to_owned(),
        manager: manager.to_owned(),
        packages,
    }
}

/// A package of its stanza; `None` when it is not installed, or there is none.
fn package(stanza: &str, name: &str, version: &str) -> Option<Package> {
    let field = |wanted: &str| {
        stanza.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            (key == wanted).then(|| value.trim())
        })
    };
    // dpkg: what is wanted, whether it is in order, and what it is.
    let there = field("Status").is_none_or(|status| status.ends_with(" installed"));
    let package = Package {
        name: field(name)?.to_owned(),
        version: field(version)?.to_owned(),
    };
    there.then_some(package)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn databases_are_known_by_their_paths() {
        for (path, expected) in [
            ("var/lib/dpkg/status", Some("dpkg")),
            ("var/lib/dpkg/status.d/base-files", Some("dpkg")),
            ("var/lib/dpkg/status.d/base-files.md5sums", None),
            ("lib/apk/db/installed", Some("apk")),
            ("usr/lib/apk/db/installed", Some("apk")),
            ("srv/var/lib/dpkg/status", None),
        ] {
            assert_eq!(manager(path), expected, "{path}");
        }
    }

    #[test]
    fn what_is_installed_is_read() {
        let dpkg = "Package: zlib1g\nStatus: install ok installed\nVersion: 1:1.2.13\n\
                    Description: a\n library\n\nPackage: gone\n\
                    Status: deinstall ok config-files\nVersion: 1\n\n\
                    Package: bash\nStatus: install ok installed\nVersion: 5.2-2\n";
        let apk = "C:Q1x=\nP:musl\nV:1.2.5-r0\nA:x86_64\nF:lib\nR:libc.so\n\nP:busybox\nV:1.36\n\n";
        let show = |database: &Database| {
            let packages = database.packages.iter();
            let packages = packages.map(|p| format!("{} {}", p.name, p.version));
            packages.collect::<Vec<_>>().join(", ")
        };
        let read_dpkg = read("var/lib/dpkg/status", "dpkg", dpkg.as_bytes());
        assert_eq!(show(&read_dpkg), "bash 5.2-2, zlib1g 1:1.2.13");
        let read_apk = read("lib/apk/db/installed", "apk", apk.as_bytes());
        assert_eq!(show(&read_apk), "busybox 1.36, musl 1.2.5-r0");
        assert_eq!(show(&read("x", "dpkg", b"\xff\xfe\n\n\n\nVersion: 1")), "");
    }
}
