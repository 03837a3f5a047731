//! The API for people and their tools, under `/api/v1`, and Docker's old search.

mod changes;
mod handler;
mod lists;
mod operating;
mod replication;
mod search;
mod shown;
mod tokens;

pub(super) use handler::handle;
pub(super) use search::docker;
pub(super) use tokens::note;
