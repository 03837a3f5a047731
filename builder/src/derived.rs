//! Data that can be made again, kept as JSON to save the work. What is missing or damaged costs
//! that work once more, and what cannot be written too: nothing here fails.

use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// What is kept in a file.
pub async fn load<T: DeserializeOwned + Send + 'static>(path: PathBuf) -> Option<T> {
    let read = tokio::task::spawn_blocking(move || {
        let bytes = std::fs::read(path).ok()?;
        serde_json::from_slice(&bytes).ok()
    });
    read.await.ok().flatten()
}

/// Keeps it in a file, whole or not at all. Several processes may do so; the last one wins.
pub async fn save<T: Serialize>(path: PathBuf, data: &T) {
    let Ok(bytes) = serde_json::to_vec(data) else {
        return;
    };
    // Renamed into place without fsync: losing it costs only work.
    let _ = tokio::task::spawn_blocking(move || write(&path, &bytes)).await;
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let dir = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(dir)?;
    let file = tempfile::NamedTempFile::new_in(dir)?;
    std::fs::write(file.path(), bytes)?;
    file.persist(path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_damaged_is_not_there() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/down/data");
        assert_eq!(load::<Vec<u32>>(path.clone()).await, None);
        save(path.clone(), &[1, 2]).await;
        assert_eq!(load(path.clone()).await, Some(vec![1, 2]));
        for damage in ["", "[1, 2", "{}"] {
            std::fs::write(&path, damage).unwrap();
            assert_eq!(load::<Vec<u32>>(path.clone()).await, None, "{damage}");
        }
        save(path.clone(), &[3]).await;
        assert_eq!(load(path).await, Some(vec![3]));
        // A file where a directory is needed.
        save(dir.path().join("deep/down/data/more"), &[4]).await;
    }
}
