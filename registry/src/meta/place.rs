//! Where a registry's metadata is.

use std::fmt::{self, Debug, Display, Formatter};
use std::path::PathBuf;
use std::sync::Arc;

use sqlx::postgres::PgConnectOptions;

use super::error::MetaError;

/// Where a registry's metadata is.
#[derive(Clone, Debug)]
pub enum Place {
    /// In a file of SQLite's.
    File(PathBuf),
    /// In a database of a PostgreSQL server.
    Server(Server),
}

/// Who else may serve what a database of a server is about. A file has one process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Company {
    /// Nobody.
    Alone,
    /// Others that say the same.
    Shared,
}

/// A database of a PostgreSQL server, and how it is reached. It is shown without its password.
#[derive(Clone)]
pub struct Server {
    pub(super) options: Arc<PgConnectOptions>,
    shown: Arc<str>,
}

/// What a URL may ask for behind its question mark, and also `options[…]`.
const PARAMETERS: [&str; 12] = [
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
    "options",
];

/// What every session is set to, unless the URL says otherwise: no statement takes forever, the
/// server finds out about a client that is gone, and a transaction sees what was committed when
/// each of its statements begins.
const SESSION: [(&str, &str); 6] = [
    ("statement_timeout", "300s"),
    ("tcp_keepalives_idle", "30"),
    ("tcp_keepalives_interval", "10"),
    ("tcp_keepalives_count", "3"),
    ("default_transaction_isolation", "read committed"),
    ("client_min_messages", "warning"),
];

/// Statements that a connection keeps prepared.
const STATEMENTS: usize = 256;

impl Server {
    /// Reads `postgres://USER:PASSWORD@HOST:PORT/DATABASE?PARAMETERS`, as libpq has it; every part
    /// may be missing. `password` stands for the URL's.
    ///
    /// # Errors
    /// [`MetaError::Place`], without what may be a password.
    pub fn new(url: &str, password: Option<&str>) -> Result<Self, MetaError> {
        let wrong = |what: String| MetaError::Place(what);
        let rest = ["postgres://", "postgresql://"]
            .iter()
            .find_map(|scheme| url.strip_prefix(scheme))
            .ok_or_else(|| wrong("it does not begin with postgres://".to_owned()))?;
        if let Some((_, parameters)) = rest.split_once('?') {
            for parameter in parameters.split('&').filter(|it| !it.is_empty()) {
                let name = parameter.split('=').next().unwrap_or_default();
                if !PARAMETERS.contains(&name) && !name.starts_with("options[") {
                    return Err(wrong(format!("{name:?} is no parameter that is known")));
                }
            }
        }
        let options: PgConnectOptions = url.parse().map_err(|e| match e {
            sqlx::Error::Configuration(e) => wrong(e.to_string()),
            e => wrong(e.to_string()),
        })?;
        let options = match password {
            Some(password) => options.password(password),
            None => options,
        };
        let name = options.get_application_name().unwrap_or("rregistry");
        let own = options.get_options().unwrap_or_default();
        let session = SESSION.iter().filter(|(name, _)| !own.contains(name));
        let options = options
            .clone()
            .application_name(name)
            .statement_cache_capacity(STATEMENTS)
            .options(session.copied());
        Ok(Self {
            shown: shown(&options).into(),
            options: Arc::new(options),
        })
    }
}

/// The URL without password and parameters.
fn shown(options: &PgConnectOptions) -> String {
    let host = match options.get_socket() {
        Some(socket) => socket.display().to_string(),
        None => options.get_host().to_owned(),
    };
    let user = options.get_username();
    format!(
        "postgres://{user}@{host}:{}/{}",
        options.get_port(),
        options.get_database().unwrap_or(user)
    )
}

impl Display for Place {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => Display::fmt(&path.display(), f),
            Self::Server(server) => Display::fmt(server, f),
        }
    }
}

impl Display for Server {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl Debug for Server {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Server").field(&self.shown).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_shown_without_its_password() {
        let password = Some("secret");
        for (url, password, shown) in [
            (
                "postgres://ann:secret@db.example:5433/images?sslmode=require",
                None,
                "postgres://ann@db.example:5433/images",
            ),
            (
                "postgresql://ann@db.example/images",
                password,
                "postgres://ann@db.example:5432/images",
            ),
            (
                "postgres://ann@%2Frun%2Fpg/images?options[search_path]=one",
                None,
                "postgres://ann@/run/pg:5432/images",
            ),
            (
                "postgres:///?host=/run/pg&user=ann&password=secret&dbname=images",
                None,
                "postgres://ann@/run/pg:5432/images",
            ),
            ("postgres://ann@h", None, "postgres://ann@h:5432/ann"),
        ] {
            let server = Server::new(url, password).unwrap();
            assert_eq!(server.to_string(), shown);
            assert_eq!(format!("{server:?}"), format!("Server({shown:?})"));
        }
    }

    #[test]
    fn what_is_no_url_is_refused() {
        for (url, why) in [
            ("mysql://ann:secret@h/d", "does not begin with postgres://"),
            (
                "postgres://h/d?pasword=secret",
                "\"pasword\" is no parameter",
            ),
            ("postgres://h/d?sslmode=perhaps", "ssl"),
            ("postgres://ann:secret@h:port/d", "port"),
        ] {
            let said = Server::new(url, None).unwrap_err().to_string();
            assert!(said.contains(why), "{url}: {said}");
            assert!(!said.contains("secret"), "{url}: {said}");
        }
    }

    #[test]
    fn a_session_is_set_up_unless_the_url_says_otherwise() {
        let options = |url| {
            let server = Server::new(url, None).unwrap();
            server.options.get_options().unwrap_or_default().to_owned()
        };
        let usual = options("postgres://ann@h/d");
        assert!(usual.contains("-c statement_timeout=300s"), "{usual}");
        let other = options("postgres://ann@h/d?options[statement_timeout]=9s");
        assert!(other.contains("-c statement_timeout=9s"), "{other}");
        assert!(!other.contains("300s"), "{other}");
    }
}
