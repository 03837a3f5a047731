//! Where it is kept what is known about content.

use super::error::{ConfigError, wrong};
use super::settings::Settings;
use crate::meta::Server;

const URL: &str = "database.url";
const PASSWORD_FILE: &str = "database.password_file";

/// The database server, where the database is not a file in the data directory.
///
/// # Errors
/// [`ConfigError::Value`], [`ConfigError::Missing`], [`ConfigError::Read`].
pub(super) fn database(settings: &Settings) -> Result<Option<Server>, ConfigError> {
    let url = settings.text(URL)?;
    let file = settings.path(PASSWORD_FILE)?;
    if url.is_empty() || url == "sqlite" {
        return match file {
            None => Ok(None),
            Some(_) => Err(ConfigError::Missing {
                place: settings.place(PASSWORD_FILE),
                what: format!("{PASSWORD_FILE} is for {URL} = \"postgres://…\""),
            }),
        };
    }
    let refused = |why: &str| wrong(URL, hidden(&url), why);
    let parsed = url.parse::<reqwest::Url>().ok();
    let is_postgres = |url: &reqwest::Url| matches!(url.scheme(), "postgres" | "postgresql");
    let Some(parsed) = parsed.filter(is_postgres) else {
        return Err(refused("sqlite, or postgres://USER@HOST:PORT/DATABASE"));
    };
    let password = match file {
        None => None,
        Some(_) if parsed.password().is_some() => {
            let why =
                format!("it has a password, and so has {PASSWORD_FILE}: leave one of them out");
            return Err(refused(&why));
        }
        Some(path) => match std::fs::read_to_string(&path) {
            // Editors put the end of a line behind it, which belongs to no password.
            Ok(text) => Some(text.trim_end_matches(['\r', '\n']).to_owned()),
            Err(cause) => return Err(ConfigError::Read { path, cause }),
        },
    };
    let server = Server::new(&url, password.as_deref());
    Ok(Some(server.map_err(|e| refused(&e.to_string()))?))
}

/// A URL as it can be shown: without its password.
pub(super) fn hidden(url: &str) -> String {
    let (scheme, rest) = match url.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None => (String::new(), url),
    };
    // Somebody may have forgotten to encode a slash in it, or an @.
    let Some((login, place)) = rest.rsplit_once('@') else {
        return parameters(&format!("{scheme}{rest}"));
    };
    let login = match login.split_once(':') {
        Some((user, _)) => format!("{user}:***"),
        None => login.to_owned(),
    };
    parameters(&format!("{scheme}{login}@{place}"))
}

/// The same for a password among the parameters.
fn parameters(url: &str) -> String {
    let Some((url, query)) = url.split_once('?') else {
        return url.to_owned();
    };
    let parameters = query.split('&').map(|one| match one.split_once('=') {
        Some((name, _)) if name.eq_ignore_ascii_case("password") => format!("{name}=***"),
        _ => one.to_owned(),
    });
    format!("{url}?{}", parameters.collect::<Vec<_>>().join("&"))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn passwords_are_not_shown() {
        for (url, shown) in [
            ("postgres://u@h/d", "postgres://u@h/d"),
            ("postgres://u:secret@h:5432/d", "postgres://u:***@h:5432/d"),
            ("postgres://u:sec/r@t@h/d", "postgres://u:***@h/d"),
            (
                "postgres://h/d?user=u&password=x&a",
                "postgres://h/d?user=u&password=***&a",
            ),
            ("u:secret@h", "u:***@h"),
            ("sqlite", "sqlite"),
        ] {
            assert_eq!(hidden(url), shown);
        }
    }
    fn read(text: &str) -> Result<Option<String>, ConfigError> {
        let config = Settings::from_text(text, Path::new("registry.toml"))?.check()?;
        Ok(config.database.map(|server| server.to_string()))
    }

    #[test]
    fn a_server_is_said_in_a_word_or_in_a_table() {
        let server = Some("postgres://u@h:5432/d".to_owned());
        for (text, expected) in [
            ("", &None),
            ("database = \"sqlite\"", &None),
            ("[database]\nurl = \"sqlite\"", &None),
            ("database = \"\"", &None),
            ("database = \"postgres://u:p@h/d\"", &server),
            ("database.url = \"postgresql://u:p@h/d\"", &server),
            ("database = { url = \"postgres://u@h/d\" }", &server),
            (
                "[database]\nurl = \"postgres://u@h/d?sslmode=require\"",
                &server,
            ),
        ] {
            assert_eq!(read(text).unwrap(), *expected, "{text}");
        }
        for (name, text) in [
            ("RREGISTRY_DATABASE", "postgres://u:p@h/d"),
            ("RREGISTRY_DATABASE_URL", "postgres://u:p@h/d"),
        ] {
            let mut settings =
                Settings::from_text("database = \"sqlite\"", Path::new("a")).unwrap();
            settings.override_from(|asked| (asked == name).then(|| text.to_owned()));
            let config = settings.check().unwrap();
            assert_eq!(config.database.map(|it| it.to_string()), server, "{name}");
            assert!(Settings::check_names([name.to_owned()]).unwrap().is_empty());
        }
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place_and_without_passwords() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("password");
        std::fs::write(&file, "se/cret\n").unwrap();
        let file = file.display();
        for (text, told) in [
            (
                "\ndatabase = \"mysql://u:se/cret@h/d\"".to_owned(),
                "registry.toml:2: database.url = mysql://u:***@h/d: sqlite, or postgres://",
            ),
            (
                "database = \"postgres://u:se/cret@h/d\"".to_owned(),
                "registry.toml:1: database.url = postgres://u:***@h/d: ",
            ),
            (
                "[database]\nurl = \"postgres://h/d?password=secret&x=1\"".to_owned(),
                "registry.toml:2: database.url = postgres://h/d?password=***&x=1: ",
            ),
            (
                "database = 5".to_owned(),
                "registry.toml:1: database.url = 5: a text in quotes",
            ),
            (
                "[database]\nurll = \"sqlite\"".to_owned(),
                "registry.toml:2: unknown key `database.urll`; did you mean `database.url`?",
            ),
            (
                format!("[database]\npassword_file = \"{file}\""),
                "registry.toml:2: database.password_file is for database.url = \"postgres://…\"",
            ),
            (
                format!(
                    "database = {{ url = \"postgres://u:se%2Fcret@h/d\", password_file = \"{file}\" }}"
                ),
                "registry.toml:1: database.url = postgres://u:***@h/d: it has a password",
            ),
            (
                "database = { url = \"postgres://u@h/d\", password_file = \"/none\" }".to_owned(),
                "cannot read /none: ",
            ),
        ] {
            let said = read(&text).unwrap_err().to_string();
            assert!(said.starts_with(told), "{said}");
            assert!(!said.contains("cret"), "{said}");
        }
        let text =
            format!("database = {{ url = \"postgres://u@h/d\", password_file = \"{file}\" }}");
        assert!(read(&text).unwrap().is_some());
    }
}
