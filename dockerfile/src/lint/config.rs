//! `# check=`: which rules run, and whether a violation is an error.

use std::collections::BTreeSet;

use crate::instruction::parse_bool;
use crate::rule::Rule;

/// Which rules run, and whether a violation fails the build.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Config {
    skip: Choice,
    experimental: Choice,
    /// Whether a violation is an error (`error=true`).
    pub error: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Choice {
    All,
    Some(BTreeSet<String>),
}

impl Default for Choice {
    fn default() -> Self {
        Self::Some(BTreeSet::new())
    }
}

impl Choice {
    fn read(value: &str) -> Self {
        match value.trim() {
            "all" => Self::All,
            names => Self::Some(
                names
                    .split(',')
                    .map(|name| name.trim().to_owned())
                    .collect(),
            ),
        }
    }

    fn and(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::Some(a), Self::Some(b)) => Self::Some(a.union(b).cloned().collect()),
            _ => Self::All,
        }
    }

    fn has(&self, rule: Rule) -> bool {
        match self {
            Self::All => true,
            Self::Some(names) => names.contains(rule.name()),
        }
    }
}

/// Options of `# check=` that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Not one of skip, experimental and error, or without a value.
    #[error("invalid check option {0:?}")]
    UnknownOption(String),
    /// `error=` with something else than a boolean.
    #[error("failed to parse check option {0:?}: it wants true or false")]
    NotBoolean(String),
}

impl Config {
    /// Reads `skip=RULE,RULE;experimental=RULE;error=true`, each `all` or a list of names. The
    /// same text is taken by the build argument `BUILDKIT_DOCKERFILE_CHECK`.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let mut config = Self::default();
        if text.trim().is_empty() {
            return Ok(config);
        }
        for option in text.split(';') {
            let unknown = || ConfigError::UnknownOption(option.trim().to_owned());
            let (key, value) = option.split_once('=').ok_or_else(unknown)?;
            match key.trim() {
                "skip" => config.skip = Choice::read(value),
                "experimental" => config.experimental = Choice::read(value),
                "error" => {
                    config.error = parse_bool(value.trim())
                        .ok_or_else(|| ConfigError::NotBoolean(option.trim().to_owned()))?;
                }
                _ => return Err(unknown()),
            }
        }
        Ok(config)
    }

    /// Reads the value of the directive, which ends at the first space.
    pub(crate) fn from_directive(value: &str) -> Result<Self, ConfigError> {
        Self::parse(value.split(' ').next().unwrap_or_default())
    }

    /// Reads a comment above an instruction, without its `#`: the same options for that
    /// instruction alone. `None` when it is an ordinary comment.
    pub(super) fn from_comment(text: &str) -> Option<Result<Self, ConfigError>> {
        let (name, value) = text.split_once('=')?;
        name.trim()
            .eq_ignore_ascii_case("check")
            .then(|| Self::from_directive(value.trim()))
    }

    /// The options of a file with those of one instruction added.
    pub(super) fn and(&self, own: &Self) -> Self {
        Self {
            skip: self.skip.and(&own.skip),
            experimental: self.experimental.and(&own.experimental),
            error: self.error || own.error,
        }
    }

    /// Whether `rule` runs.
    pub fn runs(&self, rule: Rule) -> bool {
        if rule.is_experimental() {
            self.experimental.has(rule)
        } else {
            !self.skip.has(rule)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_options() {
        let config = Config::parse("skip=StageNameCasing, FromAsCasing;error=true").unwrap();
        assert!(config.error);
        assert!(!config.runs(Rule::StageNameCasing) && !config.runs(Rule::FromAsCasing));
        assert!(config.runs(Rule::UndefinedVar) && !config.runs(Rule::CopyIgnoredFile));
        let config = Config::parse("skip=all;experimental=CopyIgnoredFile").unwrap();
        assert!(!config.runs(Rule::UndefinedVar) && config.runs(Rule::CopyIgnoredFile));
        assert_eq!(Config::parse("").unwrap(), Config::default());
        // Names are case-sensitive.
        assert!(
            Config::parse("skip=stagenamecasing")
                .unwrap()
                .runs(Rule::StageNameCasing)
        );
    }

    #[test]
    fn refuses_others() {
        for text in ["skip", "warn=true", "error=yes", "skip=A;"] {
            assert!(Config::parse(text).is_err(), "{text}");
        }
        assert!(Config::from_directive("skip=A error=yes").is_ok());
    }
}
