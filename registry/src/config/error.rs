//! What is wrong with settings.

use std::path::PathBuf;

/// Why the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {path}: {cause}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// The file is no TOML, or a list in it is not as it should be.
    #[error("{path}: {cause}")]
    Toml {
        /// The file.
        path: PathBuf,
        /// Where and what.
        cause: Box<toml::de::Error>,
    },
    /// A key that there is not.
    #[error("{path}: unknown key `{key}`{}", suggest(.similar))]
    Unknown {
        /// The file, with the line.
        path: PathBuf,
        /// The key.
        key: String,
        /// The key that was meant, perhaps.
        similar: Option<&'static str>,
    },
    /// An environment variable that is no setting.
    #[error("unknown environment variable {name}{}", suggest_variable(.list, .similar))]
    Variable {
        /// The variable.
        name: String,
        /// The list that it names: lists stand in the file only.
        list: Option<&'static str>,
        /// The variable that was meant, perhaps.
        similar: Option<String>,
    },
    /// A value that its key cannot have.
    #[error("{key} = {value}: {why}")]
    Value {
        /// The key.
        key: &'static str,
        /// The value.
        value: String,
        /// What it should be.
        why: String,
    },
    /// One of these, with where it stands.
    #[error("{place}: {cause}")]
    Placed {
        /// The file and line, or the variable.
        place: String,
        /// What is wrong there.
        cause: Box<Self>,
    },
    /// A setting that needs another one.
    #[error("{place}{what}")]
    Missing {
        /// Where it is set, with a colon, as far as that is known.
        place: String,
        /// What it needs.
        what: String,
    },
    /// Settings that do not go together.
    #[error("{0}")]
    Conflict(&'static str),
}

fn suggest(similar: &Option<&'static str>) -> String {
    match similar {
        Some(similar) => format!("; did you mean `{similar}`?"),
        None => "; `rregistry config --explain` lists all keys".to_owned(),
    }
}

fn suggest_variable(list: &Option<&'static str>, similar: &Option<String>) -> String {
    match (list, similar) {
        (Some(list), _) => {
            format!("; `{list}` is a list, which only the file of settings can hold")
        }
        (None, Some(similar)) => format!("; did you mean {similar}?"),
        (None, None) => String::new(),
    }
}

/// A value that its key cannot have.
pub(super) fn wrong(
    key: &'static str,
    value: impl std::fmt::Display,
    why: impl std::fmt::Display,
) -> ConfigError {
    ConfigError::Value {
        key,
        value: value.to_string(),
        why: why.to_string(),
    }
}
