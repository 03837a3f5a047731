//! `rbuild load`

use std::io::{self, IsTerminal as _, Read};
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use oci::archive::read::{self, ReadOptions};

use crate::app::App;
use crate::failure::{Failure, Outcome};
use crate::happened;
use crate::term::transfer::Transfer;
use images::load::load;

/// `rbuild load`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rbuild load -i app.tar          what docker, podman, skopeo or rbuild saved, compressed or not
  docker save app:v1 | rbuild load
  rbuild load -i layout           the directory of an OCI image layout")]
pub struct LoadArgs {
    /// Read this file, or directory, instead of standard input
    #[arg(short, long, value_name = "FILE")]
    pub input: Option<PathBuf>,

    /// Print only what was loaded
    #[arg(short, long)]
    pub quiet: bool,
}

/// Tells how much has come of an archive, which may take as long as it takes to be made.
struct Told<'t, R> {
    input: R,
    so_far: u64,
    transfer: &'t Transfer,
}

impl<R: Read> Read for Told<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.input.read(buf)?;
        self.so_far += n as u64;
        self.transfer.bytes("archive", "Reading", self.so_far, 0);
        Ok(n)
    }
}

/// Runs the command.
pub async fn run(app: &App, args: LoadArgs) -> Outcome {
    let input = args.input.filter(|path| path.as_os_str() != "-");
    if input.is_none() && io::stdin().is_terminal() {
        return Err(Failure::new(
            "requested load from stdin, but stdin is empty: name an archive with -i",
        ));
    }
    let images = app.images().await?;
    let _lease = images.store.lease().await?;
    let spool = images.store.scratch_dir().await?;
    let transfer = Arc::new(Transfer::load(&app.printer, args.quiet));
    let told = Arc::clone(&transfer);
    let archive = tokio::task::spawn_blocking(move || {
        let options = ReadOptions::new(&spool);
        match input {
            Some(path) => read::open(&path, &options),
            None => {
                let stdin = Told {
                    input: io::stdin(),
                    so_far: 0,
                    transfer: &told,
                };
                read::read(stdin, &options)
            }
        }
    });
    let loaded = load(&images, archive.await??, transfer.as_ref()).await?;
    transfer.finish(false);
    for image in &loaded {
        for (reference, old) in image.taken.iter().filter(|_| !args.quiet) {
            let name = reference.familiar();
            app.printer.line(format!(
                "The image {name} already exists, renaming the old one with ID {old} to empty string"
            ));
        }
        happened::tell(&images.store, &image.id, None, "load").await;
        for reference in &image.references {
            let name = reference.familiar();
            app.printer.line(format!("Loaded image: {name}"));
        }
        if image.references.is_empty() {
            app.printer.line(format!("Loaded image ID: {}", image.id));
        }
    }
    Ok(())
}
