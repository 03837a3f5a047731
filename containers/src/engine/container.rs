//! What is known of one container, and putting that right.

use std::fs::File;

use oci::Digest;
use runtime::{Group, Inhabitant};
use store::StoredContainer;

use super::networks;
use crate::error::{Error, Result};
use crate::folder::Folder;
use crate::record::Record;
use crate::state::{self, State};
use crate::status::Status;

/// The exit code of what was killed.
const KILLED: i32 = 137;
const KILLED_MONITOR: &str = "the container's monitor was killed";

/// A container.
#[derive(Clone, Debug)]
pub struct Container {
    /// 64 hexadecimal digits.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The image that it was made of; it may be gone.
    pub image: Digest,
    /// Nanoseconds since the epoch.
    pub created: i64,
    /// What it was made with.
    pub record: Record,
    /// What has become of it.
    pub state: State,
    pub(super) folder: Folder,
    pub(super) stored: StoredContainer,
}

impl Container {
    /// Reads what there is, and puts right what a killed monitor has left.
    pub(super) fn read(stored: StoredContainer) -> Result<Self> {
        let folder = Folder::new(&stored.dir);
        let state = read_state(&folder)?;
        Self::with(stored, folder, state)
    }

    /// The same of one that runs, or has left something; its record is not read otherwise, which
    /// is most of the work.
    pub(super) fn read_alive(stored: StoredContainer) -> Result<Option<Self>> {
        let folder = Folder::new(&stored.dir);
        let state = read_state(&folder)?;
        let has_left = stored.removing || state.error == KILLED_MONITOR;
        match state.status.is_alive() || has_left {
            true => Self::with(stored, folder, state).map(Some),
            false => Ok(None),
        }
    }

    fn with(stored: StoredContainer, folder: Folder, state: State) -> Result<Self> {
        let record: Record =
            serde_json::from_str(&stored.record).map_err(|cause| Error::Record {
                id: stored.id.clone(),
                cause,
            })?;
        let mut container = Self {
            id: stored.id.clone(),
            name: stored.name.clone(),
            image: stored.image.clone(),
            created: stored.created,
            state,
            record,
            folder,
            stored,
        };
        if container.stored.removing {
            container.state.status = Status::Removing;
        } else if container.state.status.is_alive() {
            container.look_after()?;
        }
        Ok(container)
    }

    /// A container without monitor does not run, whatever its file says.
    fn look_after(&mut self) -> Result<()> {
        let lock = self.folder.run();
        let Some(_lock) = lock.map_err(Error::io("lock", self.folder.path()))? else {
            return Ok(());
        };
        // It may have ended in good order meanwhile.
        self.state = read_state(&self.folder)?;
        if !self.state.status.is_alive() {
            return Ok(());
        }
        self.group()?.remove();
        // Others may have been killed with their stores.
        let _ = runtime::sweep_groups();
        networks::sweep(self.state.places.iter().map(|place| place.bridge.as_str()));
        self.state = State {
            status: Status::Exited,
            pid: 0,
            pid_started: 0,
            exit_code: KILLED,
            error: KILLED_MONITOR.to_owned(),
            finished_at: state::now(),
            places: Vec::new(),
            ports: Vec::new(),
            ..self.state.clone()
        };
        let path = self.folder.state();
        let written = self.state.write(&path, true);
        written.map_err(Error::io("write", path))
    }

    /// Writes down why it could not be started.
    pub(super) fn note_error(&mut self, told: &str) -> Result<()> {
        told.clone_into(&mut self.state.error);
        self.state.exit_code = state::NOT_STARTED;
        let path = self.folder.state();
        let written = self.state.write(&path, true);
        written.map_err(Error::io("write", path))
    }

    /// Whether it should have been removed when it ended.
    pub(super) fn is_left_over(&self) -> bool {
        match self.state.status {
            Status::Removing => true,
            // While it has a monitor, or somebody waits for its last words, it is theirs.
            Status::Exited => self.record.host.auto_remove && self.state.error == KILLED_MONITOR,
            _ => false,
        }
    }

    /// The first twelve digits of its ID.
    pub fn short_id(&self) -> &str {
        self.id.get(..12).unwrap_or(&self.id)
    }

    /// Its control groups.
    pub(super) fn group(&self) -> Result<Group> {
        let parent = super::limits::parent(&self.record.host)?;
        Ok(Group::named(&self.id, parent.as_ref())?)
    }

    /// Its first process.
    pub(super) fn inhabitant(&self) -> Inhabitant {
        Inhabitant {
            pid: self.state.pid,
            started: self.state.pid_started,
        }
    }

    /// Keeps others from changing it.
    pub(super) fn change(&self) -> Result<File> {
        let lock = self.folder.change();
        lock.map_err(Error::io("lock", self.folder.path()))
    }

    /// Reads its state again.
    pub(super) fn again(&mut self) -> Result<()> {
        self.state = read_state(&self.folder)?;
        match self.state.status.is_alive() {
            true => self.look_after(),
            false => Ok(()),
        }
    }
}

fn read_state(folder: &Folder) -> Result<State> {
    let path = folder.state();
    State::read(&path).map_err(Error::io("read", path))
}
