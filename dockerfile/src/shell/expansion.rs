//! What expanding a word gives.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// What expansion made of a word.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Expansion {
    /// The result as one word.
    pub text: String,
    /// The result split at unquoted white space; empty words are dropped.
    pub words: Vec<String>,
    /// Variables that were used and set.
    pub used: BTreeSet<String>,
    /// Variables that were used and not set, each with the bytes of the word where it is first
    /// used, `$` included.
    pub unset: BTreeMap<String, Range<usize>>,
}

/// An error, and the bytes of the word that it is about.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{error}")]
pub struct Misplaced {
    /// What is wrong.
    pub error: ExpandError,
    /// Where: offsets in the word.
    pub at: Range<usize>,
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

impl ExpandError {
    /// One sentence: how to mend it.
    pub fn help(&self) -> &'static str {
        match self {
            Self::OpenQuote(_) => "close the quote, or put the escape character before it",
            Self::MissingBrace => "close it with }, or put the escape character before the $",
            Self::MissingSlash => "write ${NAME/PATTERN/REPLACEMENT}",
            Self::BadSubstitution => "put a name right after ${",
            Self::UnsupportedModifier(_) => {
                "use :- - :+ + :? ? # ## % %% / or //, or put the escape character before the $"
            }
            Self::Required { .. } => "give it a value: with ARG or ENV above, or with --build-arg",
            Self::BadPattern { .. } => "put a character after the backslash, or double it",
            Self::TooLong => "let the variables in it grow less",
            Self::TooDeep => "give parts of it names of their own with ARG or ENV",
        }
    }
}
