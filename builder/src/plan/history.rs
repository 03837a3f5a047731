//! The `created_by` texts of the history, in the form that `docker history` users know.
//!
//! BuildKit writes the instruction with Go's `%q` and `%v` verbs; the helpers here do the same.

use oci::config::Healthcheck;

use super::step::{CopyOp, CopySource};

/// Go's `%q` of a slice of strings: `["a" "b"]`.
pub fn quoted(words: &[String]) -> String {
    let words: Vec<String> = words.iter().map(|w| go_quote(w)).collect();
    format!("[{}]", words.join(" "))
}

/// Go's `%v` of a slice of strings: `[a b]`.
pub fn plain(words: &[String]) -> String {
    format!("[{}]", words.join(" "))
}

/// HEALTHCHECK's settings, as Go's `%+v` writes the structure.
pub fn health(check: &Healthcheck) -> String {
    format!(
        "{{Test:{} Interval:{} Timeout:{} StartPeriod:{} StartInterval:{} Retries:{}}}",
        plain(&check.test),
        go_duration(check.interval),
        go_duration(check.timeout),
        go_duration(check.start_period),
        go_duration(check.start_interval),
        check.retries,
    )
}

/// Go's `time.Duration.String` of nanoseconds: `1h2m3.5s`, `250ms`, `0s`.
fn go_duration(nanos: i64) -> String {
    const SECOND: u64 = 1_000_000_000;
    let sign = if nanos < 0 { "-" } else { "" };
    let nanos = nanos.unsigned_abs();
    if nanos == 0 {
        return "0s".to_owned();
    }
    if nanos < SECOND {
        let (unit, name) = match nanos {
            0..1_000 => (1, "ns"),
            1_000..1_000_000 => (1_000, "\u{b5}s"),
            _ => (1_000_000, "ms"),
        };
        return format!("{sign}{}{name}", decimal(nanos, unit));
    }
    let (minutes, rest) = (nanos / (60 * SECOND), nanos % (60 * SECOND));
    let (hours, minutes) = (minutes / 60, minutes % 60);
    let mut text = sign.to_owned();
    if hours > 0 {
        text.push_str(&format!("{hours}h"));
    }
    if hours > 0 || minutes > 0 {
        text.push_str(&format!("{minutes}m"));
    }
    text.push_str(&format!("{}s", decimal(rest, SECOND)));
    text
}

/// `value / unit`, exactly, without trailing zeros; `unit` is a power of ten.
fn decimal(value: u64, unit: u64) -> String {
    let (whole, part) = (value / unit, value % unit);
    if part == 0 {
        return whole.to_string();
    }
    let digits = unit.ilog10() as usize;
    let part = format!("{part:0digits$}");
    format!("{whole}.{}", part.trim_end_matches('0'))
}

/// Go's `strconv.Quote`.
pub fn go_quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\x07' => out.push_str("\\a"),
            '\x08' => out.push_str("\\b"),
            '\x0c' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\x0b' => out.push_str("\\v"),
            c if (c as u32) < 0x20 || c == '\x7f' => out.push_str(&format!("\\x{:02x}", c as u32)),
            c if c.is_control() => out.push_str(&format!("\\u{:04x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// RUN: the build arguments in force, then the command.
pub fn run(args: &[(String, String)], argv: &[String]) -> String {
    let mut words = Vec::new();
    if !args.is_empty() {
        words.push(format!("|{}", args.len()));
        words.extend(args.iter().map(|(name, value)| format!("{name}={value}")));
    }
    words.extend(argv.iter().cloned());
    format!("RUN {} # buildkit", words.join(" "))
}

/// COPY and ADD, with the destination as it was written.
pub fn copy(keyword: &str, op: &CopyOp, written_dest: &str) -> String {
    let mut text = keyword.to_owned();
    if op.parents {
        text.push_str(" --parents");
    }
    if let Some(chown) = &op.chown {
        text.push_str(" --chown=");
        text.push_str(chown);
    }
    if let Some((chmod, _)) = &op.chmod {
        text.push_str(" --chmod=");
        text.push_str(chmod);
    }
    for source in &op.sources {
        text.push(' ');
        match source {
            CopySource::Path(path) | CopySource::Url(path) => text.push_str(path),
            CopySource::Inline { name, .. } => {
                text.push_str("<<");
                text.push_str(name);
            }
        }
    }
    text.push(' ');
    text.push_str(written_dest);
    text.push_str(" # buildkit");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_gos() {
        for (nanos, text) in [
            (0, "0s"),
            (1, "1ns"),
            (1_500, "1.5\u{b5}s"),
            (250_000_000, "250ms"),
            (1_000_000_000, "1s"),
            (1_500_000_000, "1.5s"),
            (90_000_000_000, "1m30s"),
            (3_600_000_000_000, "1h0m0s"),
            (-5_000_000_000, "-5s"),
        ] {
            assert_eq!(go_duration(nanos), text);
        }
        let check = Healthcheck {
            test: vec!["CMD-SHELL".into(), "curl -f x || exit 1".into()],
            interval: 5_000_000_000,
            retries: 4,
            ..Healthcheck::default()
        };
        assert_eq!(
            health(&check),
            "{Test:[CMD-SHELL curl -f x || exit 1] Interval:5s Timeout:0s StartPeriod:0s \
             StartInterval:0s Retries:4}"
        );
    }

    #[test]
    fn texts_are_gos() {
        let words = ["a b".to_owned(), "q\"\\\n".to_owned(), "é\u{1}".to_owned()];
        assert_eq!(quoted(&words), r#"["a b" "q\"\\\n" "é\x01"]"#);
        assert_eq!(plain(&words[..1]), "[a b]");
        let args = [("X".to_owned(), "1".to_owned())];
        let argv = ["/bin/sh".to_owned(), "-c".to_owned(), "true".to_owned()];
        assert_eq!(run(&args, &argv), "RUN |1 X=1 /bin/sh -c true # buildkit");
        assert_eq!(run(&[], &argv), "RUN /bin/sh -c true # buildkit");
    }
}
