//! What expanding a word gives.

use std::collections::BTreeSet;

/// What expansion made of a word.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Expansion {
    /// The result as one word.
    pub text: String,
    /// The result split at unquoted white space; empty words are dropped.
    pub words: Vec<String>,
    /// Variables that were used and set.
    pub used: BTreeSet<String>,
    /// Variables that were used and not set.
    pub unset: BTreeSet<String>,
}

/// Why a word cannot be expanded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExpandError {
    /// A quote is not closed.
    #[error("unexpected end of statement while looking for matching {0}-quote")]
    OpenQuote(&'static str),
    /// `${` without `}`.
    #[error("syntax error: missing '}}'")]
    MissingBrace,
    /// `${v/p` without the second `/`.
    #[error("syntax error: missing '/' in ${{}}")]
    MissingSlash,
    /// `${}`, `${:-x}` and the like.
    #[error("syntax error: bad substitution")]
    BadSubstitution,
    /// `${v=x}` and other modifiers that there are not.
    #[error("unsupported modifier ({0}) in substitution")]
    UnsupportedModifier(String),
    /// `${v?message}` and `v` is not set, or `${v:?message}` and it is empty.
    #[error("{name}: {message}")]
    Required {
        /// The variable.
        name: String,
        /// The author's message, or a standard one.
        message: String,
    },
    /// A pattern with a bad escape.
    #[error("invalid pattern ({pattern}) in substitution: {reason}")]
    BadPattern {
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The result is absurdly long.
    #[error("the expanded word is too long")]
    TooLong,
    /// Substitutions nested too deep.
    #[error("substitutions are nested too deeply")]
    TooDeep,
}
