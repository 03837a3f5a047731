//! What BuildKit writes into an image's history (`created_by`) for each instruction.
//!
//! All arguments are expanded. RUN, COPY and ADD end in ` # buildkit`; so does no other.

use std::time::Duration;

use golang::duration::write_duration;

use crate::value::Port;
use golang::quote::go_quote_list;

const LAYER_SUFFIX: &str = " # buildkit";

/// `RUN |1 X=1 /bin/sh -c … # buildkit`: the argument vector, and the ARGs declared so far with
/// their values, in order of first declaration.
pub fn run(argv: &[String], build_args: &[(String, String)]) -> String {
    let mut words = Vec::with_capacity(argv.len() + build_args.len() + 2);
    words.push("RUN".to_owned());
    if !build_args.is_empty() {
        words.push(format!("|{}", build_args.len()));
        words.extend(
            build_args
                .iter()
                .map(|(name, value)| format!("{name}={value}")),
        );
    }
    words.extend_from_slice(argv);
    words.join(" ") + LAYER_SUFFIX
}

/// The parts of a COPY or ADD that its history line has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Transfer<'a> {
    /// ADD rather than COPY.
    pub add: bool,
    /// `--parents`
    pub parents: bool,
    /// `--chown`
    pub chown: Option<&'a str>,
    /// `--chmod`
    pub chmod: Option<&'a str>,
    /// Sources.
    pub sources: &'a [String],
    /// Names of here-documents.
    pub heredocs: &'a [String],
    /// Destination as written.
    pub dest: &'a str,
}

/// `COPY --chown=a b c # buildkit`.
pub fn transfer(transfer: &Transfer<'_>) -> String {
    let mut line = String::from(if transfer.add { "ADD" } else { "COPY" });
    if transfer.parents {
        line.push_str(" --parents");
    }
    for (flag, value) in [("chown", transfer.chown), ("chmod", transfer.chmod)] {
        if let Some(value) = value {
            line.push_str(&format!(" --{flag}={value}"));
        }
    }
    for source in transfer.sources {
        line.push_str(&format!(" {source}"));
    }
    for name in transfer.heredocs {
        line.push_str(&format!(" <<{name}"));
    }
    format!("{line} {}{LAYER_SUFFIX}", transfer.dest)
}

/// `ENV A=1 B=2` or `LABEL a=1`.
pub fn pairs(keyword: &str, pairs: &[(String, String)]) -> String {
    let pairs: Vec<String> = pairs
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    format!("{keyword} {}", pairs.join(" "))
}

/// `ARG A=1 B`; `None` for an argument without a value.
pub fn arg(args: &[(String, Option<String>)]) -> String {
    let args: Vec<String> = args
        .iter()
        .map(|(name, value)| match value {
            Some(value) => format!("{name}={value}"),
            None => name.clone(),
        })
        .collect();
    format!("ARG {}", args.join(" "))
}

/// `CMD ["a" "b"]` or `ENTRYPOINT ["a"]`: the argument vector with the shell in it.
pub fn command(keyword: &str, argv: &[String]) -> String {
    format!("{keyword} {}", go_quote_list(argv))
}

/// `SHELL [/bin/sh -c]` or `VOLUME [/a /b]`.
pub fn list(keyword: &str, words: &[String]) -> String {
    format!("{keyword} [{}]", words.join(" "))
}

/// `EXPOSE [80/tcp]`.
pub fn expose(ports: &[Port]) -> String {
    let ports: Vec<String> = ports.iter().map(Port::to_string).collect();
    list("EXPOSE", &ports)
}

/// `USER app`, `WORKDIR /w`, `STOPSIGNAL 9`, `MAINTAINER me`.
pub fn word(keyword: &str, word: &str) -> String {
    format!("{keyword} {word}")
}

/// A health check's settings; zero means not given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Health<'a> {
    /// `Test` of the config.
    pub test: &'a [String],
    /// `--interval`
    pub interval: Duration,
    /// `--timeout`
    pub timeout: Duration,
    /// `--start-period`
    pub start_period: Duration,
    /// `--start-interval`
    pub start_interval: Duration,
    /// `--retries`
    pub retries: u32,
}

/// `HEALTHCHECK {Test:[CMD-SHELL true] Interval:5s …}`.
pub fn healthcheck(health: &Health<'_>) -> String {
    format!(
        "HEALTHCHECK {{Test:[{}] Interval:{} Timeout:{} StartPeriod:{} StartInterval:{} Retries:{}}}",
        health.test.join(" "),
        write_duration(health.interval),
        write_duration(health.timeout),
        write_duration(health.start_period),
        write_duration(health.start_interval),
        health.retries
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn writes_buildkits_lines() {
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let argv = strings(&["/bin/sh", "-c", "echo hi"]);
        assert_eq!(run(&argv, &[]), "RUN /bin/sh -c echo hi # buildkit");
        assert_eq!(
            run(&argv, &[pair("X", "1")]),
            "RUN |1 X=1 /bin/sh -c echo hi # buildkit"
        );
        let copy = Transfer {
            parents: true,
            chown: Some("1:2"),
            chmod: Some("755"),
            sources: &strings(&["a", "b"]),
            heredocs: &strings(&["EOF"]),
            dest: "/d/",
            ..Transfer::default()
        };
        assert_eq!(
            transfer(&copy),
            "COPY --parents --chown=1:2 --chmod=755 a b <<EOF /d/ # buildkit"
        );
        assert_eq!(
            pairs("ENV", &[pair("A", "1"), pair("B", "2 3")]),
            "ENV A=1 B=2 3"
        );
        assert_eq!(
            arg(&[
                ("A".to_owned(), Some("1".to_owned())),
                ("B".to_owned(), None)
            ]),
            "ARG A=1 B"
        );
        assert_eq!(
            command("CMD", &strings(&["/f", "x y"])),
            r#"CMD ["/f" "x y"]"#
        );
        assert_eq!(
            list("SHELL", &strings(&["/bin/bash", "-c"])),
            "SHELL [/bin/bash -c]"
        );
        assert_eq!(
            expose(&crate::value::parse_ports("80-81").unwrap()),
            "EXPOSE [80/tcp 81/tcp]"
        );
        assert_eq!(word("USER", "app"), "USER app");
        let test = strings(&["CMD-SHELL", "true"]);
        let health = Health {
            test: &test,
            interval: Duration::from_secs(300),
            retries: 3,
            ..Health::default()
        };
        assert_eq!(
            healthcheck(&health),
            "HEALTHCHECK {Test:[CMD-SHELL true] Interval:5m0s Timeout:0s StartPeriod:0s StartInterval:0s Retries:3}"
        );
    }
}
