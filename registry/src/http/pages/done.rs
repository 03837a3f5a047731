//! What a page comes to.

use http::HeaderValue;
use maud::Markup;

/// What a page comes to.
pub(super) enum Done {
    /// A page of this title.
    Page(String, Markup),
    /// The same, to be asked for again after some seconds.
    Again(u32, String, Markup),
    /// It goes on at another path, with a new cookie if need be.
    Onward(String, Option<HeaderValue>),
}
