//! What requests say: sender, ID, query, ranges, conditions.

pub(super) mod conditions;
mod id;
mod query;
mod range;
mod sender;

pub(super) use id::{RequestId, request_id};
pub(super) use query::{Query, encode};
pub(super) use range::{Part, Wanted, chunk, wanted};
pub use sender::{ClientCertificate, Peer, SocketPeer};
pub(super) use sender::{address, host, origin, peer, see_through, shown};
