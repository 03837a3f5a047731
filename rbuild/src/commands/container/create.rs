//! `rbuild create`

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use clap::Args;
use containers::Streams;
use containers::engine::{Containers, Create, Created};

use images::progress::Untold;

use super::flags::MakeFlags;
use super::image::{self, Pull};
use super::options::{self, Made};
use crate::app::App;
use crate::failure::{Failure, Outcome};
use crate::term::terminal;

/// `rbuild create`
#[derive(Debug, Args)]
#[command(
    disable_help_flag = true,
    after_help = "\
Examples:
  rbuild create -it --name box debian:bookworm bash
  rbuild start -ai box"
)]
pub struct CreateArgs {
    #[command(flatten)]
    pub make: MakeFlags,
}

/// Runs the command.
pub async fn run(app: &App, args: CreateArgs) -> Outcome {
    let streams = attached(&args.make, false)?;
    let mut made = read(&args.make)?;
    settle(&mut made, streams);
    // docker's exit code of what its daemon refuses; `run` has one of its own.
    let made = make(app, &args.make, made).await;
    let (_, created) = made.map_err(|failure| Failure { code: 1, ..failure })?;
    app.printer.line(&created.container.id);
    Ok(())
}

/// Which streams its starter takes part in.
///
/// # Errors
/// What is no stream, and `--attach` in the background.
pub fn attached(make: &MakeFlags, detach: bool) -> Result<Streams, Failure> {
    let mut streams = Streams::default();
    for stream in &make.attach {
        match stream.to_lowercase().as_str() {
            "stdin" => streams.stdin = true,
            "stdout" => streams.stdout = true,
            "stderr" => streams.stderr = true,
            _ => {
                return Err(Failure::with_code(
                    format!(
                        "invalid argument {stream:?} for \"-a, --attach\" flag: valid streams are \
                         STDIN, STDOUT and STDERR"
                    ),
                    125,
                ));
            }
        }
    }
    if detach && streams.any() {
        let text = "conflicting options: cannot specify both --attach and --detach";
        return Err(Failure::new(text));
    }
    if !detach && make.attach.is_empty() {
        streams = Streams {
            stdin: make.interactive,
            stdout: true,
            stderr: true,
        };
    }
    Ok(streams)
}

/// Notes which streams its starter takes part in.
pub fn settle(made: &mut Made, streams: Streams) {
    made.config.attach_stdin = streams.stdin;
    made.config.attach_stdout = streams.stdout;
    made.config.attach_stderr = streams.stderr;
    made.config.stdin_once = streams.stdin && made.config.open_stdin;
}

/// Reads the flags.
pub fn read(flags: &MakeFlags) -> Result<Made, Failure> {
    options::read(flags).map_err(|error| Failure::with_code(error, 125))
}

/// Makes the container.
pub async fn make(
    app: &App,
    flags: &MakeFlags,
    mut made: Made,
) -> Result<(Containers, Created), Failure> {
    let id_file = match &flags.cidfile {
        Some(path) => Some(IdFile::make(path)?),
        None => None,
    };
    if let Some(size) = terminal::size().filter(|_| made.config.tty) {
        made.host.console_size = [size.rows, size.columns];
    }
    let images = app.images().await?;
    // Between finding the image and making the container nobody takes it away.
    let _lease = images.store.lease().await?;
    let pull = match flags.pull.as_str() {
        "always" => Pull::Always,
        "never" => Pull::Never,
        _ => Pull::Missing,
    };
    let found = image::find(
        app,
        &images,
        &made.image,
        pull,
        flags.platform.as_ref(),
        flags.quiet,
    );
    let (image, image_config) = found.await?;
    images.ensure_unpacked(&image_config, &Untold).await?;
    let containers = Containers::new(images.store.clone());
    let created = containers.create(Create {
        name: flags.name.clone().filter(|name| !name.is_empty()),
        config: made.config,
        host: made.host,
        networks: made.networks,
        image,
        image_config,
    });
    let created = created.await.map_err(|error| {
        let code = u8::try_from(error.exit_code()).unwrap_or(125);
        Failure::with_code(error, code)
    })?;
    for warning in &created.warnings {
        app.printer.warning(warning);
    }
    if let Some(file) = id_file {
        file.write(&created.container.id)?;
    }
    Ok((containers, created))
}

/// The file that a container's ID goes to: it is made first, and goes again where no container
/// comes to be.
struct IdFile<'p> {
    file: fs::File,
    path: &'p Path,
    written: bool,
}

impl<'p> IdFile<'p> {
    fn make(path: &'p Path) -> Result<Self, Failure> {
        let shown = path.display();
        let made = fs::File::create_new(path).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => Failure::with_code(
                format!(
                    "container ID file found, make sure the other container isn't running or \
                     delete {shown}"
                ),
                125,
            ),
            kind => {
                let why = golang::errno::said(&error);
                let text = format!("failed to create the container ID file: open {shown}: {why}");
                // docker takes what is missing for the command.
                let code = match kind {
                    io::ErrorKind::NotFound => 127,
                    _ => 125,
                };
                Failure::with_code(text, code)
            }
        });
        Ok(Self {
            file: made?,
            path,
            written: false,
        })
    }

    fn write(mut self, id: &str) -> Outcome {
        let written = self.file.write_all(id.as_bytes());
        written.map_err(|error| {
            let why = golang::errno::said(&error);
            let text = format!("failed to write the container ID ({id}) to file: {why}");
            Failure::with_code(text, 125)
        })?;
        self.written = true;
        Ok(())
    }
}

impl Drop for IdFile<'_> {
    fn drop(&mut self) {
        if !self.written {
            let _ = fs::remove_file(self.path);
        }
    }
}
