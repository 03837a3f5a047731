//! What happens to images, in the words of Docker's notifications, and who is to be told.
//!
//! Pure but for the clock. The service says what happened; [`Subscribers`] know which webhook
//! wants to hear it and keep what needs no disk; `webhook` sends.

mod config;
mod happened;
mod line;
mod noted;
mod render;
mod subscribers;

pub use config::{Headers, Ignore, Webhook};
pub use happened::{Action, Happened, Origin, RequestOrigin, Target};
pub use line::line;
pub use noted::Noted;
pub use render::envelope;
pub use subscribers::{ACTIVITY, AUDIT, Notice, Subscriber, Subscribers};
