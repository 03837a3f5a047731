//! The only way to the terminal: standard output for results, standard error for the rest.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use crate::failure::BROKEN_PIPE;
use crate::term::safe;
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
    /// Foreign text is escaped there, standard output and standard error.
    terminals: (bool, bool),
    /// Why a result could not be written, the first time.
    lost: OnceLock<String>,
    /// Where results go in place of standard output.
    kept: Option<Kept>,
}

/// Results that are kept in memory.
#[derive(Clone, Debug, Default)]
pub struct Kept(Arc<Mutex<Vec<u8>>>);

impl Kept {
    fn bytes(&self) -> MutexGuard<'_, Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All of them.
    pub fn take(&self) -> Vec<u8> {
        std::mem::take(&mut *self.bytes())
    }
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
                terminals: (io::stdout().is_terminal(), terminal),
                lost: OnceLock::new(),
                kept: None,
            }),
        }
    }

    /// The same, but that results are kept.
    pub fn keeping(&self, kept: &Kept) -> Self {
        Self {
            inner: Arc::new(Inner {
                lost: OnceLock::new(),
                kept: Some(kept.clone()),
                ..*self.inner
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

    /// Bytes of result on standard output. On a terminal whatever would act on it is escaped;
    /// elsewhere they are what they are, as docker has it. A failure is told at the end, by
    /// [`lost`](Self::lost).
    pub fn write_out(&self, bytes: &[u8]) {
        if let Some(kept) = &self.inner.kept {
            kept.bytes().extend_from_slice(bytes);
            return;
        }
        let escaped = match self.inner.terminals.0 {
            true => Some(safe::escape(&String::from_utf8_lossy(bytes))),
            false => None,
        };
        let bytes = escaped.as_ref().map_or(bytes, |text| text.as_bytes());
        let mut out = io::stdout().lock();
        if let Err(error) = out.write_all(bytes).and_then(|()| out.flush()) {
            self.lose(&error);
        }
    }

    /// Bytes on standard output as they are, for a terminal to act upon.
    pub fn raw_out(&self, text: &str) {
        if self.inner.terminals.0 {
            let _ = io::stdout().lock().write_all(text.as_bytes());
        }
    }

    /// Notes that a result could not be written to standard output.
    pub fn lose(&self, error: &io::Error) {
        // A reader that has gone away (`| head`) has seen what it wanted, and is no reason for a
        // message: other programs are ended by a signal here.
        if error.kind() == io::ErrorKind::BrokenPipe {
            std::process::exit(BROKEN_PIPE.into());
        }
        let _ = self
            .inner
            .lost
            .set(format!("write standard output: {error}"));
    }

    /// Why some result was lost, if one was.
    pub fn lost(&self) -> Option<&str> {
        self.inner.lost.get().map(String::as_str)
    }

    /// A line of progress or explanation on standard error.
    pub fn note(&self, text: impl Display) {
        let text = text.to_string();
        let text = match self.inner.terminals.1 {
            true => safe::escape_but_style(&text),
            false => text,
        };
        self.raw_note(text);
    }

    /// A line on standard error as it is: the output of a RUN, which may be coloured.
    pub fn raw_note(&self, text: impl Display) {
        self.write_err(format!("{text}\n").as_bytes());
    }

    /// Foreign text as part of a line on standard error.
    pub fn foreign(&self, text: &str) -> String {
        match self.inner.terminals.1 {
            true => safe::escape(text),
            false => text.to_owned(),
        }
    }

    /// Raw bytes on standard error.
    pub fn write_err(&self, bytes: &[u8]) {
        let _ = io::stderr().lock().write_all(bytes);
    }

    /// A warning on standard error.
    pub fn warning(&self, text: impl Display) {
        let text = self.foreign(&text.to_string());
        self.raw_note(format!("{}: {text}", self.paint(Style::Yellow, "WARNING")));
    }

    /// An error on standard error.
    pub fn error(&self, text: impl Display) {
        let text = self.foreign(&text.to_string());
        self.raw_note(format!("{}: {text}", self.paint(Style::Red, "ERROR")));
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
