//! Tells what is not worth compressing: archives, pictures, keys.
//!
//! DEFLATE takes longest over what it cannot make smaller. Zstandard's lowest level knows it from a
//! few samples, a hundred times faster.

use zstd::bulk::Compressor;

/// What is judged at a time.
const SEGMENT: usize = 64 << 10;
/// How much of it is looked at: so many samples of so many bytes each.
const SAMPLES: usize = 4;
const SAMPLE: usize = 2 << 10;
/// The fastest level that finds more than repetitions: negative ones leave single bytes as they
/// are.
const LEVEL: i32 = 1;

/// Judges data by samples. What it says depends on the data alone.
#[derive(Default)]
pub(super) struct Probe {
    /// Made when first needed, which is not for small layers.
    compressor: Option<Compressor<'static>>,
    samples: Vec<u8>,
    output: Vec<u8>,
}

impl Probe {
    /// How many first bytes of `data` are of one kind, and whether that is the kind that cannot be
    /// compressed.
    pub(super) fn run(&mut self, data: &[u8]) -> (usize, bool) {
        let mut segments = data.chunks(SEGMENT);
        let Some(first) = segments.next() else {
            return (0, false);
        };
        let dense = self.is_dense(first);
        let mut len = first.len();
        for segment in segments {
            if self.is_dense(segment) != dense {
                break;
            }
            len += segment.len();
        }
        (len, dense)
    }

    fn is_dense(&mut self, segment: &[u8]) -> bool {
        // What is left at the end is too short to matter.
        if segment.len() < SEGMENT {
            return false;
        }
        self.samples.clear();
        for part in segment.chunks(SEGMENT / SAMPLES) {
            self.samples.extend_from_slice(&part[..SAMPLE]);
        }
        let compressor = match &mut self.compressor {
            Some(compressor) => compressor,
            none => match Compressor::new(LEVEL) {
                Ok(made) => none.insert(made),
                Err(_) => return false,
            },
        };
        self.output.clear();
        self.output.reserve(2 * self.samples.len());
        let samples = self.samples.len();
        // Less than a 64th is not worth it.
        match compressor.compress_to_buffer(&self.samples, &mut self.output) {
            Ok(len) => len + samples / 64 >= samples,
            Err(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_noise_are_told_from_the_rest() {
        let mut state = 1_u64;
        let mut noise = |len: usize| -> Vec<u8> {
            let next = |_| {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                (state >> 56) as u8
            };
            (0..len).map(next).collect()
        };
        let hex = |bytes: Vec<u8>| -> Vec<u8> {
            bytes
                .iter()
                .map(|b| b"0123456789abcdef"[usize::from(b & 15)])
                .collect()
        };
        let text = hex(noise(2 * SEGMENT));
        let data = [text.clone(), noise(3 * SEGMENT), text, noise(10)].concat();
        let mut probe = Probe::default();
        assert_eq!(probe.run(&data), (2 * SEGMENT, false));
        assert_eq!(probe.run(&data[2 * SEGMENT..]), (3 * SEGMENT, true));
        assert_eq!(probe.run(&data[5 * SEGMENT..]), (2 * SEGMENT + 10, false));
        assert_eq!(probe.run(b""), (0, false));
    }
}
