//! Questions to whoever sits at the terminal.

use std::io::{self, BufRead as _, IsTerminal as _};

use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

use crate::failure::Failure;
use crate::term::printer::Printer;

/// Asks and reads a line.
///
/// # Errors
/// When standard input cannot be read.
pub async fn line(printer: &Printer, question: &str) -> Result<String, Failure> {
    printer.write_err(question.as_bytes());
    Ok(tokio::task::spawn_blocking(read_line).await??)
}

/// Asks and reads a line that is not shown.
///
/// # Errors
/// When standard input cannot be read.
pub async fn secret(printer: &Printer, question: &str) -> Result<String, Failure> {
    printer.write_err(question.as_bytes());
    let read = tokio::task::spawn_blocking(|| {
        let _hidden = Hidden::new();
        read_line()
    });
    let answer = read.await??;
    printer.write_err(b"\n");
    Ok(answer)
}

/// Asks for `y`; anything else, the end of input too, is no.
///
/// # Errors
/// When standard input cannot be read.
pub async fn confirm(printer: &Printer, warning: &str) -> Result<bool, Failure> {
    let question = format!("{warning}\nAre you sure you want to continue? [y/N] ");
    let answer = line(printer, &question).await?;
    if !io::stdin().is_terminal() {
        // Nobody has ended the line by typing.
        printer.write_err(b"\n");
    }
    Ok(answer.eq_ignore_ascii_case("y"))
}

fn read_line() -> io::Result<String> {
    let mut text = String::new();
    io::stdin().lock().read_line(&mut text)?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

/// The terminal shows nothing of what is typed while this lives.
struct Hidden(Option<rustix::termios::Termios>);

impl Hidden {
    fn new() -> Self {
        let stdin = io::stdin();
        if !stdin.is_terminal() {
            return Self(None);
        }
        let Ok(before) = tcgetattr(&stdin) else {
            return Self(None);
        };
        let mut hidden = before.clone();
        hidden.local_modes.remove(LocalModes::ECHO);
        let _ = tcsetattr(&stdin, OptionalActions::Flush, &hidden);
        Self(Some(before))
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            let _ = tcsetattr(io::stdin(), OptionalActions::Flush, before);
        }
    }
}
