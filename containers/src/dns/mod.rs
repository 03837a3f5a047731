//! Names within networks: who is called what, and what answers a container's questions.
//!
//! - [`registry`]: files that say which names the containers on a bridge have
//! - [`answer`]: from a question to an answer, or to nothing of ours
//! - [`view`]: what the container that asks can see
//! - [`server`]: the answerer in a container's namespace, a thread of its monitor
//! - [`forward`]: questions that are for other servers

mod answer;
mod forward;
pub(crate) mod registry;
pub(crate) mod server;
pub(crate) mod view;
