//! Platforms: `os/architecture[/variant]` (OCI image-spec, image-index.md, "platform").

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What an image runs on.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Platform {
    /// The CPU architecture, in Go's words (`amd64`, `arm64`, …).
    pub architecture: String,
    /// The operating system, in Go's words.
    pub os: String,
    /// The version of the operating system; used for Windows.
    #[serde(
        rename = "os.version",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub os_version: Option<String>,
    /// Features that the operating system must have.
    #[serde(
        rename = "os.features",
        default,
        deserialize_with = "crate::null::null_as_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub os_features: Vec<String>,
    /// The variant of the CPU, such as `v7`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

/// The architectures that a single word may name.
const KNOWN: [&str; 14] = [
    "386", "amd64", "arm", "arm64", "loong64", "mips", "mips64", "mips64le", "mipsle", "ppc64",
    "ppc64le", "riscv64", "s390x", "wasm",
];

/// Why a text is not a platform.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no platform: expected os/architecture[/variant], as in linux/amd64 or linux/arm/v7"
)]
pub struct PlatformError(String);

impl Platform {
    /// The platform that this program runs on.
    pub fn host() -> Self {
        let (architecture, variant) = normalise(std::env::consts::ARCH, None);
        Self {
            architecture,
            os: std::env::consts::OS.to_owned(),
            os_version: None,
            os_features: Vec::new(),
            variant,
        }
    }

    /// Whether an image for `self` can be used where `wanted` is asked for.
    pub fn satisfies(&self, wanted: &Self) -> bool {
        let (a, av) = normalise(&self.architecture, self.variant.as_deref());
        let (b, bv) = normalise(&wanted.architecture, wanted.variant.as_deref());
        self.os == wanted.os && a == b && (av == bv || bv.is_none())
    }
}

/// Go's names, with the variants that are the default left out (as containerd's platforms do).
fn normalise(architecture: &str, variant: Option<&str>) -> (String, Option<String>) {
    let (architecture, implied) = match architecture {
        "x86_64" | "x86-64" => ("amd64", None),
        "i386" | "i486" | "i686" | "x86" => ("386", None),
        "aarch64" => ("arm64", None),
        "armhf" => ("arm", Some("v7")),
        "armel" => ("arm", Some("v6")),
        "powerpc64" => ("ppc64", None),
        "powerpc64le" => ("ppc64le", None),
        other => (other, None),
    };
    let variant = match (architecture, variant.or(implied)) {
        ("arm64", Some("v8" | "8")) | ("amd64", Some("v1")) => None,
        ("arm", None | Some("" | "7")) => Some("v7".to_owned()),
        (_, None | Some("")) => None,
        (_, Some(variant)) => Some(variant.to_owned()),
    };
    (architecture.to_owned(), variant)
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}

impl FromStr for Platform {
    type Err = PlatformError;

    fn from_str(s: &str) -> Result<Self, PlatformError> {
        let error = || PlatformError(s.to_owned());
        let lower = s.to_ascii_lowercase();
        let mut parts = lower.split('/');
        let os = parts.next().filter(|p| word(p)).ok_or_else(error)?;
        let architecture = parts.next();
        let variant = parts.next();
        if parts.next().is_some() || !variant.is_none_or(word) {
            return Err(error());
        }
        // A single word is an operating system or an architecture, as `docker build --platform`.
        let (os, architecture) = match architecture {
            Some(architecture) if word(architecture) => (os, architecture.to_owned()),
            Some(_) => return Err(error()),
            None if matches!(os, "linux" | "windows" | "darwin" | "freebsd") => {
                (os, Self::host().architecture)
            }
            None if KNOWN.contains(&normalise(os, None).0.as_str()) => ("linux", os.to_owned()),
            None => return Err(error()),
        };
        let os = if os == "macos" { "darwin" } else { os };
        let (architecture, variant) = normalise(&architecture, variant);
        Ok(Self {
            architecture,
            os: os.to_owned(),
            os_version: None,
            os_features: Vec::new(),
            variant,
        })
    }
}

fn word(part: &str) -> bool {
    !part.is_empty()
        && part
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn platforms_are_normalised() {
        for (text, shown) in [
            ("linux/amd64", "linux/amd64"),
            ("linux/x86_64", "linux/amd64"),
            ("Linux/aarch64", "linux/arm64"),
            ("linux/arm64/v8", "linux/arm64"),
            ("linux/arm", "linux/arm/v7"),
            ("linux/armhf", "linux/arm/v7"),
            ("linux/arm/v6", "linux/arm/v6"),
            ("arm64", "linux/arm64"),
        ] {
            assert_eq!(text.parse::<Platform>().unwrap().to_string(), shown);
        }
        for text in ["", "/", "linux/", "linux/a/b/c", "li nux/amd64", "foo"] {
            assert!(text.parse::<Platform>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_variant_that_is_asked_for_must_match() {
        let v6: Platform = "linux/arm/v6".parse().unwrap();
        let v7: Platform = "linux/arm/v7".parse().unwrap();
        assert!(!v6.satisfies(&v7));
        assert!(v7.satisfies(&v7));
    }
}
