//! `WWW-Authenticate` (RFC 9110, section 11.6.1): one or more challenges in one or more headers.

use reqwest::header::{HeaderMap, WWW_AUTHENTICATE};

/// A challenge that we can answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Challenge {
    /// User and password with every request.
    Basic,
    /// A token from a token server.
    Bearer {
        /// The token server's URL.
        realm: String,
        /// How the token server calls the registry.
        service: Option<String>,
        /// What the request needs.
        scope: Option<String>,
    },
}

/// The best challenge in an answer's headers: Bearer, else Basic.
pub(crate) fn best(headers: &HeaderMap) -> Option<Challenge> {
    let mut found = None;
    for value in headers.get_all(WWW_AUTHENTICATE) {
        let Ok(text) = value.to_str() else { continue };
        for (scheme, params) in parse(text) {
            let param = |name: &str| {
                let mut all = params.iter();
                all.find(|(key, _)| key == name)
                    .map(|(_, value)| value.clone())
            };
            if scheme.eq_ignore_ascii_case("bearer")
                && let Some(realm) = param("realm")
            {
                return Some(Challenge::Bearer {
                    realm,
                    service: param("service").filter(|s| !s.is_empty()),
                    scope: param("scope").filter(|s| !s.is_empty()),
                });
            }
            if scheme.eq_ignore_ascii_case("basic") {
                found = Some(Challenge::Basic);
            }
        }
    }
    found
}

type Params = Vec<(String, String)>;

/// Splits a header into schemes and parameters; whatever is malformed ends the parse.
fn parse(text: &str) -> Vec<(String, Params)> {
    let mut challenges: Vec<(String, Params)> = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let (word, after) = take_token(rest);
        if word.is_empty() {
            return challenges;
        }
        let trimmed = after.trim_start();
        // `name = value` belongs to the challenge before; a word alone begins a new one.
        match trimmed.strip_prefix('=') {
            Some(value) => {
                let Some((_, params)) = challenges.last_mut() else {
                    return challenges;
                };
                let Some((value, after)) = take_value(value.trim_start()) else {
                    return challenges;
                };
                params.push((word.to_ascii_lowercase(), value));
                rest = after;
            }
            None => {
                challenges.push((word.to_owned(), Vec::new()));
                rest = after;
            }
        }
    }
}

fn take_token(text: &str) -> (&str, &str) {
    let end = text
        .find(|c: char| !(c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~/:".contains(c)))
        .unwrap_or(text.len());
    text.split_at(end)
}

fn take_value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let (word, after) = take_token(text);
        return Some((word.to_owned(), after));
    };
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &quoted[at + 1..])),
            '\\' => value.push(chars.next()?.1),
            c => value.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[&'static str]) -> Option<Challenge> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(WWW_AUTHENTICATE, value.parse().unwrap());
        }
        best(&headers)
    }

    fn bearer(realm: &str, service: Option<&str>, scope: Option<&str>) -> Option<Challenge> {
        Some(Challenge::Bearer {
            realm: realm.into(),
            service: service.map(Into::into),
            scope: scope.map(Into::into),
        })
    }

    #[test]
    fn understands_what_registries_send() {
        let hub = r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push""#;
        assert_eq!(
            of(&[hub]),
            bearer(
                "https://auth.docker.io/token",
                Some("registry.docker.io"),
                Some("repository:a/b:pull,push")
            )
        );
        assert_eq!(of(&[r#"Basic realm="x, y""#]), Some(Challenge::Basic));
        assert_eq!(
            of(&[r#"Basic realm="x", bearer realm="https://t", error="insufficient_scope""#]),
            bearer("https://t", None, None)
        );
        assert_eq!(
            of(&[r#"Basic realm="x""#, r#"Bearer realm="https://t\"q""#]),
            bearer("https://t\"q", None, None)
        );
        assert_eq!(
            of(&["Bearer realm=https://t/token, service=s"]),
            bearer("https://t/token", Some("s"), None)
        );
    }

    #[test]
    fn ignores_what_it_cannot_answer() {
        for value in [
            "",
            "Negotiate",
            "Bearer",
            "Bearer realm=\"open",
            ",,,",
            "=x",
            "Digest a=b",
        ] {
            assert_eq!(of(&[value]), None, "{value}");
        }
    }
}
