//! The password file: `user:hash` lines, bcrypt only, as `htpasswd -B` writes them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::private_file;

/// bcrypt's cost for new passwords: about a tenth of a second.
const COST: u32 = 11;
/// bcrypt reads no more than this of a password.
const MAX_PASSWORD: usize = 72;
/// Salt and rest of what an unknown user's password is compared with, so that it takes as long as
/// a known one's. No password has them.
const NOBODY: &str = "abcdefghijklmnopqrstuuabcdefghijklmnopqrstuvwxyzABCDE";
/// A cost below this lets passwords be guessed by those who get hold of the file.
const LEAST_COST: u32 = 10;

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HtpasswdError {
    /// It cannot be read or written.
    #[error("{path}: {cause}; `rregistry user add NAME` makes it")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// A line is not `user:bcrypt-hash`.
    #[error("{path}, line {line}: not `user:hash` with a bcrypt hash; make it with `htpasswd -B`")]
    Line {
        /// The file.
        path: PathBuf,
        /// Counted from one.
        line: usize,
    },
    /// Not a name.
    #[error("a user's name is 1 to 64 letters, digits, dots, dashes, underscores or @")]
    Name,
    /// Not a password.
    #[error("a password has 1 to {MAX_PASSWORD} bytes: bcrypt reads no more")]
    Password,
    /// There is one already.
    #[error("there is a user {0} already; `rregistry user passwd {0}` changes the password")]
    Exists(String),
    /// There is none.
    #[error("there is no user {0}")]
    Unknown(String),
    /// Hashing failed.
    #[error("bcrypt: {0}")]
    Bcrypt(bcrypt::BcryptError),
}

/// Users and their hashes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Htpasswd(BTreeMap<String, String>);

/// The cost that a hash was made with.
fn cost(hash: &str) -> Option<u32> {
    hash.split('$').nth(2)?.parse().ok()
}

impl Htpasswd {
    /// Reads a file.
    ///
    /// # Errors
    /// [`HtpasswdError::Io`], [`HtpasswdError::Line`].
    pub fn read(path: &Path) -> Result<Self, HtpasswdError> {
        let text = std::fs::read_to_string(path).map_err(|cause| HtpasswdError::Io {
            path: path.to_owned(),
            cause,
        })?;
        Self::parse(&text).map_err(|line| HtpasswdError::Line {
            path: path.to_owned(),
            line,
        })
    }

    /// Reads a text; the number of the first bad line as error.
    fn parse(text: &str) -> Result<Self, usize> {
        let mut users = BTreeMap::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            match line.split_once(':') {
                Some((user, hash)) if !user.is_empty() && is_bcrypt(hash) => {
                    users.insert(user.to_owned(), hash.to_owned());
                }
                _ => return Err(number + 1),
            }
        }
        Ok(Self(users))
    }

    /// Writes the file durably, for its owner only.
    ///
    /// # Errors
    /// [`HtpasswdError::Io`].
    pub fn write(&self, path: &Path) -> Result<(), HtpasswdError> {
        let mut text = String::new();
        for (user, hash) in &self.0 {
            text.push_str(&format!("{user}:{hash}\n"));
        }
        private_file::write(path, text.as_bytes()).map_err(|cause| HtpasswdError::Io {
            path: path.to_owned(),
            cause,
        })
    }

    /// The users' names.
    pub fn users(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Whether the password is the user's.
    pub fn verify(&self, user: &str, password: &str) -> bool {
        let (hash, known) = match self.0.get(user) {
            Some(hash) => (hash.clone(), true),
            None => (self.nobody(), false),
        };
        // `htpasswd` of Apache writes $2y$, which is the same as $2b$.
        bcrypt::verify(password, &hash).unwrap_or(false) && known
    }

    /// A hash that takes as long as those of the file, the slowest if they differ.
    fn nobody(&self) -> String {
        let slowest = self.0.values().filter_map(|hash| cost(hash)).max();
        format!("$2b${:02}${NOBODY}", slowest.unwrap_or(COST))
    }

    /// What is wrong with the hashes as a whole, in words for the operator.
    pub fn weakness(&self) -> Option<String> {
        let costs: BTreeSet<u32> = self.0.values().filter_map(|hash| cost(hash)).collect();
        match (costs.first(), costs.len()) {
            (Some(lowest), _) if *lowest < LEAST_COST => Some(format!(
                "a password has the bcrypt cost {lowest}, which is quick to guess: set it again \
                 with `rregistry user passwd`, or with `htpasswd -B -C {COST}`"
            )),
            (_, 2..) => Some(
                "the passwords have different bcrypt costs, so that the time of an answer tells \
                 which users there are: set them again with `rregistry user passwd`"
                    .to_owned(),
            ),
            _ => None,
        }
    }

    /// The hash of the user's password.
    pub(super) fn hash(&self, user: &str) -> Option<&str> {
        self.0.get(user).map(String::as_str)
    }

    /// Adds a user.
    ///
    /// # Errors
    /// [`HtpasswdError::Name`], [`HtpasswdError::Password`], [`HtpasswdError::Exists`].
    pub fn add(&mut self, user: &str, password: &str) -> Result<(), HtpasswdError> {
        let fine = |b: u8| b.is_ascii_alphanumeric() || b".-_@".contains(&b);
        if user.is_empty() || user.len() > 64 || !user.bytes().all(fine) {
            return Err(HtpasswdError::Name);
        }
        if self.0.contains_key(user) {
            return Err(HtpasswdError::Exists(user.to_owned()));
        }
        self.0.insert(user.to_owned(), hash(password)?);
        Ok(())
    }

    /// Changes a user's password.
    ///
    /// # Errors
    /// [`HtpasswdError::Unknown`], [`HtpasswdError::Password`].
    pub fn change(&mut self, user: &str, password: &str) -> Result<(), HtpasswdError> {
        match self.0.get_mut(user) {
            Some(old) => *old = hash(password)?,
            None => return Err(HtpasswdError::Unknown(user.to_owned())),
        }
        Ok(())
    }

    /// Removes a user.
    ///
    /// # Errors
    /// [`HtpasswdError::Unknown`].
    pub fn remove(&mut self, user: &str) -> Result<(), HtpasswdError> {
        match self.0.remove(user) {
            Some(_) => Ok(()),
            None => Err(HtpasswdError::Unknown(user.to_owned())),
        }
    }
}

fn hash(password: &str) -> Result<String, HtpasswdError> {
    if password.is_empty() || password.len() > MAX_PASSWORD {
        return Err(HtpasswdError::Password);
    }
    bcrypt::hash(password, COST).map_err(HtpasswdError::Bcrypt)
}

fn is_bcrypt(hash: &str) -> bool {
    hash.len() == 60
        && ["$2a$", "$2b$", "$2x$", "$2y$"]
            .iter()
            .any(|p| hash.starts_with(p))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_come_and_go() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("htpasswd");
        let mut users = Htpasswd::default();
        users.add("alice", "secret").unwrap();
        assert!(matches!(
            users.add("alice", "x"),
            Err(HtpasswdError::Exists(_))
        ));
        assert!(matches!(users.add("a:b", "x"), Err(HtpasswdError::Name)));
        assert!(matches!(users.add("bob", ""), Err(HtpasswdError::Password)));
        assert!(matches!(
            users.add("bob", &"x".repeat(73)),
            Err(HtpasswdError::Password)
        ));
        assert!(matches!(
            users.change("bob", "x"),
            Err(HtpasswdError::Unknown(_))
        ));
        users.write(&path).unwrap();
        let read = Htpasswd::read(&path).unwrap();
        assert_eq!(read, users);
        assert!(read.verify("alice", "secret"));
        assert!(!read.verify("alice", "Secret"));
        assert!(!read.verify("bob", "secret"));
        users.remove("alice").unwrap();
        assert!(!users.verify("alice", "secret"));
        let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&path).unwrap());
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn who_is_not_there_takes_as_long_as_who_is() {
        let of = |costs: &[u32]| {
            let users = costs.iter().map(|cost| {
                let hash = bcrypt::hash("x", *cost).unwrap();
                (format!("user{cost}"), hash)
            });
            Htpasswd(users.collect())
        };
        for (costs, nobody, weak) in [
            (&[4][..], 4, "cost 4"),
            (&[10, 4], 10, "cost 4"),
            (&[10], 10, ""),
            (&[10, 11], 11, "different bcrypt costs"),
            (&[], COST, ""),
        ] {
            let users = of(costs);
            assert_eq!(cost(&users.nobody()), Some(nobody), "{costs:?}");
            assert!(is_bcrypt(&users.nobody()));
            let told = users.weakness().unwrap_or_default();
            assert!(
                told.contains(weak) && told.is_empty() == weak.is_empty(),
                "{told}"
            );
            assert!(!users.verify("nobody", "x"));
        }
    }

    #[test]
    fn only_bcrypt_is_taken() {
        // Made by `htpasswd -nbB user pass`.
        let apache = "user:$2y$05$dFVDVYfeSXaDBCCUdHpmF.cmwP3Vs3SDnsjzqW2W8gcsjs9uWcEg6\n";
        assert_eq!(
            Htpasswd::parse(apache).unwrap().users().collect::<Vec<_>>(),
            ["user"]
        );
        for bad in [
            "user:$apr1$x$y",
            "user:plain",
            "user",
            ":$2y$05$dFVDVYfeSXaDBCCUdHpmF.cmwP3Vs3SDnsjzqW2W8gcsjs9uWcEg6",
        ] {
            assert_eq!(
                Htpasswd::parse(&format!("# users\n\n{bad}")),
                Err(3),
                "{bad}"
            );
        }
    }
}
