//! Owners of `--chown` and USER.

/// A user and group, by name or number; looking names up needs the image's own passwd and group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// User name or number.
    pub user: String,
    /// Group name or number; without one, `--chown` with a number uses the same number.
    pub group: Option<String>,
}

/// Why an owner was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid user or group {text:?}: {reason}")]
pub struct OwnerError {
    /// What was written.
    pub text: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

impl Owner {
    /// Reads `user[:group]`, expanded.
    pub fn parse(text: &str) -> Result<Self, OwnerError> {
        let error = |reason| OwnerError {
            text: text.to_owned(),
            reason,
        };
        let (user, group) = match text.split_once(':') {
            Some((user, group)) => (user, Some(group)),
            None => (text, None),
        };
        if user.is_empty() {
            return Err(error("the user is empty"));
        }
        if group.is_some_and(|group| group.contains(':')) {
            return Err(error("there is more than one colon"));
        }
        if [Some(user), group]
            .into_iter()
            .flatten()
            .any(id_is_too_large)
        {
            return Err(error("the number is out of range"));
        }
        let group = group.filter(|group| !group.is_empty()).map(str::to_owned);
        Ok(Self {
            user: user.to_owned(),
            group,
        })
    }
}

/// A number that no user or group can have is an error, not a name.
fn id_is_too_large(part: &str) -> bool {
    let number = !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    number && part.parse::<u32>().map_or(true, |id| id > i32::MAX as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_owners() {
        let owner = |text| Owner::parse(text).map(|owner| (owner.user, owner.group));
        assert_eq!(owner("app").unwrap(), ("app".to_owned(), None));
        assert_eq!(
            owner("1:2").unwrap(),
            ("1".to_owned(), Some("2".to_owned()))
        );
        assert_eq!(owner("a:").unwrap(), ("a".to_owned(), None));
        for text in ["", ":g", "a:b:c", "4294967296", "a:99999999999"] {
            assert!(owner(text).is_err(), "{text}");
        }
    }
}
