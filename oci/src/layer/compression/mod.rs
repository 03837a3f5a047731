//! Compressed layers and archives, all in process.
//!
//! Reading tells the format by its first bytes, never by a name or media type. Writing gives the
//! same bytes for the same input and level, whatever the number of threads: see [`Compressor`].

mod bounds;
mod choice;
mod deflate;
mod gzip;
pub(super) mod pool;
mod probe;
mod read_ahead;
mod write_behind;

use std::io::{self, BufReader, Cursor, Read, Write};
use std::num::NonZeroUsize;

use liblzma::stream::{CONCATENATED, Stream};

pub use bounds::{Bounds, TooMuch};
pub use choice::{BadCompression, Compression, Kind};
pub use gzip::GzipCompressor;
pub use read_ahead::ReadAhead;
pub use write_behind::WriteBehind;

use crate::media_type::LayerCompression;

/// How a stream is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// Not at all, or in no way that we know.
    None,
    /// gzip, of one or more members.
    Gzip,
    /// Zstandard, of one or more frames.
    Zstd,
    /// xz, of one or more streams.
    Xz,
    /// bzip2, of one or more streams.
    Bzip2,
}

/// How many first bytes [`Encoding::detect`] wants.
pub const DETECT_LEN: usize = 6;
const BUFFER: usize = 128 << 10;
/// xz tells how much memory it wants; its highest preset takes 65 MiB.
const XZ_MEMORY: u64 = 256 << 20;

impl Encoding {
    /// Tells the format by a stream's first bytes.
    pub fn detect(start: &[u8]) -> Self {
        match start {
            [0x1f, 0x8b, 8, ..] => Self::Gzip,
            // A frame, or a skippable one in front of it.
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Self::Xz,
            [b'B', b'Z', b'h', b'1'..=b'9', ..] => Self::Bzip2,
            _ => Self::None,
        }
    }
}

impl From<LayerCompression> for Encoding {
    fn from(compression: LayerCompression) -> Self {
        match compression {
            LayerCompression::None => Self::None,
            LayerCompression::Gzip => Self::Gzip,
            LayerCompression::Zstd => Self::Zstd,
        }
    }
}

/// Reads `reader` decompressed, and tells how it was compressed. What is not compressed in a way
/// that we know is passed through. A few bytes can decompress to any number: reading fails with
/// [`TooMuch`] where [`Bounds::of_process`] are passed.
///
/// # Errors
/// When the first bytes cannot be read.
pub fn decompress<'r, R: Read + Send + 'r>(
    mut reader: R,
) -> io::Result<(Encoding, Box<dyn Read + Send + 'r>)> {
    let mut start = Vec::with_capacity(DETECT_LEN);
    (&mut reader)
        .take(DETECT_LEN as u64)
        .read_to_end(&mut start)?;
    let compression = Encoding::detect(&start);
    let counted = bounds::Counted::new(Cursor::new(start).chain(reader));
    let read = counted.count();
    let whole = counted;
    let buffered = |whole| BufReader::with_capacity(BUFFER, whole);
    let decoder: Box<dyn Read + Send + 'r> = match compression {
        Encoding::None => Box::new(whole),
        Encoding::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(buffered(whole))),
        Encoding::Zstd => Box::new(zstd::Decoder::with_buffer(buffered(whole))?),
        Encoding::Xz => Box::new(liblzma::bufread::XzDecoder::new_stream(
            buffered(whole),
            Stream::new_stream_decoder(XZ_MEMORY, CONCATENATED)?,
        )),
        Encoding::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(buffered(whole))),
    };
    let bounded = bounds::Bounded::new(decoder, read, Bounds::of_process());
    Ok((compression, Box::new(bounded)))
}

/// How to compress.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CompressOptions {
    /// The format's own level; `None` for the customary one.
    pub level: Option<i32>,
    /// How many threads compress; `None` for as many as there are processors. The output does
    /// not depend on it.
    pub threads: Option<NonZeroUsize>,
}

/// The gzip level unless another is asked for: the fastest one that we have ourselves, which is the
/// same as the first. The next one makes binaries 2 % smaller, and takes twice as long.
pub(super) const GZIP_LEVEL: i32 = 2;
/// The Zstandard level unless another is asked for.
pub(super) const ZSTD_LEVEL: i32 = 3;
/// What one zstd thread compresses at a time; part of what makes the output what it is.
const ZSTD_JOB: u32 = 4 << 20;

impl CompressOptions {
    fn thread_count(&self) -> NonZeroUsize {
        self.threads
            .or_else(|| std::thread::available_parallelism().ok())
            .unwrap_or(NonZeroUsize::MIN)
    }
}

/// Compresses what is written to it.
///
/// The input is cut into pieces of a fixed size that are compressed on their own, so that
/// threads share the work and their number does not show in the result. Any reader of the format
/// reads it: gzip is one member, zstd one frame.
pub enum Compressor<W: Write> {
    /// Passes everything through.
    None(W),
    /// To gzip.
    Gzip(Box<GzipCompressor<W>>),
    /// To Zstandard.
    Zstd(zstd::Encoder<'static, W>),
}

impl<W: Write> Compressor<W> {
    /// A compressor that writes to `out`.
    ///
    /// # Errors
    /// When the level is not one of the format's, or threads cannot be started.
    pub fn new(
        compression: LayerCompression,
        out: W,
        options: &CompressOptions,
    ) -> io::Result<Self> {
        let threads = options.thread_count();
        match compression {
            LayerCompression::None => Ok(Self::None(out)),
            LayerCompression::Gzip => {
                let level = options.level.unwrap_or(GZIP_LEVEL);
                let level = u32::try_from(level)
                    .ok()
                    .filter(|level| (0..=9).contains(level))
                    .ok_or_else(|| bad_level("gzip", level, 0, 9))?;
                Ok(Self::Gzip(Box::new(GzipCompressor::new(
                    out, level, threads,
                ))))
            }
            LayerCompression::Zstd => {
                let level = options.level.unwrap_or(ZSTD_LEVEL);
                if !(1..=22).contains(&level) {
                    return Err(bad_level("zstd", level, 1, 22));
                }
                let mut encoder = zstd::Encoder::new(out, level)?;
                encoder.include_checksum(true)?;
                // Never 0 workers: that is another algorithm, with other output.
                encoder.multithread(u32::try_from(threads.get()).unwrap_or(u32::MAX))?;
                encoder.set_parameter(zstd::stream::raw::CParameter::JobSize(ZSTD_JOB))?;
                Ok(Self::Zstd(encoder))
            }
        }
    }

    /// Writes what is left and returns the writer. Without it the output is incomplete.
    ///
    /// # Errors
    /// When writing fails.
    pub fn finish(self) -> io::Result<W> {
        match self {
            Self::None(out) => Ok(out),
            Self::Gzip(gzip) => gzip.finish(),
            Self::Zstd(zstd) => zstd.finish(),
        }
    }
}

fn bad_level(format: &str, level: i32, min: i32, max: i32) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidInput,
        format!("{level} is no {format} compression level: it must be between {min} and {max}"),
    )
}

impl<W: Write> Write for Compressor<W> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match self {
            Self::None(out) => out.write(buf),
            Self::Gzip(gzip) => gzip.write(buf),
            Self::Zstd(zstd) => zstd.write(buf),
        }
    }

    /// Does nothing: where a flush comes would show in the output.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<W: Write> std::fmt::Debug for Compressor<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::None(_) => "Compressor::None",
            Self::Gzip(_) => "Compressor::Gzip",
            Self::Zstd(_) => "Compressor::Zstd",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Compressible, but not too much so.
    fn sample(len: usize) -> Vec<u8> {
        let mut state = 1u64;
        (0..len)
            .map(|i| {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                if i % 4 == 0 {
                    (state >> 60) as u8
                } else {
                    (i / 64) as u8
                }
            })
            .collect()
    }

    fn compress(
        compression: LayerCompression,
        bytes: &[u8],
        piece: usize,
        threads: usize,
    ) -> Vec<u8> {
        let options = CompressOptions {
            level: Some(1),
            threads: NonZeroUsize::new(threads),
        };
        let mut compressor = Compressor::new(compression, Vec::new(), &options).unwrap();
        for piece in bytes.chunks(piece) {
            compressor.write_all(piece).unwrap();
            compressor.flush().unwrap();
        }
        compressor.finish().unwrap()
    }

    fn read(bytes: &[u8]) -> io::Result<(Encoding, Vec<u8>)> {
        let (compression, mut reader) = decompress(bytes)?;
        let mut plain = Vec::new();
        reader.read_to_end(&mut plain)?;
        Ok((compression, plain))
    }

    #[test]
    fn output_does_not_depend_on_threads_or_on_how_it_is_written() {
        for compression in [LayerCompression::Gzip, LayerCompression::Zstd] {
            for len in [0, 1, (1 << 20) - 1, 1 << 20, (9 << 20) + 17] {
                let bytes = sample(len);
                let one = compress(compression, &bytes, 1 << 16, 1);
                for (piece, threads) in [(1 << 20, 2), (777_777, 4), (5 << 20, 1)] {
                    let other = compress(compression, &bytes, piece, threads);
                    assert!(one == other, "{compression:?} {len} {piece} {threads}");
                }
                let (found, plain) = read(&one).unwrap();
                assert_eq!(found, compression.into());
                assert!(plain == bytes);
            }
        }
    }

    #[test]
    fn noise_is_stored_and_zeros_cost_nothing() {
        let mut state = 1u64;
        let noise: Vec<u8> = (0..5 << 19)
            .map(|_| {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                (state >> 56) as u8
            })
            .collect();
        let text = sample(777_777);
        let zeros = vec![0; 3 << 20];
        let pieces: [&[u8]; 7] = [&noise, &text, &zeros, &noise[..99_999], &text, b"", &noise];
        let mixed = pieces.concat();
        for level in 0..=9 {
            let options = |threads| CompressOptions {
                level: Some(level),
                threads: NonZeroUsize::new(threads),
            };
            let of = |bytes: &[u8], threads| {
                let out = Vec::new();
                let mut gzip =
                    Compressor::new(LayerCompression::Gzip, out, &options(threads)).unwrap();
                gzip.write_all(bytes).unwrap();
                gzip.finish().unwrap()
            };
            let one = of(&mixed, 1);
            assert!(one == of(&mixed, 3), "{level}");
            let mut plain = Vec::new();
            flate2::read::GzDecoder::new(&one[..])
                .read_to_end(&mut plain)
                .unwrap();
            assert!(plain == mixed, "{level}");
            // Five bytes a stored block of 64 KiB, and the frame.
            let stored = of(&noise, 2).len() - noise.len();
            assert!(
                stored <= noise.len() / 65_535 * 5 + 200,
                "{level}: {stored}"
            );
        }
    }

    #[test]
    fn gzip_is_a_single_member_that_any_reader_takes() {
        let bytes = sample(3 << 20);
        let gzip = compress(LayerCompression::Gzip, &bytes, 1 << 20, 2);
        let mut plain = Vec::new();
        flate2::read::GzDecoder::new(&gzip[..])
            .read_to_end(&mut plain)
            .unwrap();
        assert!(plain == bytes);
        // No name, no time, nothing of this machine.
        assert_eq!(gzip[..10], [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255]);
    }

    #[test]
    fn several_members_and_frames_are_read_to_the_end() {
        for compression in [LayerCompression::Gzip, LayerCompression::Zstd] {
            let twice = [
                compress(compression, b"one", 10, 1),
                compress(compression, b"two", 10, 1),
            ]
            .concat();
            assert_eq!(
                read(&twice).unwrap(),
                (compression.into(), b"onetwo".to_vec())
            );
        }
        let mut xz = Vec::new();
        liblzma::read::XzEncoder::new(&b"one"[..], 1)
            .read_to_end(&mut xz)
            .unwrap();
        let twice = [xz.clone(), xz].concat();
        assert_eq!(read(&twice).unwrap(), (Encoding::Xz, b"oneone".to_vec()));
        let mut bz = Vec::new();
        bzip2::read::BzEncoder::new(&b"one"[..], bzip2::Compression::fast())
            .read_to_end(&mut bz)
            .unwrap();
        let twice = [bz.clone(), bz].concat();
        assert_eq!(read(&twice).unwrap(), (Encoding::Bzip2, b"oneone".to_vec()));
    }

    #[test]
    fn plain_and_short_streams_pass_through() {
        for bytes in [&b""[..], b"\x1f", b"\x1f\x8b", b"plain text"] {
            assert_eq!(read(bytes).unwrap(), (Encoding::None, bytes.to_vec()));
        }
    }

    #[test]
    fn damaged_and_cut_streams_are_errors() {
        for compression in [LayerCompression::Gzip, LayerCompression::Zstd] {
            let good = compress(compression, &sample(100_000), 1 << 20, 1);
            read(&good[..good.len() - 1]).unwrap_err();
            let mut bad = good.clone();
            let middle = bad.len() / 2;
            bad[middle] ^= 0xff;
            read(&bad).unwrap_err();
        }
    }

    #[test]
    fn levels_are_checked() {
        for (compression, level) in [
            (LayerCompression::Gzip, 10),
            (LayerCompression::Gzip, -1),
            (LayerCompression::Zstd, 0),
            (LayerCompression::Zstd, 23),
        ] {
            let options = CompressOptions {
                level: Some(level),
                threads: None,
            };
            let error = Compressor::new(compression, Vec::new(), &options).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        }
    }
}
