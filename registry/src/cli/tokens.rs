//! `rregistry user token`, `tokens` and `revoke`

use std::path::PathBuf;

use clap::Args;

use super::failure::{Failure, err, out};
use super::settings::{Settings, data_dir};
use crate::auth::directory;
use crate::auth::htpasswd::Htpasswd;
use crate::auth::personal::{Tokens, Wanted, end};
use crate::auth::settings::{Login, Users};
use crate::clock::now;

/// Make a personal token for a user: a password for one program, which can be revoked alone.
///
/// It is printed once, and kept as a hash. `docker login -u NAME` takes it as the password. A
/// running registry knows it at once; it ends when the user is removed.
#[derive(Debug, Args)]
pub(super) struct Token {
    #[command(flatten)]
    settings: Settings,

    /// The user, one of auth.htpasswd or of the directory.
    name: String,

    /// When it ends: a time from now, such as 90d, or never.
    #[arg(long, value_name = "TIME", default_value = "365d")]
    expires: String,

    /// What it is for, shown in lists.
    #[arg(long, value_name = "TEXT", default_value = "")]
    note: String,
}

/// List personal tokens: ID, user, when made, when they end, and their notes.
#[derive(Debug, Args)]
pub(super) struct List {
    #[command(flatten)]
    settings: Settings,

    /// Only this user's.
    name: Option<String>,
}

/// Revoke a personal token: whoever comes with it is refused from now on.
#[derive(Debug, Args)]
pub(super) struct Revoke {
    #[command(flatten)]
    settings: Settings,

    /// Its ID; `rregistry user tokens` shows it.
    id: String,
}

/// Who can log in, and the file of personal tokens.
fn users(settings: &Settings) -> Result<(Users, PathBuf), Failure> {
    let config = settings.read()?.check()?;
    let users = match &config.auth.login {
        Login::Passwords(users) | Login::OwnTokens { users, .. } => users.clone(),
        Login::Open | Login::TokenServer { .. } => {
            return Err(
                "personal tokens are for users who log in here: the settings name none; say \
                 --config FILE"
                    .into(),
            );
        }
    };
    let file = users.token_file(&data_dir(&config)?);
    Ok((users, file))
}

/// Whether there is a user of this name.
fn is_known(users: &Users, name: &str) -> Result<bool, Failure> {
    if let Some(file) = &users.htpasswd
        && Htpasswd::read(file)?.users().any(|user| user == name)
    {
        return Ok(true);
    }
    let Some(known) = &users.directory else {
        return Ok(false);
    };
    let asking = directory::has(known, name);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    Ok(runtime.block_on(asking)?)
}

pub(super) fn add(options: &Token) -> Result<(), Failure> {
    let (users, file) = users(&options.settings)?;
    let name = &options.name;
    if !is_known(&users, name)? {
        return Err(format!("there is no user {name} in auth.htpasswd, or in auth.ldap").into());
    }
    let now = now();
    let wanted = Wanted {
        user: name.clone(),
        expires: end(&options.expires, now).map_err(|e| format!("--expires {e}"))?,
        note: options.note.clone(),
        ..Wanted::default()
    };
    let token = Tokens::change(&file, |tokens| tokens.add(wanted, now))?;
    err("This token is shown once; `rregistry user tokens` lists it by its ID.\n");
    out(&format!("{token}\n"))
}

pub(super) fn list(options: &List) -> Result<(), Failure> {
    let (_, file) = users(&options.settings)?;
    let day = |seconds: i64| {
        let time = jiff::Timestamp::from_second(seconds);
        time.map_or_else(
            |_| "-".to_owned(),
            |time| time.strftime("%Y-%m-%d").to_string(),
        )
    };
    let mut text = format!(
        "{:<14}{:<20}{:<12}{:<12}NOTE\n",
        "ID", "USER", "CREATED", "EXPIRES"
    );
    for (id, token) in Tokens::read(&file)?.all() {
        if options
            .name
            .as_ref()
            .is_some_and(|name| *name != token.user)
        {
            continue;
        }
        let expires = token.expires.map_or_else(|| "never".to_owned(), day);
        let created = day(token.created);
        let line = format!(
            "{id:<14}{:<20}{created:<12}{expires:<12}{}",
            token.user, token.note
        );
        text.push_str(line.trim_end());
        text.push('\n');
    }
    out(&text)
}

pub(super) fn revoke(options: &Revoke) -> Result<(), Failure> {
    let (_, file) = users(&options.settings)?;
    let gone = Tokens::change(&file, |tokens| tokens.revoke(&options.id))?;
    out(&format!("revoked {} of {}\n", options.id, gone.user))
}
