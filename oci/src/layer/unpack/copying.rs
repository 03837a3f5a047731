//! What copying into a tree that is there asks for.

use std::os::unix::fs::symlink;

use super::*;
use crate::layer::reader::EntryKind;
use crate::layer::testing::{Tar, Tree, anybody};

#[test]
fn kinds_stay_where_they_are_to_stay() {
    let options = UnpackOptions {
        keep_kinds: true,
        ..anybody()
    };
    let tree = Tree::new();
    std::fs::create_dir(tree.path("d")).unwrap();
    std::fs::write(tree.path("f"), "old").unwrap();
    symlink("nowhere", tree.path("l")).unwrap();
    let refused = |tar: &Tar| match archive(&tar.0[..], tree.fd(), &options) {
        Err(UnpackError::Refused { problem, .. }) => problem,
        other => panic!("{other:?}"),
    };
    for name in ["d", "d/"] {
        let tar = Tar::default().symlink(name.trim_end_matches('/'), "x");
        assert_eq!(refused(&tar), Problem::IsDirectory);
    }
    assert_eq!(
        refused(&Tar::default().file("d", "x")),
        Problem::IsDirectory
    );
    for name in ["f", "l"] {
        let tar = Tar::default().dir(name, 0o755);
        assert_eq!(refused(&tar), Problem::IsNoDirectory, "{name}");
    }
    // The same kind goes on, and a file may take a link's place.
    let tar = Tar::default()
        .dir("d", 0o700)
        .file("f", "new")
        .file("l", "own");
    archive(&tar.0[..], tree.fd(), &options).unwrap();
    assert_eq!(std::fs::read_to_string(tree.path("f")).unwrap(), "new");
    assert_eq!(std::fs::read_to_string(tree.path("l")).unwrap(), "own");
}

#[test]
fn what_is_packed_under_a_name_has_it() {
    use crate::layer::tree::{Source, write_as};
    let tree = Tree::new();
    std::fs::create_dir_all(tree.path("d/e")).unwrap();
    std::fs::write(tree.path("d/f"), "x").unwrap();
    std::fs::hard_link(tree.path("d/f"), tree.path("d/g")).unwrap();
    symlink("f", tree.path("d/l")).unwrap();
    let dir = crate::layer::open_dir(&tree.path("d")).unwrap();
    let listed = |source: Source<'_>, name: &str| {
        let mut tar = Vec::new();
        let size = write_as(source, name.as_bytes(), &mut tar).unwrap();
        assert_eq!(size, tar.len() as u64);
        let mut reader = Reader::new(&tar[..]);
        let mut names = Vec::new();
        while let Some(entry) = reader.next_entry().unwrap() {
            let target = match entry.kind {
                EntryKind::HardLink(target) => String::from_utf8(target).unwrap(),
                _ => String::new(),
            };
            names.push((String::from_utf8(entry.path).unwrap(), target));
        }
        names
    };
    let plain = |names: &[(&str, &str)]| -> Vec<(String, String)> {
        let names = names.iter();
        names
            .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()))
            .collect()
    };
    let whole = listed(Source::Directory(dir.as_fd()), "new");
    assert_eq!(
        whole,
        plain(&[
            ("new/", ""),
            ("new/e/", ""),
            ("new/f", ""),
            ("new/g", "new/f"),
            ("new/l", "")
        ])
    );
    let root = listed(Source::Directory(dir.as_fd()), "/");
    assert_eq!(root[1].0, "/e/");
    let one = listed(Source::Entry(dir.as_fd(), c"l"), "other");
    assert_eq!(one, plain(&[("other", "")]));
}
