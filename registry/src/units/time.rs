//! Times: seconds since 1970 as the database has them, text of RFC 3339 as people and programs do.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A time as RFC 3339 has it.
pub(crate) fn show_time(seconds: i64) -> String {
    // Out of range is what no clock said.
    jiff::Timestamp::from_second(seconds)
        .unwrap_or_default()
        .to_string()
}

/// For `serde(with)`: a time that may be unknown.
pub(crate) mod rfc3339 {
    use super::*;

    pub(crate) fn serialize<S: Serializer>(time: &Option<i64>, to: S) -> Result<S::Ok, S::Error> {
        time.map(show_time).serialize(to)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<i64>, D::Error> {
        let Some(text) = Option::<String>::deserialize(from)? else {
            return Ok(None);
        };
        let time: jiff::Timestamp = text.parse().map_err(serde::de::Error::custom)?;
        Ok(Some(time.as_second()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Dated(#[serde(with = "rfc3339")] Option<i64>);

    #[test]
    fn times_are_text_and_come_back() {
        // `date -u -d @1714979289 -Is`
        for (time, text) in [
            (Some(1_714_979_289), "\"2024-05-06T07:08:09Z\""),
            (Some(0), "\"1970-01-01T00:00:00Z\""),
            (None, "null"),
        ] {
            assert_eq!(serde_json::to_string(&Dated(time)).unwrap(), text);
            assert_eq!(serde_json::from_str::<Dated>(text).unwrap(), Dated(time));
        }
        assert_eq!(show_time(i64::MAX), "1970-01-01T00:00:00Z");
    }
}
