//! HTTP: requests into calls of the service, and its answers back.
//!
//! A module uses only those below it.
//!
//! | module | what it holds |
//! |---|---|
//! | `router` | which handler answers which path |
//! | `around` | what is done around every answer |
//! | `operations` | fixed paths beside the API: health, metrics, tokens |
//! | `admin` | the API for people and their tools, and Docker's old search |
//! | `v2` | the distribution API, by resource |
//! | `guards` | who is let in, how often, how slowly |
//! | `api` | what requests are served with |
//! | `log` | the access log |
//! | `request` | what requests say: sender, query, ranges, conditions |
//! | `answer` | what answers are made of |

mod admin;
mod answer;
mod api;
mod around;
mod guards;
mod log;
mod operations;
mod request;
mod router;
mod v2;

pub use api::Api;
pub use request::{ClientCertificate, Peer};
pub use router::router;
