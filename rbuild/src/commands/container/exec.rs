//! `rbuild exec`

use std::path::PathBuf;

use clap::Args;
use containers::Streams;
use containers::engine::Exec;

use super::options;
use super::streams::{self, Part};
use crate::app::App;
use crate::failure::{Failure, Outcome};
use crate::term::terminal;

/// `rbuild exec`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rbuild exec -it web sh
  rbuild exec -e DEBUG=1 -w /srv -u nobody web ./check")]
pub struct ExecArgs {
    /// Run it in the background
    #[arg(short, long)]
    pub detach: bool,

    /// The keys that leave it running [default: ctrl-p,ctrl-q]
    #[arg(long, value_name = "KEYS")]
    pub detach_keys: Option<String>,

    /// Set a variable; without a value it is taken from here; may be repeated
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    pub env: Vec<String>,

    /// Read variables from a file; may be repeated
    #[arg(long, value_name = "FILE")]
    pub env_file: Vec<PathBuf>,

    /// Keep standard input open
    #[arg(short, long)]
    pub interactive: bool,

    /// Give it all capabilities, and no filter
    #[arg(long)]
    pub privileged: bool,

    /// Give it a terminal
    #[arg(short, long)]
    pub tty: bool,

    /// Set the user, by name or number [default: the container's]
    #[arg(short, long, value_name = "USER[:GROUP]")]
    pub user: Option<String>,

    /// Set the working directory [default: the container's]
    #[arg(short, long, value_name = "DIR")]
    pub workdir: Option<String>,

    /// The container, the command to run in it, and its arguments
    #[arg(value_names = ["CONTAINER", "COMMAND"], required = true, num_args = 2.., trailing_var_arg = true)]
    pub words: Vec<String>,
}

/// Runs the command.
pub async fn run(app: &App, args: ExecArgs) -> Outcome {
    let Some((name, argv)) = args.words.split_first() else {
        return Err(Failure::new("no container"));
    };
    let env = options::variables(&args.env_file, &args.env);
    // As docker: what is wrong with a flag is 125, with what it names 1.
    let env = env.map_err(|error| match error.starts_with("invalid argument") {
        true => Failure::with_code(error, 125),
        false => Failure::new(error),
    })?;
    let keys = streams::keys(args.detach_keys.as_deref()).map_err(|_| {
        let said = args.detach_keys.as_deref().unwrap_or_default();
        Failure::new(format!("Invalid escape keys ({said}) provided"))
    })?;
    if args.tty && args.interactive && !args.detach && !terminal::is_interactive() {
        return Err(Failure::new("the input device is not a TTY"));
    }
    let streams = match args.detach {
        true => Streams::default(),
        false => Streams {
            stdin: args.interactive,
            stdout: true,
            stderr: !args.tty,
        },
    };
    let containers = app.containers_to_read().await?;
    let container = containers.find(name).await?;
    let exec = Exec {
        argv: argv.to_vec(),
        env,
        user: args.user.unwrap_or_default(),
        working_dir: args.workdir.unwrap_or_default(),
        terminal: args.tty.then(|| terminal::size().unwrap_or_default()),
        privileged: args.privileged,
        streams,
    };
    if args.detach {
        let done = containers.exec_in_background(&container, name, exec).await;
        return done.map_err(|error| Failure {
            code: 1,
            ..not_executed(&error)
        });
    }
    let executed = containers.exec(&container, name, exec).await;
    let executed = executed.map_err(|error| not_executed(&error))?;
    let part = Part {
        streams,
        tty: args.tty,
        keys,
        passes_signals: false,
    };
    let id = executed.id.clone();
    let code = streams::accompany(executed, part).await?;
    if let Some(code) = code {
        containers.exec_ended(&container, id, code);
    }
    streams::outcome_of_visit(code)
}

/// Why a command could not be run, with docker's exit code.
fn not_executed(error: &containers::Error) -> Failure {
    let code = match error.exit_code() {
        // What could not be begun at all.
        125 => 1,
        code => u8::try_from(code).unwrap_or(1),
    };
    let message = match code {
        1 => error.to_string(),
        128 => format!("OCI runtime exec failed: exec failed: {error}"),
        _ => {
            let why = no_directory(error).unwrap_or_else(|| error.to_string());
            format!(
                "OCI runtime exec failed: exec failed: unable to start container process: {why}"
            )
        }
    };
    Failure::with_code(message, code)
}

/// What docker says where the command's directory cannot be had.
fn no_directory(error: &containers::Error) -> Option<String> {
    let containers::Error::Runtime(runtime::Error::Setup { step, cause }) = error else {
        return None;
    };
    let directory = step.strip_prefix("change directory to ")?;
    let cause = golang::errno::said(cause);
    Some(format!(
        "chdir to cwd ({directory}) set in config.json failed: {cause}"
    ))
}
