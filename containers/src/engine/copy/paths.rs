//! What `cp` makes of its paths. Pure: docker's rules, which go by how a path ends, by what is there
//! and by nothing else.

use golang::path::clean;

/// Ends with a slash.
pub(super) fn is_slashed(path: &str) -> bool {
    path.ends_with('/')
}

/// Means the directory's content: its last part is a dot.
pub(super) fn is_dotted(path: &str) -> bool {
    base(path) == "."
}

/// Can only be a directory.
pub(super) fn is_directory_for_sure(path: &str) -> bool {
    is_slashed(path) || is_dotted(path)
}

/// The last part of a path, as Go's `filepath.Base` has it.
pub(super) fn base(path: &str) -> &str {
    let bare = path.trim_end_matches('/');
    match (path.is_empty(), bare.is_empty()) {
        (true, _) => ".",
        (false, true) => "/",
        (false, false) => bare.rsplit('/').next().unwrap_or(bare),
    }
}

/// All but the last part, as Go's `filepath.Dir` has it.
pub(super) fn dir(path: &str) -> String {
    match path.rfind('/') {
        Some(at) => clean(path.get(..=at).unwrap_or("/")),
        None => ".".to_owned(),
    }
}

/// A directory and the name in it; a dot at the end stays the name.
pub(super) fn split(path: &str) -> (String, String) {
    let mut whole = clean(path);
    if is_dotted(path) {
        whole.push_str("/.");
    }
    (dir(&whole), base(&whole).to_owned())
}

/// `clean` as it is, but for the slash or dot that `typed` ends with.
pub(super) fn keep_end(mut cleaned: String, typed: &str) -> String {
    if is_dotted(typed) && !is_dotted(&cleaned) {
        if !is_slashed(&cleaned) {
            cleaned.push('/');
        }
        cleaned.push('.');
    }
    if is_slashed(typed) && !is_slashed(&cleaned) {
        cleaned.push('/');
    }
    cleaned
}

/// A path in a container from its root.
pub(super) fn absolute(typed: &str) -> String {
    keep_end(clean(&format!("/{typed}")), typed)
}

/// Where a link leads, ending as its path does; and the name that it had, if that was another.
pub(super) fn led(path: &str, mut target: String) -> (String, Option<String>) {
    if is_dotted(path) && !is_dotted(&target) {
        target.push_str("/.");
    }
    if is_slashed(path) && !is_slashed(&target) {
        target.push('/');
    }
    let renamed = (base(path) != base(&target)).then(|| base(path).to_owned());
    (target, renamed)
}

/// What is copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct From {
    /// Its path.
    pub(super) path: String,
    pub(super) is_dir: bool,
    /// The name of the link that led to it.
    pub(super) renamed: Option<String>,
}

/// What it is copied to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct To {
    pub(super) path: String,
    pub(super) there: There,
}

/// What is at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum There {
    Nothing,
    Directory,
    Other,
}

/// The directory that it goes into, and its name there: nothing for the one that it has.
///
/// # Errors
/// docker's sentences.
pub(super) fn place(from: &From, to: &To) -> Result<(String, Option<String>), &'static str> {
    let (dir, name) = split(&to.path);
    match to.there {
        There::Directory => Ok((to.path.clone(), None)),
        There::Other if from.is_dir => Err("cannot copy directory"),
        There::Nothing if !from.is_dir && is_directory_for_sure(&to.path) => {
            Err("no such directory")
        }
        There::Other | There::Nothing => Ok((dir, Some(name))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_come_apart_as_in_go() {
        for (path, want) in [
            ("/a/b", ("/a", "b")),
            ("/a/b/", ("/a", "b")),
            ("/a/b/.", ("/a/b", ".")),
            ("/", ("/", "/")),
            ("a", (".", "a")),
            ("/a/../b", ("/", "b")),
        ] {
            let (dir, name) = split(path);
            assert_eq!((dir.as_str(), name.as_str()), want, "{path}");
        }
        for (typed, want) in [
            ("tmp/x", "/tmp/x"),
            ("/tmp/", "/tmp/"),
            ("/tmp/.", "/tmp/."),
            ("/a/../../b", "/b"),
            ("/", "/"),
        ] {
            assert_eq!(absolute(typed), want);
        }
        let (path, renamed) = led("/x/link/", "/y/dir".to_owned());
        assert_eq!(
            (path.as_str(), renamed.as_deref()),
            ("/y/dir/", Some("link"))
        );
    }

    /// The table of docker's manual.
    #[test]
    fn things_go_where_docker_puts_them() {
        let from = |path: &str, is_dir| From {
            path: path.to_owned(),
            is_dir,
            renamed: None,
        };
        let to = |path: &str, there| To {
            path: path.to_owned(),
            there,
        };
        let (file, dir) = (from("/f", false), from("/d", true));
        for (from, to, want) in [
            (&file, to("/t", There::Nothing), Ok(("/", Some("t")))),
            (&file, to("/t/", There::Nothing), Err("no such directory")),
            (&file, to("/t", There::Other), Ok(("/", Some("t")))),
            (&file, to("/t", There::Directory), Ok(("/t", None))),
            (&dir, to("/t", There::Nothing), Ok(("/", Some("t")))),
            (&dir, to("/t/", There::Nothing), Ok(("/", Some("t")))),
            (&dir, to("/t", There::Other), Err("cannot copy directory")),
            (&dir, to("/t", There::Directory), Ok(("/t", None))),
        ] {
            let found = place(from, &to);
            let found = found
                .as_ref()
                .map(|(dir, name)| (dir.as_str(), name.as_deref()));
            assert_eq!(found.map_err(|e| *e), want, "{from:?} {to:?}");
        }
    }
}
