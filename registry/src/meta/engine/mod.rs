//! The databases that the metadata can be in, and one way to ask either.
//!
//! A query has one text for both, SQLite's, in which little has to be said in another way for
//! PostgreSQL (`rewrite`); where that is not enough it has two (`sql`). Values go in and come out
//! as a few kinds that both have (`value`, `row`). Everything else is sqlx's.

mod connection;
mod lost;
mod query;
mod readers;
mod rewrite;
mod row;
mod sql;
mod standing;
mod transaction;
mod value;

pub(in crate::meta) use connection::Connection;
pub(in crate::meta) use lost::is_lost;
pub(in crate::meta) use query::{Question, query, query_as, query_scalar, script};
pub(in crate::meta) use readers::{Pool, Readers, Source};
pub(in crate::meta) use row::Parts;
pub(in crate::meta) use sql::Sql;
pub(in crate::meta) use standing::Standing;
pub(in crate::meta) use transaction::{begin, commit, rollback};
