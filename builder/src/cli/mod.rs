//! The command line: raw flags, validated options, one file a command.
//!
//! - [`args`]: what can be typed
//! - [`printer`]: the only way to the terminal
//! - [`progress`]: how a build shows what it does
//! - [`app`]: what every command needs: the store, the client, the printer

pub mod app;
mod args;
mod bases;
mod build;
mod completions;
mod debug;
mod df;
mod export;
mod filter;
mod format;
mod history;
mod images;
mod import;
mod inspect;
mod lint;
mod load;
mod login;
mod logout;
mod output;
pub mod printer;
mod progress;
mod prompt;
mod prune;
mod pull;
mod push;
mod rmi;
mod save;
mod style;
mod tag;
mod transfer;
mod version;
mod when;

use std::ffi::OsString;
use std::process::ExitCode;

use app::App;
use args::{BuilderCommand, Cli, Command, ImageCommand, SystemCommand};
use printer::Printer;
use prune::What;

/// Why a command failed: what to print, and the exit code.
#[derive(Debug)]
pub struct Failure {
    /// Where it went wrong, shown before the message: source lines with carets.
    pub excerpt: Option<String>,
    /// The message, without `error:`.
    pub message: String,
    /// The exit code, never 0.
    pub code: u8,
}

impl Failure {
    /// A failure with exit code 1.
    pub fn new(message: impl std::fmt::Display) -> Self {
        Self {
            excerpt: None,
            message: message.to_string(),
            code: 1,
        }
    }

    /// The same, with the source lines that it is about.
    pub fn at(mut self, excerpt: String) -> Self {
        self.excerpt = Some(excerpt);
        self
    }

    /// A failure with an exit code of its own.
    pub fn with_code(message: impl std::fmt::Display, code: u8) -> Self {
        Self {
            excerpt: None,
            message: message.to_string(),
            code: code.max(1),
        }
    }
}

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            // An error tells its cause either itself or as its source, never both.
            message.push_str(": ");
            message.push_str(&cause.to_string());
            source = cause.source();
        }
        Self::new(message)
    }
}

/// What a command returns.
pub type Outcome = Result<(), Failure>;

/// docker's exit codes: none for help and version, 1 for a wrong number of arguments, 125 for
/// wrong flags.
fn exit_code(error: &clap::Error) -> u8 {
    use clap::error::ErrorKind;
    match error.kind() {
        ErrorKind::DisplayHelp
        | ErrorKind::DisplayVersion
        | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => 0,
        ErrorKind::MissingRequiredArgument
        | ErrorKind::TooFewValues
        | ErrorKind::TooManyValues
        | ErrorKind::WrongNumberOfValues => 1,
        _ => 125,
    }
}

/// Runs the command line.
pub fn main(raw: impl IntoIterator<Item = OsString>) -> ExitCode {
    let raw = args::with_default_command(raw.into_iter().collect());
    let cli = match args::parse(raw) {
        Ok(cli) => cli,
        Err(error) => {
            let code = exit_code(&error);
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    let printer = Printer::from_env(cli.global.no_color);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    let outcome = match runtime {
        Ok(runtime) => {
            let outcome = runtime.block_on(run(cli, printer.clone()));
            // A blocked read of a terminal or pipe must not keep the process.
            runtime.shutdown_background();
            outcome
        }
        Err(error) => Err(error.into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if let Some(excerpt) = &failure.excerpt {
                printer.note(excerpt);
            }
            if !failure.message.is_empty() {
                printer.error(&failure.message);
            }
            ExitCode::from(failure.code)
        }
    }
}

async fn run(cli: Cli, printer: Printer) -> Outcome {
    let app = App::new(&cli.global, printer);
    dispatch(&app, cli.command).await
}

async fn dispatch(app: &App, command: Command) -> Outcome {
    match command {
        Command::Build(args) => build::run(app, *args).await,
        Command::Images(args) => images::run(app, args).await,
        Command::History(args) => history::run(app, args).await,
        Command::Inspect(args) => inspect::run(app, args).await,
        Command::Import(args) => import::run(app, args).await,
        Command::Tag(args) => tag::run(app, args).await,
        Command::Rmi(args) => rmi::run(app, args).await,
        Command::Pull(args) => pull::run(app, args).await,
        Command::Push(args) => push::run(app, args).await,
        Command::Save(args) => save::run(app, args).await,
        Command::Load(args) => load::run(app, args).await,
        Command::Export(args) => export::run(app, args).await,
        Command::Login(args) => login::run(app, args).await,
        Command::Logout(args) => logout::run(app, args).await,
        Command::Lint(args) => lint::run(app, args).await,
        Command::Df(args) => df::run(app, args).await,
        Command::Prune(args) => prune::run(app, args, What::Everything).await,
        Command::Image(command) => image(app, command).await,
        Command::Builder(command) => match command {
            BuilderCommand::Build(args) => build::run(app, *args).await,
            BuilderCommand::Prune(args) => prune::run(app, args, What::Cache).await,
        },
        Command::System(command) => match command {
            SystemCommand::Df(args) => df::run(app, args).await,
            SystemCommand::Prune(args) => prune::run(app, args, What::Everything).await,
        },
        Command::Debug(command) => debug::run(app, command).await,
        Command::Completions(args) => completions::run(app, &args),
        Command::Version(args) => version::run(app, &args),
    }
}

async fn image(app: &App, command: ImageCommand) -> Outcome {
    match command {
        ImageCommand::Build(args) => build::run(app, *args).await,
        ImageCommand::History(args) => history::run(app, args).await,
        ImageCommand::Import(args) => import::run(app, args).await,
        ImageCommand::Inspect(args) => inspect::run(app, args).await,
        ImageCommand::Load(args) => load::run(app, args).await,
        ImageCommand::Ls(args) => images::run(app, args).await,
        ImageCommand::Prune(args) => prune::run(app, args, What::Images).await,
        ImageCommand::Pull(args) => pull::run(app, args).await,
        ImageCommand::Push(args) => push::run(app, args).await,
        ImageCommand::Rm(args) => rmi::run(app, args).await,
        ImageCommand::Save(args) => save::run(app, args).await,
        ImageCommand::Tag(args) => tag::run(app, args).await,
    }
}
