//! Small things that many pages show.

use maud::{Markup, html};

use super::path;
use crate::clock::now;
use crate::units::show_size;

/// Letters of a digest that tell it from others.
const SHORT: usize = 12;

/// A size for people.
pub(super) fn size(bytes: u64) -> Markup {
    html! { span.number title=(format!("{bytes} bytes")) { (show_size(bytes)) } }
}

/// A time for people: how long ago, and exactly when.
pub(super) fn time(at: Option<i64>) -> Markup {
    let Some(at) = at else {
        return html! { span.quiet { "never" } };
    };
    let exact = jiff::Timestamp::from_second(at)
        .unwrap_or_default()
        .to_string();
    html! { time datetime=(exact) title=(exact) { (ago(now().saturating_sub(at))) } }
}

/// How long ago something was.
fn ago(seconds: i64) -> String {
    const UNITS: [(i64, &str); 6] = [
        (365 * 86400, "year"),
        (30 * 86400, "month"),
        (7 * 86400, "week"),
        (86400, "day"),
        (3600, "hour"),
        (60, "minute"),
    ];
    let unit = UNITS.iter().find(|(length, _)| seconds >= *length);
    match unit.map(|(length, unit)| (seconds / length, unit)) {
        None => "just now".to_owned(),
        Some((1, unit)) => format!("1 {unit} ago"),
        Some((n, unit)) => format!("{n} {unit}s ago"),
    }
}

/// So many of something.
pub(super) fn count(n: impl TryInto<u64> + Copy, one: &str) -> String {
    match n.try_into().unwrap_or(u64::MAX) {
        1 => format!("1 {one}"),
        n => format!("{n} {one}s"),
    }
}

/// A digest as short as people can take it.
pub(super) fn short(digest: &str) -> &str {
    let hex = digest.split_once(':').map_or(digest, |(_, hex)| hex);
    hex.get(..SHORT).unwrap_or(hex)
}

/// A short digest that leads somewhere.
pub(super) fn digest(digest: &str, href: &str) -> Markup {
    html! { a.digest href=(href) title=(digest) { (short(digest)) } }
}

/// The way from all repositories to here.
pub(super) fn crumbs(name: &str, further: &[(&str, &str)]) -> Markup {
    html! {
        nav.crumbs aria-label="Breadcrumb" {
            ol {
                li { a href=(path::ROOT) { "Repositories" } }
                li { a href=(path::of("tags", name)) { (name) } }
                @for (text, href) in further {
                    li {
                        @if href.is_empty() { span aria-current="page" { (text) } }
                        @else { a href=(href) { (text) } }
                    }
                }
            }
        }
    }
}

/// A command to copy: one click selects all of it.
pub(super) fn command(text: &str) -> Markup {
    html! { pre.command { code { (text) } } }
}

/// What is shown where there is nothing.
pub(super) fn nothing(title: &str, more: Markup) -> Markup {
    html! { div.nothing { p.title { (title) } (more) } }
}

/// The head of a column that a list can be sorted by.
pub(super) fn sorted(
    text: &str,
    key: &str,
    (current, descending): (&str, bool),
    href: impl Fn(&str, bool) -> String,
    class: &str,
) -> Markup {
    let is_current = key == current;
    // The first click shows names from the beginning, and what is newest or largest.
    let next = if is_current {
        !descending
    } else {
        key != "name"
    };
    let state = match (is_current, descending) {
        (false, _) => "none",
        (true, false) => "ascending",
        (true, true) => "descending",
    };
    html! {
        th scope="col" class=(class) aria-sort=(state) {
            a href=(href(key, next)) {
                (text)
                @if is_current { span aria-hidden="true" { @if descending { " ↓" } @else { " ↑" } } }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_in_words() {
        for (seconds, text) in [
            (-5, "just now"),
            (59, "just now"),
            (60, "1 minute ago"),
            (7199, "1 hour ago"),
            (86400 * 3, "3 days ago"),
            (86400 * 29, "4 weeks ago"),
            (86400 * 364, "12 months ago"),
            (86400 * 800, "2 years ago"),
        ] {
            assert_eq!(ago(seconds), text);
        }
    }
}
