//! Lists that are being made, where docker's client keeps them and as it writes them: either can go
//! on with what the other has begun.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use oci::{Descriptor, Reference};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::failure::Failure;

/// The largest entry that is read, in bytes: a manifest in base64 and once more, spelled out.
const MAX_ENTRY: u64 = 16 << 20;

/// An image of a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Entry {
    /// Its name.
    #[serde(rename = "Ref")]
    pub reference: String,
    /// Its manifest, with the platform.
    pub descriptor: Descriptor,
    /// The manifest's bytes in base64. docker 20.10 keeps none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub raw: String,
    /// The manifest, when it is Docker's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema_v2_manifest: Option<Value>,
    /// The manifest, when it is OCI's.
    #[serde(
        rename = "OCIManifest",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub oci_manifest: Option<Value>,
}

impl Entry {
    /// An image whose manifest was fetched.
    ///
    /// # Errors
    /// When the bytes are no JSON.
    pub fn new(
        reference: String,
        descriptor: Descriptor,
        bytes: &[u8],
    ) -> Result<Self, serde_json::Error> {
        let document: Value = serde_json::from_slice(bytes)?;
        let docker = descriptor
            .media_type
            .is_same(&oci::media_type::DOCKER_MANIFEST.into());
        let (docker, oci) = match docker {
            true => (Some(document), None),
            false => (None, Some(document)),
        };
        Ok(Self {
            reference,
            descriptor,
            raw: STANDARD.encode(bytes),
            schema_v2_manifest: docker,
            oci_manifest: oci,
        })
    }

    /// The manifest, its fields in the order in which they came.
    ///
    /// # Errors
    /// When it is not what the digest says.
    pub fn manifest(&self) -> Result<Value, Failure> {
        let spelled = self
            .schema_v2_manifest
            .as_ref()
            .or(self.oci_manifest.as_ref());
        match spelled {
            Some(spelled) if self.raw.is_empty() => Ok(spelled.clone()),
            _ => Ok(serde_json::from_slice(&self.bytes()?)?),
        }
    }

    fn bytes(&self) -> Result<Vec<u8>, Failure> {
        let broken = || {
            let name = &self.reference;
            Failure::new(format!(
                "the entry for {name} is damaged: make the list again"
            ))
        };
        let bytes = STANDARD.decode(&self.raw).map_err(|_| broken())?;
        let digest = &self.descriptor.digest;
        match digest.algorithm().digest(&bytes) == *digest {
            true => Ok(bytes),
            false => Err(broken()),
        }
    }
}

/// The folder of all lists.
#[derive(Clone, Debug)]
pub struct Lists {
    dir: PathBuf,
}

impl Lists {
    /// Those beside a `config.json`.
    ///
    /// # Errors
    /// When there is no place for it: no home folder.
    pub fn beside(config: Option<&Path>) -> Result<Self, Failure> {
        match config.and_then(Path::parent) {
            Some(dir) => Ok(Self {
                dir: dir.join("manifests"),
            }),
            None => Err(Failure::new(
                "no place for manifest lists: HOME is not set; set it, or DOCKER_CONFIG",
            )),
        }
    }

    fn list(&self, list: &Reference) -> PathBuf {
        self.dir.join(safe(&list.to_string()))
    }

    /// The images of a list, by name; none when there is no such list.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn entries(&self, list: &Reference) -> Result<Vec<Entry>, Failure> {
        let dir = self.list(list);
        let listed = match fs::read_dir(&dir) {
            Ok(listed) => listed,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(failed("read", &dir)(e)),
        };
        let mut paths = Vec::new();
        for entry in listed {
            let entry = entry.map_err(failed("read", &dir))?;
            // What is being written has no name yet.
            if !entry.file_name().as_encoded_bytes().starts_with(b".") {
                paths.push(entry.path());
            }
        }
        paths.sort();
        paths.iter().map(|path| read(path)).collect()
    }

    /// An image of a list.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn entry(&self, list: &Reference, image: &Reference) -> Result<Option<Entry>, Failure> {
        let path = self.list(list).join(safe(&image.to_string()));
        match path.exists() {
            true => read(&path).map(Some),
            false => Ok(None),
        }
    }

    /// Whether there is such a list.
    pub fn has(&self, list: &Reference) -> bool {
        self.list(list).is_dir()
    }

    /// Adds an image to a list, or replaces it there.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn save(&self, list: &Reference, image: &Reference, entry: &Entry) -> Result<(), Failure> {
        let dir = self.list(list);
        fs::create_dir_all(&dir).map_err(failed("make", &dir))?;
        let path = dir.join(safe(&image.to_string()));
        let bytes = serde_json::to_vec(entry)?;
        let write = || -> io::Result<()> {
            let mut file = tempfile::Builder::new()
                .prefix(".rbuild-")
                .permissions(fs::Permissions::from_mode(0o666))
                .tempfile_in(&dir)?;
            file.write_all(&bytes)?;
            file.as_file().sync_all()?;
            file.persist(&path)?;
            fs::File::open(&dir)?.sync_all()
        };
        write().map_err(failed("write", &path))
    }

    /// Removes a list.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn remove(&self, list: &Reference) -> Result<(), Failure> {
        let dir = self.list(list);
        fs::remove_dir_all(&dir).map_err(failed("remove", &dir))
    }
}

/// A name as a file's.
fn safe(name: &str) -> String {
    name.replace(':', "-").replace('/', "_")
}

fn failed<'p>(what: &'p str, path: &'p Path) -> impl FnOnce(io::Error) -> Failure + 'p {
    move |e| Failure::new(format!("{what} {}: {e}", path.display()))
}

fn read(path: &Path) -> Result<Entry, Failure> {
    let size = fs::metadata(path).map_err(failed("read", path))?.len();
    if size > MAX_ENTRY {
        let text = format!("{}: {size} bytes are no manifest", path.display());
        return Err(Failure::new(text));
    }
    let bytes = fs::read(path).map_err(failed("read", path))?;
    serde_json::from_slice(&bytes).map_err(|e| Failure::new(format!("{}: {e}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use oci::Digest;
    use oci::media_type::OCI_MANIFEST;

    #[test]
    fn lists_are_kept_under_names_that_are_files() {
        let dir = tempfile::tempdir().unwrap();
        let lists = Lists::beside(Some(&dir.path().join("config.json"))).unwrap();
        let list: Reference = "127.0.0.1:5000/a/b:l".parse().unwrap();
        let image: Reference = "busybox:1".parse().unwrap();
        assert!(!lists.has(&list) && lists.entries(&list).unwrap().is_empty());
        let bytes = br#"{"schemaVersion": 2}"#;
        let descriptor = Descriptor::new(OCI_MANIFEST, Digest::sha256(bytes), 20);
        let mut entry = Entry::new(image.to_string(), descriptor, bytes).unwrap();
        lists.save(&list, &image, &entry).unwrap();
        let file = "manifests/127.0.0.1-5000_a_b-l/docker.io_library_busybox-1";
        assert!(dir.path().join(file).is_file());
        assert_eq!(lists.entries(&list).unwrap(), [entry.clone()]);
        assert_eq!(entry.bytes().unwrap(), bytes);
        entry.raw = STANDARD.encode("other");
        assert!(entry.bytes().is_err());
        lists.remove(&list).unwrap();
        assert!(lists.entry(&list, &image).unwrap().is_none());
    }
}
