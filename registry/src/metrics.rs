//! Counters for `/metrics`, in the text format of Prometheus.
//!
//! Fixed arrays of atomics: counting costs a few nanoseconds and never waits.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::route::LABELS;

/// Upper bounds of the latency buckets, in microseconds.
const BUCKETS: [u64; 9] = [
    100, 500, 1_000, 5_000, 10_000, 50_000, 100_000, 1_000_000, 10_000_000,
];

/// Everything that is counted.
#[derive(Debug, Default)]
pub struct Metrics {
    routes: [Route; LABELS.len()],
    /// What was refused by limits.
    pub limited: Limited,
    /// Collections that finished.
    pub gc_runs: AtomicU64,
    /// Blobs that collections removed.
    pub gc_blobs: AtomicU64,
    /// Bytes that collections removed.
    pub gc_bytes: AtomicU64,
}

/// What limits refused.
#[derive(Debug, Default)]
pub struct Limited {
    /// Connections closed at once.
    pub connections: AtomicU64,
    /// Requests that came too often.
    pub requests: AtomicU64,
    /// Uploads beside too many others.
    pub uploads: AtomicU64,
    /// Bodies that came too slowly.
    pub bodies: AtomicU64,
}

#[derive(Debug, Default)]
struct Route {
    /// By the status' first digit, 1 to 5.
    answers: [AtomicU64; 5],
    buckets: [AtomicU64; BUCKETS.len()],
    micros: AtomicU64,
    sent: AtomicU64,
    received: AtomicU64,
}

/// A request that was answered.
#[derive(Clone, Copy, Debug)]
pub struct Answered {
    /// The route's label, one of [`LABELS`].
    pub label: &'static str,
    /// The answer's status.
    pub status: u16,
    /// From the request's head to the answer's.
    pub time: Duration,
    /// The answer's length in bytes.
    pub sent: u64,
    /// The request's length in bytes, where it said.
    pub received: u64,
}

impl Metrics {
    /// Counts a request.
    pub fn count(&self, answered: Answered) {
        let Some(at) = LABELS.iter().position(|l| *l == answered.label) else {
            return;
        };
        let route = &self.routes[at];
        let class = usize::from(answered.status / 100).clamp(1, 5) - 1;
        route.answers[class].fetch_add(1, Relaxed);
        let micros = u64::try_from(answered.time.as_micros()).unwrap_or(u64::MAX);
        route.micros.fetch_add(micros, Relaxed);
        if let Some(bucket) = BUCKETS.iter().position(|bound| micros <= *bound) {
            route.buckets[bucket].fetch_add(1, Relaxed);
        }
        route.sent.fetch_add(answered.sent, Relaxed);
        route.received.fetch_add(answered.received, Relaxed);
    }

    /// All counters as text; `gauges` are added as they stand.
    pub fn render(&self, gauges: &[(&str, &str, u64)]) -> String {
        let mut out = String::with_capacity(16 << 10);
        // Writing to a String cannot fail.
        let _ = self.write(&mut out, gauges);
        out
    }

    fn write(&self, out: &mut String, gauges: &[(&str, &str, u64)]) -> std::fmt::Result {
        self.write_requests(out)?;
        self.write_durations(out)?;
        self.write_bytes(out)?;
        head(out, "limited_total", "counter", "What limits refused.")?;
        for (what, counter) in [
            ("connections", &self.limited.connections),
            ("requests", &self.limited.requests),
            ("uploads", &self.limited.uploads),
            ("bodies", &self.limited.bodies),
        ] {
            let count = counter.load(Relaxed);
            writeln!(out, "rregistry_limited_total{{what=\"{what}\"}} {count}")?;
        }
        for (name, help, counter) in [
            (
                "gc_runs_total",
                "Garbage collections that finished.",
                &self.gc_runs,
            ),
            (
                "gc_blobs_total",
                "Blobs that garbage collections removed.",
                &self.gc_blobs,
            ),
            (
                "gc_bytes_total",
                "Bytes that garbage collections removed.",
                &self.gc_bytes,
            ),
        ] {
            head(out, name, "counter", help)?;
            writeln!(out, "rregistry_{name} {}", counter.load(Relaxed))?;
        }
        for (name, help, value) in gauges {
            head(out, name, "gauge", help)?;
            writeln!(out, "rregistry_{name} {value}")?;
        }
        Ok(())
    }

    /// The routes that answered something, by their labels.
    fn used(&self) -> impl Iterator<Item = (&&'static str, &Route)> {
        LABELS
            .iter()
            .zip(&self.routes)
            .filter(|(_, route)| route.answers.iter().any(|count| count.load(Relaxed) > 0))
    }

    fn write_requests(&self, out: &mut String) -> std::fmt::Result {
        head(out, "requests_total", "counter", "Requests answered.")?;
        for (label, route) in self.used() {
            for (class, count) in route.answers.iter().enumerate() {
                let (class, count) = (class + 1, count.load(Relaxed));
                if count > 0 {
                    writeln!(
                        out,
                        "rregistry_requests_total{{route=\"{label}\",status=\"{class}xx\"}} {count}"
                    )?;
                }
            }
        }
        Ok(())
    }

    fn write_durations(&self, out: &mut String) -> std::fmt::Result {
        head(
            out,
            "request_duration_seconds",
            "histogram",
            "Time from a request's head to its answer's head.",
        )?;
        for (label, route) in self.used() {
            let name = "rregistry_request_duration_seconds";
            let mut sum = 0;
            for (bound, count) in BUCKETS.iter().zip(&route.buckets) {
                sum += count.load(Relaxed);
                let le = *bound as f64 / 1e6;
                writeln!(out, "{name}_bucket{{route=\"{label}\",le=\"{le}\"}} {sum}")?;
            }
            let count: u64 = route.answers.iter().map(|c| c.load(Relaxed)).sum();
            let seconds = route.micros.load(Relaxed) as f64 / 1e6;
            writeln!(
                out,
                "{name}_bucket{{route=\"{label}\",le=\"+Inf\"}} {count}"
            )?;
            writeln!(out, "{name}_sum{{route=\"{label}\"}} {seconds}")?;
            writeln!(out, "{name}_count{{route=\"{label}\"}} {count}")?;
        }
        Ok(())
    }

    fn write_bytes(&self, out: &mut String) -> std::fmt::Result {
        head(
            out,
            "sent_bytes_total",
            "counter",
            "Bytes of answers' bodies.",
        )?;
        for (label, route) in self.used() {
            let sent = route.sent.load(Relaxed);
            writeln!(
                out,
                "rregistry_sent_bytes_total{{route=\"{label}\"}} {sent}"
            )?;
        }
        head(
            out,
            "received_bytes_total",
            "counter",
            "Bytes of requests' bodies.",
        )?;
        for (label, route) in self.used() {
            let received = route.received.load(Relaxed);
            writeln!(
                out,
                "rregistry_received_bytes_total{{route=\"{label}\"}} {received}"
            )?;
        }
        Ok(())
    }
}

fn head(out: &mut String, name: &str, kind: &str, help: &str) -> std::fmt::Result {
    writeln!(out, "# HELP rregistry_{name} {help}")?;
    writeln!(out, "# TYPE rregistry_{name} {kind}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_is_shown() {
        let metrics = Metrics::default();
        for (status, micros) in [(200, 50), (200, 700), (404, 20_000_000)] {
            metrics.count(Answered {
                label: "manifest_get",
                status,
                time: Duration::from_micros(micros),
                sent: 10,
                received: 0,
            });
        }
        let text = metrics.render(&[("uploads_open", "Upload sessions.", 3)]);
        for line in [
            "rregistry_requests_total{route=\"manifest_get\",status=\"2xx\"} 2",
            "rregistry_requests_total{route=\"manifest_get\",status=\"4xx\"} 1",
            "rregistry_request_duration_seconds_bucket{route=\"manifest_get\",le=\"0.0001\"} 1",
            "rregistry_request_duration_seconds_bucket{route=\"manifest_get\",le=\"0.001\"} 2",
            "rregistry_request_duration_seconds_bucket{route=\"manifest_get\",le=\"10\"} 2",
            "rregistry_request_duration_seconds_bucket{route=\"manifest_get\",le=\"+Inf\"} 3",
            "rregistry_request_duration_seconds_count{route=\"manifest_get\"} 3",
            "rregistry_sent_bytes_total{route=\"manifest_get\"} 30",
            "rregistry_uploads_open 3",
        ] {
            assert!(text.contains(line), "{line} in\n{text}");
        }
        assert!(!text.contains("blob_get"));
    }
}
