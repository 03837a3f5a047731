//! Fixed paths beside the API: health, metrics, tokens, pages of others.

pub(super) mod cors;
pub(super) mod health;
pub(super) mod metrics;
mod oauth;
pub(super) mod token;
