//! Why a container could not be started.

/// Why it could not be started, with the exit code that docker gives it.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) message: String,
    pub(super) code: i32,
}

impl From<runtime::Error> for Refused {
    fn from(error: runtime::Error) -> Self {
        Self {
            code: error.exit_code(),
            message: error.to_string(),
        }
    }
}
