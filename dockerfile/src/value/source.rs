//! Sources of ADD: paths, URLs and git repositories.

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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GitSource {
    /// The remote, without the fragment and query.
    pub remote: String,
    /// Branch, tag or commit.
    pub reference: Option<String>,
    /// Directory in the repository.
    pub subdir: Option<String>,
    /// The commit that the reference has to be, or the beginning of it.
    pub checksum: Option<String>,
    /// Whether submodules are left out (`submodules=false`).
    pub without_submodules: bool,
}

impl AddSource {
    /// Classifies `source`: `git://`, `ssh://`, `git@host:path` and `http(s)://….git[#ref[:dir]]`
    /// are repositories, other `http(s)://` are files, the rest are paths.
    pub fn parse(source: &str) -> Self {
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
            return if http {
                Self::Http(source.to_owned())
            } else {
                Self::Local(source.to_owned())
            };
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
            checksum: None,
            without_submodules: false,
        };
        source.take_query();
        Self::Git(source)
    }
}

impl GitSource {
    /// Takes what BuildKit reads of a repository's query: `ref`, `tag`, `branch`, `subdir`,
    /// `checksum` (or `commit`) and `submodules`. What else there is stays the server's.
    fn take_query(&mut self) {
        let Some((address, query)) = self.remote.split_once('?') else {
            return;
        };
        let (address, query) = (address.to_owned(), query.to_owned());
        let mut kept = Vec::new();
        for pair in query.split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            match name {
                "ref" => self.reference = Some(value.to_owned()),
                "tag" => self.reference = Some(format!("refs/tags/{value}")),
                "branch" => self.reference = Some(format!("refs/heads/{value}")),
                "subdir" => self.subdir = Some(value.to_owned()),
                "checksum" | "commit" => self.checksum = Some(value.to_owned()),
                "submodules" => self.without_submodules = matches!(value, "false" | "0"),
                _ => kept.push(pair),
            }
        }
        // A commit alone is what is fetched, not only what is compared.
        if let (None, Some(commit)) = (&self.reference, &self.checksum)
            && matches!(commit.len(), 40 | 64)
        {
            self.reference = Some(commit.clone());
        }
        self.remote = match kept.is_empty() {
            true => address,
            false => format!("{address}?{}", kept.join("&")),
        };
    }
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
                checksum: None,
                without_submodules: false,
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
            assert_eq!(AddSource::parse(source), expected, "{source}");
        }
    }

    #[test]
    fn reads_the_query_of_a_repository() {
        let parsed = AddSource::parse("https://h/r.git?checksum=abc123&submodules=false");
        let AddSource::Git(git) = parsed else {
            panic!("{parsed:?}");
        };
        assert_eq!(git.remote, "https://h/r.git");
        assert_eq!(git.checksum.as_deref(), Some("abc123"));
        assert_eq!(git.reference, None);
        assert!(git.without_submodules);
        let commit = "0123456789012345678901234567890123456789";
        for (query, reference) in [
            (format!("commit={commit}"), commit),
            (format!("commit={commit}&ref=v1"), "v1"),
        ] {
            let parsed = AddSource::parse(&format!("https://h/r.git?{query}"));
            let AddSource::Git(git) = parsed else {
                panic!("{parsed:?}");
            };
            assert_eq!(git.reference.as_deref(), Some(reference));
            assert_eq!(git.checksum.as_deref(), Some(commit));
        }
    }
}
