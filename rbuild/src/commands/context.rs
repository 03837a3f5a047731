//! `rbuild context`: docker's choice of a daemon, of which there is none here but this machine.

use clap::{Args, Subcommand};
use golang::template::Types;
use serde_json::{Value, json};

use crate::app::App;
use crate::commands::inspect::{indented, parsed};
use crate::failure::{Failure, Outcome};
use crate::term::listing::{Forms, Row};

/// The only one.
const NAME: &str = "default";
const DESCRIPTION: &str = "This machine, without a daemon";

/// `rbuild context`
#[derive(Debug, Subcommand)]
pub enum ContextCommand {
    /// Show all that is known about contexts
    Inspect(InspectArgs),
    /// List contexts: there is one
    #[command(visible_alias = "list")]
    Ls(LsArgs),
    /// Print the name of the context in use
    Show,
    /// Choose a context: there is one
    Use(UseArgs),
}

/// `rbuild context inspect`
#[derive(Debug, Args)]
pub struct InspectArgs {
    /// A Go template, or `json` for JSON without line breaks
    #[arg(short, long, value_name = "FORMAT")]
    pub format: Option<String>,

    /// Its name [default: the one in use]
    #[arg(value_name = "CONTEXT")]
    pub contexts: Vec<String>,
}

/// `rbuild context ls`
#[derive(Debug, Args)]
pub struct LsArgs {
    /// `table TEMPLATE`, `json`, or a Go template with the fields .Name .Current .Description
    /// .DockerEndpoint .Error
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<String>,

    /// Print only names
    #[arg(short, long)]
    pub quiet: bool,
}

/// `rbuild context use`
#[derive(Debug, Args)]
pub struct UseArgs {
    /// Its name
    #[arg(value_name = "CONTEXT")]
    pub context: String,
}

const FORMS: Forms<'_> = Forms {
    table: "table {{.Name}}{{if .Current}} *{{end}}\t{{.Description}}\t{{.DockerEndpoint}}\t{{.Error}}",
    id: "Name",
    raw: &[],
};
const HEADERS: [(&str, &str); 4] = [
    ("Description", "DESCRIPTION"),
    ("DockerEndpoint", "DOCKER ENDPOINT"),
    ("Error", "ERROR"),
    ("Name", "NAME"),
];

/// Runs a command of the group.
pub fn run(app: &App, command: ContextCommand) -> Outcome {
    match command {
        ContextCommand::Inspect(args) => inspect(app, &args),
        ContextCommand::Ls(args) => {
            let format = FORMS.choose(args.format.as_deref(), args.quiet)?;
            let text = format.render(&[row()], &HEADERS)?;
            app.printer.write_out(text.as_bytes());
            Ok(())
        }
        ContextCommand::Show => {
            app.printer.line(NAME);
            Ok(())
        }
        ContextCommand::Use(args) => {
            known(&args.context)?;
            app.printer.line(NAME);
            app.printer
                .note(format!("Current context is now \"{NAME}\""));
            Ok(())
        }
    }
}

fn row() -> Row {
    [
        ("Current", json!(true)),
        ("Description", json!(DESCRIPTION)),
        ("DockerEndpoint", json!("")),
        ("Error", json!("")),
        ("Name", json!(NAME)),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into_iter()
    .collect()
}

fn inspect(app: &App, args: &InspectArgs) -> Outcome {
    let template = match args.format.as_deref() {
        None => None,
        Some("json") => Some(parsed("{{json .}}")?),
        Some(text) => Some(parsed(text)?),
    };
    for name in &args.contexts {
        known(name)?;
    }
    let shown = json!({
        "Name": NAME,
        "Metadata": {},
        "Endpoints": { "docker": { "Host": "", "SkipTLSVerify": false } },
        "TLSMaterial": {},
        "Storage": { "MetadataPath": "<IN MEMORY>", "TLSPath": "<IN MEMORY>" },
    });
    let all = vec![shown; args.contexts.len().max(1)];
    match &template {
        None => app.printer.line(indented(&Value::Array(all))?),
        Some(template) => {
            for one in &all {
                app.printer.line(template.render(one, &Types::default())?);
            }
        }
    }
    Ok(())
}

fn known(name: &str) -> Outcome {
    match name {
        NAME => Ok(()),
        other => Err(Failure::new(format!(
            "context {other:?}: context not found: there is one, {NAME:?}"
        ))),
    }
}
