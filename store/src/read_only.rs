//! Opening the database of a store on a file system that is mounted read-only.

use std::fs;
use std::path::PathBuf;

use rustix::fs::{Access, AtFlags, CWD, accessat};
use rustix::io::Errno;

use crate::db::Db;
use crate::error::{Error, Result};
use crate::root::Layout;

/// Whether nothing can be written, by anybody. Who merely may not, is told so instead: the store
/// is its owner's alone, and cannot be read either.
pub(crate) fn is_so(layout: &Layout) -> bool {
    let found = accessat(CWD, &layout.root, Access::WRITE_OK, AtFlags::EACCESS);
    found == Err(Errno::ROFS)
}

/// Opens the database. Where its last writer was killed, or still writes by another mount, there
/// is a log beside it, whose index SQLite would have to write: then a copy of both is read, which
/// is made in memory where there is such a file system and ends with the process.
pub(crate) async fn open(layout: &Layout) -> Result<Db> {
    let log = beside(layout, "-wal");
    if fs::metadata(&log).map_or(0, |m| m.len()) == 0 {
        return Db::open_read_only(&layout.database, true).await;
    }
    let shared = ["/dev/shm", "/run", "/tmp"].map(PathBuf::from).into_iter();
    let candidates = shared.chain([std::env::temp_dir()]);
    let name = format!("rbuild-read-{}", crate::lock::unique_name());
    let mut made = Err(Error::ReadOnly);
    for dir in candidates {
        let dir = dir.join(&name);
        let mut builder = fs::DirBuilder::new();
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        match builder.create(&dir) {
            Ok(()) => {
                made = Ok(dir);
                break;
            }
            Err(e) => made = Err(Error::io("creating", &dir)(e)),
        }
    }
    let dir = made?;
    let copy = dir.join("store.db");
    let copied = fs::copy(&layout.database, &copy)
        .and_then(|_| fs::copy(&log, dir.join("store.db-wal")))
        .map_err(Error::io("copying", &layout.database));
    let opened = match copied {
        Ok(_) => Db::open(&copy).await,
        Err(e) => Err(e),
    };
    let opened = match opened {
        // Read once, so that SQLite has opened all its files before their names go.
        Ok(db) => {
            let read = crate::db::meta::boot_id(&mut *db.lock().await).await;
            read.map(|_| db).map_err(Error::from)
        }
        Err(e) => Err(e),
    };
    let _ = fs::remove_dir_all(&dir);
    opened
}

fn beside(layout: &Layout, suffix: &str) -> PathBuf {
    let mut name = layout.database.clone().into_os_string();
    name.push(suffix);
    PathBuf::from(name)
}
