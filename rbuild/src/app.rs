//! What every command needs, opened when it is first asked for.

use std::path::PathBuf;

use store::Store;

use images::Images;

use crate::failure::Failure;
use crate::flags::Global;
use crate::term::printer::Printer;

/// The store's place, the printer, and ways to open the rest.
#[derive(Debug)]
pub struct App {
    root: Option<PathBuf>,
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
            commands,
            printer,
        }
    }

    /// Opens the store.
    ///
    /// # Errors
    /// The store's, which say what to do about them.
    pub async fn store(&self) -> Result<Store, Failure> {
        let root = match &self.root {
            Some(root) => root.clone(),
            None => store::default_root()?,
        };
        Ok(Store::open(&root).await?)
    }

    /// Opens the store if there is one that can be used.
    pub async fn existing_store(&self) -> Option<Store> {
        let root = match &self.root {
            Some(root) => root.clone(),
            None => store::default_root().ok()?,
        };
        match root.is_dir() {
            true => Store::open(&root).await.ok(),
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
}
