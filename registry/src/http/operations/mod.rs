//! Fixed paths beside the API: health, metrics, tokens.

pub(super) mod health;
pub(super) mod metrics;
mod oauth;
pub(super) mod token;
