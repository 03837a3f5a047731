//! The ledger of what uploads were promised, as all that ask for room share it.

use std::sync::{Arc, Mutex, MutexGuard};

use crate::meta::{Admit, Watch};
use crate::name::{RepositoryName, UploadId};
use crate::quota::{Ledger, Quotas};
use crate::storage::Unfinished;
use crate::sync::lock;

/// The ledger, as the writer, uploads and transactions share it.
#[derive(Clone, Debug)]
pub(in crate::service) struct SharedLedger(Arc<Mutex<Ledger>>);

impl SharedLedger {
    /// `None` where nothing is limited.
    pub(in crate::service) fn new(quotas: &Quotas) -> Option<Self> {
        (!quotas.is_empty()).then(|| Self(Arc::new(Mutex::new(Ledger::new(quotas.clone())))))
    }

    /// The ledger, while nobody else has it.
    pub(in crate::service) fn lock(&self) -> MutexGuard<'_, Ledger> {
        lock(&self.0)
    }

    /// Counts uploads from before the start.
    pub(in crate::service) fn found(&self, uploads: Vec<Unfinished>) {
        let mut ledger = self.lock();
        for upload in uploads {
            ledger.found(upload.id, &upload.repository, upload.size);
        }
    }

    /// Tells the ledger of every commit.
    pub(in crate::service) fn watch(&self) -> Watch {
        let this = self.clone();
        Box::new(move |changes| this.lock().settle(changes))
    }

    /// Lets a transaction add what there is room for, counting what `id` was promised.
    pub(in crate::service) fn admit(&self, repository: &RepositoryName, id: UploadId) -> Admit {
        let (this, repository) = (self.clone(), repository.clone());
        Box::new(move |need| {
            let mut ledger = this.lock();
            ledger.hold(id, &repository, need)?;
            // What others added since it was promised is known by now.
            ledger.fits(&repository, need)?;
            ledger.commit(id);
            Ok(())
        })
    }
}
