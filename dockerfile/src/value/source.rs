//! Sources of ADD: paths, URLs and git repositories.

use golang::boolean::parse_bool;

/// What a source is, once expanded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AddSource {
    /// A path or wildcard in the build context.
    Local(String),
    /// A file to fetch.
    Http(String),
    /// A repository to clone.
    Git(GitSource),
}

/// A git repository, and what of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GitSource {
    /// The remote, without the fragment and query.
    pub remote: String,
    /// Branch, tag or commit, or the beginning of a commit.
    pub reference: Option<String>,
    /// Directory in the repository.
    pub subdir: Option<String>,
    /// The commit that the reference has to be, or the beginning of it.
    pub checksum: Option<String>,
    /// Whether `.git` is kept (`keep-git-dir=true`), where the address says so.
    pub keep_git_dir: Option<bool>,
    /// Whether submodules are left out (`submodules=false`).
    pub without_submodules: bool,
}

/// Why an address is none: BuildKit's sentences.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// The query has a word without the value that it needs.
    #[error("query {0:?} has no value")]
    NoValue(String),
    /// It has a word twice.
    #[error("query {0:?} has multiple values")]
    Several(String),
    /// What is neither true nor false.
    #[error("invalid {0} value: {1:?}")]
    NoSwitch(String, String),
    /// The fragment names one thing, the query another.
    #[error("{what} conflicts: {first:?} vs {second:?}")]
    Conflict {
        /// `ref` or `subdir`.
        what: &'static str,
        /// What was said first.
        first: String,
        /// And then.
        second: String,
    },
    /// Both are asked for.
    #[error("branch conflicts with tag")]
    BranchAndTag,
    /// `.git` is to be kept by the address and not by something else, or the other way round.
    #[error("inconsistent keep-git-dir configuration")]
    Inconsistent,
}

impl AddSource {
    /// Classifies `source`: `git://`, `ssh://`, `git@host:path` and `http(s)://….git[#ref[:dir]]`
    /// are repositories, other `http(s)://` are files, the rest are paths.
    ///
    /// # Errors
    /// [`SourceError`] for a repository whose query cannot be read, or contradicts itself.
    pub fn parse(source: &str) -> Result<Self, SourceError> {
        let http = source.starts_with("http://") || source.starts_with("https://");
        let (remote, fragment) = match source.split_once('#') {
            Some((remote, fragment)) => (remote, Some(fragment)),
            None => (source, None),
        };
        let git = if http {
            remote
                .split('?')
                .next()
                .is_some_and(|path| path.trim_end_matches('/').ends_with(".git"))
        } else {
            remote.starts_with("git://") || remote.starts_with("ssh://") || is_scp(remote)
        };
        if !git {
            return Ok(if http {
                Self::Http(source.to_owned())
            } else {
                Self::Local(source.to_owned())
            });
        }
        let (reference, subdir) = match fragment.map(|f| f.split_once(':').unwrap_or((f, ""))) {
            Some((reference, subdir)) => (reference, subdir),
            None => ("", ""),
        };
        let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        let mut source = GitSource {
            remote: remote.to_owned(),
            reference: some(reference),
            subdir: some(subdir),
            ..GitSource::default()
        };
        source.take_query()?;
        Ok(Self::Git(source))
    }
}

impl GitSource {
    /// Whether `.git` is kept, which the address may say, and somebody else too.
    ///
    /// # Errors
    /// [`SourceError::Inconsistent`] when they say different things.
    pub fn keeps_git_dir(&self, asked: Option<bool>) -> Result<bool, SourceError> {
        match (self.keep_git_dir, asked) {
            (Some(one), Some(other)) if one != other => Err(SourceError::Inconsistent),
            (one, other) => Ok(one.or(other).unwrap_or(false)),
        }
    }

    /// Takes what BuildKit reads of a repository's query: `ref`, `tag`, `branch`, `subdir`,
    /// `checksum` (or `commit`), `keep-git-dir` and `submodules`. What else there is stays the
    /// server's, which may want a token there.
    fn take_query(&mut self) -> Result<(), SourceError> {
        let Some((address, query)) = self.remote.split_once('?') else {
            return Ok(());
        };
        let (address, query) = (address.to_owned(), query.to_owned());
        let (mut kept, mut seen) = (Vec::new(), Vec::new());
        let (mut tag, mut branch) = (None, None);
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let switch = matches!(name, "keep-git-dir" | "submodules");
            let known = ["ref", "tag", "branch", "subdir", "checksum", "commit"].contains(&name);
            if !switch && !known {
                kept.push(pair);
                continue;
            }
            if seen.contains(&name) {
                return Err(SourceError::Several(name.to_owned()));
            }
            seen.push(name);
            let value = unescape(value);
            if value.is_empty() && known {
                return Err(SourceError::NoValue(name.to_owned()));
            }
            match name {
                "ref" => agree("ref", &mut self.reference, value)?,
                "tag" => tag = Some(below("refs/tags/", &value)),
                "branch" => branch = Some(below("refs/heads/", &value)),
                "subdir" => agree("subdir", &mut self.subdir, value)?,
                "keep-git-dir" => self.keep_git_dir = Some(truth(name, &value)?),
                "submodules" => self.without_submodules = !truth(name, &value)?,
                _ => self.checksum = Some(value),
            }
        }
        if tag.is_some() && branch.is_some() {
            return Err(SourceError::BranchAndTag);
        }
        if let Some(name) = tag.or(branch) {
            agree("ref", &mut self.reference, name)?;
        }
        // A commit alone is what is fetched, not only what is compared.
        if self.reference.is_none() {
            self.reference.clone_from(&self.checksum);
        }
        self.remote = match kept.is_empty() {
            true => address,
            false => format!("{address}?{}", kept.join("&")),
        };
        Ok(())
    }
}

/// Sets what may have been said before, in the same words.
fn agree(what: &'static str, place: &mut Option<String>, value: String) -> Result<(), SourceError> {
    match place {
        Some(first) if *first != value => Err(SourceError::Conflict {
            what,
            first: first.clone(),
            second: value,
        }),
        _ => {
            *place = Some(value);
            Ok(())
        }
    }
}

/// A name with the prefix that it may have already.
fn below(prefix: &str, name: &str) -> String {
    match name.starts_with(prefix) {
        true => name.to_owned(),
        false => format!("{prefix}{name}"),
    }
}

/// What Go's `strconv.ParseBool` takes; the word alone is true.
fn truth(name: &str, value: &str) -> Result<bool, SourceError> {
    match value {
        "" => Ok(true),
        value => parse_bool(value)
            .ok_or_else(|| SourceError::NoSwitch(name.to_owned(), value.to_owned())),
    }
}

/// Undoes `%2F` and `+` in the value of a query; what is no escape stays as it is.
fn unescape(value: &str) -> String {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let [first, after @ ..] = rest {
        let hex = after.get(..2).filter(|_| *first == b'%');
        let hex = hex.and_then(|digits| std::str::from_utf8(digits).ok());
        match hex.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(if *first == b'+' { b' ' } else { *first });
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// `user@host:path`, as scp and git write it.
fn is_scp(remote: &str) -> bool {
    let Some((host, path)) = remote.split_once(':') else {
        return false;
    };
    let Some((user, host)) = host.split_once('@') else {
        return false;
    };
    let plain = |text: &str| {
        !text.is_empty()
            && text
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'))
    };
    plain(user) && plain(host) && !path.is_empty() && !path.starts_with("//")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classifies_sources() {
        let git = |remote: &str, reference: Option<&str>, subdir: Option<&str>| {
            AddSource::Git(GitSource {
                remote: remote.to_owned(),
                reference: reference.map(str::to_owned),
                subdir: subdir.map(str::to_owned),
                ..GitSource::default()
            })
        };
        for (source, expected) in [
            ("a/b", AddSource::Local("a/b".to_owned())),
            ("a#b", AddSource::Local("a#b".to_owned())),
            ("repo.git", AddSource::Local("repo.git".to_owned())),
            (
                "http://h/f.tgz",
                AddSource::Http("http://h/f.tgz".to_owned()),
            ),
            ("https://h/o/r.git", git("https://h/o/r.git", None, None)),
            (
                "https://h/o/r.git#v1:d/e",
                git("https://h/o/r.git", Some("v1"), Some("d/e")),
            ),
            (
                "https://h/o/r.git#:d",
                git("https://h/o/r.git", None, Some("d")),
            ),
            (
                "git@github.com:o/r.git#x",
                git("git@github.com:o/r.git", Some("x"), None),
            ),
            ("git://h/r", git("git://h/r", None, None)),
            (
                "https://h/r.git?ref=v1&subdir=d/e",
                git("https://h/r.git", Some("v1"), Some("d/e")),
            ),
            (
                "https://h/r.git?tag=v1",
                git("https://h/r.git", Some("refs/tags/v1"), None),
            ),
            (
                "https://h/r.git?token=x&branch=b",
                git("https://h/r.git?token=x", Some("refs/heads/b"), None),
            ),
            ("ssh://git@h/r", git("ssh://git@h/r", None, None)),
            ("a@b", AddSource::Local("a@b".to_owned())),
        ] {
            assert_eq!(AddSource::parse(source), Ok(expected), "{source}");
        }
    }

    #[test]
    fn reads_the_query_of_a_repository() {
        let parsed = AddSource::parse("https://h/r.git?checksum=abc123&submodules=false");
        let Ok(AddSource::Git(git)) = parsed else {
            panic!("{parsed:?}");
        };
        assert_eq!(git.remote, "https://h/r.git");
        assert_eq!(git.checksum.as_deref(), Some("abc123"));
        assert_eq!(git.reference.as_deref(), Some("abc123"));
        assert!(git.without_submodules);
        let commit = "0123456789012345678901234567890123456789";
        for (query, reference) in [
            (format!("commit={commit}"), commit),
            (format!("commit={commit}&ref=v1"), "v1"),
        ] {
            let parsed = AddSource::parse(&format!("https://h/r.git?{query}"));
            let Ok(AddSource::Git(git)) = parsed else {
                panic!("{parsed:?}");
            };
            assert_eq!(git.reference.as_deref(), Some(reference));
            assert_eq!(git.checksum.as_deref(), Some(commit));
        }
    }
    /// The sentences are those of BuildKit in docker 28.
    #[test]
    fn a_query_that_contradicts_itself_is_refused() {
        for (address, why) in [
            ("?tag=v1&branch=main", "branch conflicts with tag"),
            (
                "?tag=v1#other",
                "ref conflicts: \"other\" vs \"refs/tags/v1\"",
            ),
            ("?ref=other#main", "ref conflicts: \"main\" vs \"other\""),
            ("?subdir=sub#:x", "subdir conflicts: \"x\" vs \"sub\""),
            ("?tag=v1&tag=v2", "query \"tag\" has multiple values"),
            ("?tag=", "query \"tag\" has no value"),
            ("?keep-git-dir=foo", "invalid keep-git-dir value: \"foo\""),
            ("?submodules=foo", "invalid submodules value: \"foo\""),
        ] {
            let told = AddSource::parse(&format!("https://h/r.git{address}"));
            assert_eq!(
                told.map_err(|e| e.to_string()),
                Err(why.to_owned()),
                "{address}"
            );
        }
        for (address, reference, keep) in [
            ("?tag=v1#refs/tags/v1", "refs/tags/v1", None),
            ("?tag=v%31&keep-git-dir", "refs/tags/v1", Some(true)),
            ("?branch=a+b&keep-git-dir=0", "refs/heads/a b", Some(false)),
            ("?&branch=refs/heads/b%", "refs/heads/b%", None),
        ] {
            let parsed = AddSource::parse(&format!("https://h/r.git{address}"));
            let Ok(AddSource::Git(git)) = parsed else {
                panic!("{address}: {parsed:?}");
            };
            assert_eq!(git.reference.as_deref(), Some(reference), "{address}");
            assert_eq!(git.keep_git_dir, keep, "{address}");
        }
    }
}
