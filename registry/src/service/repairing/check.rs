//! `fsck`: does the disk hold what the database says, and nothing else?

use oci::Digest;

use crate::meta::{WrongList, WrongUsage};
use crate::service::error::ServiceError;
use crate::service::state::Registry;
use crate::storage::{Flaw, Listed};

/// Rows looked at in one query.
const BATCH: u32 = 500;

/// What a check does.
#[derive(Clone, Copy, Debug, Default)]
pub struct CheckOptions {
    /// Read every file and compare its digest.
    pub deep: bool,
    /// Mend what is found.
    pub repair: bool,
}

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// SQLite finds its file damaged.
    Database(String),
    /// A blob's file is not there.
    Missing {
        /// The blob.
        digest: Digest,
        /// The manifests that cannot be pulled for it.
        manifests: Vec<String>,
    },
    /// A blob's file does not hold what its digest says.
    Damaged {
        /// The blob.
        digest: Digest,
        /// What is wrong.
        why: String,
        /// The manifests that cannot be pulled for it.
        manifests: Vec<String>,
    },
    /// A sum of sizes that quotas go by is wrong.
    Usage(WrongUsage),
    /// What lists show, or rules go by, is not so.
    List(WrongList),
    /// A file that nothing knows: left by a crash, never acknowledged.
    Orphan {
        /// Its digest.
        digest: Digest,
        /// Its size in bytes.
        size: u64,
    },
}

/// What a check found.
#[derive(Debug, Default)]
pub struct Checked {
    /// Blobs looked at.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// What is wrong.
    pub problems: Vec<Problem>,
}

impl Registry {
    /// Compares disk and database. Repairs only take away what is not true: rows whose content is
    /// lost, files that nobody knows; and make lists again.
    ///
    /// # Errors
    /// [`ServiceError`].
    pub async fn check(&self, options: CheckOptions) -> Result<Checked, ServiceError> {
        let mut checked = Checked::default();
        let found = self.meta.integrity().await?;
        checked
            .problems
            .extend(found.into_iter().map(Problem::Database));
        self.check_rows(options, &mut checked).await?;
        self.check_files(options, &mut checked).await?;
        for wrong in self.meta.wrong_usage().await? {
            if options.repair {
                self.meta.mend_usage(wrong.clone()).await?;
            }
            checked.problems.push(Problem::Usage(wrong));
        }
        let wrong = self.meta.wrong_lists().await?;
        if options.repair && !wrong.is_empty() {
            self.meta.mend_lists(&wrong).await?;
            self.fill_lists().await?;
        }
        checked
            .problems
            .extend(wrong.into_iter().map(Problem::List));
        if options.repair {
            self.manifest_cache.clear();
            self.blob_cache.clear();
        }
        Ok(checked)
    }

    async fn check_rows(
        &self,
        options: CheckOptions,
        checked: &mut Checked,
    ) -> Result<(), ServiceError> {
        let mut after = 0;
        loop {
            let known = self.meta.known_blobs(after, BATCH).await?;
            let Some(last) = known.last() else {
                return Ok(());
            };
            after = last.id;
            for blob in known {
                checked.blobs += 1;
                checked.bytes += blob.size;
                let (digest, size) = (&blob.digest, blob.size);
                let state = self.blobs.verify(digest, size, options.deep).await?;
                let Some(state) = state else { continue };
                let manifests = self.meta.manifests_with(blob.id).await?;
                if options.repair {
                    self.meta.lose_blob(blob.id).await?;
                    self.blobs.remove(vec![digest.clone()]).await?;
                }
                let digest = blob.digest;
                checked.problems.push(match state {
                    Flaw::Missing => Problem::Missing { digest, manifests },
                    Flaw::Damaged(why) => Problem::Damaged {
                        digest,
                        why,
                        manifests,
                    },
                });
            }
        }
    }

    async fn check_files(
        &self,
        options: CheckOptions,
        checked: &mut Checked,
    ) -> Result<(), ServiceError> {
        for shard in self.blobs.shards().await? {
            let mut listed = self.blobs.list(&shard, None).await?;
            while let Some(last) = listed.last().map(|last| last.digest.clone()) {
                for Listed { digest, size, .. } in listed {
                    if self.meta.is_stored(&digest).await? {
                        continue;
                    }
                    if options.repair {
                        self.blobs.remove(vec![digest.clone()]).await?;
                    }
                    checked.problems.push(Problem::Orphan { digest, size });
                }
                listed = self.blobs.list(&shard, Some(&last)).await?;
            }
        }
        Ok(())
    }
}
