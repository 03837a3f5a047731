//! Random sequences of hostile entries.

use std::os::unix::fs::{MetadataExt, PermissionsExt};

use super::{archive, layer};
use crate::layer::header::Kind;
use crate::layer::testing::{Tar, Tree, anybody, listing};

/// One entry of a hostile archive: what it is, its path, and where it links to.
type Hostile = (u8, usize, usize);

const PATHS: [&str; 14] = [
    "a",
    "b",
    "a/b",
    "a/b/c",
    "b/a",
    "/a",
    "../a",
    "a/../b",
    "./",
    ".wh.a",
    ".wh.b",
    "a/.wh.b",
    "a/.wh..wh..opq",
    ".wh..wh..opq",
];

fn hostile(entries: &[Hostile], outside: &Tree) -> Vec<Tar> {
    let outside_dir = outside.0.path().to_str().unwrap();
    let outside_file = outside.path("secret");
    let targets = [
        outside_dir,
        outside_file.to_str().unwrap(),
        "/",
        "..",
        "../..",
        "a",
        "a/b",
        "b",
        "/b/a",
    ];
    // One archive an entry: one that is refused does not keep the others from being tried.
    entries
        .iter()
        .map(|&(kind, path, target)| {
            let (path, target) = (PATHS[path % PATHS.len()], targets[target % targets.len()]);
            match kind % 5 {
                0 => Tar::default().file(path, "evil"),
                1 => Tar::default().dir(path, 0o777),
                2 => Tar::default().symlink(path, target),
                3 => Tar::default().hard_link(path, target),
                _ => Tar::default().link(Kind::Fifo, path, ""),
            }
        })
        .collect()
}

proptest::proptest! {
    #[test]
    fn nothing_outside_is_ever_touched(
        entries in proptest::collection::vec((0u8..5, 0usize..14, 0usize..9), 1..24),
    ) {
        let outside = Tree::new();
        std::fs::write(outside.path("secret"), "secret").unwrap();
        std::fs::set_permissions(outside.path("secret"), PermissionsExt::from_mode(0o600)).unwrap();
        let before = std::fs::metadata(outside.0.path()).unwrap();
        let (snapshot, image) = (Tree::new(), Tree::new());
        std::fs::create_dir(image.path("dst")).unwrap();
        for tar in hostile(&entries, &outside) {
            let _ = layer(&tar.0[..], snapshot.fd(), &anybody());
            let dst = std::fs::File::open(image.path("dst")).unwrap();
            let _ = archive(&tar.0[..], dst, &anybody());
        }
        let after = std::fs::metadata(outside.0.path()).unwrap();
        proptest::prop_assert_eq!(outside.names(""), ["secret"]);
        proptest::prop_assert_eq!(image.names(""), ["dst"]);
        proptest::prop_assert_eq!(outside.read("secret"), "secret");
        proptest::prop_assert_eq!((before.mode(), before.mtime_nsec()), (after.mode(), after.mtime_nsec()));
        let secret = std::fs::metadata(outside.path("secret")).unwrap();
        proptest::prop_assert_eq!((secret.nlink(), secret.mode() & 0o7777), (1, 0o600));
        // And whatever came of it is a layer again, the same one each time.
        let tar = snapshot.tar();
        let again = Tree::new();
        layer(&tar[..], again.fd(), &anybody()).unwrap();
        proptest::prop_assert_eq!(listing(&tar), listing(&again.tar()));
        proptest::prop_assert!(tar == again.tar());
    }
}
