//! Contexts that have to be fetched: an archive or Dockerfile by URL, or a git repository.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use dockerfile::value::{AddSource, GitSource};
use tempfile::TempDir;
use tokio::process::Command;

use super::error::ContextError;
use super::read::temporary;
use crate::download::{Download, fetch};

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
        dir: TempDir,
        /// The folder.
        subdir: PathBuf,
    },
}

impl Remote {
    /// Whether `context` is somewhere else, by the rules of `docker build`: a URL, a git address,
    /// or `github.com/…`.
    pub fn parse(context: &str) -> Option<Self> {
        let full = match context.strip_prefix("github.com/") {
            Some(rest) => {
                let (path, fragment) = rest.split_once('#').unwrap_or((rest, ""));
                let path = path.trim_end_matches('/');
                let path = path.strip_suffix(".git").unwrap_or(path);
                let fragment = if fragment.is_empty() {
                    String::new()
                } else {
                    format!("#{fragment}")
                };
                format!("https://github.com/{path}.git{fragment}")
            }
            None => context.to_owned(),
        };
        match AddSource::parse(&full) {
            AddSource::Local(_) => None,
            AddSource::Http(url) => Some(Self::Http(url)),
            AddSource::Git(source) => Some(Self::Git(source)),
        }
    }

    /// Fetches it.
    ///
    /// # Errors
    /// [`ContextError::Remote`].
    pub async fn fetch(&self) -> Result<Fetched, ContextError> {
        match self {
            Self::Http(url) => {
                let file = fetch(url, None, &std::env::temp_dir()).await;
                let file = file.map_err(|e| failed(url, e.message))?;
                Ok(Fetched::File {
                    url: url.clone(),
                    file,
                })
            }
            Self::Git(source) => clone(source).await,
        }
    }
}

fn failed(url: &str, message: impl ToString) -> ContextError {
    ContextError::Remote {
        url: url.to_owned(),
        message: message.to_string(),
    }
}

/// Fetches one revision of a repository, without its history. `git` is run for it: its protocol
/// and credential helpers are the user's own.
async fn clone(source: &GitSource) -> Result<Fetched, ContextError> {
    let url = source.remote.as_str();
    let reference = source.reference.as_deref().unwrap_or("HEAD");
    if reference.starts_with('-') || url.starts_with('-') {
        return Err(failed(
            url,
            "a name that begins with a dash is no branch, tag or commit",
        ));
    }
    let dir = temporary()?;
    git(url, dir.path(), &["init", "--quiet", "."]).await?;
    if let Err(error) = fetch_revision(url, dir.path(), reference).await {
        // The two kinds of object names do not mix; which one is the remote's, git says here.
        if !error.to_string().contains("mismatched algorithms") {
            return Err(error);
        }
        remove(dir.path().join(".git")).await?;
        let sha256 = ["init", "--quiet", "--object-format=sha256", "."];
        git(url, dir.path(), &sha256).await?;
        fetch_revision(url, dir.path(), reference).await?;
    }
    if let Some(wanted) = &source.checksum {
        let found = git(url, dir.path(), &["rev-parse", "FETCH_HEAD^{commit}"]).await?;
        let found = found.trim();
        let wanted = wanted.to_lowercase();
        if wanted.is_empty() || !found.starts_with(&wanted) {
            let message = format!("{reference} is commit {found}, not {wanted}");
            return Err(failed(url, message));
        }
    }
    git(
        url,
        dir.path(),
        &["checkout", "--quiet", "--force", "FETCH_HEAD"],
    )
    .await?;
    if !source.without_submodules {
        let modules = ["submodule", "--quiet", "update", "--init", "--recursive"];
        let shallow: Vec<&str> = modules.into_iter().chain(["--depth=1"]).collect();
        // Plain file servers give whole histories only.
        if git(url, dir.path(), &shallow).await.is_err() {
            git(url, dir.path(), &modules).await?;
        }
    }
    // As docker: the repository's own data is no part of the context.
    remove(dir.path().join(".git")).await?;
    let subdir = PathBuf::from(source.subdir.as_deref().unwrap_or("."));
    Ok(Fetched::Tree { dir, subdir })
}

async fn remove(path: PathBuf) -> Result<(), ContextError> {
    tokio::fs::remove_dir_all(&path)
        .await
        .map_err(|cause| ContextError::Io {
            what: "remove",
            path,
            cause,
        })
}

/// Fetches a revision into a repository that was just made.
async fn fetch_revision(url: &str, dir: &Path, reference: &str) -> Result<(), ContextError> {
    let shallow = [
        "fetch",
        "--quiet",
        "--depth=1",
        "--no-tags",
        "--",
        url,
        reference,
    ];
    if git(url, dir, &shallow).await.is_err() {
        // Plain file servers give whole histories only; a real mistake fails again, and says why.
        let whole = ["fetch", "--quiet", "--no-tags", "--", url, reference];
        git(url, dir, &whole).await?;
    }
    Ok(())
}

/// Runs git and gives what it printed.
async fn git(url: &str, dir: &Path, args: &[&str]) -> Result<String, ContextError> {
    let output = Command::new("git")
        // No transport that runs a command of the repository's choosing, no local hooks.
        .args([
            "-c",
            "protocol.ext.allow=never",
            "-c",
            "core.hooksPath=/dev/null",
        ])
        .args(args)
        .current_dir(dir)
        .env("GIT_TERMINAL_PROMPT", "0")
        .env_remove("GIT_DIR")
        .env_remove("GIT_WORK_TREE")
        .stdin(Stdio::null())
        .output()
        .await;
    match output {
        Ok(output) if output.status.success() => {
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        }
        Ok(output) => Err(failed(url, String::from_utf8_lossy(&output.stderr).trim())),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Err(failed(
            url,
            "git is not installed; install it, or pass a folder",
        )),
        Err(e) => Err(failed(url, format!("git: {e}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contexts_that_are_elsewhere_are_told_by_their_form() {
        let git = |remote: &str, reference: Option<&str>, subdir: Option<&str>| {
            Some(Remote::Git(GitSource {
                remote: remote.to_owned(),
                reference: reference.map(str::to_owned),
                subdir: subdir.map(str::to_owned),
                checksum: None,
                without_submodules: false,
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
            ("git@h:r.git", git("git@h:r.git", None, None)),
            (
                "github.com/a/b#main",
                git("https://github.com/a/b.git", Some("main"), None),
            ),
        ] {
            assert_eq!(Remote::parse(context), remote, "{context}");
        }
    }

    #[tokio::test]
    async fn a_revision_that_reads_like_an_option_is_refused() {
        let remote = Remote::parse("https://localhost/r.git#--upload-pack=x").unwrap();
        assert!(matches!(
            remote.fetch().await,
            Err(ContextError::Remote { .. })
        ));
    }
}
