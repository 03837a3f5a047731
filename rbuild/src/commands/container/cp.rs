//! `rbuild cp`

use std::io;
use std::path::{Path, PathBuf};

use clap::{ArgAction, Args};
use containers::engine::{Containers, Copied, CopyInto, CopyOut};

use crate::app::App;
use crate::failure::{Failure, Outcome};
use crate::flags::boolean;
use crate::term::{style, terminal};

/// `rbuild cp`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rbuild cp web:/etc/nginx/nginx.conf .
  rbuild cp site/. web:/usr/share/nginx/html/      what is in the folder, not the folder itself
  rbuild cp web:/var/log - | tar t                 a tar archive on standard output
  tar c app | rbuild cp - web:/opt                 or read from standard input

Volumes of the container are seen; what is in memory, in /proc or in /sys is not.")]
pub struct CpArgs {
    /// Give the files to the container's user, where it has one
    #[arg(short, long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false, hide_default_value = true, value_parser = boolean, action = ArgAction::Set, value_name = "BOOL")]
    pub archive: bool,

    /// Copy what a link leads to in place of the link
    #[arg(short = 'L', long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false, hide_default_value = true, value_parser = boolean, action = ArgAction::Set, value_name = "BOOL")]
    pub follow_link: bool,

    /// Do not tell how much was copied
    #[arg(short, long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false, hide_default_value = true, value_parser = boolean, action = ArgAction::Set, value_name = "BOOL")]
    pub quiet: bool,

    /// What is copied: CONTAINER:PATH, a path of this machine, or - for a tar on standard input
    #[arg(value_name = "SOURCE")]
    pub source: String,

    /// Where it goes: CONTAINER:PATH, a path of this machine, or - for standard output
    #[arg(value_name = "TARGET")]
    pub target: String,
}

/// A path, and the container that it is in.
#[derive(Debug, PartialEq, Eq)]
enum End<'a> {
    Here(&'a str),
    In(&'a str, &'a str),
}

/// What begins with a slash or a dot is of this machine.
fn end(text: &str) -> End<'_> {
    match text.split_once(':') {
        Some((container, path))
            if !text.starts_with('/') && !container.starts_with('.') && !container.is_empty() =>
        {
            End::In(container, path)
        }
        Some(("", path)) => End::Here(path),
        _ => End::Here(text),
    }
}

/// Runs the command.
pub async fn run(app: &App, args: CpArgs) -> Outcome {
    for (text, what) in [(&args.source, "source"), (&args.target, "destination")] {
        if text.is_empty() {
            return Err(Failure::new(format!("{what} can not be empty")));
        }
    }
    match (end(&args.source), end(&args.target)) {
        (End::In(..), End::In(..)) => {
            Err(Failure::new("copying between containers is not supported"))
        }
        (End::Here(_), End::Here(_)) => {
            Err(Failure::new("must specify at least one container source"))
        }
        (End::In(container, path), End::Here(to)) => out(app, &args, (container, path), to).await,
        (End::Here(from), End::In(container, path)) => {
            into(app, &args, from, (container, path)).await
        }
    }
}

fn here() -> PathBuf {
    std::env::current_dir().unwrap_or_else(|_| Path::new("/").to_owned())
}

async fn out(app: &App, args: &CpArgs, (typed, path): (&str, &str), to: &str) -> Outcome {
    let containers = app.containers().await?;
    let container = containers.find(typed).await?;
    let copy = CopyOut {
        typed: typed.to_owned(),
        path: path.to_owned(),
        follow: args.follow_link,
    };
    if to == "-" {
        if terminal::is_output() {
            return Err(Failure::new(
                "cowardly refusing to write a tar archive to a terminal: redirect standard output",
            ));
        }
        return Ok(containers
            .copy_as_tar(&container, copy, io::stdout())
            .await?);
    }
    let copied = containers.copy_out(&container, copy, (to, here())).await?;
    tell(app, args, &copied, &copied.path);
    Ok(())
}

async fn into(app: &App, args: &CpArgs, from: &str, (typed, path): (&str, &str)) -> Outcome {
    let containers: Containers = app.containers().await?;
    let container = match containers.find(typed).await {
        // docker looks at the target first, and takes that there is none for nothing at its path.
        Err(containers::Error::Store(store::Error::NoSuchContainer(_)))
            if from != "-" && path.ends_with('/') =>
        {
            return Err(Failure::new("no such directory"));
        }
        found => found?,
    };
    let copy = CopyInto {
        typed: typed.to_owned(),
        path: path.to_owned(),
        follow: args.follow_link,
        archive: args.archive,
    };
    if from == "-" {
        return Ok(containers
            .unpack_into(&container, copy, io::stdin())
            .await?);
    }
    let copied = containers
        .copy_into(&container, copy, (from, here()))
        .await?;
    tell(app, args, &copied, &format!("{typed}:{}", copied.path));
    Ok(())
}

/// Says how much was copied, to whoever sits at a terminal.
fn tell(app: &App, args: &CpArgs, copied: &Copied, to: &str) {
    if !args.quiet && terminal::is_output() {
        let size = style::size(copied.size);
        app.printer
            .note(format!("Successfully copied {size} to {to}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_are_told_from_paths_as_docker_does() {
        for (text, want) in [
            ("web:/etc", End::In("web", "/etc")),
            ("web:", End::In("web", "")),
            ("/a:b", End::Here("/a:b")),
            ("./a:b", End::Here("./a:b")),
            ("a", End::Here("a")),
            (":/x", End::Here("/x")),
            ("-", End::Here("-")),
        ] {
            assert_eq!(end(text), want);
        }
    }
}
