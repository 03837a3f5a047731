//! What a token is asked for (Docker Registry v2 "Token Scope").

use oci::reference::Repository;

/// Scopes such as `repository:library/busybox:pull`, each once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Scopes(Vec<String>);

impl Scopes {
    /// None: enough for `/v2/`.
    pub(crate) fn none() -> Self {
        Self::default()
    }

    /// Listing every repository.
    pub(crate) fn catalog() -> Self {
        Self(vec!["registry:catalog:*".to_owned()])
    }

    /// Actions such as `pull,push` on a repository's path.
    pub(crate) fn repository(path: &str, actions: &str) -> Self {
        Self(vec![format!("repository:{path}:{actions}")])
    }

    /// The same, and reading the repositories that blobs may be mounted from.
    pub(crate) fn and_pull(mut self, repositories: &[Repository]) -> Self {
        for repository in repositories {
            self.add(&format!("repository:{}:pull", repository.path()));
        }
        self
    }

    /// Adds the space-separated scopes of a challenge.
    pub(crate) fn add(&mut self, scopes: &str) {
        for scope in scopes.split_ascii_whitespace() {
            if !self.0.iter().any(|s| s == scope) {
                self.0.push(scope.to_owned());
            }
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// All, separated by spaces: a key for caching, and OAuth2's form.
    pub(crate) fn joined(&self) -> String {
        self.0.join(" ")
    }
}
