//! Build arguments: what `--build-arg` gives, what is predefined, and what a scope sees.

use std::collections::BTreeMap;

use dockerfile::eval::platform::PlatformParts;
use dockerfile::shell::Variables;
use oci::Platform;

/// Proxy settings: usable without ARG, and left out of history and cache keys (reference,
/// "Predefined ARGs").
pub const PROXIES: [&str; 10] = [
    "HTTP_PROXY",
    "http_proxy",
    "HTTPS_PROXY",
    "https_proxy",
    "FTP_PROXY",
    "ftp_proxy",
    "NO_PROXY",
    "no_proxy",
    "ALL_PROXY",
    "all_proxy",
];

/// The argument that dates a build.
pub const EPOCH: &str = "SOURCE_DATE_EPOCH";

/// What is given to a build from outside.
#[derive(Clone, Debug, Default)]
pub struct BuildArgs {
    values: BTreeMap<String, String>,
    epoch: Option<i64>,
}

impl BuildArgs {
    /// From `NAME=value` pairs; a later one wins.
    pub fn new(pairs: impl IntoIterator<Item = (String, String)>) -> Self {
        Self {
            values: pairs.into_iter().collect(),
            epoch: None,
        }
    }

    /// The value given for a name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// The proxies among them, as `NAME=value`. A RUN gets each in upper and in lower case, as
    /// programs look for either; where both are given, the lower case one counts for both.
    pub fn proxies(&self) -> Vec<String> {
        let pairs = PROXIES.chunks(2);
        let given = pairs.filter_map(|names| {
            let value = names.iter().rev().find_map(|name| self.get(name))?;
            Some(names.iter().map(move |name| format!("{name}={value}")))
        });
        given.flatten().collect()
    }

    /// The time that everything made is dated to, seconds since 1970: what `SOURCE_DATE_EPOCH`
    /// came to ([`BuildArgs::date`]).
    pub fn source_date_epoch(&self) -> Option<i64> {
        self.epoch
    }

    /// Dates the build. What was said in words (`context`, a stage) is told to the stages in
    /// seconds, or as nothing where it came to nothing.
    pub fn date(&mut self, epoch: Option<i64>, in_words: bool) {
        self.epoch = epoch;
        if in_words {
            let text = epoch.map(|seconds| seconds.to_string());
            self.values
                .insert(EPOCH.to_owned(), text.unwrap_or_default());
        }
    }
}

/// A platform in the parts that arguments tell.
pub fn platform_parts(platform: &Platform) -> PlatformParts {
    PlatformParts {
        text: platform.to_string(),
        os: platform.os.clone(),
        os_version: platform.os_version.clone().unwrap_or_default(),
        architecture: platform.architecture.clone(),
        variant: platform.variant.clone().unwrap_or_default(),
    }
}

/// Given arguments are what a build check sees of them.
impl Variables for BuildArgs {
    fn value(&self, name: &str) -> Option<&str> {
        self.get(name)
    }

    fn names(&self) -> Vec<&str> {
        self.values.keys().map(String::as_str).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxies_come_in_both_cases() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let args = BuildArgs::new([pair("HTTP_PROXY", "http://a"), pair("NAME", "x")]);
        assert_eq!(
            args.proxies(),
            ["HTTP_PROXY=http://a", "http_proxy=http://a"]
        );
        let args = BuildArgs::new([pair("no_proxy", "l"), pair("NO_PROXY", "u")]);
        assert_eq!(args.proxies(), ["NO_PROXY=l", "no_proxy=l"]);
    }
}
