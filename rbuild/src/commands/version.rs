//! `rbuild version`

use clap::Args;
use oci::Platform;
use serde_json::{Value, json};

use crate::app::App;
use crate::failure::Outcome;
use golang::template::{Template, Types};

/// `rbuild version`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rbuild version
  rbuild version -f '{{.Server.Version}}'")]
pub struct VersionArgs {
    /// `json`, or a Go template with the fields .Version .Os .Arch .KernelVersion,
    /// which .Client and .Server have, too
    #[arg(short, long, value_name = "FORMAT")]
    pub format: Option<String>,
}

const DEFAULT: &str = "\
rbuild:
 Version:  {{.Version}}
 OS/Arch:  {{.Os}}/{{.Arch}}
 Kernel:   {{.KernelVersion}}";

/// Runs the command.
pub fn run(app: &App, args: &VersionArgs) -> Outcome {
    let host = Platform::host();
    let system = rustix::system::uname();
    let both = json!({
        "Version": env!("CARGO_PKG_VERSION"),
        "Os": host.os,
        "Arch": host.architecture,
        "KernelVersion": system.release().to_string_lossy(),
    });
    let mut version = both.clone();
    // docker's program has two halves, of which scripts ask one or the other.
    if let Value::Object(fields) = &mut version {
        fields.insert("Client".to_owned(), both.clone());
        fields.insert("Server".to_owned(), both);
    }
    let format = match args.format.as_deref() {
        None => DEFAULT,
        Some("json") => "{{json .}}",
        Some(text) => text,
    };
    let text = Template::parse(format)?.render(&version, &Types::default())?;
    app.printer.line(text);
    Ok(())
}
