//! Git repositories, for contexts and ADD: which commit a name means, and the files of it.
//!
//! `git` itself is run, since its protocols, keys and credential helpers are the user's own. What
//! a repository holds is somebody else's: every object that comes is checked, none of its hooks
//! run, and no transport that runs a command.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use dockerfile::value::GitSource;
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};
use tempfile::TempDir;
use tokio::process::Command;

use crate::auth::Auth;

/// Settings of every run.
const SETTINGS: [&str; 9] = [
    "protocol.ext.allow=never",
    "core.hooksPath=/dev/null",
    "gc.auto=0",
    "transfer.fsckObjects=true",
    // Old tools wrote these into repositories that are in use everywhere; they harm nothing.
    "fetch.fsck.zeroPaddedFilemode=ignore",
    "fetch.fsck.missingSpaceBeforeDate=ignore",
    "fetch.fsck.badTimezone=ignore",
    "fetch.fsck.gitignoreSymlink=ignore",
    "fetch.fsck.gitattributesSymlink=ignore",
];

/// All branches and tags, as what is fetched.
const EVERYTHING: [&str; 2] = [
    "+refs/heads/*:refs/remotes/origin/*",
    "+refs/tags/*:refs/tags/*",
];

/// Why a repository was not fetched.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{url}: {message}")]
pub struct GitError {
    /// The repository.
    pub url: String,
    /// Why it is not here.
    pub message: String,
}

/// The files of one commit, gone when dropped.
#[derive(Debug)]
pub struct Checkout {
    dir: TempDir,
    /// The commit.
    pub commit: String,
    /// When it was committed, seconds since the epoch; its files have this date.
    pub committed: i64,
}

impl Checkout {
    /// The folder of its files, which are root's.
    pub fn path(&self) -> PathBuf {
        self.dir.path().join("tree")
    }
}

/// The commit that a repository's name for it means now: for a commit itself nobody is asked.
///
/// # Errors
/// [`GitError`], also when a checksum says another one.
pub async fn resolve(source: &GitSource, auth: &Auth) -> Result<String, GitError> {
    let git = Git::new(source, Path::new("/"), auth)?;
    if is_commit(git.reference) {
        let commit = git.reference.to_lowercase();
        git.check(source, &commit, None)?;
        return Ok(commit);
    }
    let peeled = format!("{}^{{}}", git.reference);
    let asked = ["ls-remote", "--", git.url, git.reference, &peeled];
    let listed = git.run(&asked).await?;
    let (commit, tag) = match named(&listed, git.reference) {
        Some(found) => found,
        None if begins_commit(git.reference) => (git.lengthen().await?, None),
        None => return Err(git.failed(format!("there is no {}", git.reference))),
    };
    git.check(source, &commit, tag.as_deref())?;
    Ok(commit)
}

/// Fetches a commit's files into a new folder in `parent`, without the history, and with the
/// repository's own data only where it is to be kept. Files have the modes that git records and
/// the time of the commit, so that one commit always comes to the same.
///
/// # Errors
/// [`GitError`]; no folder is left then, nor when the future is dropped before its end.
pub async fn checkout(
    source: &GitSource,
    keep_git_dir: bool,
    parent: &Path,
    auth: &Auth,
) -> Result<Checkout, GitError> {
    let dir = TempDir::with_prefix_in("git-", parent);
    let dir = dir.map_err(|e| failed(&source.remote, format!("{}: {e}", parent.display())))?;
    let tree = dir.path().join("tree");
    let git = Git::new(source, &tree, auth)?;
    fs::create_dir(&tree).map_err(|e| git.failed(e.to_string()))?;
    let wanted = git.fetch().await?;
    let peeled = format!("{wanted}^{{commit}}");
    let commit = git.run(&["rev-parse", &peeled]).await?.trim().to_owned();
    let itself = git.run(&["rev-parse", &wanted]).await?;
    git.check(source, &commit, Some(itself.trim()))?;
    git.run(&["checkout", "--quiet", "--force", "--detach", &commit])
        .await?;
    // Submodules may be named relative to it.
    git.run(&["remote", "add", "origin", git.url]).await?;
    if !source.without_submodules {
        let whole = ["submodule", "--quiet", "update", "--init", "--recursive"];
        let shallow: Vec<&str> = whole.into_iter().chain(["--depth=1"]).collect();
        // Plain file servers give whole histories only.
        if git.run(&shallow).await.is_err() {
            git.run(&whole).await?;
        }
    }
    let shown = ["show", "--no-patch", "--format=%ct", &commit];
    let committed = git.run(&shown).await?;
    let committed = committed.trim().parse();
    let committed = committed.map_err(|e| git.failed(format!("the date of {commit}: {e}")))?;
    if keep_git_dir {
        git.tidy().await?;
    }
    let url = source.remote.clone();
    let settled = tokio::task::spawn_blocking(move || settle(&tree, keep_git_dir, committed));
    let settled = settled.await.map_err(|e| failed(&url, e.to_string()))?;
    settled.map_err(|e| failed(&url, e.to_string()))?;
    Ok(Checkout {
        dir,
        commit,
        committed,
    })
}

fn failed(url: &str, message: impl Into<String>) -> GitError {
    GitError {
        url: url.to_owned(),
        message: message.into(),
    }
}

/// Whether a name is a whole commit ID, of either kind.
fn is_commit(name: &str) -> bool {
    matches!(name.len(), 40 | 64) && name.bytes().all(|b| b.is_ascii_hexdigit())
}

/// Whether a name may be the beginning of a commit ID: git wants four digits.
fn begins_commit(name: &str) -> bool {
    (4..64).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_hexdigit())
}

/// What a name means among the lines of `git ls-remote`: by git's own order, and of a tag with a
/// message what it points to. Then that tag's own ID.
fn named(listed: &str, name: &str) -> Option<(String, Option<String>)> {
    let lines = || listed.lines().filter_map(|line| line.split_once('\t'));
    let found = |wanted: &str| lines().find(|(_, name)| *name == wanted).map(|(id, _)| id);
    let places = ["", "refs/", "refs/tags/", "refs/heads/"];
    places.iter().find_map(|place| {
        let whole = format!("{place}{name}");
        let itself = found(&whole)?.to_owned();
        Some(match found(&format!("{whole}^{{}}")) {
            Some(commit) => (commit.to_owned(), Some(itself)),
            None => (itself, None),
        })
    })
}

/// Runs git in a folder, for one repository.
struct Git<'a> {
    url: &'a str,
    reference: &'a str,
    dir: &'a Path,
    /// For which addresses a header is, and the header.
    header: Option<(String, String)>,
}

impl<'a> Git<'a> {
    fn new(source: &'a GitSource, dir: &'a Path, auth: &Auth) -> Result<Self, GitError> {
        let url = source.remote.as_str();
        let reference = source.reference.as_deref().unwrap_or("HEAD");
        if reference.starts_with('-') || url.starts_with('-') {
            let message = "a name that begins with a dash is no branch, tag or commit";
            return Err(failed(url, message));
        }
        Ok(Self {
            url,
            reference,
            dir,
            header: auth.for_git(url),
        })
    }

    fn failed(&self, message: impl Into<String>) -> GitError {
        failed(self.url, message)
    }

    /// Compares a commit, or the tag that led to it, with the checksum that it must have.
    fn check(&self, source: &GitSource, commit: &str, tag: Option<&str>) -> Result<(), GitError> {
        let Some(wanted) = &source.checksum else {
            return Ok(());
        };
        let wanted = wanted.to_lowercase();
        let same = |id: &str| !wanted.is_empty() && id.starts_with(&wanted);
        if same(commit) || tag.is_some_and(same) {
            return Ok(());
        }
        let reference = self.reference;
        Err(self.failed(format!("{reference} is commit {commit}, not {wanted}")))
    }

    /// Fetches the revision into a new repository; returns a name that it has there.
    async fn fetch(&self) -> Result<String, GitError> {
        self.init("sha1").await?;
        let error = match self.fetch_revision().await {
            Ok(name) => return Ok(name),
            Err(error) => error,
        };
        // The two kinds of object names do not mix.
        if !self.has_sha256().await {
            return Err(error);
        }
        let data = self.dir.join(".git");
        let removed = tokio::fs::remove_dir_all(&data).await;
        removed.map_err(|e| self.failed(format!("{}: {e}", data.display())))?;
        self.init("sha256").await?;
        self.fetch_revision().await
    }

    /// Whether the remote names its objects by SHA-256.
    async fn has_sha256(&self) -> bool {
        let listed = self.run(&["ls-remote", "--", self.url]).await;
        let listed = listed.unwrap_or_default();
        let id = listed.split('\t').next();
        id.is_some_and(|id| id.len() == 64)
    }

    async fn init(&self, format: &str) -> Result<(), GitError> {
        let format = format!("--object-format={format}");
        let init = ["init", "--quiet", "--template=", &format, "."];
        self.run(&init).await.map(drop)
    }

    async fn fetch_revision(&self) -> Result<String, GitError> {
        let whole = ["fetch", "--quiet", "--no-tags", "--", self.url];
        let shallow = ["fetch", "--quiet", "--no-tags", "--depth=1", "--", self.url];
        let head = || Ok("FETCH_HEAD".to_owned());
        if self
            .run(&[&shallow[..], &[self.reference]].concat())
            .await
            .is_ok()
        {
            return head();
        }
        // Plain file servers give whole histories only; a real mistake fails again, and says why.
        let fetched = self.run(&[&whole[..], &[self.reference]].concat()).await;
        let Err(error) = fetched else {
            return head();
        };
        // They, and others, give a commit only by the branch or tag that it belongs to.
        let commit = match is_commit(self.reference) {
            true => self.reference.to_owned(),
            false if begins_commit(self.reference) => match self.lengthen().await {
                Ok(commit) => {
                    let one = [&shallow[..], &[&commit]].concat();
                    if self.run(&one).await.is_ok() {
                        return head();
                    }
                    commit
                }
                Err(_) => return Err(error),
            },
            false => return Err(error),
        };
        self.run(&[&whole[..], &EVERYTHING].concat()).await?;
        match self.run(&["cat-file", "-e", &commit]).await {
            Ok(_) => Ok(commit),
            Err(_) => Err(error),
        }
    }

    /// The commit whose ID begins with the reference, among those that branches and tags lead to.
    /// Servers tell of no others, so that their commits are fetched, without files where the
    /// server can leave them out.
    async fn lengthen(&self) -> Result<String, GitError> {
        let dir = TempDir::with_prefix("git-").map_err(|e| self.failed(e.to_string()))?;
        let git = Git {
            dir: dir.path(),
            header: self.header.clone(),
            ..*self
        };
        let format = match self.has_sha256().await {
            true => "sha256",
            false => "sha1",
        };
        git.init(format).await?;
        let fetch = ["fetch", "--quiet", "--no-tags"];
        let bare = [&fetch[..], &["--filter=tree:0", "--", git.url], &EVERYTHING].concat();
        if git.run(&bare).await.is_err() {
            let whole = [&fetch[..], &["--", git.url], &EVERYTHING].concat();
            git.run(&whole).await?;
        }
        let commit = format!("{}^{{commit}}", git.reference);
        let found = git.run(&["rev-parse", "--verify", &commit]).await;
        let found = found.map_err(|e| self.failed(e.message))?;
        Ok(found.trim().to_owned())
    }

    /// Leaves the repository as a clone would, without what an image must not tell, and without
    /// what differs from one fetch to the next.
    async fn tidy(&self) -> Result<(), GitError> {
        if let Some(secret) = user_information(self.url) {
            let (data, secret) = (self.dir.join(".git"), format!("{secret}@"));
            let hidden = tokio::task::spawn_blocking(move || hide(&data, &secret)).await;
            let hidden = hidden.map_err(|e| self.failed(e.to_string()))?;
            hidden.map_err(|e| self.failed(e.to_string()))?;
        }
        self.run(&["reflog", "expire", "--expire=now", "--all"])
            .await?;
        match tokio::fs::remove_file(self.dir.join(".git/FETCH_HEAD")).await {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(self.failed(e.to_string())),
            _ => Ok(()),
        }
    }

    /// Runs git and gives what it printed.
    async fn run(&self, args: &[&str]) -> Result<String, GitError> {
        let settings = SETTINGS.iter().flat_map(|setting| ["-c", setting]);
        let mut command = Command::new("git");
        if let Some((prefix, header)) = &self.header {
            // Not among the arguments, which every user of this machine can read.
            command
                .env("GIT_CONFIG_COUNT", "1")
                .env("GIT_CONFIG_KEY_0", format!("http.{prefix}.extraHeader"))
                .env("GIT_CONFIG_VALUE_0", format!("Authorization: {header}"));
        }
        let output = command
            .args(settings)
            .args(args)
            .current_dir(self.dir)
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("LC_ALL", "C")
            .env_remove("GIT_DIR")
            .env_remove("GIT_WORK_TREE")
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await;
        match output {
            Ok(output) if output.status.success() => {
                Ok(String::from_utf8_lossy(&output.stdout).into_owned())
            }
            Ok(output) => Err(self.failed(String::from_utf8_lossy(&output.stderr).trim())),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                Err(self.failed("git is not installed, and fetches repositories"))
            }
            Err(e) => Err(self.failed(format!("git: {e}"))),
        }
    }
}

/// The name and password that stand in an address: what precedes its `@`.
fn user_information(url: &str) -> Option<&str> {
    let rest = url
        .strip_prefix("https://")
        .or(url.strip_prefix("http://"))?;
    let authority = rest.split(['/', '?', '#']).next()?;
    authority.rsplit_once('@').map(|(secret, _)| secret)
}

/// Takes a text out of every file in a repository's data that has settings.
fn hide(dir: &Path, secret: &str) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            hide(&entry.path(), secret)?;
        } else if kind.is_file() && entry.file_name() == "config" {
            let text = fs::read_to_string(entry.path())?;
            fs::write(entry.path(), text.replace(secret, ""))?;
        }
    }
    Ok(())
}

/// Gives everything in a folder the date of its commit, and the modes that git knows; takes the
/// repositories' own data away unless it is to be kept.
fn settle(dir: &Path, keep_git_dir: bool, time: i64) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let (path, kind) = (entry.path(), entry.file_type()?);
        let data = entry.file_name() == ".git";
        if data && !keep_git_dir {
            // A submodule's is a file.
            match kind.is_dir() {
                true => fs::remove_dir_all(&path)?,
                false => fs::remove_file(&path)?,
            }
            continue;
        }
        if kind.is_dir() {
            settle(&path, keep_git_dir, time)?;
        } else {
            if kind.is_file() {
                let executable = entry.metadata()?.permissions().mode() & 0o100 != 0;
                let mode = if executable { 0o755 } else { 0o644 };
                fs::set_permissions(&path, Permissions::from_mode(mode))?;
            }
            date(&path, time)?;
        }
    }
    fs::set_permissions(dir, Permissions::from_mode(0o755))?;
    date(dir, time)
}

fn date(path: &Path, time: i64) -> io::Result<()> {
    let time = Timespec {
        tv_sec: time,
        tv_nsec: 0,
    };
    let times = Timestamps {
        last_access: time,
        last_modification: time,
    };
    Ok(utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_mean_what_git_makes_of_them() {
        let listed = "1\tHEAD\n2\trefs/heads/v1\n3\trefs/tags/v1\n4\trefs/tags/v1^{}\n\
                      5\trefs/heads/main\n6\trefs/heads/x/main\n7\trefs/pull/1/head\n";
        for (name, id) in [
            ("HEAD", Some("1")),
            ("v1", Some("4 of 3")),
            ("refs/heads/v1", Some("2")),
            ("heads/v1", Some("2")),
            ("tags/v1", Some("4 of 3")),
            ("main", Some("5")),
            ("x/main", Some("6")),
            ("refs/pull/1/head", Some("7")),
            ("pull/1/head", Some("7")),
            ("head", None),
            ("v", None),
        ] {
            let found = named(listed, name).map(|(commit, tag)| match tag {
                Some(tag) => format!("{commit} of {tag}"),
                None => commit,
            });
            assert_eq!(found.as_deref(), id, "{name}");
        }
    }

    #[test]
    fn passwords_stay_out_of_images() {
        for (url, secret) in [
            ("https://me:secret@h/r.git", Some("me:secret")),
            ("https://token@h:8443/r.git?x=1", Some("token")),
            ("https://a@b@h/r.git", Some("a@b")),
            ("https://h/r@2.git", None),
            ("git@h:r.git", None),
            ("ssh://git@h/r", None),
        ] {
            assert_eq!(user_information(url), secret, "{url}");
        }
        let dir = tempfile::tempdir().unwrap();
        let module = dir.path().join("modules/m");
        fs::create_dir_all(&module).unwrap();
        for folder in [dir.path(), &module] {
            fs::write(folder.join("config"), "url = https://me:x@h/r.git\n").unwrap();
        }
        hide(dir.path(), "me:x@").unwrap();
        for folder in [dir.path(), &module] {
            let text = fs::read_to_string(folder.join("config")).unwrap();
            assert_eq!(text, "url = https://h/r.git\n");
        }
    }

    #[tokio::test]
    async fn a_revision_that_reads_like_an_option_is_refused() {
        let source = GitSource {
            remote: "https://localhost/r.git".to_owned(),
            reference: Some("--upload-pack=x".to_owned()),
            ..GitSource::default()
        };
        let dir = tempfile::tempdir().unwrap();
        assert!(resolve(&source, &Auth::default()).await.is_err());
        assert!(
            checkout(&source, false, dir.path(), &Auth::default())
                .await
                .is_err()
        );
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
