//! Resolves Docker's USER syntax with the image's own /etc/passwd and /etc/group.

use std::fs::File;
use std::io::Read;
use std::os::fd::BorrowedFd;

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, fstat, openat2};
use rustix::io::Errno;

/// Largest passwd or group file that is read, in bytes.
const MAX_DATABASE: u64 = 8 << 20;
/// Largest user or group ID, as Docker limits it.
const MAX_ID: u64 = 0x7fff_ffff;

/// Why a USER could not be resolved.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum UserError {
    /// No such name.
    #[error("unable to find user {0}: no matching entries in passwd file")]
    UnknownUser(String),
    /// No such name.
    #[error("unable to find group {0}: no matching entries in group file")]
    UnknownGroup(String),
    /// A number that is no ID.
    #[error("uids and gids must be in range 0-2147483647: {0} is not")]
    OutOfRange(String),
    /// The image's database cannot be used.
    #[error("cannot read {path} in the image: {reason}")]
    Database {
        /// Path in the image.
        path: &'static str,
        /// What is wrong with it.
        reason: String,
    },
}

/// The numbers a process runs with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// User ID.
    pub uid: u32,
    /// Primary group ID.
    pub gid: u32,
    /// Supplementary group IDs, sorted.
    pub groups: Vec<u32>,
    /// Home directory, `/` when the image does not say.
    pub home: String,
}

/// Reads /etc/passwd and /etc/group below `root` and resolves `user`.
///
/// # Errors
/// See [`UserError`].
pub fn lookup(root: BorrowedFd<'_>, user: &str) -> Result<Identity, UserError> {
    let passwd = read_database(root, "/etc/passwd")?;
    let group = read_database(root, "/etc/group")?;
    resolve(user, &passwd, &group)
}

/// The numbers of groups, which are numbers or names of /etc/group below `root`.
///
/// # Errors
/// See [`UserError`].
pub fn group_ids(root: BorrowedFd<'_>, groups: &[String]) -> Result<Vec<u32>, UserError> {
    let is_name = |group: &&String| !matches!(id(group), Ok(Some(_)));
    let database = match groups.iter().any(|group| is_name(&group)) {
        true => read_database(root, "/etc/group")?,
        false => String::new(),
    };
    let groups = groups.iter();
    groups.map(|group| group_id(group, &database)).collect()
}

/// Reads one database, empty when it does not exist.
fn read_database(root: BorrowedFd<'_>, path: &'static str) -> Result<String, UserError> {
    let refuse = |reason: String| UserError::Database { path, reason };
    // Not blocking: the image may have a FIFO there.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let fd = match openat2(root, path, flags, Mode::empty(), resolve) {
        Ok(fd) => fd,
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(String::new()),
        Err(errno) => return Err(refuse(errno.to_string())),
    };
    let stat = fstat(&fd).map_err(|errno| refuse(errno.to_string()))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(refuse("it is not a regular file".to_owned()));
    }
    let mut bytes = Vec::new();
    File::from(fd)
        .take(MAX_DATABASE + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| refuse(error.to_string()))?;
    if bytes.len() as u64 > MAX_DATABASE {
        return Err(refuse(format!(
            "it is larger than {} MiB",
            MAX_DATABASE >> 20
        )));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Resolves `user` with the text of the two databases.
///
/// # Errors
/// See [`UserError`].
pub fn resolve(user: &str, passwd: &str, group: &str) -> Result<Identity, UserError> {
    let (user, group_part) = match user.split_once(':') {
        Some((user, group)) => (user, Some(group).filter(|g| !g.is_empty())),
        None => (user, None),
    };
    let user = if user.is_empty() { "0" } else { user };
    let number = id(user)?;
    let entry = passwd
        .lines()
        .filter_map(Account::parse)
        .find(|account| match number {
            Some(uid) => account.uid == uid,
            None => account.name == user,
        });
    let uid = match (&entry, number) {
        (Some(account), _) => account.uid,
        (None, Some(uid)) => uid,
        (None, None) => return Err(UserError::UnknownUser(user.to_owned())),
    };
    let mut groups = Vec::new();
    let gid = match group_part {
        Some(part) => group_id(part, group)?,
        None => {
            if let Some(account) = &entry {
                groups = memberships(account.name, group);
            }
            entry.as_ref().map_or(0, |account| account.gid)
        }
    };
    groups.sort_unstable();
    groups.dedup();
    let home = entry.map_or("", |account| account.home);
    let home = if home.is_empty() { "/" } else { home }.to_owned();
    Ok(Identity {
        uid,
        gid,
        groups,
        home,
    })
}

/// A number in range, nothing when it is a name.
fn id(text: &str) -> Result<Option<u32>, UserError> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Ok(None);
    }
    match text.parse::<u64>() {
        Ok(number) if number <= MAX_ID => Ok(Some(number as u32)),
        _ => Err(UserError::OutOfRange(text.to_owned())),
    }
}

fn group_id(part: &str, group: &str) -> Result<u32, UserError> {
    if let Some(gid) = id(part)? {
        return Ok(gid);
    }
    groups_of(group)
        .find(|(name, _, _)| *name == part)
        .map(|(_, gid, _)| gid)
        .ok_or_else(|| UserError::UnknownGroup(part.to_owned()))
}

fn memberships(name: &str, group: &str) -> Vec<u32> {
    groups_of(group)
        .filter(|(_, _, members)| members.split(',').any(|member| member == name))
        .map(|(_, gid, _)| gid)
        .collect()
}

/// `name:password:gid:members` lines; broken ones are skipped.
fn groups_of(text: &str) -> impl Iterator<Item = (&str, u32, &str)> {
    text.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let (name, _, gid) = (fields.next()?, fields.next()?, fields.next()?);
        let gid = id(gid).ok()??;
        (!name.is_empty()).then_some((name, gid, fields.next().unwrap_or("")))
    })
}

struct Account<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

impl<'a> Account<'a> {
    /// `name:password:uid:gid:comment:home:shell`; nothing for a broken line.
    fn parse(line: &'a str) -> Option<Self> {
        let fields: Vec<&str> = line.split(':').collect();
        let (name, uid, gid) = (*fields.first()?, fields.get(2)?, fields.get(3)?);
        if name.is_empty() {
            return None;
        }
        Some(Self {
            name,
            uid: id(uid).ok()??,
            gid: id(gid).ok()??,
            home: fields.get(5).copied().unwrap_or(""),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nbroken\napp:x:1000:1001::/home/app:/bin/sh\n\
                          huge:x:99999999999:0::/:\n";
    const GROUP: &str = "root:x:0:\napp:x:1001:\nwheel:x:10:root,app\naudio:x:29:app\n";

    fn numbers(user: &str) -> (u32, u32, Vec<u32>, String) {
        let id = resolve(user, PASSWD, GROUP).unwrap();
        (id.uid, id.gid, id.groups, id.home)
    }

    #[test]
    fn users_as_docker_resolves_them() {
        let home = |path: &str| path.to_owned();
        for (user, want) in [
            ("", (0, 0, vec![10], home("/root"))),
            ("root", (0, 0, vec![10], home("/root"))),
            ("app", (1000, 1001, vec![10, 29], home("/home/app"))),
            ("1000", (1000, 1001, vec![10, 29], home("/home/app"))),
            ("app:", (1000, 1001, vec![10, 29], home("/home/app"))),
            ("app:wheel", (1000, 10, vec![], home("/home/app"))),
            ("app:7", (1000, 7, vec![], home("/home/app"))),
            ("4242", (4242, 0, vec![], home("/"))),
            ("4242:4243", (4242, 4243, vec![], home("/"))),
            (":wheel", (0, 10, vec![], home("/root"))),
        ] {
            assert_eq!(numbers(user), want, "{user:?}");
        }
    }

    #[test]
    fn refusals() {
        for (user, want) in [
            (
                "nobody",
                "unable to find user nobody: no matching entries in passwd file",
            ),
            (
                "app:none",
                "unable to find group none: no matching entries in group file",
            ),
            (
                "4294967296",
                "uids and gids must be in range 0-2147483647: 4294967296 is not",
            ),
            (
                "-1",
                "uids and gids must be in range 0-2147483647: -1 is not",
            ),
            (
                "0:99999999999999999999",
                "uids and gids must be in range 0-2147483647: 99999999999999999999 is not",
            ),
        ] {
            assert_eq!(resolve(user, PASSWD, GROUP).unwrap_err().to_string(), want);
        }
    }

    #[test]
    fn groups_are_numbers_or_names_of_the_image() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("etc")).unwrap();
        std::fs::write(dir.path().join("etc/group"), GROUP).unwrap();
        let root = File::open(dir.path()).unwrap();
        let numbers = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            group_ids(root.as_fd(), &names)
        };
        assert_eq!(numbers(&["wheel", "7", "audio"]), Ok(vec![10, 7, 29]));
        assert_eq!(
            numbers(&["nope"]),
            Err(UserError::UnknownGroup("nope".to_owned()))
        );
    }

    #[test]
    fn databases_stay_inside_the_root() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("etc")).unwrap();
        let outside = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(outside.path(), "evil:x:0:0::/:\n").unwrap();
        std::os::unix::fs::symlink(outside.path(), dir.path().join("etc/passwd")).unwrap();
        let root = File::open(dir.path()).unwrap();
        assert_eq!(
            lookup(root.as_fd(), "evil").unwrap_err(),
            UserError::UnknownUser("evil".to_owned())
        );
    }

    #[test]
    fn a_huge_group_file_and_a_fifo_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("etc")).unwrap();
        let group = dir.path().join("etc/group");
        File::create(&group)
            .unwrap()
            .set_len(MAX_DATABASE + 1)
            .unwrap();
        let root = File::open(dir.path()).unwrap();
        let error = lookup(root.as_fd(), "0").unwrap_err().to_string();
        assert_eq!(
            error,
            "cannot read /etc/group in the image: it is larger than 8 MiB"
        );
        std::fs::remove_file(&group).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, &group, FileType::Fifo, Mode::RUSR, 0).unwrap();
        let error = lookup(root.as_fd(), "0").unwrap_err().to_string();
        assert_eq!(
            error,
            "cannot read /etc/group in the image: it is not a regular file"
        );
    }
}
