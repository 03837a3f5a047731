//! The automatic platform arguments.

use crate::shell::Variables;
use crate::stage::{Dockerfile, Stage};

use super::global::Scope;

/// A platform in the parts that arguments tell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlatformParts {
    /// All of it, such as `linux/arm64/v8`.
    pub text: String,
    /// The operating system.
    pub os: String,
    /// Its version; empty where it does not matter.
    pub os_version: String,
    /// The architecture.
    pub architecture: String,
    /// Its variant; empty when there is one only.
    pub variant: String,
}

impl PlatformParts {
    /// From its text, `OS[(VERSION)]/ARCHITECTURE[/VARIANT]`, taken apart as it stands.
    pub fn new(text: &str) -> Self {
        let mut parts = text.splitn(3, '/');
        let mut part = || parts.next().unwrap_or_default();
        let (os, architecture, variant) = (part(), part(), part());
        let versioned = os.strip_suffix(')').and_then(|os| os.split_once('('));
        let (os, os_version) = versioned.unwrap_or((os, ""));
        Self {
            text: text.to_owned(),
            os: os.to_owned(),
            os_version: os_version.to_owned(),
            architecture: architecture.to_owned(),
            variant: variant.to_owned(),
        }
    }

    /// Operating system and architecture in Go's names, by which platforms are compared; `None`
    /// for a text that is no platform. A single word is either of them.
    pub(crate) fn compared(text: &str) -> Option<(String, String)> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '(' | ')');
        let sound = |part: &str| !part.is_empty() && part.chars().all(plain);
        let lower = text.to_ascii_lowercase();
        if lower.split('/').count() > 3 || !lower.split('/').all(sound) {
            return None;
        }
        let parts = Self::new(&lower);
        let (os, architecture) = match (parts.os.as_str(), parts.architecture.as_str()) {
            (os @ ("linux" | "windows" | "darwin" | "freebsd" | "macos" | "wasip1"), "") => {
                (os, "amd64")
            }
            (architecture, "") => ("linux", architecture),
            both => both,
        };
        let os = if os == "macos" { "darwin" } else { os };
        let architecture = match architecture {
            "x86_64" | "x86-64" => "amd64",
            "aarch64" => "arm64",
            "i386" => "386",
            "armhf" | "armel" => "arm",
            other => other,
        };
        Some((os.to_owned(), architecture.to_owned()))
    }
}

/// The name that TARGETSTAGE has when `target` is built, which is empty for the last stage.
pub fn target_stage(file: &Dockerfile, target: &str) -> String {
    let named = match target {
        "" => file.stages.last().and_then(Stage::name),
        target => Some(target.to_owned()),
    };
    let named = named.filter(|name| !name.is_empty());
    named.unwrap_or_else(|| "default".to_owned())
}

/// The automatic arguments of the global scope (reference, "Automatic platform ARGs in the global
/// scope"); what is given on the command line counts more.
pub fn automatic(
    build: &PlatformParts,
    target: &PlatformParts,
    stage: &str,
    given: &dyn Variables,
) -> Scope {
    let mut scope = Scope::new();
    let mut set = |name: String, value: &str| {
        let value = given.value(&name).unwrap_or(value).to_owned();
        scope.insert(name, value);
    };
    for (prefix, platform) in [("BUILD", build), ("TARGET", target)] {
        set(format!("{prefix}PLATFORM"), &platform.text);
        set(format!("{prefix}OS"), &platform.os);
        set(format!("{prefix}OSVERSION"), &platform.os_version);
        set(format!("{prefix}ARCH"), &platform.architecture);
        set(format!("{prefix}VARIANT"), &platform.variant);
    }
    set("TARGETSTAGE".to_owned(), stage);
    scope
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shell::NoVariables;

    #[test]
    fn a_platform_is_told_in_its_parts() {
        for (text, parts) in [
            ("linux/amd64", ["linux", "", "amd64", ""]),
            ("linux/arm64/v8", ["linux", "", "arm64", "v8"]),
            (
                "windows(10.0.17763)/amd64",
                ["windows", "10.0.17763", "amd64", ""],
            ),
        ] {
            let platform = PlatformParts::new(text);
            let scope = automatic(&PlatformParts::default(), &platform, "app", &NoVariables);
            let told = ["TARGETOS", "TARGETOSVERSION", "TARGETARCH", "TARGETVARIANT"];
            assert_eq!(told.map(|name| scope[name].as_str()), parts, "{text}");
            assert_eq!(scope["TARGETPLATFORM"], text);
            assert_eq!(scope["TARGETSTAGE"], "app");
        }
    }

    /// As containerd's platforms are normalised.
    #[test]
    fn platforms_are_compared_by_system_and_architecture() {
        for (text, compared) in [
            ("linux/amd64", Some(("linux", "amd64"))),
            ("Linux/X86_64", Some(("linux", "amd64"))),
            ("linux/arm64/v8", Some(("linux", "arm64"))),
            ("aarch64", Some(("linux", "arm64"))),
            ("windows", Some(("windows", "amd64"))),
            ("windows(10.0.17763)/amd64", Some(("windows", "amd64"))),
            ("macos/arm64", Some(("darwin", "arm64"))),
            ("", None),
            ("linux/", None),
            ("/amd64", None),
            ("linux/arm/v7/x", None),
            ("linux/$ARCH", None),
        ] {
            let wanted = compared.map(|(os, arch)| (os.to_owned(), arch.to_owned()));
            assert_eq!(PlatformParts::compared(text), wanted, "{text}");
        }
    }

    #[test]
    fn the_command_line_counts_more() {
        let given = [("TARGETOS", "plan9"), ("OTHER", "x")];
        let build = PlatformParts::new("linux/amd64");
        let scope = automatic(&build, &build, "default", &given.to_vec());
        assert_eq!(
            (scope["TARGETOS"].as_str(), scope["BUILDOS"].as_str()),
            ("plan9", "linux")
        );
        assert_eq!(scope.get("OTHER"), None);
    }
}
