//! What a client requires of what a reference names now, for a change to be made.

use oci::Digest;

/// Digests as a client lists them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listed {
    /// Any at all.
    Any,
    /// One of these.
    These(Vec<String>),
}

impl Listed {
    /// Whether the list has what is there now, if anything is.
    pub fn has(&self, current: Option<&Digest>) -> bool {
        current.is_some_and(|current| match self {
            Self::Any => true,
            Self::These(list) => {
                let current = current.to_string();
                list.contains(&current)
            }
        })
    }
}

/// What must be true when a change is made. Nothing, by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Precondition {
    /// What is there now is listed here.
    pub only: Option<Listed>,
    /// What is there now, if anything is, is not listed here.
    pub not: Option<Listed>,
}

impl Precondition {
    /// Whether nothing is required.
    pub fn is_none(&self) -> bool {
        self.only.is_none() && self.not.is_none()
    }

    /// Whether it is true of what is there now.
    pub fn holds(&self, current: Option<&Digest>) -> bool {
        self.only.as_ref().is_none_or(|list| list.has(current))
            && !self.not.as_ref().is_some_and(|list| list.has(current))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_about_what_is_there() {
        let digest = Digest::empty();
        let this = || Listed::These(vec!["other".to_owned(), digest.to_string()]);
        let other = || Listed::These(vec!["other".to_owned()]);
        let only = |list| Precondition {
            only: Some(list),
            not: None,
        };
        let not = |list| Precondition {
            only: None,
            not: Some(list),
        };
        for (condition, there, nothing) in [
            (Precondition::default(), true, true),
            (only(Listed::Any), true, false),
            (only(this()), true, false),
            (only(other()), false, false),
            (not(Listed::Any), false, true),
            (not(this()), false, true),
            (not(other()), true, true),
        ] {
            assert_eq!(condition.holds(Some(&digest)), there, "{condition:?}");
            assert_eq!(condition.holds(None), nothing, "{condition:?}");
        }
    }
}
