//! What every command needs, opened when it is first asked for.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use containers::engine::Containers;
use store::Store;

use images::Images;

use crate::failure::Failure;
use crate::flags::Global;
use crate::term::printer::{Kept, Printer};

/// The store's place, the printer, and ways to open the rest.
#[derive(Debug)]
pub struct App {
    root: Option<PathBuf>,
    /// The stores that were opened.
    opened: Mutex<Vec<Store>>,
    /// The commands that can be typed, for whoever meant one.
    pub commands: Vec<String>,
    /// The way to the terminal.
    pub printer: Printer,
}

impl App {
    /// From the global flags.
    pub fn new(global: &Global, printer: Printer, commands: Vec<String>) -> Self {
        Self {
            root: global.root.clone(),
            opened: Mutex::default(),
            commands,
            printer,
        }
    }

    /// The same, its results kept in memory in place of being written.
    pub fn keeping_results(&self) -> (Self, Kept) {
        let kept = Kept::default();
        let app = Self {
            root: self.root.clone(),
            opened: Mutex::default(),
            commands: self.commands.clone(),
            printer: self.printer.keeping(&kept),
        };
        (app, kept)
    }

    /// Tells of a failure: where, then what.
    pub fn tell(&self, failure: &Failure) {
        if let Some(excerpt) = &failure.excerpt {
            self.printer.note(excerpt);
        }
        if !failure.message.is_empty() {
            self.printer.error(&failure.message);
        }
    }

    fn root(&self) -> Result<PathBuf, Failure> {
        match &self.root {
            Some(root) => Ok(root.clone()),
            None => Ok(store::default_root()?),
        }
    }

    fn keep(&self, store: Store) -> Store {
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        opened.push(store.clone());
        store
    }

    /// Opens the store, unless that is done already.
    ///
    /// # Errors
    /// The store's, which say what to do about them.
    pub async fn store(&self) -> Result<Store, Failure> {
        if let Some(store) = self.writable() {
            return Ok(store);
        }
        Ok(self.keep(Store::open(&self.root()?).await?))
    }

    /// A store that was opened and can be written.
    fn writable(&self) -> Option<Store> {
        let opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        opened.iter().find(|s| !s.is_read_only()).cloned()
    }

    /// Opens the store for looking, which also works where nothing can be written.
    ///
    /// # Errors
    /// The store's.
    pub async fn store_to_read(&self) -> Result<Store, Failure> {
        Ok(self.keep(Store::open_to_read(&self.root()?).await?))
    }

    /// Opens the store for removing, which also works on a full disk.
    ///
    /// # Errors
    /// The store's.
    pub async fn store_to_remove(&self) -> Result<Store, Failure> {
        Ok(self.keep(Store::open_to_remove(&self.root()?).await?))
    }

    /// The end of a command: what it dropped is deleted before it returns.
    pub async fn settle(&self) {
        let opened =
            std::mem::take(&mut *self.opened.lock().unwrap_or_else(PoisonError::into_inner));
        for store in opened {
            store.settle().await;
        }
    }

    /// Opens the store if there is one that can be used.
    pub async fn existing_store(&self) -> Option<Store> {
        let root = self.root().ok()?;
        match root.is_dir() {
            true => Some(self.keep(Store::open_to_read(&root).await.ok()?)),
            false => None,
        }
    }

    /// The store, with a way to registries.
    ///
    /// # Errors
    /// The store's.
    pub async fn images(&self) -> Result<Images, Failure> {
        Ok(Images::new(self.store().await?, client::Config::from_env))
    }

    /// The containers of the store.
    ///
    /// # Errors
    /// The store's.
    pub async fn containers(&self) -> Result<Containers, Failure> {
        Ok(Containers::new(self.store().await?))
    }

    /// [`containers`](Self::containers) for looking.
    ///
    /// # Errors
    /// The store's.
    pub async fn containers_to_read(&self) -> Result<Containers, Failure> {
        Ok(Containers::new(self.store_to_read().await?))
    }

    /// [`containers`](Self::containers) for removing, which also works on a full disk.
    ///
    /// # Errors
    /// The store's.
    pub async fn containers_to_remove(&self) -> Result<Containers, Failure> {
        Ok(Containers::new(self.store_to_remove().await?))
    }

    /// [`images`](Self::images) for looking.
    ///
    /// # Errors
    /// The store's.
    pub async fn images_to_read(&self) -> Result<Images, Failure> {
        let store = self.store_to_read().await?;
        Ok(Images::new(store, client::Config::from_env))
    }
}
