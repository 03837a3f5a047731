//! The API for people and their tools, under `/api/v1`, and Docker's old search.

mod changes;
mod handler;
mod lists;
mod replication;
mod search;
mod shown;

pub(super) use handler::handle;
pub(super) use search::docker;
