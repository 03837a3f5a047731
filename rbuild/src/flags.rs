//! Flags that every command has.

use std::path::PathBuf;

use clap::Args;

/// A switch's value, in each of the forms that docker reads (Go's `strconv.ParseBool`).
///
/// # Errors
/// Text that is none of them.
pub fn boolean(text: &str) -> Result<bool, String> {
    golang::boolean::parse_bool(text).ok_or_else(|| {
        let text = golang::quote::go_quote(text);
        format!("strconv.ParseBool: parsing {text}: invalid syntax")
    })
}

/// A label, `KEY[=VALUE]`, with docker's sentence about others.
///
/// # Errors
/// Without a key.
pub fn label(text: &str) -> Result<String, String> {
    match text.split('=').next() {
        None | Some("") => Err(format!("invalid label '{text}': empty name")),
        Some(_) => Ok(text.to_owned()),
    }
}

/// Flags of every command.
#[derive(Debug, Clone, Args)]
pub struct Global {
    /// Where images, layers and the build cache are kept
    /// [default: $RBUILD_ROOT, else /var/lib/rbuild for root, $XDG_DATA_HOME/rbuild for others]
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        help_heading = "Global options"
    )]
    pub root: Option<PathBuf>,

    /// Do not colour the output (so does a non-empty NO_COLOR)
    #[arg(long, global = true, help_heading = "Global options")]
    pub no_color: bool,
}
