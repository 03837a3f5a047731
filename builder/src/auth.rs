//! Secrets by which private repositories and files are fetched: of `--secret`, by the names that
//! BuildKit gives them. They are sent to the server that is asked, and told to nobody else.

use std::collections::BTreeMap;
use std::sync::Arc;

use runtime::Hidden;
use url::Url;

/// What was given for servers. The default is nothing.
#[derive(Clone, Debug, Default)]
pub struct Auth(Arc<BTreeMap<String, Hidden>>);

/// A secret whose value is the header's, and one whose value is a token.
const GIT: [&str; 2] = ["GIT_AUTH_HEADER", "GIT_AUTH_TOKEN"];
const HTTP: [&str; 2] = ["HTTP_AUTH_HEADER", "HTTP_AUTH_TOKEN"];

impl Auth {
    /// Those among secrets that are for servers.
    pub fn of(secrets: &BTreeMap<String, Hidden>) -> Self {
        let ours = |name: &str| GIT.iter().chain(&HTTP).any(|ours| name.starts_with(ours));
        let found = secrets.iter().filter(|(name, _)| ours(name));
        let found = found.map(|(name, value)| (name.clone(), value.clone()));
        Self(Arc::new(found.collect()))
    }

    /// The header `Authorization` for a file.
    pub(crate) fn for_http(&self, url: &Url) -> Option<String> {
        let (is_token, value) = self.find(HTTP, url)?;
        Some(match is_token {
            true => format!("Bearer {value}"),
            false => value,
        })
    }

    /// The header `Authorization` for a repository, and the prefix of addresses that it is for.
    pub(crate) fn for_git(&self, remote: &str) -> Option<(String, String)> {
        let url = Url::parse(remote).ok()?;
        if !matches!(url.scheme(), "http" | "https") {
            return None;
        }
        let (is_token, value) = self.find(GIT, &url)?;
        let header = match is_token {
            // As BuildKit: the name is one that every host takes with a token.
            true => format!(
                "basic {}",
                base64(format!("x-access-token:{value}").as_bytes())
            ),
            false => value,
        };
        let host = authority(&url)?;
        Some((format!("{}://{host}/", url.scheme()), header))
    }

    /// What was given for a server, and whether it is a token: what names the server goes first,
    /// and headers before tokens.
    fn find(&self, [header, token]: [&str; 2], url: &Url) -> Option<(bool, String)> {
        let (whole, host) = (authority(url)?, url.host_str()?);
        for server in [Some(whole.as_str()), Some(host), None] {
            for (name, is_token) in [(header, false), (token, true)] {
                let names = match server {
                    Some(server) => vec![format!("{name}.{server}"), format!("{name}_{server}")],
                    None => vec![name.to_owned()],
                };
                let found = names.iter().find_map(|name| self.0.get(name));
                if let Some(Hidden(value)) = found {
                    let text = String::from_utf8_lossy(value).trim().to_owned();
                    return Some((is_token, text));
                }
            }
        }
        None
    }
}

/// Host and port, as they are written.
fn authority(url: &Url) -> Option<String> {
    let host = url.host_str()?;
    Some(match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    })
}

/// RFC 4648, section 4.
fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn auth(secrets: &[(&str, &str)]) -> Auth {
        let secrets = secrets.iter().map(|(name, value)| {
            let value = Hidden(value.as_bytes().to_vec());
            ((*name).to_owned(), value)
        });
        Auth::of(&secrets.collect())
    }

    #[test]
    fn what_names_the_server_goes_first() {
        for (secrets, url, want) in [
            (&[][..], "https://h/x", None),
            (&[("TOKEN", "t")], "https://h/x", None),
            (
                &[("HTTP_AUTH_TOKEN", "t\n")],
                "https://h/x",
                Some("Bearer t"),
            ),
            (
                &[("HTTP_AUTH_HEADER", "Basic x")],
                "http://h/x",
                Some("Basic x"),
            ),
            (
                &[("HTTP_AUTH_TOKEN_h", "t")],
                "https://h/x",
                Some("Bearer t"),
            ),
            (
                &[("HTTP_AUTH_TOKEN.h", "t")],
                "https://h:81/x",
                Some("Bearer t"),
            ),
            (&[("HTTP_AUTH_TOKEN_h:81", "t")], "https://h/x", None),
            (&[("HTTP_AUTH_TOKEN_other", "t")], "https://h/x", None),
            (
                &[("HTTP_AUTH_TOKEN", "all"), ("HTTP_AUTH_TOKEN_h", "own")],
                "https://h/x",
                Some("Bearer own"),
            ),
            (
                &[("HTTP_AUTH_TOKEN", "t"), ("HTTP_AUTH_HEADER", "Own h")],
                "https://h/x",
                Some("Own h"),
            ),
        ] {
            let found = auth(secrets).for_http(&Url::parse(url).unwrap());
            assert_eq!(found.as_deref(), want, "{secrets:?} {url}");
        }
    }

    #[test]
    fn tokens_of_repositories_are_passwords() {
        let token = auth(&[("GIT_AUTH_TOKEN.h:8080", "t")]);
        let (prefix, header) = token.for_git("http://h:8080/a/b.git").unwrap();
        assert_eq!(prefix, "http://h:8080/");
        // echo -n x-access-token:t | base64
        assert_eq!(header, "basic eC1hY2Nlc3MtdG9rZW46dA==");
        assert!(token.for_git("http://h/a.git").is_none());
        assert!(token.for_git("ssh://git@h:8080/a.git").is_none());
        assert!(token.for_git("git@h:8080/a.git").is_none());
        assert!(!format!("{token:?}").contains("\"t\""), "{token:?}");
    }
}
