//! Layers for tests.

use super::entry::Listing;
use super::reading::list;

/// An archive of files with their content, and of directories.
pub(super) fn archive(files: &[(&str, Option<&str>)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, content) in files {
        let mut header = tar::Header::new_ustar();
        // As raw as it is given: the crate would refuse what leads out.
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_mode(0o644);
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        header.set_entry_type(match content {
            Some(_) => tar::EntryType::Regular,
            None => tar::EntryType::Directory,
        });
        let content = content.unwrap_or_default();
        header.set_size(content.len() as u64);
        header.set_cksum();
        builder.append(&header, content.as_bytes()).unwrap();
    }
    builder.into_inner().unwrap()
}

pub(super) fn listing(files: &[(&str, Option<&str>)]) -> Listing {
    list(std::io::Cursor::new(archive(files))).unwrap()
}
