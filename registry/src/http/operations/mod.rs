//! Fixed paths beside the API: health, metrics, tokens, pages of others.

pub(super) mod health;
pub(super) mod metrics;
mod oauth;
pub(super) mod pages;
pub(super) mod token;
