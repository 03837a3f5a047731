//! What somebody asks layers to be compressed to.

use std::fmt;
use std::str::FromStr;

use crate::media_type::LayerCompression;

/// Ways to compress a layer, by the names that buildx and podman have for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A plain tar.
    Uncompressed,
    /// What every client reads.
    Gzip,
    /// Faster and smaller than gzip.
    Zstd,
    /// gzip, a member for each file, with a table of contents as one more file: eStargz.
    Estargz,
    /// Zstandard, a frame for each file, with a table of contents that plain readers skip.
    ZstdChunked,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Uncompressed,
        Self::Gzip,
        Self::Zstd,
        Self::Estargz,
        Self::ZstdChunked,
    ];

    /// What a reader sees that knows no tables of contents: what the media type says.
    pub fn format(self) -> LayerCompression {
        match self {
            Self::Uncompressed => LayerCompression::None,
            Self::Gzip | Self::Estargz => LayerCompression::Gzip,
            Self::Zstd | Self::ZstdChunked => LayerCompression::Zstd,
        }
    }

    /// Whether a table says where in the blob each file is.
    pub fn has_contents(self) -> bool {
        matches!(self, Self::Estargz | Self::ZstdChunked)
    }

    /// The name that is typed.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Uncompressed => "uncompressed",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Estargz => "estargz",
            Self::ZstdChunked => "zstd:chunked",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What is no compression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadCompression {
    /// A name that none has.
    #[error(
        "unsupported compression type {0}: there are uncompressed, gzip, zstd, estargz and \
         zstd:chunked"
    )]
    Name(String),
    /// A level that the format does not have.
    #[error("{level} is no {kind} compression level: it must be between {least} and {most}")]
    Level {
        /// The compression.
        kind: Kind,
        /// What was asked for.
        level: i32,
        /// Its lowest level.
        least: i32,
        /// Its highest level.
        most: i32,
    },
}

impl FromStr for Kind {
    type Err = BadCompression;

    fn from_str(text: &str) -> Result<Self, BadCompression> {
        let mut all = Self::ALL.into_iter();
        all.find(|kind| kind.as_str() == text)
            .ok_or_else(|| BadCompression::Name(text.to_owned()))
    }
}

/// How a layer is compressed: the way, and how hard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Compression {
    kind: Kind,
    level: Option<i32>,
}

impl Compression {
    /// A way to compress, at one of its levels or the customary one.
    ///
    /// # Errors
    /// [`BadCompression::Level`]. A plain tar has no levels, and takes any.
    pub fn new(kind: Kind, level: Option<i32>) -> Result<Self, BadCompression> {
        let (least, most) = match kind.format() {
            LayerCompression::None => return Ok(Self { kind, level: None }),
            LayerCompression::Gzip => (0, 9),
            LayerCompression::Zstd => (1, 22),
        };
        match level {
            Some(level) if !(least..=most).contains(&level) => Err(BadCompression::Level {
                kind,
                level,
                least,
                most,
            }),
            level => Ok(Self { kind, level }),
        }
    }

    /// The way.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The format's own level, if one was asked for.
    pub fn level(&self) -> Option<i32> {
        self.level
    }
}

impl From<LayerCompression> for Compression {
    /// At the customary level, without table of contents.
    fn from(format: LayerCompression) -> Self {
        match format {
            LayerCompression::None => Kind::Uncompressed.into(),
            LayerCompression::Gzip => Kind::Gzip.into(),
            LayerCompression::Zstd => Kind::Zstd.into(),
        }
    }
}

impl From<Kind> for Compression {
    /// At the customary level.
    fn from(kind: Kind) -> Self {
        Self { kind, level: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_shown() {
        for kind in Kind::ALL {
            assert_eq!(kind.to_string().parse(), Ok(kind));
        }
        let lz4 = "lz4".parse::<Kind>().unwrap_err();
        assert!(
            lz4.to_string()
                .starts_with("unsupported compression type lz4")
        );
    }

    #[test]
    fn levels_are_those_of_the_format() {
        for (kind, level, good) in [
            (Kind::Gzip, 0, true),
            (Kind::Gzip, 9, true),
            (Kind::Estargz, 10, false),
            (Kind::Zstd, 0, false),
            (Kind::ZstdChunked, 22, true),
            (Kind::ZstdChunked, 23, false),
            (Kind::Uncompressed, 99, true),
        ] {
            let made = Compression::new(kind, Some(level));
            assert_eq!(made.is_ok(), good, "{kind} {level}");
        }
        let bad = Compression::new(Kind::Zstd, Some(23)).unwrap_err();
        let told = "23 is no zstd compression level: it must be between 1 and 22";
        assert_eq!(bad.to_string(), told);
    }
}
