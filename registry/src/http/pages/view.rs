//! What a page is made with.

use http::request::Parts;

use super::stop::Stop;
use super::visitor::Visitor;
use crate::auth::rules::Access;
use crate::auth::sessions::Sessions;
use crate::http::api::Api;
use crate::http::request::Query;
use crate::name::RepositoryName;

/// What a page is made with.
#[derive(Debug)]
pub(super) struct View<'v> {
    pub(super) api: &'v Api,
    pub(super) sessions: &'v Sessions,
    pub(super) visitor: &'v Visitor,
    pub(super) request: &'v Parts,
    pub(super) query: Query,
}

impl View<'_> {
    /// A parameter; empty when it is not given.
    pub(super) fn parameter(&self, name: &str) -> &str {
        self.query.get(name).unwrap_or_default()
    }

    /// Lets through who may do something in a repository. Who is nobody yet is asked who they are.
    pub(super) fn need(&self, name: &RepositoryName, access: Access) -> Result<(), Stop> {
        let caller = &self.visitor.caller;
        if caller.may(name.as_str(), access) {
            return Ok(());
        }
        if caller.is_anonymous() && self.can_log_in() {
            return Err(Stop::Login);
        }
        let verb = access.verb();
        Err(Stop::denied(match &self.visitor.user {
            Some(user) => format!("{user} may not {verb} {name}."),
            None => format!("You may not {verb} {name}."),
        }))
    }

    /// Lets through who may do everything here; others are told that `what` is not for them.
    pub(super) fn need_operator(&self, what: &str) -> Result<(), Stop> {
        let caller = &self.visitor.caller;
        if caller.is_operator() {
            return Ok(());
        }
        if caller.is_anonymous() && self.can_log_in() {
            return Err(Stop::Login);
        }
        Err(Stop::denied(format!(
            "{what} is for those who may do everything in this registry (a rule for all \
             repositories with admin)."
        )))
    }

    /// Whether there is a way to log in here.
    pub(super) fn can_log_in(&self) -> bool {
        let auth = self.api.auth.as_ref();
        auth.is_some_and(|auth| auth.has_passwords() || !auth.providers().is_empty())
    }

    /// Whether the caller may delete here, by rule and by the registry's settings.
    pub(super) fn may_delete(&self, name: &RepositoryName) -> bool {
        self.api.delete_enabled && self.visitor.caller.may(name.as_str(), Access::Delete)
    }

    /// The host that clients reach this registry by, for commands to copy.
    pub(super) fn host(&self) -> String {
        let base = self.api.base(self.request);
        let host = base
            .split_once("://")
            .map_or(base.as_str(), |(_, host)| host);
        host.to_owned()
    }
}
