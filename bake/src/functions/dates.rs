//! Functions of times, which are written as RFC 3339 has it.

use golang::duration::parse_duration;
use jiff::civil::DateTime;
use jiff::fmt::strtime;
use jiff::tz::Offset;
use jiff::{SignedDuration, Timestamp, Zoned};

use super::wants::{Arguments as _, World};
use crate::value::Value;

type Result<T = Value> = std::result::Result<T, String>;

/// `timestamp`: now, to the second.
pub fn timestamp(_: &[Value], world: &World) -> Result {
    Ok(Value::text(
        world.now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
    ))
}

/// A time with the offset it is written with.
fn read(text: &str) -> Result<Zoned> {
    let wrong = || format!("not a valid RFC3339 timestamp: {text:?}");
    let moment: Timestamp = text.parse().map_err(|_| wrong())?;
    let offset = match text.ends_with(['Z', 'z']) {
        true => Offset::UTC,
        false => {
            let written = strtime::parse("%Y-%m-%dT%H:%M:%S%.f%:z", text).map_err(|_| wrong())?;
            written.offset().ok_or_else(wrong)?
        }
    };
    Ok(moment.to_zoned(offset.to_time_zone()))
}

/// `timeadd`
pub fn time_add(of: &[Value], _: &World) -> Result {
    let (text, written) = (of.text(0), of.text(1));
    let time = read(text)?;
    let (back, length) = match written.strip_prefix('-') {
        Some(length) => (true, length),
        None => (false, written),
    };
    let length = parse_duration(length).map_err(|error| error.to_string())?;
    let length = SignedDuration::try_from(length).map_err(|error| error.to_string())?;
    let moved = match back {
        true => time.checked_sub(length),
        false => time.checked_add(length),
    };
    let moved = moved.map_err(|error| error.to_string())?;
    Ok(Value::text(rfc3339(&moved)))
}

fn rfc3339(time: &Zoned) -> String {
    let zone = match time.offset().is_zero() {
        true => "Z".to_owned(),
        false => time.strftime("%:z").to_string(),
    };
    format!("{}{zone}", time.strftime("%Y-%m-%dT%H:%M:%S"))
}

/// `formatdate`: letters stand for parts of the time, text stands in single quotes.
pub fn format_date(of: &[Value], _: &World) -> Result {
    let time = read(of.text(1))?;
    let mut out = String::new();
    let mut rest = of.text(0);
    while let Some(c) = rest.chars().next() {
        if c == '\'' {
            let quoted = rest.get(1..).unwrap_or_default();
            let end = quoted.find('\'').ok_or("unterminated literal string")?;
            out.push_str(match end {
                0 => "'",
                end => quoted.get(..end).unwrap_or_default(),
            });
            rest = quoted.get(end + 1..).unwrap_or_default();
            continue;
        }
        let length = rest.chars().take_while(|other| *other == c).count();
        if !c.is_ascii_alphabetic() {
            out.push(c);
            rest = rest.get(c.len_utf8()..).unwrap_or_default();
            continue;
        }
        let (token, behind) = rest.split_at_checked(length).unwrap_or((rest, ""));
        out.push_str(&part(token, &time)?);
        rest = behind;
    }
    Ok(Value::String(out))
}

fn part(token: &str, time: &Zoned) -> Result<String> {
    let civil: DateTime = time.datetime();
    let hour12 = match civil.hour() % 12 {
        0 => 12,
        hour => hour,
    };
    let half = if civil.hour() < 12 { "AM" } else { "PM" };
    let written = |format: &str| time.strftime(format).to_string();
    let utc = time.offset().is_zero();
    Ok(match token {
        "YYYY" => written("%Y"),
        "YY" => written("%y"),
        "MMMM" => written("%B"),
        "MMM" => written("%b"),
        "MM" => written("%m"),
        "M" => civil.month().to_string(),
        "DD" => written("%d"),
        "D" => civil.day().to_string(),
        "EEEE" => written("%A"),
        "EEE" => written("%a"),
        "hh" => written("%H"),
        "h" => civil.hour().to_string(),
        "HH" => format!("{hour12:02}"),
        "H" => hour12.to_string(),
        "AA" => half.to_owned(),
        "aa" => half.to_lowercase(),
        "mm" => written("%M"),
        "m" => civil.minute().to_string(),
        "ss" => written("%S"),
        "s" => civil.second().to_string(),
        "ZZZZZ" => written("%:z"),
        "ZZZ" if utc => "UTC".to_owned(),
        "Z" if utc => "Z".to_owned(),
        "ZZZZ" | "ZZZ" => written("%z"),
        "Z" => written("%:z"),
        other => {
            return Err(format!(
                "invalid date format verb {other:?}: text of its own stands in single quotes"
            ));
        }
    })
}
