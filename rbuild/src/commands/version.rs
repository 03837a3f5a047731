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
    /// which .Client and .Server have, too, and docker's others of these
    #[arg(short, long, value_name = "FORMAT")]
    pub format: Option<String>,
}

const DEFAULT: &str = "\
rbuild:
 Version:  {{.Version}}
 OS/Arch:  {{.Os}}/{{.Arch}}
 Kernel:   {{.KernelVersion}}";

/// The version of docker's Engine API whose objects commands show, and the oldest that they fit.
const API: (&str, &str) = ("1.51", "1.24");

/// Runs the command.
pub fn run(app: &App, args: &VersionArgs) -> Outcome {
    let format = match args.format.as_deref() {
        None => DEFAULT,
        Some("json") => "{{json .}}",
        Some(text) => text,
    };
    // docker's program calls the field so in JSON, and otherwise in templates.
    let api = match format.contains("json") {
        true => "ApiVersion",
        false => "APIVersion",
    };
    let text = Template::parse(format)?.render(&version(api), &Types::default())?;
    app.printer.line(text);
    Ok(())
}

/// What is told, with docker's fields: its program has two halves, of which scripts ask one or the
/// other. What only programs in Go have is empty.
fn version(api: &str) -> Value {
    let host = Platform::host();
    let system = rustix::system::uname();
    let kernel = system.release().to_string_lossy();
    let own = env!("CARGO_PKG_VERSION");
    let engine = json!({
        "ApiVersion": API.0,
        "Arch": host.architecture,
        "BuildTime": "",
        "Experimental": "false",
        "GitCommit": "",
        "GoVersion": "",
        "KernelVersion": kernel,
        "MinAPIVersion": API.1,
        "Os": host.os,
    });
    json!({
        "Version": own,
        "Os": host.os,
        "Arch": host.architecture,
        "KernelVersion": kernel,
        "Client": {
            "Version": own,
            (api): API.0,
            "DefaultAPIVersion": API.0,
            "GitCommit": "",
            "GoVersion": "",
            "Os": host.os,
            "Arch": host.architecture,
            "KernelVersion": kernel,
            "BuildTime": "",
            "Context": "default",
        },
        "Server": {
            "Platform": { "Name": "" },
            "Components": [{ "Name": "Engine", "Version": own, "Details": engine }],
            "Version": own,
            (api): API.0,
            "MinAPIVersion": API.1,
            "GitCommit": "",
            "GoVersion": "",
            "Os": host.os,
            "Arch": host.architecture,
            "KernelVersion": kernel,
            "Experimental": false,
            "BuildTime": "",
        },
    })
}
