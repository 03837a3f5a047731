//! Instructions that hold a command: `RUN`, `CMD`, `ENTRYPOINT`, `SHELL`, `HEALTHCHECK`.

use std::time::Duration;

use super::Builder;
use super::flags::{Flags, Takes};
use crate::diagnostic::{Code, Diagnostic};
use crate::instruction::{
    CommandLine, Healthcheck, HealthcheckTest, Network, RawDevice, RawMount, Run, Security, Shell,
};
use crate::parser::{Args, comment_help, marker};
use crate::span::{Span, Text};
use crate::suggest::closest;
use golang::duration::parse_duration;

impl Builder<'_, '_> {
    pub(super) fn command(&mut self) -> CommandLine {
        match &self.node.args {
            Args::List { words, json } => self.command_line(words, *json),
            _ => CommandLine::Shell(Text::new("", Span::at(self.node.keyword.span.end))),
        }
    }

    pub(super) fn command_line(&mut self, words: &[Text], json: bool) -> CommandLine {
        if json {
            return CommandLine::Exec(words.to_vec());
        }
        let text = words
            .first()
            .cloned()
            .unwrap_or_else(|| Text::new("", Span::at(self.node.span.end)));
        if looks_like_json(&text.text) {
            self.diagnostics.push(
                Diagnostic::warning(
                    Code::NotJson,
                    "this looks like a JSON array but is not one, so it is run by the shell",
                    text.span,
                )
                .help("put every element in double quotes and commas between them"),
            );
        }
        CommandLine::Shell(text)
    }

    pub(super) fn run(&mut self) -> Run {
        let flags = self.flags(&[
            ("mount", Takes::Values),
            ("network", Takes::Value),
            ("security", Takes::Value),
            ("device", Takes::Values),
        ]);
        let mounts: Vec<RawMount> = flags
            .values("mount")
            .into_iter()
            .map(|value| RawMount { value })
            .collect();
        let devices: Vec<RawDevice> = flags
            .values("device")
            .into_iter()
            .map(|value| RawDevice { value })
            .collect();
        let refused = mounts
            .iter()
            .filter_map(|mount| mount.check().err())
            .chain(devices.iter().filter_map(|device| device.parse().err()));
        for error in refused {
            let mut diagnostic = Diagnostic::error(Code::InvalidFlag, error.message, error.span);
            diagnostic.help = error.help;
            self.diagnostics.push(diagnostic);
        }
        let network = self.choice(
            flags.value("network"),
            "invalid network mode",
            &[
                ("default", Network::Default),
                ("none", Network::None),
                ("host", Network::Host),
            ],
        );
        let security = self.choice(
            flags.value("security"),
            "security mode not supported",
            &[
                ("sandbox", Security::Sandbox),
                ("insecure", Security::Insecure),
            ],
        );
        let command = self.command();
        let sole_heredoc = match &command {
            CommandLine::Shell(text) => matches!(marker(&text.text), Ok(Some(_))),
            CommandLine::Exec(_) => false,
        };
        let heredocs = self.node.heredocs.clone();
        Run {
            command,
            heredocs,
            sole_heredoc,
            mounts,
            network,
            security,
            devices,
        }
    }

    pub(super) fn choice<T: Copy + Default>(
        &mut self,
        value: Option<Text>,
        message: &str,
        options: &[(&'static str, T)],
    ) -> T {
        let Some(value) = value.filter(|value| !value.text.is_empty()) else {
            return T::default();
        };
        if let Some((_, option)) = options.iter().find(|(name, _)| *name == value.text) {
            return *option;
        }
        let names: Vec<&str> = options.iter().map(|(name, _)| *name).collect();
        let help = match closest(&value.text, names.iter().copied(), true) {
            Some(name) => format!("did you mean {name}?"),
            None => format!("use one of {}", names.join(", ")),
        };
        self.error(
            Code::InvalidFlag,
            value.span,
            format!("{message}: {:?}", value.text),
            help,
        );
        T::default()
    }

    pub(super) fn shell(&mut self) -> Option<Shell> {
        self.flags(&[]);
        match &self.node.args {
            Args::List { words, json: true } if !words.is_empty() => Some(Shell {
                words: words.clone(),
            }),
            Args::List { words, json: false } => {
                let span = words
                    .first()
                    .map_or(self.node.keyword.span, |word| word.span);
                self.argument_error(
                    span,
                    format!(
                        "SHELL requires the arguments to be in JSON form: {}",
                        self.node.code.trim()
                    ),
                    "write `SHELL [\"/bin/sh\", \"-c\"]`, with double quotes",
                );
                None
            }
            _ => {
                self.missing("SHELL", "[\"/bin/sh\", \"-c\"]");
                None
            }
        }
    }

    pub(super) fn healthcheck(&mut self) -> Option<Healthcheck> {
        let Args::Health { kind, words, json } = &self.node.args else {
            self.missing("HEALTHCHECK", "CMD command` or `HEALTHCHECK NONE");
            return None;
        };
        let json = *json;
        let mut check = Healthcheck {
            test: HealthcheckTest::None,
            interval: Duration::ZERO,
            timeout: Duration::ZERO,
            start_period: Duration::ZERO,
            start_interval: Duration::ZERO,
            retries: 0,
        };
        match kind.text.to_uppercase().as_str() {
            "NONE" => {
                if let Some(extra) = words.first() {
                    self.argument_error(
                        extra.span,
                        "HEALTHCHECK NONE takes no arguments",
                        comment_help([extra.as_str()], "remove what is after NONE"),
                    );
                }
                return Some(check);
            }
            "CMD" if words.is_empty() => {
                self.argument_error(
                    kind.span,
                    "Missing command after HEALTHCHECK CMD",
                    "write the command after CMD",
                );
                return None;
            }
            "CMD" => {}
            other => {
                let message = format!("Unknown type {other:?} in HEALTHCHECK (try CMD)");
                self.argument_error(kind.span, message, "put CMD before the command");
                return None;
            }
        }
        let flags = self.flags(&[
            ("interval", Takes::Value),
            ("timeout", Takes::Value),
            ("start-period", Takes::Value),
            ("start-interval", Takes::Value),
            ("retries", Takes::Value),
        ]);
        check.test = HealthcheckTest::Cmd(self.command_line(words, json));
        check.interval = self.interval(&flags, "interval");
        check.timeout = self.interval(&flags, "timeout");
        check.start_period = self.interval(&flags, "start-period");
        check.start_interval = self.interval(&flags, "start-interval");
        if let Some(retries) = flags
            .value("retries")
            .filter(|value| !value.text.is_empty())
        {
            match retries.text.parse::<i32>() {
                Ok(count) if count >= 0 => check.retries = count.unsigned_abs(),
                Ok(count) => self.error(
                    Code::InvalidFlag,
                    retries.span,
                    format!("--retries cannot be negative ({count})"),
                    "write a number from 0 on",
                ),
                Err(_) => self.error(
                    Code::InvalidFlag,
                    retries.span,
                    format!("invalid value for --retries: {:?}", retries.text),
                    "write a number from 0 on",
                ),
            }
        }
        Some(check)
    }

    pub(super) fn interval(&mut self, flags: &Flags, name: &str) -> Duration {
        let Some(value) = flags.value(name).filter(|value| !value.text.is_empty()) else {
            return Duration::ZERO;
        };
        let (message, help) = match parse_duration(&value.text) {
            Ok(duration) if duration.is_zero() || duration >= Duration::from_millis(1) => {
                return duration;
            }
            Ok(_) => (
                format!("Interval {name:?} cannot be less than 1ms"),
                "write 1ms or more, or 0 for the default",
            ),
            Err(error) => (
                error.to_string(),
                "write a duration such as 30s, 1m30s or 500ms",
            ),
        };
        self.error(Code::InvalidFlag, value.span, message, help);
        Duration::ZERO
    }
}

/// A shell form that was most likely meant to be an array: it begins with a bracket and a quote,
/// straight or curly.
fn looks_like_json(text: &str) -> bool {
    let Some(rest) = text.strip_prefix('[') else {
        return false;
    };
    rest.trim_start()
        .starts_with(['"', '\'', '“', '”', '‘', '’'])
        && text.ends_with(']')
}
