//! Paths in compose files, which start from the folder of their file.

use super::node::{Kind, Node};

/// A path from a folder: what it is where the folder is seen from. Absolute paths stay as they are
/// written, as with buildx.
pub fn within(folder: &str, path: &str) -> String {
    if path.starts_with('/') {
        return path.to_owned();
    }
    golang::path::clean(&match folder.is_empty() {
        true => path.to_owned(),
        false => format!("{folder}/{path}"),
    })
}

/// Whether a context is none of this machine's folders.
fn is_elsewhere(context: &str) -> bool {
    let prefixes = ["github.com/", "git@", "service:", "target:"];
    context.contains("://") || prefixes.iter().any(|prefix| context.starts_with(prefix))
}

/// Makes the paths of services and secrets start where the command was typed, and not in `folder`.
pub fn rebase(root: &mut Node, folder: &str) {
    let moved = |node: &mut Node| {
        if let Kind::Text(path) = &mut node.kind
            && !path.is_empty()
            && !is_elsewhere(path)
        {
            *path = within(folder, path);
        }
    };
    for (_, service) in root.entries_mut("services") {
        for (name, part) in service.entries_mut("build") {
            match name.as_str() {
                "context" => moved(part),
                "additional_contexts" => {
                    if let Kind::Map(contexts) = &mut part.kind {
                        contexts.iter_mut().for_each(|(_, context)| moved(context));
                    }
                }
                _ => {}
            }
        }
    }
    for (_, secret) in root.entries_mut("secrets") {
        for (name, part) in secret.as_entries_mut() {
            if name == "file" {
                moved(part);
            }
        }
    }
}

/// Gives services of an included file the folder that they are built from where they name none.
pub fn set_contexts(root: &mut Node, folder: &str) {
    for (_, service) in root.entries_mut("services") {
        let Some(build) = service.get_mut("build") else {
            continue;
        };
        let at = build.at;
        let named = ["context", "dockerfile_inline"];
        if named.iter().all(|name| build.get(name).is_none())
            && let Kind::Map(parts) = &mut build.kind
        {
            let kind = Kind::Text(within(folder, "."));
            parts.push(("context".to_owned(), Node { kind, at }));
        }
    }
}
