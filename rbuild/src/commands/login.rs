//! `rbuild login`

use std::io::{self, IsTerminal as _, Read as _};

use clap::Args;
use client::{Client, Config, Login};

use crate::app::App;
use crate::failure::{Failure, Outcome};
use crate::term::prompt;

/// The registry that is meant when none is named.
pub const DEFAULT_SERVER: &str = "docker.io";
/// The longest password that is read, in bytes.
const MAX_PASSWORD: u64 = 64 << 10;

/// `rbuild login`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rbuild login registry.example.com           asks for name and password
  echo \"$TOKEN\" | rbuild login -u me --password-stdin registry.example.com

Credentials are kept where docker keeps them, and docker's are used.")]
pub struct LoginArgs {
    /// The registry [default: docker.io]
    #[arg(value_name = "SERVER")]
    pub server: Option<String>,

    /// The user's name
    #[arg(short, long, value_name = "NAME")]
    pub username: Option<String>,

    /// The password; others on this machine can see it while the command runs
    #[arg(short, long, value_name = "PASSWORD")]
    pub password: Option<String>,

    /// Read the password from standard input
    #[arg(long)]
    pub password_stdin: bool,
}

/// The registry's host of whatever was typed, as docker takes it: a URL will do.
pub fn server(typed: Option<&str>) -> String {
    let typed = typed.unwrap_or(DEFAULT_SERVER);
    let host = typed
        .strip_prefix("https://")
        .or_else(|| typed.strip_prefix("http://"))
        .unwrap_or(typed);
    let host = host.split('/').next().unwrap_or_default();
    match host {
        "" | "index.docker.io" | "registry-1.docker.io" => DEFAULT_SERVER.to_owned(),
        host => host.to_owned(),
    }
}

/// Runs the command.
pub async fn run(app: &App, args: LoginArgs) -> Outcome {
    let server = server(args.server.as_deref());
    let client = Client::new(Config::from_env()?);
    let (username, password) = credentials(app, &args).await?;
    let login = Login { username, password };
    let outcome = client.login(&server, &login).await?;
    if outcome.helper.is_none() {
        let path = client.config().docker.path();
        let path = path.map_or_else(|| "config.json".to_owned(), |p| p.display().to_string());
        app.printer.note(format!(
            "WARNING! Your password will be stored unencrypted in {path}.\n\
             Configure a credential helper to remove this warning. See\n\
             https://docs.docker.com/engine/reference/commandline/login/#credentials-store\n"
        ));
    }
    app.printer.line("Login Succeeded");
    Ok(())
}

async fn credentials(app: &App, args: &LoginArgs) -> Result<(String, String), Failure> {
    if args.password.is_some() && args.password_stdin {
        return Err(Failure::new(
            "conflicting options: cannot specify both --password and --password-stdin",
        ));
    }
    let given = args.username.clone().filter(|name| !name.is_empty());
    if args.password_stdin {
        let Some(username) = given else {
            return Err(Failure::new(
                "the --password-stdin option requires --username to be set",
            ));
        };
        let read = tokio::task::spawn_blocking(|| {
            let mut text = String::new();
            io::stdin().take(MAX_PASSWORD).read_to_string(&mut text)?;
            Ok::<_, io::Error>(text)
        });
        let text = read.await??;
        let password = text.trim_end_matches(['\r', '\n']);
        return checked(username, password.to_owned());
    }
    if args.password.is_some() {
        app.printer
            .note("WARNING! Using --password via the CLI is insecure. Use --password-stdin.");
    }
    let asks = given.is_none() || args.password.is_none();
    if asks && !io::stdin().is_terminal() {
        return Err(Failure::new(
            "Cannot perform an interactive login from a non TTY device: \
             give --username and --password-stdin",
        ));
    }
    let username = match given {
        Some(username) => username,
        None => prompt::line(&app.printer, "Username: ").await?,
    };
    let password = match &args.password {
        Some(password) => password.clone(),
        None => prompt::secret(&app.printer, "Password: ").await?,
    };
    checked(username, password)
}

fn checked(username: String, password: String) -> Result<(String, String), Failure> {
    let username = username.trim().to_owned();
    if username.is_empty() {
        return Err(Failure::new("username is required"));
    }
    if password.is_empty() {
        return Err(Failure::new("password is required"));
    }
    Ok((username, password))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_taken_as_docker_takes_them() {
        for (typed, host) in [
            (None, "docker.io"),
            (Some("localhost:5000"), "localhost:5000"),
            (
                Some("https://registry.example.com/v2/"),
                "registry.example.com",
            ),
            (Some("http://localhost:5000"), "localhost:5000"),
            (Some("https://index.docker.io/v1/"), "docker.io"),
        ] {
            assert_eq!(server(typed), host, "{typed:?}");
        }
    }
}
