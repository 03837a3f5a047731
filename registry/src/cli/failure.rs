//! What commands say, and how they fail.

use std::io::Write;

/// What ends a command, in words for its user.
pub(super) type Failure = Box<dyn std::error::Error + Send + Sync>;

/// The way to standard output. A reader that has seen enough is no error.
pub(super) fn out(text: &str) -> Result<(), Failure> {
    let mut stdout = std::io::stdout().lock();
    match stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
    {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => Err(e.into()),
        _ => Ok(()),
    }
}

/// The way to standard error; when that is closed there is nobody left to tell.
pub(super) fn err(text: &str) {
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}
