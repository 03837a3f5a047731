//! Blobs and uploads in an object store: S3 and what speaks its protocol, and Azure's.
//!
//! | module | what it holds |
//! |---|---|
//! | [`settings`] | which store, and how to reach it |
//! | [`connect`] | a connection of such settings |
//! | [`store`] | the store: keys, requests, retries, the bound on memory |
//! | [`reading`] | content as a stream that goes on where it broke |
//! | [`blobs`] | blobs by digest |
//! | [`copying`] | copies within the store |
//! | [`session`] | an upload session as an object |
//! | [`filling`] | parts of an upload on their way |
//! | [`uploads`] | upload sessions |
//! | [`identity`] | whose store it is |
//!
//! Nothing rests on conditional requests: not every store has them. Keys of blobs are their
//! digests, so that whoever writes one twice writes the same.

mod blobs;
mod connect;
mod copying;
mod filling;
mod identity;
mod reading;
mod session;
mod settings;
mod store;
mod uploads;

pub(super) use blobs::{Prepared, prepare, shards};
pub(super) use connect::connect;
pub use identity::{Identity, Standing};
pub(super) use identity::{claim, in_store, is_on_disk};
pub(super) use reading::ObjectReader;
pub use reading::ObjectStream;
pub(super) use session::Session;
pub use settings::{ObjectSettings, Service};
pub(super) use store::Store;
pub(super) use uploads::ObjectUploads;
