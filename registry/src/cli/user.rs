//! `rregistry user`

use std::io::{IsTerminal, Read};
use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::failure::{Failure, err, out};
use super::tokens;
use crate::auth::htpasswd::{Htpasswd, HtpasswdError};

/// Manage the users in a password file.
///
/// Point the setting auth.htpasswd to the file. A running registry notices when it changes.
#[derive(Debug, Subcommand)]
pub(super) enum User {
    /// Add a user; the password is read from standard input.
    Add(Named),
    /// Change a user's password, read from standard input.
    Passwd(Named),
    /// Remove a user.
    Rm(Named),
    /// List the users.
    Ls(File),
    Token(tokens::Token),
    Tokens(tokens::List),
    Revoke(tokens::Revoke),
}

#[derive(Debug, Args)]
pub(super) struct File {
    /// The password file.
    #[arg(
        long,
        env = "RREGISTRY_AUTH_HTPASSWD",
        value_name = "FILE",
        default_value = "/etc/rregistry/htpasswd"
    )]
    file: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct Named {
    #[command(flatten)]
    file: File,

    /// The user's name.
    name: String,
}

pub(super) fn run(command: User) -> Result<(), Failure> {
    match command {
        User::Ls(File { file }) => {
            let users = Htpasswd::read(&file)?;
            let names: Vec<&str> = users.users().collect();
            out(&names.iter().map(|n| format!("{n}\n")).collect::<String>())
        }
        User::Token(token) => tokens::add(&token),
        User::Tokens(list) => tokens::list(&list),
        User::Revoke(revoke) => tokens::revoke(&revoke),
        User::Add(named) => {
            let file = &named.file.file;
            let mut users = match Htpasswd::read(file) {
                Err(HtpasswdError::Io { cause, .. })
                    if cause.kind() == std::io::ErrorKind::NotFound =>
                {
                    Htpasswd::default()
                }
                users => users?,
            };
            users.add(&named.name, &password()?)?;
            Ok(users.write(file)?)
        }
        User::Passwd(named) => {
            let mut users = Htpasswd::read(&named.file.file)?;
            users.change(&named.name, &password()?)?;
            Ok(users.write(&named.file.file)?)
        }
        User::Rm(named) => {
            let mut users = Htpasswd::read(&named.file.file)?;
            users.remove(&named.name)?;
            Ok(users.write(&named.file.file)?)
        }
    }
}

/// One line from standard input, not shown while it is typed.
fn password() -> Result<String, Failure> {
    use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
    let stdin = std::io::stdin();
    let mut text = String::new();
    if stdin.is_terminal() {
        err("Password: ");
        let before = tcgetattr(&stdin)?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        tcsetattr(&stdin, OptionalActions::Flush, &silent)?;
        let read = stdin.read_line(&mut text);
        tcsetattr(&stdin, OptionalActions::Flush, &before)?;
        err("\n");
        read?;
    } else {
        stdin.lock().take(4096).read_to_string(&mut text)?;
    }
    Ok(text.lines().next().unwrap_or_default().to_owned())
}
