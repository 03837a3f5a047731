//! Which names the containers on a bridge have: a file `BRIDGE.names/NAME/ADDRESS` each, which says
//! whose place on the network it is. One that says another than has the address now was left by a
//! container that was killed, and counts for nothing.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use crate::marks::{Marks, forget};
use crate::network::note::Note;

/// The addresses of one place on a network.
pub(crate) type Addresses = (Option<Ipv4Addr>, Option<Ipv6Addr>);

/// Names of a container, until dropped.
#[derive(Debug, Default)]
pub(crate) struct Registered(Marks);

fn folder(dir: &Path, bridge: &str) -> PathBuf {
    dir.join(format!("{bridge}.names"))
}

/// A name as its folder is called; nothing for what cannot be asked for.
fn key(name: &str) -> Option<String> {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    let is_name = !name.is_empty() && name.len() <= 253 && !name.starts_with('.');
    (is_name && name.bytes().all(fits)).then_some(name)
}

/// Gives the one that has an address and this place these names.
///
/// # Errors
/// Those of the file system.
pub(crate) fn register(
    dir: &Path,
    bridge: &str,
    names: &[String],
    (address, endpoint): (Ipv4Addr, &str),
) -> io::Result<Registered> {
    let mut registered = Registered(Marks::default());
    for name in names.iter().filter_map(|name| key(name)) {
        let folder = folder(dir, bridge).join(name);
        let name = address.to_string();
        registered.0.leave(&folder, &name, endpoint.as_bytes())?;
    }
    Ok(registered)
}

/// All names of a bridge go.
pub(crate) fn forget_all(dir: &Path, bridge: &str) {
    let _ = fs::remove_dir_all(folder(dir, bridge));
}

/// Names of those go that were killed.
pub(crate) fn sweep(dir: &Path, bridge: &str) {
    for entry in fs::read_dir(folder(dir, bridge))
        .into_iter()
        .flatten()
        .flatten()
    {
        if let Some(name) = entry.file_name().to_str() {
            addresses(dir, bridge, name);
        }
    }
    // Of nobody who is left.
    let _ = fs::remove_dir(folder(dir, bridge));
}

/// Who has an address of a bridge.
pub(crate) fn holder(dir: &Path, bridge: &str, address: Ipv4Addr) -> Option<Note> {
    Note::read(&runtime::network::note_of(dir, bridge, address)?)
}

/// The same of an IPv6 address.
pub(crate) fn holder6(dir: &Path, bridge: &str, address: Ipv6Addr) -> Option<Note> {
    Note::read(&runtime::network::note_of6(dir, bridge, address)?)
}

/// The addresses that have a name on a bridge; each may have one of IPv6 beside it.
pub(crate) fn addresses(dir: &Path, bridge: &str, name: &str) -> Vec<Addresses> {
    let Some(name) = key(name) else {
        return Vec::new();
    };
    let Ok(entries) = fs::read_dir(folder(dir, bridge).join(name)) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for path in entries.flatten().map(|entry| entry.path()) {
        let address = path
            .file_name()
            .and_then(|name| name.to_str()?.parse().ok());
        let said = fs::read_to_string(&path).unwrap_or_default();
        let note = address.and_then(|address| runtime::network::note_of(dir, bridge, address));
        let holder = note.as_deref().map(Note::read);
        match (address, holder) {
            (Some(address), Some(Some(holder))) if holder.endpoint == said => {
                let four = (!holder.without_ipv4).then_some(address);
                found.push((four, holder.address6));
            }
            // What is being written says nothing yet.
            (_, Some(None)) => {}
            _ if said.is_empty() => {}
            _ => forget(&path),
        }
    }
    found.sort_unstable();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_asked_for_is_no_name() {
        assert_eq!(key("Web.").as_deref(), Some("web"));
        assert_eq!(key("a_b-c.n1").as_deref(), Some("a_b-c.n1"));
        for wrong in ["", ".", "..", ".a", "a/b", "a b", "\u{e4}"] {
            assert_eq!(key(wrong), None, "{wrong}");
        }
        assert_eq!(key(&"a".repeat(254)), None);
    }

    #[test]
    fn names_go_with_who_has_them_and_those_of_the_dead_count_for_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let address = Ipv4Addr::new(10, 0, 0, 2);
        let names = ["web".to_owned(), "www".to_owned(), "not/one".to_owned()];
        let registered = register(dir.path(), "br", &names, (address, "endpoint")).unwrap();
        let file = dir.path().join("br.names/web/10.0.0.2");
        assert!(file.exists());
        drop(registered);
        assert!(!dir.path().join("br.names/web").exists());
        // Nobody holds a lease of this address.
        let left = register(dir.path(), "br", &names, (address, "endpoint")).unwrap();
        assert!(addresses(dir.path(), "br", "WEB").is_empty());
        assert!(!file.exists(), "it is forgotten");
        drop(left);
    }
}
