//! Images as `docker save` and `rbuild save` write them.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Cursor, Read as _};
use std::path::Path;

use serde_json::Value;

use crate::Tree;

/// The first image of a docker archive.
#[derive(Clone, Debug)]
pub struct Archive {
    /// The image's configuration document.
    pub config: Value,
    /// Its names.
    pub tags: Vec<String>,
    /// Its files, all layers laid over each other.
    pub tree: Tree,
    /// The number of its layers.
    pub layers: usize,
    /// What stands in the tar of each layer, sorted.
    pub paths: Vec<Vec<String>>,
}

impl Archive {
    /// Reads an archive of small images.
    ///
    /// # Panics
    /// When it is not one.
    #[track_caller]
    pub fn read(file: &Path) -> Self {
        let mut files = BTreeMap::new();
        let mut links = Vec::new();
        let mut archive = tar::Archive::new(File::open(file).expect("open an archive"));
        for entry in archive.entries().expect("an archive") {
            let mut entry = entry.expect("an entry");
            let path = entry.path().expect("a path").display().to_string();
            if let Some(target) = entry.link_name().expect("a link") {
                // Docker links layers that several images share.
                let dir = Path::new(&path).parent().unwrap();
                links.push((path.clone(), resolve(&dir.join(target))));
                continue;
            }
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).expect("content");
            files.insert(path, bytes);
        }
        for (path, target) in links {
            let bytes = files.get(&target).expect("a linked layer").clone();
            files.insert(path, bytes);
        }
        let json = |name: &str| -> Value {
            let bytes = files.get(name).unwrap_or_else(|| panic!("no {name}"));
            serde_json::from_slice(bytes).unwrap_or_else(|e| panic!("{name}: {e}"))
        };
        let manifest = json("manifest.json")[0].clone();
        let layers = manifest["Layers"].as_array().expect("Layers");
        let mut tree = Tree::default();
        let mut paths = Vec::new();
        for layer in layers {
            let name = layer.as_str().expect("a layer's name");
            let bytes = files.get(name).unwrap_or_else(|| panic!("no {name}"));
            tree.apply(Cursor::new(bytes));
            paths.push(names(bytes));
        }
        let tags = manifest["RepoTags"].as_array();
        Self {
            config: json(manifest["Config"].as_str().expect("Config")),
            tags: tags
                .into_iter()
                .flatten()
                .map(|tag| tag.as_str().expect("a tag").to_owned())
                .collect(),
            tree,
            layers: layers.len(),
            paths,
        }
    }

    /// What the history says made the image, step by step; `true` where it made no layer.
    pub fn history(&self) -> Vec<(String, bool)> {
        let steps = self.config["history"].as_array();
        steps
            .into_iter()
            .flatten()
            .map(|step| {
                let by = step["created_by"].as_str().unwrap_or_default().to_owned();
                (by, step["empty_layer"].as_bool().unwrap_or_default())
            })
            .collect()
    }
}

/// What stands in a tar, sorted.
fn names(tar: &[u8]) -> Vec<String> {
    let mut archive = tar::Archive::new(tar);
    let entries = archive.entries().expect("an archive");
    let name = |entry: tar::Entry<'_, &[u8]>| {
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        path.trim_end_matches('/').to_owned()
    };
    let mut names: Vec<String> = entries
        .map(|entry| name(entry.expect("an entry")))
        .collect();
    names.sort_unstable();
    names
}

fn resolve(path: &Path) -> String {
    let mut parts: Vec<String> = Vec::new();
    for part in path.components() {
        match part.as_os_str().to_str().expect("UTF-8") {
            ".." => {
                parts.pop();
            }
            "." => {}
            name => parts.push(name.to_owned()),
        }
    }
    parts.join("/")
}
