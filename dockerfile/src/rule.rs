//! The rules and what they are called.

/// A build check, by BuildKit's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// Instruction keywords in different cases.
    ConsistentInstructionCasing,
    /// A source that `.dockerignore` excludes (experimental).
    CopyIgnoredFile,
    /// Two stages of one name.
    DuplicateStageName,
    /// An address or host port in EXPOSE.
    ExposeInvalidFormat,
    /// A protocol in EXPOSE that is not in lower case.
    ExposeProtoCasing,
    /// `AS` and `FROM` in different cases.
    FromAsCasing,
    /// A constant in `FROM --platform`.
    FromPlatformFlagConstDisallowed,
    /// A base image of another platform than the one asked for.
    InvalidBaseImagePlatform,
    /// A base name that is invalid when no build argument is given.
    InvalidDefaultArgInFrom,
    /// A comment above a stage or argument that does not begin with its name (experimental).
    InvalidDefinitionDescription,
    /// CMD or ENTRYPOINT in shell form.
    JsonArgsRecommended,
    /// `KEY value` without `=`.
    LegacyKeyValueFormat,
    /// MAINTAINER.
    MaintainerDeprecated,
    /// Several CMD, ENTRYPOINT or HEALTHCHECK in a stage.
    MultipleInstructionsDisallowed,
    /// Empty lines among continuation lines.
    NoEmptyContinuation,
    /// `FROM --platform=$TARGETPLATFORM`.
    RedundantTargetPlatform,
    /// A stage called `scratch` or `context`.
    ReservedStageName,
    /// An ARG or ENV whose name suggests a secret.
    SecretsUsedInArgOrEnv,
    /// A stage name with capitals.
    StageNameCasing,
    /// A variable in FROM that no ARG declares.
    UndefinedArgInFrom,
    /// A variable that is not set.
    UndefinedVar,
    /// A relative WORKDIR before any absolute one.
    WorkdirRelativePath,
}

impl Rule {
    /// Every rule, in order of name.
    pub const ALL: [Self; 22] = [
        Self::ConsistentInstructionCasing,
        Self::CopyIgnoredFile,
        Self::DuplicateStageName,
        Self::ExposeInvalidFormat,
        Self::ExposeProtoCasing,
        Self::FromAsCasing,
        Self::FromPlatformFlagConstDisallowed,
        Self::InvalidBaseImagePlatform,
        Self::InvalidDefaultArgInFrom,
        Self::InvalidDefinitionDescription,
        Self::JsonArgsRecommended,
        Self::LegacyKeyValueFormat,
        Self::MaintainerDeprecated,
        Self::MultipleInstructionsDisallowed,
        Self::NoEmptyContinuation,
        Self::RedundantTargetPlatform,
        Self::ReservedStageName,
        Self::SecretsUsedInArgOrEnv,
        Self::StageNameCasing,
        Self::UndefinedArgInFrom,
        Self::UndefinedVar,
        Self::WorkdirRelativePath,
    ];

    /// The name, as `# check=skip=` wants it.
    pub fn name(self) -> &'static str {
        match self {
            Self::ConsistentInstructionCasing => "ConsistentInstructionCasing",
            Self::CopyIgnoredFile => "CopyIgnoredFile",
            Self::DuplicateStageName => "DuplicateStageName",
            Self::ExposeInvalidFormat => "ExposeInvalidFormat",
            Self::ExposeProtoCasing => "ExposeProtoCasing",
            Self::FromAsCasing => "FromAsCasing",
            Self::FromPlatformFlagConstDisallowed => "FromPlatformFlagConstDisallowed",
            Self::InvalidBaseImagePlatform => "InvalidBaseImagePlatform",
            Self::InvalidDefaultArgInFrom => "InvalidDefaultArgInFrom",
            Self::InvalidDefinitionDescription => "InvalidDefinitionDescription",
            Self::JsonArgsRecommended => "JSONArgsRecommended",
            Self::LegacyKeyValueFormat => "LegacyKeyValueFormat",
            Self::MaintainerDeprecated => "MaintainerDeprecated",
            Self::MultipleInstructionsDisallowed => "MultipleInstructionsDisallowed",
            Self::NoEmptyContinuation => "NoEmptyContinuation",
            Self::RedundantTargetPlatform => "RedundantTargetPlatform",
            Self::ReservedStageName => "ReservedStageName",
            Self::SecretsUsedInArgOrEnv => "SecretsUsedInArgOrEnv",
            Self::StageNameCasing => "StageNameCasing",
            Self::UndefinedArgInFrom => "UndefinedArgInFrom",
            Self::UndefinedVar => "UndefinedVar",
            Self::WorkdirRelativePath => "WorkdirRelativePath",
        }
    }

    /// The rule of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|rule| rule.name() == name)
    }

    /// Whether it runs only when `# check=experimental=` asks for it.
    pub(crate) fn is_experimental(self) -> bool {
        matches!(
            self,
            Self::CopyIgnoredFile | Self::InvalidDefinitionDescription
        )
    }

    /// One sentence: what it wants.
    pub fn description(self) -> &'static str {
        match self {
            Self::ConsistentInstructionCasing => {
                "All commands within the Dockerfile should use the same casing (either upper or lower)"
            }
            Self::CopyIgnoredFile => "Attempting to Copy file that is excluded by .dockerignore",
            Self::DuplicateStageName => "Stage names should be unique",
            Self::ExposeInvalidFormat => {
                "IP address and host-port mapping should not be used in EXPOSE instruction. This will become an error in a future release"
            }
            Self::ExposeProtoCasing => "Protocol in EXPOSE instruction should be lowercase",
            Self::FromAsCasing => "The 'as' keyword should match the case of the 'from' keyword",
            Self::FromPlatformFlagConstDisallowed => {
                "FROM --platform flag should not use a constant value"
            }
            Self::InvalidBaseImagePlatform => {
                "Base image platform does not match expected target platform"
            }
            Self::InvalidDefaultArgInFrom => {
                "Default value for global ARG results in an empty or invalid base image name"
            }
            Self::InvalidDefinitionDescription => {
                "Comment for build stage or argument should follow the format: `# <arg/stage name> <description>`. If this is not intended to be a description comment, add an empty line or comment between the instruction and the comment."
            }
            Self::JsonArgsRecommended => {
                "JSON arguments recommended for ENTRYPOINT/CMD to prevent unintended behavior related to OS signals"
            }
            Self::LegacyKeyValueFormat => {
                "Legacy key/value format with whitespace separator should not be used"
            }
            Self::MaintainerDeprecated => {
                "The MAINTAINER instruction is deprecated, use a label instead to define an image author"
            }
            Self::MultipleInstructionsDisallowed => {
                "Multiple instructions of the same type should not be used in the same stage"
            }
            Self::NoEmptyContinuation => {
                "Empty continuation lines will become errors in a future release"
            }
            Self::RedundantTargetPlatform => {
                "Setting platform to predefined $TARGETPLATFORM in FROM is redundant as this is the default behavior"
            }
            Self::ReservedStageName => "Reserved words should not be used as stage names",
            Self::SecretsUsedInArgOrEnv => {
                "Sensitive data should not be used in the ARG or ENV commands"
            }
            Self::StageNameCasing => "Stage names should be lowercase",
            Self::UndefinedArgInFrom => "FROM command must use declared ARGs",
            Self::UndefinedVar => "Variables should be defined before their use",
            Self::WorkdirRelativePath => {
                "Relative workdir without an absolute workdir declared within the build can have unexpected results if the base image changes"
            }
        }
    }

    /// Where the rule is explained.
    pub fn url(self) -> Option<String> {
        if self == Self::InvalidBaseImagePlatform {
            return None;
        }
        let mut page = String::new();
        let mut previous = ' ';
        let name = self.name().replace("JSON", "Json");
        for c in name.chars() {
            if c.is_ascii_uppercase() && previous != ' ' {
                page.push('-');
            }
            page.push(c.to_ascii_lowercase());
            previous = c;
        }
        Some(format!(
            "https://docs.docker.com/go/dockerfile/rule/{page}/"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_follow_the_names() {
        assert_eq!(
            Rule::JsonArgsRecommended.url().unwrap(),
            "https://docs.docker.com/go/dockerfile/rule/json-args-recommended/"
        );
        assert_eq!(
            Rule::FromAsCasing.url().unwrap(),
            "https://docs.docker.com/go/dockerfile/rule/from-as-casing/"
        );
    }

    #[test]
    fn names_lead_back_to_rules() {
        for rule in Rule::ALL {
            assert_eq!(Rule::from_name(rule.name()), Some(rule));
        }
        assert_eq!(Rule::from_name("stagenamecasing"), None);
    }
}
