//! Contexts that have to be fetched: an archive or Dockerfile by URL, or a git repository.

use std::path::PathBuf;

use dockerfile::value::{AddSource, GitSource};

use super::error::ContextError;
use crate::auth::Auth;
use crate::download::{Download, fetch};
use crate::git::{self, Checkout};

/// A context that is somewhere else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remote {
    /// Something to download.
    Http(String),
    /// A repository.
    Git(GitSource),
}

/// What was fetched.
#[derive(Debug)]
pub enum Fetched {
    /// A file, which may be an archive.
    File {
        /// Where it came from.
        url: String,
        /// The file.
        file: Download,
    },
    /// A repository's files, and the folder of them that is the context.
    Tree {
        /// The files.
        checkout: Checkout,
        /// The folder.
        subdir: PathBuf,
    },
}

impl Remote {
    /// Whether `context` is somewhere else, by the rules of `docker build`: a URL, a git address,
    /// or `github.com/…`.
    ///
    /// # Errors
    /// [`ContextError::Address`] for a git address that contradicts itself.
    pub fn parse(context: &str) -> Result<Option<Self>, ContextError> {
        let full = match context.strip_prefix("github.com/") {
            Some(rest) => {
                let end = rest.find(['?', '#']).unwrap_or(rest.len());
                let (path, what) = rest.split_at(end);
                let path = path.trim_end_matches('/');
                let path = path.strip_suffix(".git").unwrap_or(path);
                format!("https://github.com/{path}.git{what}")
            }
            None => context.to_owned(),
        };
        let source = AddSource::parse(&full).map_err(|cause| ContextError::Address {
            url: context.to_owned(),
            cause,
        })?;
        Ok(match source {
            AddSource::Local(_) => None,
            AddSource::Http(url) => Some(Self::Http(url)),
            AddSource::Git(source) => Some(Self::Git(source)),
        })
    }

    /// Fetches it. What `keep_git_dir` says of a repository, its address may not say otherwise.
    ///
    /// # Errors
    /// [`ContextError::Remote`].
    pub async fn fetch(
        &self,
        auth: &Auth,
        keep_git_dir: Option<bool>,
    ) -> Result<Fetched, ContextError> {
        match self {
            Self::Http(url) => {
                let file = fetch(url, None, &std::env::temp_dir(), auth).await;
                let file = file.map_err(|e| failed(url, e.message))?;
                Ok(Fetched::File {
                    url: url.clone(),
                    file,
                })
            }
            Self::Git(source) => {
                let keep = source.keeps_git_dir(keep_git_dir);
                let keep = keep.map_err(|cause| ContextError::Address {
                    url: source.remote.clone(),
                    cause,
                })?;
                let checkout = git::checkout(source, keep, &std::env::temp_dir(), auth).await;
                let checkout = checkout.map_err(|e| failed(&e.url, e.message))?;
                let subdir = PathBuf::from(source.subdir.as_deref().unwrap_or("."));
                Ok(Fetched::Tree { checkout, subdir })
            }
        }
    }
}

/// The address of a folder of a context that is a repository: what is typed for it. `None` where
/// the context is none.
pub fn below(context: &str, folder: &str) -> Option<String> {
    let Ok(Some(Remote::Git(source))) = Remote::parse(context) else {
        return None;
    };
    let folder = folder.trim_start_matches('/');
    let whole = match source.subdir.as_deref() {
        Some(subdir) => format!("{}/{folder}", subdir.trim_matches('/')),
        None => folder.to_owned(),
    };
    let reference = source.reference.unwrap_or_default();
    let remote = source.remote;
    let usual = source.keep_git_dir.is_none() && !source.without_submodules;
    if source.checksum.is_none() && usual {
        return Some(format!("{remote}#{reference}:{whole}"));
    }
    let mut query = format!("{remote}?subdir={whole}");
    if !reference.is_empty() {
        query.push_str(&format!("&ref={reference}"));
    }
    if let Some(checksum) = source.checksum {
        query.push_str(&format!("&checksum={checksum}"));
    }
    if let Some(keep) = source.keep_git_dir {
        query.push_str(&format!("&keep-git-dir={keep}"));
    }
    if source.without_submodules {
        query.push_str("&submodules=false");
    }
    Some(query)
}

fn failed(url: &str, message: impl ToString) -> ContextError {
    ContextError::Remote {
        url: url.to_owned(),
        message: message.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_of_a_repository_have_addresses() {
        let below = |context: &str| below(context, "sub/x");
        for (context, address) in [
            ("https://h/r.git", "https://h/r.git#:sub/x"),
            ("https://h/r.git#v1", "https://h/r.git#v1:sub/x"),
            ("https://h/r.git#v1:deep/", "https://h/r.git#v1:deep/sub/x"),
            ("github.com/o/r#v1", "https://github.com/o/r.git#v1:sub/x"),
            ("git@h:o/r.git", "git@h:o/r.git#:sub/x"),
            (
                "https://h/r.git?ref=v1&subdir=deep&submodules=false",
                "https://h/r.git?subdir=deep/sub/x&ref=v1&submodules=false",
            ),
            (
                "https://h/r.git?keep-git-dir=1",
                "https://h/r.git?subdir=sub/x&keep-git-dir=true",
            ),
        ] {
            let found = below(context);
            assert_eq!(found.as_deref(), Some(address), "{context}");
            assert!(Remote::parse(address).unwrap().is_some_and(|r| match r {
                Remote::Git(source) => source.subdir.is_some_and(|dir| dir.ends_with("sub/x")),
                Remote::Http(_) => false,
            }));
        }
        assert_eq!(below("https://h/archive.tar.gz"), None);
        assert_eq!(below("folder"), None);
    }

    #[test]
    fn contexts_that_are_elsewhere_are_told_by_their_form() {
        let git = |remote: &str, reference: Option<&str>, subdir: Option<&str>| {
            Some(Remote::Git(GitSource {
                remote: remote.to_owned(),
                reference: reference.map(str::to_owned),
                subdir: subdir.map(str::to_owned),
                ..GitSource::default()
            }))
        };
        for (context, remote) in [
            (".", None),
            ("dir/github.com/x", None),
            (
                "https://h/x.tar.gz",
                Some(Remote::Http("https://h/x.tar.gz".to_owned())),
            ),
            (
                "https://h/r.git#v1:docker",
                git("https://h/r.git", Some("v1"), Some("docker")),
            ),
            (
                "https://h/r.git?ref=v1&subdir=docker",
                git("https://h/r.git", Some("v1"), Some("docker")),
            ),
            (
                "https://user:secret@h:8443/o/r.git#main",
                git("https://user:secret@h:8443/o/r.git", Some("main"), None),
            ),
            ("git@h:r.git", git("git@h:r.git", None, None)),
            (
                "git@h:o/r.git#v1:docker",
                git("git@h:o/r.git", Some("v1"), Some("docker")),
            ),
            (
                "ssh://git@h:2222/o/r.git#v1:docker",
                git("ssh://git@h:2222/o/r.git", Some("v1"), Some("docker")),
            ),
            (
                "git://h/o/r#:docker",
                git("git://h/o/r", None, Some("docker")),
            ),
            (
                "github.com/a/b#main",
                git("https://github.com/a/b.git", Some("main"), None),
            ),
            (
                "github.com/a/b?ref=main&subdir=d",
                git("https://github.com/a/b.git", Some("main"), Some("d")),
            ),
        ] {
            assert_eq!(Remote::parse(context).unwrap(), remote, "{context}");
        }
    }
}
