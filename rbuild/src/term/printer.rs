//! The only way to the terminal: standard output for results, standard error for the rest.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::sync::Arc;

use crate::term::style::{RESET, Style};

/// Writes to standard output and standard error; cheap to clone.
#[derive(Clone, Debug)]
pub struct Printer {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    color: bool,
    live: bool,
}

impl Printer {
    /// A printer for this process: colours where standard error is a terminal, unless `NO_COLOR`
    /// is set (to anything but the empty string) or `no_color` says so.
    pub fn from_env(no_color: bool) -> Self {
        let terminal = io::stderr().is_terminal();
        let wanted = !no_color && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|t| t == "dumb");
        Self {
            inner: Arc::new(Inner {
                color: terminal && wanted && !dumb,
                live: terminal && !dumb,
            }),
        }
    }

    /// Whether colours are written.
    pub fn color(&self) -> bool {
        self.inner.color
    }

    /// Whether standard error is a terminal that lines can be rewritten on.
    pub fn live(&self) -> bool {
        self.inner.live
    }

    /// A line of result on standard output.
    pub fn line(&self, text: impl Display) {
        self.write_out(format!("{text}\n").as_bytes());
    }

    /// Raw bytes of result on standard output.
    pub fn write_out(&self, bytes: &[u8]) {
        let mut out = io::stdout().lock();
        // A reader that has gone away (`| head`) has seen what it wanted.
        if let Err(error) = out.write_all(bytes).and_then(|()| out.flush())
            && error.kind() == io::ErrorKind::BrokenPipe
        {
            std::process::exit(0);
        }
    }

    /// A line of progress or explanation on standard error.
    pub fn note(&self, text: impl Display) {
        self.write_err(format!("{text}\n").as_bytes());
    }

    /// Raw bytes on standard error.
    pub fn write_err(&self, bytes: &[u8]) {
        let _ = io::stderr().lock().write_all(bytes);
    }

    /// A warning on standard error.
    pub fn warning(&self, text: impl Display) {
        self.note(format!("{}: {text}", self.paint(Style::Yellow, "WARNING")));
    }

    /// An error on standard error.
    pub fn error(&self, text: impl Display) {
        self.note(format!("{}: {text}", self.paint(Style::Red, "ERROR")));
    }

    /// Text in a style, where colours are on.
    pub fn paint(&self, style: Style, text: impl Display) -> String {
        if self.color() {
            format!("{}{text}{RESET}", style.start())
        } else {
            text.to_string()
        }
    }
}
