//! The terminal that somebody sits at: its size, and giving it to a container.

use std::io::{self, IsTerminal as _};
use std::os::fd::{AsFd as _, OwnedFd};

use runtime::WindowSize;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

/// Whether standard output is a terminal.
pub fn is_output() -> bool {
    io::stdout().is_terminal()
}

/// Whether standard input is a terminal.
pub fn is_interactive() -> bool {
    io::stdin().is_terminal()
}

/// The size of the terminal; nothing when there is none.
pub fn size() -> Option<WindowSize> {
    let size = tcgetwinsize(io::stdout()).or_else(|_| tcgetwinsize(io::stdin()));
    size.ok().map(|size| WindowSize {
        rows: size.ws_row,
        columns: size.ws_col,
    })
}

/// Passes everything that is typed on as it is, until dropped.
#[derive(Debug)]
pub struct Raw {
    terminal: OwnedFd,
    before: Termios,
}

impl Raw {
    /// Sets the terminal; nothing when standard input is none.
    pub fn set() -> Option<Self> {
        if !is_interactive() {
            return None;
        }
        let terminal = io::stdin().as_fd().try_clone_to_owned().ok()?;
        let before = tcgetattr(&terminal).ok()?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(&terminal, OptionalActions::Now, &raw).ok()?;
        Some(Self { terminal, before })
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        let _ = tcsetattr(&self.terminal, OptionalActions::Drain, &self.before);
    }
}
