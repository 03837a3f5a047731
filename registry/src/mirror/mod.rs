//! A mirror of other registries: what is not here is asked of upstreams, given on while it comes,
//! and kept.
//!
//! What was mirrored stands in repositories of its own, as what was pushed does: access rules,
//! quotas, lists and collections know no difference. Only pushing there is refused.
//!
//! | module | what it holds |
//! |---|---|
//! | [`settings`] | `[[upstream]]` and `[mirror]` |
//! | [`names`] | which name here is which name where |
//! | [`whole`] | the mirror itself |
//! | [`manifests`] | tags and manifests: fresh, stale, missing |
//! | [`blobs`] | blobs: here, coming, or told of |
//! | [`fetches`] | blobs on their way, each once |
//! | [`referrers`] | signatures and other referrers, brought along |
//! | [`tags`] | lists of tags, as upstreams have them |
//! | [`warming`] | whole images, before anybody asks |
//! | [`keeping`] | how much is kept, and what goes first |
//! | [`sources`] | the upstreams, and how each is doing |
//! | [`memory`], [`flights`] | what is remembered for a while, and work that is done once |
//! | [`metrics`], [`state`] | all of that in numbers, and for people |
//! | [`error`] | why something cannot be had |

mod blobs;
mod error;
mod fetches;
mod flights;
mod keeping;
mod manifests;
mod memory;
mod metrics;
mod names;
mod referrers;
pub mod settings;
mod sources;
mod state;
mod tags;
mod warming;
mod whole;

pub use blobs::{Arriving, MirroredBlob};
pub use error::{MirrorError, SetupError, Unavailable};
pub use manifests::{Shown, Stale};
pub use names::Meant;
pub use state::{MirrorState, UpstreamState};
pub use tags::ShownTags;
pub use warming::{WarmOptions, Warmed};
pub use whole::Mirror;
