//! Options of memory file systems, and of mount(8).

use runtime::MountFlags;

/// Options that take a value.
const VALUED: [&str; 7] = [
    "size",
    "mode",
    "uid",
    "gid",
    "nr_inodes",
    "nr_blocks",
    "mpol",
];
/// Options that change nothing here.
const IDLE: [&str; 22] = [
    "defaults",
    "sync",
    "async",
    "dirsync",
    "mand",
    "nomand",
    "atime",
    "noatime",
    "diratime",
    "nodiratime",
    "relatime",
    "norelatime",
    "strictatime",
    "nostrictatime",
    "private",
    "rprivate",
    "shared",
    "rshared",
    "slave",
    "rslave",
    "bind",
    "rbind",
];

/// How a memory file system is mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tmpfs {
    pub(super) flags: MountFlags,
    pub(super) options: Vec<(String, String)>,
}

/// Takes an option of mount(8) that is no file system's own; false when it is none.
pub(super) fn flag(flags: &mut MountFlags, word: &str) -> bool {
    match word {
        "ro" => flags.readonly = true,
        "rw" => flags.readonly = false,
        "nosuid" => flags.nosuid = true,
        "suid" => flags.nosuid = false,
        "nodev" => flags.nodev = true,
        "dev" => flags.nodev = false,
        "noexec" => flags.noexec = true,
        "exec" => flags.noexec = false,
        _ => return IDLE.contains(&word),
    }
    true
}

/// Reads what stands behind the target of `--tmpfs`. Set-user-ID bits, devices and programs have to
/// be allowed.
///
/// # Errors
/// docker's sentence about an option that is none.
pub(super) fn read(text: &str) -> Result<Tmpfs, String> {
    let mut read = Tmpfs {
        flags: MountFlags {
            nosuid: true,
            nodev: true,
            noexec: true,
            readonly: false,
        },
        options: Vec::new(),
    };
    for word in text.split(',').filter(|word| !word.is_empty()) {
        if flag(&mut read.flags, word) {
            continue;
        }
        match word.split_once('=') {
            Some((key, value)) if VALUED.contains(&key) => {
                // The last one counts.
                read.options.retain(|(known, _)| known != key);
                read.options.push((key.to_owned(), value.to_owned()));
            }
            _ => return Err(format!("invalid tmpfs option {word:?}")),
        }
    }
    Ok(read)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_allowed_has_to_be_said() {
        let read_all = read("size=1m,uid=3,exec,size=2m").unwrap();
        assert!(!read_all.flags.noexec && read_all.flags.nosuid && read_all.flags.nodev);
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(read_all.options, [pair("uid", "3"), pair("size", "2m")]);
        assert!(read("ro").unwrap().flags.readonly);
        assert_eq!(read("foo").unwrap_err(), "invalid tmpfs option \"foo\"");
        assert_eq!(
            read("who=me").unwrap_err(),
            "invalid tmpfs option \"who=me\""
        );
    }
}
