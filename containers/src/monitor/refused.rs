//! Why a container could not be started.

use std::io;

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
            message: said(&error),
        }
    }
}

impl Refused {
    /// Why it could not be started, where `told` says how some failures are told.
    pub(super) fn of(error: runtime::Error, told: &[(String, String)]) -> Self {
        let runtime::Error::Setup { step, cause } = &error else {
            return Self::from(error);
        };
        let Some((_, words)) = told.iter().find(|(known, _)| known == step) else {
            return Self::from(error);
        };
        Self {
            message: format!("{words}: {}", golang::errno::said(cause)),
            // docker takes what is missing for the command.
            code: match cause.kind() {
                io::ErrorKind::NotFound => 127,
                io::ErrorKind::PermissionDenied => 126,
                _ => 125,
            },
        }
    }
}

/// docker's sentence for a working directory that is something else.
pub(super) fn said(error: &runtime::Error) -> String {
    match error {
        runtime::Error::Setup { step, cause } if cause.kind() == io::ErrorKind::AlreadyExists => {
            match step.strip_prefix("make the directory ") {
                Some(path) => format!("Cannot mkdir: {path} is not a directory"),
                None => error.to_string(),
            }
        }
        _ => error.to_string(),
    }
}
