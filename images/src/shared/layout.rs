//! A cache in a directory: an OCI image layout whose entries have tags. Several builds may write
//! to it at once: blobs first, and the index under a lock, whole or not at all.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use oci::archive::REF_NAME;
use oci::blob::{BlobStore as _, DiskBlobs, Expected};
use oci::manifest::{Index, MAX_MANIFEST_SIZE, ManifestDocument};
use oci::{Descriptor, Digest, MediaType, media_type};
use rustix::fs::{FlockOperation, flock};

use super::entry::Malformed;

const INDEX: &str = "index.json";
const MARK: &str = "oci-layout";
const MARK_CONTENT: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;
/// The largest index that is read: some 200,000 entries.
const MAX_INDEX: u64 = 64 << 20;

/// A layout.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    dir: PathBuf,
    /// Its blobs.
    pub(super) blobs: Arc<DiskBlobs>,
}

impl Layout {
    /// The layout of a directory, to be read. It need not be there.
    pub(super) fn at(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
            blobs: Arc::new(DiskBlobs::open_existing(dir)),
        }
    }

    /// Makes the layout of a directory where it is missing.
    pub(super) fn make(dir: &Path) -> Result<Self, oci::blob::BlobError> {
        let blobs = Arc::new(DiskBlobs::open(dir)?);
        let dir = dir.to_owned();
        Ok(Self { dir, blobs })
    }

    fn read_index(&self) -> io::Result<Option<Index>> {
        let mut bytes = Vec::new();
        match File::open(self.dir.join(INDEX)) {
            Ok(file) => file.take(MAX_INDEX + 1).read_to_end(&mut bytes)?,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e),
        };
        if bytes.len() as u64 > MAX_INDEX {
            let path = self.dir.join(INDEX);
            let text = format!("{}: larger than {MAX_INDEX} bytes", path.display());
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        let index = serde_json::from_slice(&bytes);
        index.map(Some).map_err(|e| {
            let path = self.dir.join(INDEX);
            let text = format!("{} is no index of an OCI image layout: {e}", path.display());
            io::Error::new(io::ErrorKind::InvalidData, text)
        })
    }

    /// Its entries by their tags; `None` when there is no layout.
    pub(super) fn entries(&self) -> io::Result<Option<HashMap<String, Descriptor>>> {
        let Some(index) = self.read_index()? else {
            return Ok(None);
        };
        let tagged = index.manifests.into_iter().filter_map(|entry| {
            let tag = entry.annotations.get(REF_NAME)?.clone();
            Some((tag, entry))
        });
        Ok(Some(tagged.collect()))
    }

    /// Where its index is.
    pub(super) fn index(&self) -> PathBuf {
        self.dir.join(INDEX)
    }

    /// A manifest, verified; its own media type counts where no other is known.
    pub(super) fn manifest(
        &self,
        digest: &Digest,
        media_type: Option<&MediaType>,
    ) -> Result<ManifestDocument, Malformed> {
        let bytes = self.document(digest, MAX_MANIFEST_SIZE as u64)?;
        ManifestDocument::parse(&bytes, media_type).map_err(|e| Malformed(e.to_string()))
    }

    /// A blob of so many bytes at most, verified.
    pub(super) fn document(&self, digest: &Digest, max: u64) -> Result<Vec<u8>, Malformed> {
        let malformed = |e: &dyn std::fmt::Display| Malformed(e.to_string());
        let reader = self.blobs.open(digest).map_err(|e| malformed(&e))?;
        let mut bytes = Vec::new();
        let mut reader = reader.take(max + 1);
        reader.read_to_end(&mut bytes).map_err(|e| malformed(&e))?;
        if bytes.len() as u64 > max {
            return Err(Malformed(format!("{digest}: larger than {max} bytes")));
        }
        let actual = digest.algorithm().digest(&bytes);
        if actual != *digest {
            return Err(Malformed(format!(
                "{digest} should be there, the content is {actual}"
            )));
        }
        Ok(bytes)
    }

    /// Writes a manifest.
    pub(super) fn put_manifest(&self, bytes: &[u8]) -> Result<Descriptor, oci::blob::BlobError> {
        self.put(bytes)?;
        let (digest, size) = (Digest::sha256(bytes), bytes.len() as u64);
        Ok(Descriptor::new(media_type::OCI_MANIFEST, digest, size))
    }

    /// Writes a small blob, unless it is there.
    pub(super) fn put(&self, bytes: &[u8]) -> Result<(), oci::blob::BlobError> {
        let digest = Digest::sha256(bytes);
        if self.blobs.size(&digest)?.is_some() {
            return Ok(());
        }
        let mut writer = self.blobs.writer()?;
        writer
            .write_all(bytes)
            .map_err(|cause| oci::blob::BlobError::Io {
                what: format!("writing blob {digest}"),
                cause,
            })?;
        writer.commit(&Expected {
            digest: Some(digest),
            size: Some(bytes.len() as u64),
        })?;
        Ok(())
    }

    /// Adds entries, whose blobs are there, by their tags. Who has the same tag is replaced.
    pub(super) fn add(&self, new: &BTreeMap<String, Descriptor>) -> io::Result<()> {
        let dir = File::open(&self.dir)?;
        // Given back when `dir` is closed.
        flock(&dir, FlockOperation::LockExclusive)?;
        let mut index = self.read_index()?.unwrap_or_else(|| Index {
            schema_version: 2,
            media_type: Some(media_type::OCI_INDEX.into()),
            artifact_type: None,
            manifests: Vec::new(),
            subject: None,
            annotations: BTreeMap::new(),
        });
        index.manifests.retain(|entry| {
            let tag = entry.annotations.get(REF_NAME);
            tag.is_none_or(|tag| !new.contains_key(tag))
        });
        for (tag, entry) in new {
            let mut entry = entry.clone();
            entry.annotations.insert(REF_NAME.to_owned(), tag.clone());
            index.manifests.push(entry);
        }
        if !self.dir.join(MARK).exists() {
            self.replace(MARK, MARK_CONTENT)?;
        }
        self.replace(INDEX, &serde_json::to_vec(&index)?)?;
        dir.sync_all()
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        use std::os::unix::fs::PermissionsExt as _;
        let mut file = tempfile::Builder::new()
            .prefix(".rbuild-")
            .permissions(std::fs::Permissions::from_mode(0o666))
            .tempfile_in(&self.dir)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(self.dir.join(name))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_writers_lose_no_entry() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path();
        std::thread::scope(|scope| {
            for writer in 0..8 {
                scope.spawn(move || {
                    let layout = Layout::make(path).unwrap();
                    for i in 0..5 {
                        let text = format!("{{\"schemaVersion\":2,\"x\":\"{writer}-{i}\"}}");
                        let entry = layout.put_manifest(text.as_bytes()).unwrap();
                        let new = BTreeMap::from([(format!("w{writer}-{i}"), entry)]);
                        layout.add(&new).unwrap();
                    }
                });
            }
        });
        let layout = Layout::at(path);
        assert_eq!(layout.entries().unwrap().unwrap().len(), 40);
        // The same tag again is replaced.
        let entry = layout.put_manifest(b"{}").unwrap();
        let new = BTreeMap::from([("w0-0".to_owned(), entry.clone())]);
        layout.add(&new).unwrap();
        let entries = layout.entries().unwrap().unwrap();
        assert_eq!(
            (entries.len(), &entries["w0-0"].digest),
            (40, &entry.digest)
        );
        let mark = std::fs::read_to_string(path.join(MARK)).unwrap();
        assert!(mark.contains("1.0.0"));
    }

    #[test]
    fn what_is_too_large_is_called_so() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::make(dir.path()).unwrap();
        layout.put(b"12345").unwrap();
        let digest = Digest::sha256(b"12345");
        assert_eq!(layout.document(&digest, 5).unwrap(), b"12345");
        let told = layout.document(&digest, 4).unwrap_err().to_string();
        assert!(told.ends_with("larger than 4 bytes"), "{told}");
        // A hole is as long as what is written.
        let index = File::create(dir.path().join(INDEX)).unwrap();
        index.set_len(MAX_INDEX + 1).unwrap();
        let told = layout.entries().unwrap_err().to_string();
        assert!(told.ends_with("larger than 67108864 bytes"), "{told}");
    }

    #[test]
    fn damage_is_no_entry() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Layout::at(dir.path()).entries().unwrap().is_none());
        let layout = Layout::make(dir.path()).unwrap();
        let entry = layout.put_manifest(b"{\"schemaVersion\":2}").unwrap();
        std::fs::write(layout.blobs.path(&entry.digest), "{}").unwrap();
        assert!(layout.manifest(&entry.digest, None).is_err());
        std::fs::write(dir.path().join(INDEX), "no").unwrap();
        assert!(layout.entries().is_err());
        assert!(layout.add(&BTreeMap::new()).is_err(), "it may be anything");
    }
}
