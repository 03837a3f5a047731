//! How fast layers are hashed, written, compressed and unpacked: of a tree of 20,000 small files
//! (160 MB) made for it, or of the directory that is given.
//!
//! `cargo run --release -p oci --example throughput [DIRECTORY]`

use std::fs;
use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::path::Path;
use std::time::Instant;

use oci::layer::compression::{CompressOptions, Compressor, ReadAhead, decompress};
use oci::layer::unpack::{Ownership, UnpackOptions, layer};
use oci::layer::{TarOptions, diff, open_dir};
use oci::media_type::LayerCompression;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn make_tree(root: &Path) -> Result<()> {
    // Words at random: text compresses to about a third.
    let words: Vec<String> = (0..4096u32)
        .map(|i| format!("{:x} ", i.wrapping_mul(2_654_435_761) >> (i % 20)))
        .collect();
    let mut state = 1u64;
    let mut content = Vec::new();
    for dir in 0..200 {
        let dir = root.join(format!("dir-{dir:03}"));
        fs::create_dir(&dir)?;
        for file in 0..100 {
            content.clear();
            while content.len() < 8 << 10 {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                // Some words are far more common than others.
                let (word, bits) = ((state >> 40) as usize, (state >> 60) as u32);
                content.extend_from_slice(words[word & ((1 << bits.min(12)) - 1)].as_bytes());
            }
            fs::write(dir.join(format!("file-{file:03}.txt")), &content)?;
        }
    }
    Ok(())
}

fn measure<T>(what: &str, bytes: u64, run: impl Fn() -> Result<T>) -> Result<T> {
    let mut best = f64::INFINITY;
    let mut result = run()?;
    for _ in 0..2 {
        let start = Instant::now();
        result = run()?;
        best = best.min(start.elapsed().as_secs_f64());
    }
    let rate = bytes as f64 / best / 1e6;
    writeln!(io::stdout(), "{what:32} {best:8.3} s {rate:8.0} MB/s")?;
    Ok(result)
}

fn main() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let upper = match std::env::args_os().nth(1) {
        Some(given) => given.into(),
        None => {
            let made = dir.path().join("upper");
            fs::create_dir(&made)?;
            make_tree(&made)?;
            made
        }
    };
    let fd = open_dir(&upper)?;
    let options = TarOptions::default();
    let (_, size) = diff::diff_id(&fd, &options)?;
    measure("diff ID", size, || Ok(diff::diff_id(&fd, &options)?))?;
    measure("tar to nowhere", size, || {
        Ok(diff::write_tar(&fd, &options, &mut io::sink())?)
    })?;
    let mut tar = Vec::new();
    diff::write_tar(&fd, &options, &mut tar)?;
    let mut gzip = Vec::new();
    for (name, compression, level) in [
        ("gzip 1", LayerCompression::Gzip, 1),
        ("gzip 3", LayerCompression::Gzip, 3),
        ("gzip 4", LayerCompression::Gzip, 4),
        ("gzip 5", LayerCompression::Gzip, 5),
        ("gzip 6", LayerCompression::Gzip, 6),
        ("zstd 3", LayerCompression::Zstd, 3),
    ] {
        for threads in [1, 2] {
            let options = CompressOptions {
                level: Some(level),
                threads: NonZeroUsize::new(threads),
            };
            let compressed = measure(&format!("{name}, {threads} threads"), size, || {
                let mut compressor = Compressor::new(compression, Vec::new(), &options)?;
                compressor.write_all(&tar)?;
                Ok(compressor.finish()?)
            })?;
            let ratio = compressed.len() as f64 / size as f64;
            writeln!(io::stdout(), "{:32} {ratio:8.3}", "  ratio")?;
            if compression == LayerCompression::Gzip {
                gzip = compressed;
            }
        }
    }
    measure("gunzip", size, || {
        let (_, mut reader) = decompress(&gzip[..])?;
        Ok(io::copy(&mut reader, &mut io::sink())?)
    })?;
    let unpack = |reader: &mut dyn io::Read| -> Result<()> {
        // Removed at the end only: ext4 is slow to make files where it has just deleted some.
        let to = tempfile::Builder::new()
            .disable_cleanup(true)
            .tempdir_in(dir.path())?;
        let options = UnpackOptions {
            ownership: Ownership::Current,
            user_xattrs: true,
            ..UnpackOptions::default()
        };
        layer(reader, open_dir(to.path())?, &options)?;
        Ok(())
    };
    measure("unpack", size, || unpack(&mut &tar[..]))?;
    measure("gunzip ahead, unpack", size, || {
        let (_, reader) = decompress(io::Cursor::new(gzip.clone()))?;
        unpack(&mut ReadAhead::new(reader)?)
    })?;
    Ok(())
}
