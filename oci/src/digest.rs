//! Content digests (OCI image-spec, descriptor.md, "Digests").
//!
//! A [`Digest`] is always well formed: a registered algorithm and exactly as many lower-case hex
//! digits as it yields. Nothing else can be built, so a digest is safe to use as a file name.

use std::fmt;
use std::io::{self, Read, Write};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::digest::common::hazmat::{SerializableState, SerializedState};
use sha2::{Digest as _, Sha256, Sha512};

/// A registered digest algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Algorithm {
    /// SHA-256, the one that every implementation knows.
    Sha256,
    /// SHA-512, registered and optional.
    Sha512,
}

impl Algorithm {
    /// The algorithm's name as it stands before the colon.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    /// How many hex digits its digests have.
    const fn hex_len(self) -> usize {
        match self {
            Self::Sha256 => 64,
            Self::Sha512 => 128,
        }
    }

    /// A hasher for this algorithm.
    pub fn hasher(self) -> Hasher {
        match self {
            Self::Sha256 => Hasher(State::Sha256(Sha256::new())),
            Self::Sha512 => Hasher(State::Sha512(Sha512::new())),
        }
    }

    /// Hashes bytes that are already in memory.
    pub fn digest(self, bytes: &[u8]) -> Digest {
        let mut hasher = self.hasher();
        hasher.update(bytes);
        hasher.finish()
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Algorithm {
    type Err = DigestError;

    fn from_str(s: &str) -> Result<Self, DigestError> {
        match s {
            "sha256" => Ok(Self::Sha256),
            "sha512" => Ok(Self::Sha512),
            _ => Err(DigestError::UnknownAlgorithm),
        }
    }
}

/// Why a text is not a digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    /// No `algorithm:hex` form.
    #[error("a digest has the form `algorithm:hex`")]
    Format,
    /// An algorithm that is neither sha256 nor sha512.
    #[error("unknown digest algorithm: only sha256 and sha512 are supported")]
    UnknownAlgorithm,
    /// The encoded part is too long, too short, or not lower-case hex.
    #[error("the encoded part of a digest is lower-case hex of the algorithm's length")]
    Encoding,
}

/// `algorithm:hex`, verified when made.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest {
    algorithm: Algorithm,
    hex: Box<str>,
}

impl Digest {
    /// The digest of no bytes at all, by SHA-256.
    pub fn empty() -> Self {
        Self::sha256(b"")
    }

    /// The SHA-256 digest of bytes in memory.
    pub fn sha256(bytes: &[u8]) -> Self {
        Algorithm::Sha256.digest(bytes)
    }

    /// A digest from its algorithm and hex digits.
    ///
    /// # Errors
    /// [`DigestError::Encoding`] when `hex` is not lower-case hex of the right length.
    pub fn new(algorithm: Algorithm, hex: &str) -> Result<Self, DigestError> {
        let valid = hex.len() == algorithm.hex_len()
            && hex
                .bytes()
                .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        if !valid {
            return Err(DigestError::Encoding);
        }
        Ok(Self {
            algorithm,
            hex: hex.into(),
        })
    }

    /// The algorithm.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The hex digits without the algorithm; safe as a file name.
    pub fn hex(&self) -> &str {
        &self.hex
    }

    /// The first twelve hex digits, as `docker images` shows an ID.
    pub fn short(&self) -> &str {
        &self.hex[..12]
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm, self.hex)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(s: &str) -> Result<Self, DigestError> {
        let (algorithm, hex) = s.split_once(':').ok_or(DigestError::Format)?;
        Self::new(algorithm.parse()?, hex)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
        text.parse()
            .map_err(|e| serde::de::Error::custom(format!("invalid digest {text:?}: {e}")))
    }
}

macro_rules! digest_newtype {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Digest);

        impl $name {
            /// The digest inside.
            pub fn digest(&self) -> &Digest {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }

        impl FromStr for $name {
            type Err = DigestError;

            fn from_str(s: &str) -> Result<Self, DigestError> {
                s.parse().map(Self)
            }
        }

        impl From<Digest> for $name {
            fn from(digest: Digest) -> Self {
                Self(digest)
            }
        }
    };
}

digest_newtype! {
    /// The digest of a layer's uncompressed tar (OCI image-spec, config.md, "Layer DiffID").
    DiffId
}

digest_newtype! {
    /// The identity of a stack of layers (OCI image-spec, config.md, "Layer ChainID").
    ChainId
}

impl ChainId {
    /// The chain ID of `layer` applied on top of `parent`.
    pub fn extend(parent: Option<&Self>, layer: &DiffId) -> Self {
        match parent {
            None => Self(layer.0.clone()),
            Some(parent) => Self(Digest::sha256(format!("{parent} {layer}").as_bytes())),
        }
    }

    /// The chain IDs of every prefix of `layers`, bottom first; the last one names the whole.
    pub fn chain(layers: &[DiffId]) -> Vec<Self> {
        let mut chain: Vec<Self> = Vec::with_capacity(layers.len());
        for layer in layers {
            let next = Self::extend(chain.last(), layer);
            chain.push(next);
        }
        chain
    }
}

/// A running hash.
#[derive(Clone)]
pub struct Hasher(State);

#[derive(Clone)]
enum State {
    Sha256(Sha256),
    Sha512(Sha512),
}

impl Hasher {
    /// Feeds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            State::Sha256(h) => h.update(bytes),
            State::Sha512(h) => h.update(bytes),
        }
    }

    /// The digest of all that was fed.
    pub fn finish(self) -> Digest {
        match self.0 {
            State::Sha256(h) => Digest {
                algorithm: Algorithm::Sha256,
                hex: hex::encode(h.finalize()).into(),
            },
            State::Sha512(h) => Digest {
                algorithm: Algorithm::Sha512,
                hex: hex::encode(h.finalize()).into(),
            },
        }
    }
}

impl Hasher {
    /// All that it has to remember, so that it can go on in another process.
    pub fn save(&self) -> Vec<u8> {
        match &self.0 {
            State::Sha256(h) => h.serialize().to_vec(),
            State::Sha512(h) => h.serialize().to_vec(),
        }
    }

    /// A hash that goes on from there; `None` when that is not what one of this algorithm saved.
    pub fn restore(algorithm: Algorithm, saved: &[u8]) -> Option<Self> {
        let state = match algorithm {
            Algorithm::Sha256 => State::Sha256(restored(saved)?),
            Algorithm::Sha512 => State::Sha512(restored(saved)?),
        };
        Some(Self(state))
    }
}

fn restored<T: SerializableState>(saved: &[u8]) -> Option<T> {
    T::deserialize(&SerializedState::<T>::try_from(saved).ok()?).ok()
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hasher")
    }
}

/// Hashes and counts what passes through a reader or writer.
#[derive(Debug)]
pub struct Hashing<T> {
    inner: T,
    hasher: Hasher,
    len: u64,
}

impl<T> Hashing<T> {
    /// Wraps `inner`, hashing by SHA-256.
    pub fn new(inner: T) -> Self {
        Self::with(inner, Algorithm::Sha256)
    }

    /// Wraps `inner`, hashing by `algorithm`.
    pub fn with(inner: T, algorithm: Algorithm) -> Self {
        Self {
            inner,
            hasher: algorithm.hasher(),
            len: 0,
        }
    }

    /// Bytes passed so far.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether nothing has passed yet.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// What is wrapped.
    pub fn get_mut(&mut self) -> &mut T {
        &mut self.inner
    }

    /// The inner value, the digest and the number of bytes.
    pub fn finish(self) -> (T, Digest, u64) {
        (self.inner, self.hasher.finish(), self.len)
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buf)?;
        self.hasher.update(&buf[..n]);
        self.len += n as u64;
        Ok(n)
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let n = self.inner.write(buf)?;
        self.hasher.update(&buf[..n]);
        self.len += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn only_well_formed_digests_parse() {
        assert_eq!(EMPTY.parse::<Digest>().unwrap().to_string(), EMPTY);
        assert_eq!(Digest::empty().to_string(), EMPTY);
        let long = format!("sha512:{}", "a".repeat(128));
        assert_eq!(
            long.parse::<Digest>().unwrap().algorithm(),
            Algorithm::Sha512
        );
        for (text, why) in [
            ("", DigestError::Format),
            ("sha256", DigestError::Format),
            ("sha256:", DigestError::Encoding),
            ("sha256:../../x", DigestError::Encoding),
            (
                "md5:d41d8cd98f00b204e9800998ecf8427e",
                DigestError::UnknownAlgorithm,
            ),
            ("SHA256:", DigestError::UnknownAlgorithm),
        ] {
            assert_eq!(text.parse::<Digest>().unwrap_err(), why, "{text}");
        }
        let upper = EMPTY.to_uppercase().replace("SHA256", "sha256");
        assert_eq!(upper.parse::<Digest>().unwrap_err(), DigestError::Encoding);
    }

    #[test]
    fn chain_ids_follow_the_recursion_of_the_spec() {
        let a = DiffId(Digest::sha256(b"a"));
        let b = DiffId(Digest::sha256(b"b"));
        let chain = ChainId::chain(&[a.clone(), b.clone()]);
        assert_eq!(chain[0].0, a.0);
        assert_eq!(chain[1].0, Digest::sha256(format!("{a} {b}").as_bytes()));
        assert!(ChainId::chain(&[]).is_empty());
    }

    #[test]
    fn hashing_counts_and_digests_both_ways() {
        let mut reader = Hashing::new(&b"hello"[..]);
        io::copy(&mut reader, &mut io::sink()).unwrap();
        let (_, read, n) = reader.finish();
        let mut writer = Hashing::new(io::sink());
        writer.write_all(b"hello").unwrap();
        let (_, written, m) = writer.finish();
        assert_eq!((&read, n), (&written, m));
        assert_eq!(read, Digest::sha256(b"hello"));
    }

    #[test]
    fn a_hash_goes_on_from_what_was_saved() {
        for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
            // Before, at and after the end of a block of either.
            for at in [0, 1, 63, 64, 65, 127, 128, 129, 1000] {
                let bytes = vec![7; 1000];
                let mut hasher = algorithm.hasher();
                hasher.update(&bytes[..at]);
                let saved = hasher.save();
                drop(hasher);
                let mut again = Hasher::restore(algorithm, &saved).unwrap();
                again.update(&bytes[at..]);
                assert_eq!(again.finish(), algorithm.digest(&bytes), "{algorithm} {at}");
                assert!(Hasher::restore(algorithm, &saved[1..]).is_none());
            }
        }
    }
}
