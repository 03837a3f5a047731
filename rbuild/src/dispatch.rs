//! From what was typed to the command that does it, and from how that ends to an exit code.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use crate::app::App;
use crate::args::{self, BuilderCommand, Cli, Command, ImageCommand, SystemCommand};
use crate::commands::{
    bake, build, builders, builds, completions, container, context, debug, df, events, explain,
    export, fsck, history, images, imagetools, import, info, inspect, lint, load, login, logout,
    man, manifest, network, prune, pull, push, rmi, save, search, tag, version, volume,
};
use crate::failure::{Failure, Outcome};
use crate::limits;
use crate::term::printer::Printer;
use crate::usage::{self, Answer, First};

/// Exit codes of what SIGINT and SIGTERM have ended.
const INTERRUPTED: [u8; 2] = [130, 143];

/// Runs the command line.
pub fn main(raw: impl IntoIterator<Item = OsString>) -> ExitCode {
    let raw: Vec<OsString> = raw.into_iter().collect();
    let (cli, names) = match understood(raw) {
        Ok(understood) => understood,
        Err(code) => return code,
    };
    let printer = Printer::from_env(cli.global.no_color);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    let outcome = match runtime {
        Ok(runtime) => {
            let outcome = runtime.block_on(run(cli, names, printer.clone()));
            // A blocked read of a terminal or pipe must not keep the process.
            runtime.shutdown_background();
            outcome
        }
        Err(error) => Err(error.into()),
    };
    let outcome = match (outcome, printer.lost()) {
        (Ok(()), Some(why)) => Err(Failure::new(why)),
        (Err(failure), Some(why)) => {
            printer.error(why);
            Err(failure)
        }
        (outcome, None) => outcome,
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

/// The command line, `build` put where no command was typed, and the commands that there are; else
/// it has been told what is wrong.
fn understood(mut raw: Vec<OsString>) -> Result<(Cli, Vec<String>), ExitCode> {
    let printer = Printer::from_env(raw.iter().any(|word| word == "--no-color"));
    let program = args::program();
    let wrong = |text: &str, code| {
        printer.error(text);
        ExitCode::from(code)
    };
    // A link that leads nowhere is a path too: the build says what is wrong with it.
    let exists = |path: &Path| path.symlink_metadata().is_ok();
    let names = args::command_names(&program);
    let own = usage::take_own(&mut raw, &names).map_err(|told| wrong(&told, 125))?;
    if let Some(dir) = own.config {
        return Err(wrong(&again(&raw, &dir), 1));
    }
    match usage::first_word(&raw, &names, &exists) {
        First::Command => {}
        First::Build(at) => raw.insert(at, "build".into()),
        First::Nothing(word) => return Err(wrong(&usage::no_command(&program, &[], &word), 1)),
    }
    let words = raw.iter().skip(1);
    let typed: Vec<String> = words.map(|w| w.to_string_lossy().into_owned()).collect();
    let parsed = args::parse(program, raw);
    let answer = |error: &clap::Error| usage::answer(error, &args::command(), &typed);
    let cli = parsed.map_err(|error| match answer(&error) {
        Answer::Asked => match error.print() {
            Ok(()) => ExitCode::SUCCESS,
            Err(lost) => {
                printer.lose(&lost);
                printer.error(printer.lost().unwrap_or_default());
                ExitCode::FAILURE
            }
        },
        Answer::Wrong(text, code) => wrong(&text, code),
    })?;
    Ok((cli, names))
}

/// Starts this program again, with the folder of credentials that `--config` names; returns only
/// when that fails, why.
fn again(raw: &[OsString], config: &std::ffi::OsStr) -> String {
    use std::os::unix::process::CommandExt as _;
    let program = match std::env::current_exe() {
        Ok(path) => path,
        Err(error) => return format!("cannot find this program: {error}"),
    };
    let mut command = std::process::Command::new(&program);
    if let Some(name) = raw.first() {
        command.arg0(name);
    }
    let error = command
        .args(raw.iter().skip(1))
        .env("DOCKER_CONFIG", config)
        .exec();
    format!("cannot start {} again: {error}", program.display())
}

async fn run(cli: Cli, names: Vec<String>, printer: Printer) -> Outcome {
    limits::set()?;
    let app = App::new(&cli.global, printer, names);
    let outcome = dispatch(&app, cli.command).await;
    // Who has asked for the end waits for nothing; the next command deletes what is left.
    if !matches!(&outcome, Err(failure) if INTERRUPTED.contains(&failure.code)) {
        app.settle().await;
    }
    outcome
}

async fn dispatch(app: &App, command: Command) -> Outcome {
    match command {
        Command::Build(args) => build::run(app, args.typed()).await,
        Command::Bake(args) => bake::run(app, args.typed(), args::program()).await,
        Command::Builds(args) => builds::run(app, args).await,
        Command::Explain(args) => explain::run(app, args).await,
        Command::Run(args) => container::run::run(app, args.typed()).await,
        Command::Exec(args) => container::exec::run(app, args).await,
        Command::Ps(args) => container::ps::run(app, args).await,
        Command::Create(args) => container::create::run(app, args.typed()).await,
        Command::Start(args) => container::start::run(app, args).await,
        Command::Stop(args) => container::stop::run(app, args).await,
        Command::Restart(args) => container::restart::run(app, args).await,
        Command::Kill(args) => container::kill::run(app, args).await,
        Command::Pause(args) => container::pause::run(app, args).await,
        Command::Unpause(args) => container::unpause::run(app, args).await,
        Command::Wait(args) => container::wait::run(app, args).await,
        Command::Rename(args) => container::rename::run(app, args).await,
        Command::Rm(args) => container::rm::run(app, args).await,
        Command::Attach(args) => container::attach::run(app, args).await,
        Command::Logs(args) => container::logs::run(app, args).await,
        Command::Top(args) => container::top::run(app, args).await,
        Command::Stats(args) => container::stats::run(app, args).await,
        Command::Diff(args) => container::diff::run(app, args).await,
        Command::Cp(args) => container::cp::run(app, args).await,
        Command::Commit(args) => container::commit::run(app, args).await,
        Command::Update(args) => container::update::run(app, args.typed()).await,
        Command::Port(args) => container::port::run(app, args).await,
        Command::Network(command) => network::run(app, command.typed()).await,
        Command::Container(command) => container::run(app, command.typed()).await,
        Command::Volume(command) => volume::run(app, command.typed()).await,
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
        Command::Search(args) => search::run(app, args).await,
        Command::Logout(args) => logout::run(app, args).await,
        Command::Lint(args) => lint::run(app, args).await,
        Command::Df(args) => df::run(app, args).await,
        Command::Prune(args) => prune::run(app, args).await,
        Command::Fsck(args) => fsck::run(app, args).await,
        Command::Info(args) => info::run(app, args).await,
        Command::Events(args) => events::run(app, args).await,
        Command::Image(command) => image(app, command.typed()).await,
        Command::Builder(command) => match command.typed() {
            BuilderCommand::Build(args) => build::run(app, *args).await,
            BuilderCommand::Bake(args) => bake::run(app, *args, args::program()).await,
            BuilderCommand::History(command) => builds::run_command(app, command).await,
            BuilderCommand::Imagetools(command) => imagetools::run(app, command).await,
            BuilderCommand::Prune(args) => prune::run(app, args).await,
            BuilderCommand::Builders(command) => builders::run(app, command),
        },
        Command::Manifest(command) => manifest::run(app, command.typed()).await,
        Command::Imagetools(command) => imagetools::run(app, command.typed()).await,
        Command::Context(command) => context::run(app, command.typed()),
        Command::System(command) => match command.typed() {
            SystemCommand::Df(args) => df::run(app, args).await,
            SystemCommand::Events(args) => events::run(app, args).await,
            SystemCommand::Info(args) => info::run(app, args).await,
            SystemCommand::Prune(args) => prune::run(app, args).await,
        },
        Command::Debug(command) => debug::run(app, command.typed()).await,
        Command::Completions(args) => completions::run(app, &args, args::command()),
        Command::Complete(args) => completions::complete(app, args, args::command()).await,
        Command::Man(args) => man::run(&args, args::program()),
        Command::Version(args) => version::run(app, &args),
    }
}

async fn image(app: &App, command: ImageCommand) -> Outcome {
    match command {
        ImageCommand::Build(args) => build::run(app, *args).await,
        ImageCommand::History(args) => history::run(app, args).await,
        ImageCommand::Import(args) => import::run(app, args).await,
        ImageCommand::Inspect(args) => inspect::run_images(app, args).await,
        ImageCommand::Load(args) => load::run(app, args).await,
        ImageCommand::Ls(args) => images::run(app, args).await,
        ImageCommand::Prune(args) => prune::run(app, args).await,
        ImageCommand::Pull(args) => pull::run(app, args).await,
        ImageCommand::Push(args) => push::run(app, args).await,
        ImageCommand::Rm(args) => rmi::run(app, args).await,
        ImageCommand::Save(args) => save::run(app, args).await,
        ImageCommand::Tag(args) => tag::run(app, args).await,
    }
}
