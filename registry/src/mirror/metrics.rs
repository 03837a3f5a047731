//! The mirror in numbers, in the text format of Prometheus.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::sources::Source;
use super::whole::Mirror;

impl Mirror {
    /// Adds its numbers to `out`.
    pub fn render(&self, out: &mut String) {
        // Writing to a String cannot fail.
        let _ = self.write(out);
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        let counts = &self.counts;
        head(
            out,
            "served_total",
            "counter",
            "Manifests and blobs of mirrored repositories.",
        )?;
        for (how, count) in [
            ("hit", &counts.hits),
            ("miss", &counts.misses),
            ("stale", &counts.stale),
            ("unavailable", &counts.failed),
        ] {
            let count = count.load(Relaxed);
            writeln!(
                out,
                "rregistry_mirror_served_total{{how=\"{how}\"}} {count}"
            )?;
        }
        for (name, help, count) in [
            (
                "evicted_manifests_total",
                "Manifests let go.",
                &counts.evicted,
            ),
            (
                "evicted_bytes_total",
                "Bytes let go.",
                &counts.evicted_bytes,
            ),
        ] {
            head(out, name, "counter", help)?;
            writeln!(out, "rregistry_mirror_{name} {}", count.load(Relaxed))?;
        }
        head(out, "fetching", "gauge", "Blobs that come now.")?;
        writeln!(out, "rregistry_mirror_fetching {}", self.fetches.len())?;
        self.counters(out)?;
        self.gauges(out)
    }

    fn counters(&self, out: &mut String) -> std::fmt::Result {
        type Of = fn(&Source) -> &AtomicU64;
        let counters: [(&str, &str, Of); 7] = [
            ("requests_total", "Requests to an upstream.", |s| {
                &s.counts.requests
            }),
            (
                "failures_total",
                "Requests that an upstream did not answer, or with a 5xx.",
                |s| &s.counts.failures,
            ),
            (
                "limited_total",
                "Requests that an upstream answered with 429.",
                |s| &s.counts.limited,
            ),
            ("manifests_total", "Manifests that came.", |s| {
                &s.counts.manifests
            }),
            ("blobs_total", "Blobs that came.", |s| &s.counts.blobs),
            ("bytes_total", "Bytes of blobs that came.", |s| {
                &s.counts.bytes
            }),
            (
                "wrong_total",
                "Blobs that were not what their digests say.",
                |s| &s.counts.wrong,
            ),
        ];
        for (name, help, of) in counters {
            head(out, name, "counter", help)?;
            for source in &self.sources {
                line(out, name, source, of(source).load(Relaxed))?;
            }
        }
        Ok(())
    }

    fn gauges(&self, out: &mut String) -> std::fmt::Result {
        type Of = fn(&Source) -> Option<u64>;
        let gauges: [(&str, &str, Of); 3] = [
            (
                "ratelimit_limit",
                "Pulls that an upstream allows in its time.",
                |s| s.limits().0,
            ),
            ("ratelimit_remaining", "Those of them that are left.", |s| {
                s.limits().1
            }),
            (
                "rests_seconds",
                "How long an upstream is left alone.",
                |s| Some(s.rests_for()),
            ),
        ];
        for (name, help, of) in gauges {
            head(out, name, "gauge", help)?;
            for source in &self.sources {
                if let Some(value) = of(source) {
                    line(out, name, source, value)?;
                }
            }
        }
        Ok(())
    }
}

fn head(out: &mut String, name: &str, kind: &str, help: &str) -> std::fmt::Result {
    writeln!(out, "# HELP rregistry_mirror_{name} {help}")?;
    writeln!(out, "# TYPE rregistry_mirror_{name} {kind}")
}

/// A URL of the settings has neither quotes nor line ends, or it would be none.
fn line(out: &mut String, name: &str, source: &Source, value: u64) -> std::fmt::Result {
    let (repository, url) = (&source.settings.repository, &source.settings.url);
    writeln!(
        out,
        "rregistry_mirror_{name}{{repository={repository:?},upstream={url:?}}} {value}"
    )
}
