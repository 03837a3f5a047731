//! The kinds of mistakes, and what they are called.

use serde::Serialize;

use crate::rule::Rule;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The file is still understood.
    Warning,
    /// The file is refused.
    Error,
}

/// What kind of mistake it is. Build checks have their rule; the rest are errors of the language.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Code {
    /// A build check.
    Rule(Rule),
    /// The file is not UTF-8.
    InvalidUtf8,
    /// No instruction at all.
    NoInstructions,
    /// No `FROM`.
    NoStage,
    /// An instruction other than `ARG` before the first `FROM`.
    MissingFrom,
    /// No such instruction.
    UnknownInstruction,
    /// No such flag.
    UnknownFlag,
    /// A flag given twice.
    DuplicateFlag,
    /// A flag with a bad or missing value.
    InvalidFlag,
    /// A parser directive given twice.
    DuplicateDirective,
    /// `# escape=` with something else than a backslash or backtick.
    InvalidEscape,
    /// `# check=` that cannot be read.
    InvalidCheck,
    /// Too few or too many arguments, or one that cannot be read.
    InvalidArgument,
    /// A JSON array with something else than strings.
    InvalidJson,
    /// A here-document without its end.
    UnterminatedHeredoc,
    /// A here-document where there may not be one.
    MisplacedHeredoc,
    /// A word whose quotes or substitutions are malformed.
    InvalidWord,
    /// A near-JSON line taken as shell form.
    NotJson,
    /// A comment behind an instruction's arguments.
    TrailingComment,
    /// An instruction of the language that this builder does not carry out.
    CannotBuild,
    /// More layers than can be mounted, or loaded elsewhere.
    TooManyLayers,
    /// An instruction that was understood and failed when it was built.
    BuildFailed,
}

impl Code {
    /// The name shown in brackets and in JSON: a rule's name, else a name of our own.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rule(rule) => rule.name(),
            Self::InvalidUtf8 => "InvalidUtf8",
            Self::NoInstructions => "NoInstructions",
            Self::NoStage => "NoStage",
            Self::MissingFrom => "MissingFrom",
            Self::UnknownInstruction => "UnknownInstruction",
            Self::UnknownFlag => "UnknownFlag",
            Self::DuplicateFlag => "DuplicateFlag",
            Self::InvalidFlag => "InvalidFlag",
            Self::DuplicateDirective => "DuplicateDirective",
            Self::InvalidEscape => "InvalidEscape",
            Self::InvalidCheck => "InvalidCheck",
            Self::InvalidArgument => "InvalidArgument",
            Self::InvalidJson => "InvalidJson",
            Self::UnterminatedHeredoc => "UnterminatedHeredoc",
            Self::MisplacedHeredoc => "MisplacedHeredoc",
            Self::InvalidWord => "InvalidWord",
            Self::NotJson => "NotJson",
            Self::TrailingComment => "TrailingComment",
            Self::CannotBuild => "CannotBuild",
            Self::TooManyLayers => "TooManyLayers",
            Self::BuildFailed => "BuildFailed",
        }
    }
}
