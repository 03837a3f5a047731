//! Who others vouch for: tokens of OpenID providers, taken for users here by rules on what they
//! say.
//!
//! A CI's job has such a token without any secret being stored (GitHub, GitLab and Kubernetes sign
//! them), and is let in as whom the first `[[oidc]]` names whose claims fit.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::identity::{Proof, User};
use crate::pattern::matches;

/// Longest name of a user.
const MAX_NAME: usize = 255;
/// Groups of one user.
const MAX_GROUPS: usize = 1000;

/// One `[[oidc]]` of the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Federation {
    /// Its name, in logs and in users' names.
    pub name: String,
    /// The provider, as its tokens say (`iss`); its keys are found from there.
    pub issuer: String,
    /// Whom tokens must be for (`aud`); who logs in with a browser has one for `client_id`.
    #[serde(default)]
    pub audience: String,
    /// Who this registry is to the provider: people log in there with a browser.
    #[serde(default)]
    pub client_id: Option<String>,
    /// The file with the secret that proves it, when there is one.
    #[serde(default)]
    pub client_secret_file: Option<PathBuf>,
    /// What is asked for beside `openid`.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// What the page calls the provider; its name without.
    #[serde(default)]
    pub title: Option<String>,
    /// Its keys, when they are not where the provider says: a file or a URL.
    #[serde(default)]
    pub jwks: Option<String>,
    /// Certificates in PEM that are trusted beside the system's.
    #[serde(default)]
    pub ca: Option<PathBuf>,
    /// What claims must be like: patterns, any of several.
    #[serde(default)]
    pub claims: BTreeMap<String, OneOf>,
    /// The user's name, with claims in braces.
    #[serde(default)]
    pub user: Option<String>,
    /// Groups that the user is in.
    #[serde(default)]
    pub groups: Vec<String>,
    /// The claim that names further ones.
    #[serde(default)]
    pub groups_claim: Option<String>,
}

/// A pattern, or several of which one must fit.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum OneOf {
    /// One.
    One(String),
    /// Several.
    Many(Vec<String>),
}

impl OneOf {
    fn fits(&self, text: &str) -> bool {
        match self {
            Self::One(pattern) => matches(pattern, text),
            Self::Many(patterns) => patterns.iter().any(|pattern| matches(pattern, text)),
        }
    }
}

impl Federation {
    /// Whether it can be used.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn check(&self) -> Result<(), String> {
        let fine = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
        if self.name.is_empty() || self.name.len() > 64 || !self.name.bytes().all(fine) {
            return Err("name: 1 to 64 letters, digits, dots, dashes and underscores".into());
        }
        match &self.client_id {
            None if self.client_secret_file.is_some() => {
                return Err("client_secret_file: there is no client_id that it is for".into());
            }
            None if !self.scopes.is_empty() || self.title.is_some() => {
                return Err("scopes and title are for logins with a browser: set client_id".into());
            }
            Some(id) if id.is_empty() => return Err("client_id is empty".into()),
            Some(id) if !self.audience.is_empty() && self.audience != *id => {
                return Err(format!(
                    "client_id {id} and audience {} differ: whoever logs in with a browser has a \
                     token for client_id; make a second [[oidc]] of the other",
                    self.audience
                ));
            }
            _ => {}
        }
        if self.audience().is_empty() {
            return Err("audience: whom tokens are for; any service's token would do else".into());
        }
        if self.claims.is_empty() && self.groups_claim.is_none() {
            return Err(
                "claims: what a token must say, such as repository = \"myorg/*\"; whoever has an \
                 account with the provider would be let in else"
                    .into(),
            );
        }
        if let Some(template) = &self.user {
            parts(template).map_err(|why| format!("user = {template:?}: {why}"))?;
        }
        Ok(())
    }

    /// Whom tokens must be for.
    pub(super) fn audience(&self) -> &str {
        match &self.client_id {
            Some(id) => id,
            None => &self.audience,
        }
    }

    /// The person that claims name who logged in with a browser, if they fit.
    pub(super) fn person(&self, claims: &Map<String, Value>) -> Option<User> {
        let user = self.user(claims)?;
        let proof = Proof::Browser(self.name.as_str().into());
        Some(User::new(user.to_string(), user.groups().to_vec(), proof))
    }

    /// Whether what the rule asks of an address holds: one that nobody looked at is anybody's.
    fn trusts_address(&self, claims: &Map<String, Value>) -> bool {
        let in_name = self.user.as_ref().is_some_and(|t| t.contains("{email}"));
        let asks = in_name || self.claims.contains_key("email");
        let verified = claims.get("email_verified");
        !asks || !verified.is_some_and(|v| matches!(texts(v).as_slice(), [no] if no == "false"))
    }

    /// Whom claims name, if they fit.
    pub(super) fn user(&self, claims: &Map<String, Value>) -> Option<User> {
        let fits = |(name, patterns): (&String, &OneOf)| {
            let values = claims.get(name).map(texts).unwrap_or_default();
            values.iter().any(|value| patterns.fits(value))
        };
        if !self.claims.iter().all(fits) || !self.trusts_address(claims) {
            return None;
        }
        let name = match &self.user {
            Some(template) => fill(template, claims)?,
            None => format!("{}:{}", self.name, claims.get("sub")?.as_str()?),
        };
        if name.is_empty() || name.len() > MAX_NAME || name.chars().any(char::is_control) {
            return None;
        }
        let claim = self
            .groups_claim
            .as_ref()
            .and_then(|claim| claims.get(claim));
        let claimed = claim.map(texts).unwrap_or_default();
        let groups = self.groups.iter().cloned().chain(claimed);
        let groups: Vec<String> = groups.take(MAX_GROUPS).collect();
        let proof = Proof::Federation(self.name.as_str().into());
        Some(User::new(name, groups, proof))
    }
}

/// The texts that a claim has: of a list each.
fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => vec![text.clone()],
        Value::Bool(_) | Value::Number(_) => vec![value.to_string()],
        Value::Array(values) => values.iter().flat_map(texts).collect(),
        Value::Null | Value::Object(_) => Vec::new(),
    }
}

/// A template's texts, and the claims named between them.
fn parts(template: &str) -> Result<Vec<(&str, Option<&str>)>, &'static str> {
    let mut parts = Vec::new();
    let mut rest = template;
    while let Some((text, after)) = rest.split_once('{') {
        let (claim, after) = after.split_once('}').ok_or("a brace is not closed")?;
        if claim.is_empty() {
            return Err("braces name a claim, as in {sub}");
        }
        parts.push((text, Some(claim)));
        rest = after;
    }
    if parts.is_empty() {
        return Err("it names no claim, so that all tokens would be one user's");
    }
    parts.push((rest, None));
    Ok(parts)
}

fn fill(template: &str, claims: &Map<String, Value>) -> Option<String> {
    let mut name = String::new();
    for (text, claim) in parts(template).ok()? {
        name.push_str(text);
        if let Some(claim) = claim {
            let values = claims.get(claim).map(texts)?;
            let [value] = values.as_slice() else {
                return None;
            };
            name.push_str(value);
        }
    }
    Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn federation(text: &str) -> Federation {
        let base = "name = \"gh\"\nissuer = \"https://ci.example\"\naudience = \"r.example\"\n";
        toml::from_str(&format!("{base}{text}")).unwrap()
    }

    fn user(federation: &Federation, claims: Value) -> Option<(String, Vec<String>)> {
        let user = federation.user(claims.as_object().unwrap())?;
        Some((user.to_string(), user.groups().to_vec()))
    }

    #[test]
    fn claims_that_fit_name_a_user() {
        let by_repository = federation(
            "user = \"ci:{repository}\"\ngroups = [\"ci\"]\n\
             claims = { repository = \"myorg/*\", ref = [\"refs/heads/main\", \"refs/tags/*\"] }\n",
        );
        let claims =
            |repository: &str, at: &str| json!({"sub": "s", "repository": repository, "ref": at});
        let ci = |name: &str| Some((name.to_owned(), vec!["ci".to_owned()]));
        for (repository, at, expected) in [
            ("myorg/app", "refs/heads/main", ci("ci:myorg/app")),
            ("myorg/app", "refs/tags/v1", ci("ci:myorg/app")),
            ("myorg/app", "refs/heads/dev", None),
            ("other/app", "refs/heads/main", None),
            ("myorg/a/b", "refs/heads/main", None),
            ("myorg/a\nb", "refs/heads/main", None),
        ] {
            assert_eq!(
                user(&by_repository, claims(repository, at)),
                expected,
                "{repository} {at}"
            );
        }
        assert_eq!(
            user(&by_repository, json!({"repository": "myorg/app"})),
            None
        );

        let by_group = federation("groups_claim = \"groups\"\nclaims = { groups = \"dev-*\" }\n");
        assert_eq!(
            user(&by_group, json!({"sub": "me", "groups": ["all", "dev-a"]})),
            Some(("gh:me".into(), vec!["all".into(), "dev-a".into()]))
        );
        assert_eq!(
            user(&by_group, json!({"sub": "me", "groups": ["all"]})),
            None
        );
        assert_eq!(user(&by_group, json!({"groups": ["dev-a"]})), None);
        // A claim with several values names nobody.
        let several = federation("user = \"{groups}\"\nclaims = { sub = \"**\" }\n");
        assert_eq!(
            user(&several, json!({"sub": "me", "groups": ["a", "b"]})),
            None
        );
    }

    #[test]
    fn what_would_let_everybody_in_is_refused() {
        for (text, message) in [
            ("", "claims: what a token must say"),
            (
                "user = \"ci\"\nclaims = { sub = \"a\" }",
                "it names no claim",
            ),
            (
                "user = \"{sub\"\nclaims = { sub = \"a\" }",
                "a brace is not closed",
            ),
            (
                "user = \"{}\"\nclaims = { sub = \"a\" }",
                "braces name a claim",
            ),
        ] {
            let why = federation(text).check().unwrap_err();
            assert!(why.contains(message), "{why}");
        }
        assert_eq!(federation("claims = { sub = \"a\" }").check(), Ok(()));
    }

    #[test]
    fn rules_for_browsers_are_for_one_client() {
        let rule = |text: &str| -> Federation {
            let base =
                "name = \"idp\"\nissuer = \"https://idp.example\"\nclaims = { sub = \"*\" }\n";
            toml::from_str(&format!("{base}{text}")).unwrap()
        };
        for (text, message) in [
            ("", "audience: whom"),
            ("client_id = \"\"", "client_id is empty"),
            ("client_id = \"a\"\naudience = \"b\"", "a second [[oidc]]"),
            (
                "audience = \"a\"\nclient_secret_file = \"/x\"",
                "no client_id",
            ),
            ("audience = \"a\"\nscopes = [\"email\"]", "set client_id"),
            ("audience = \"a\"\ntitle = \"A\"", "set client_id"),
        ] {
            let why = rule(text).check().unwrap_err();
            assert!(why.contains(message), "{text}: {why}");
        }
        for good in ["client_id = \"a\"", "client_id = \"a\"\naudience = \"a\""] {
            assert_eq!(rule(good).check(), Ok(()));
            assert_eq!(rule(good).audience(), "a");
        }
        // An address that nobody looked at is anybody's.
        let by_address = rule("client_id = \"a\"\nuser = \"{email}\"");
        let user = |verified: Value| {
            let claims = json!({"sub": "1", "email": "a@b.example", "email_verified": verified});
            let person = by_address.person(claims.as_object().unwrap())?;
            assert!(person.proof().is_personal());
            Some(person.to_string())
        };
        assert_eq!(user(json!(true)).as_deref(), Some("a@b.example"));
        assert_eq!(user(json!(null)).as_deref(), Some("a@b.example"));
        assert_eq!(user(json!(false)), None);
        assert_eq!(user(json!("false")), None);
    }
}
