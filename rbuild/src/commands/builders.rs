//! `rbuild buildx create`, `use`, `ls`, `inspect`, `stop`, `rm`, `version`: what scripts type
//! before they build with buildx. There is one builder, this program; whatever it is called, it is
//! meant, and nothing has to be made, started or removed.

use clap::{Args, Subcommand};
use oci::Platform;
use serde_json::json;

use crate::app::App;
use crate::failure::{Failure, Outcome};
use crate::term::listing::{Format, Row};

/// What the builder is called where nobody gives it another name.
const NAME: &str = "default";
/// What builds, in the place of buildx's drivers.
const DRIVER: &str = "rbuild";
/// Architectures, in Go's words, and their common variants, that a kernel may run by binfmt_misc.
const ARCHITECTURES: [&str; 8] = [
    "amd64", "arm64", "386", "arm/v7", "ppc64le", "s390x", "riscv64", "loong64",
];

/// What scripts say of builders.
#[derive(Debug, Subcommand)]
pub enum BuildersCommand {
    /// Name a builder, as scripts do before they build: there is one, whatever its name
    Create(CreateArgs),
    /// Choose a builder
    Use(UseArgs),
    /// List the builders: there is one
    Ls(LsArgs),
    /// Show what the builder can do
    Inspect(InspectArgs),
    /// Stop a builder: none runs while nothing is built
    Stop(NamedArgs),
    /// Remove builders that scripts have named
    Rm(RmArgs),
    /// Show the version in a line
    Version(NamedArgs),
}

/// `rbuild buildx create`
#[derive(Debug, Args)]
pub struct CreateArgs {
    /// Its name, which is printed
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    #[arg(long = "use", hide = true)]
    chosen: bool,
    #[arg(long, hide = true)]
    bootstrap: bool,
    #[arg(long, hide = true, value_parser = ["", "docker-container", "docker", "rbuild"])]
    driver: Option<String>,
    #[arg(long, hide = true)]
    driver_opt: Vec<String>,
    #[arg(long, hide = true)]
    platform: Vec<String>,
    #[arg(long, hide = true)]
    node: Option<String>,
    #[arg(long, hide = true)]
    append: bool,
    #[arg(long, hide = true)]
    leave: bool,
    #[arg(long, hide = true, alias = "config")]
    buildkitd_config: Option<String>,
    #[arg(long, hide = true, allow_hyphen_values = true)]
    buildkitd_flags: Option<String>,
    #[arg(hide = true)]
    context: Option<String>,
}

/// `rbuild buildx use`
#[derive(Debug, Args)]
pub struct UseArgs {
    #[command(flatten)]
    named: NamedArgs,
    #[arg(long = "default", hide = true)]
    always: bool,
    #[arg(long, hide = true)]
    global: bool,
}

/// The name of a builder.
#[derive(Debug, Args)]
pub struct NamedArgs {
    /// Its name
    #[arg(value_name = "NAME")]
    name: Option<String>,
    #[arg(long, hide = true)]
    builder: Option<String>,
}

/// `rbuild buildx ls`
#[derive(Debug, Args)]
pub struct LsArgs {
    /// `table`, `json`, or a Go template with the fields .Name .DriverEndpoint .Status .Buildkit
    /// .Platforms
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<String>,
    #[arg(long, hide = true)]
    no_trunc: bool,
}

/// `rbuild buildx inspect`
#[derive(Debug, Args)]
pub struct InspectArgs {
    #[command(flatten)]
    named: NamedArgs,
    #[arg(long, hide = true)]
    bootstrap: bool,
}

/// `rbuild buildx rm`
#[derive(Debug, Args)]
pub struct RmArgs {
    /// Their names
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    #[arg(long, hide = true)]
    builder: Option<String>,
    #[arg(long, hide = true)]
    all_inactive: bool,
    #[arg(short, long, hide = true)]
    force: bool,
    #[arg(long, hide = true)]
    keep_daemon: bool,
    #[arg(long, hide = true)]
    keep_state: bool,
}

const DEFAULT: &str =
    "table {{.Name}}\t{{.DriverEndpoint}}\t{{.Status}}\t{{.Buildkit}}\t{{.Platforms}}";
const HEADERS: [(&str, &str); 5] = [
    ("Name", "NAME/NODE"),
    ("DriverEndpoint", "DRIVER/ENDPOINT"),
    ("Status", "STATUS"),
    ("Buildkit", "BUILDKIT"),
    ("Platforms", "PLATFORMS"),
];

/// Runs one of them.
pub fn run(app: &App, command: BuildersCommand) -> Outcome {
    match command {
        BuildersCommand::Create(args) => {
            let name = args.name.as_deref().unwrap_or(DRIVER);
            checked(name)?;
            if name == NAME {
                return Err(Failure::new(format!(
                    "{NAME} is a reserved name and cannot be used to identify builder instance"
                )));
            }
            app.printer.line(name);
        }
        BuildersCommand::Use(args) => {
            args.named.checked()?;
        }
        BuildersCommand::Stop(args) => {
            args.checked()?;
        }
        BuildersCommand::Ls(args) => return list(app, args.format.as_deref()),
        BuildersCommand::Inspect(args) => {
            let name = args.named.checked()?;
            app.printer.line(inspected(name));
        }
        BuildersCommand::Rm(args) => return remove(app, &args),
        BuildersCommand::Version(_) => {
            app.printer.line(format!("rbuild {}", version()));
        }
    }
    Ok(())
}

impl NamedArgs {
    fn checked(&self) -> Result<&str, Failure> {
        let name = self.name.as_ref().or(self.builder.as_ref());
        let name = name.map_or(NAME, String::as_str);
        checked(name)?;
        Ok(name)
    }
}

/// Refuses what buildx takes for no name.
fn checked(name: &str) -> Result<(), Failure> {
    let is_letter = |c: char| c.is_ascii_alphabetic();
    let may_follow = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    match name.starts_with(is_letter) && name.chars().all(may_follow) {
        true => Ok(()),
        false => Err(Failure::new(format!(
            "invalid name {name}, name needs to start with a letter and may not contain symbols, \
             except ._-"
        ))),
    }
}

fn version() -> String {
    format!("v{}", env!("CARGO_PKG_VERSION"))
}

/// What RUN steps can be of, on this machine.
fn platforms() -> Vec<String> {
    let host = Platform::host();
    let own = host.to_string();
    let foreign = ARCHITECTURES.iter().filter(|name| {
        let architecture = name.split('/').next().unwrap_or(name);
        architecture != host.architecture
            && runtime::binfmt::check(&host.architecture, architecture).is_ok()
    });
    let foreign = foreign.map(|name| format!("{}/{name}", host.os));
    std::iter::once(own).chain(foreign).collect()
}

fn list(app: &App, format: Option<&str>) -> Outcome {
    let platforms = platforms();
    if format == Some("json") {
        let line = json!({
            "Current": true,
            "Driver": DRIVER,
            "Dynamic": false,
            "LastActivity": "0001-01-01T00:00:00Z",
            "Name": NAME,
            "Nodes": [{
                "Endpoint": NAME,
                "Name": NAME,
                "Platforms": platforms,
                "Status": "running",
                "Version": version(),
            }],
        });
        app.printer.line(line.to_string());
        return Ok(());
    }
    let table = format.is_none_or(|format| format.starts_with("table"));
    let cells = |name: &str, endpoint: &str, node: Option<&str>| {
        let (star, branch) = match (table, node) {
            (true, None) => ("*", ""),
            (true, Some(_)) => ("", " \\_ "),
            (false, _) => ("", ""),
        };
        let (status, version) = match node {
            Some(version) => ("running", version),
            None => ("", ""),
        };
        let of_node = if node.is_some() {
            platforms.join(", ")
        } else {
            String::new()
        };
        let mut row = Row::new();
        for (column, cell) in [
            ("Name", format!("{branch}{name}{star}")),
            ("DriverEndpoint", format!("{branch}{endpoint}")),
            ("Status", status.to_owned()),
            ("Buildkit", version.to_owned()),
            ("Platforms", of_node),
        ] {
            row.insert(column.to_owned(), cell.into());
        }
        row
    };
    let version = version();
    let rows = [cells(NAME, DRIVER, None), cells(NAME, NAME, Some(&version))];
    let format = format.filter(|format| *format != "table");
    let text = Format::parse(format, DEFAULT)?.render(&rows, &HEADERS)?;
    app.printer.write_out(text.as_bytes());
    Ok(())
}

/// buildx's words for a builder with one node.
fn inspected(name: &str) -> String {
    let platforms = platforms().join(", ");
    let version = version();
    format!(
        "Name:   {name}\nDriver: {DRIVER}\n\nNodes:\nName:             {name}\n\
         Endpoint:         {name}\nStatus:           running\nBuildKit version: {version}\n\
         Platforms:        {platforms}"
    )
}

fn remove(app: &App, args: &RmArgs) -> Outcome {
    let named = args.names.iter().chain(&args.builder);
    let names: Vec<&String> = named.collect();
    let mut failed = names.is_empty() && !args.all_inactive;
    if failed {
        app.printer
            .error("name a builder that was made with `create`: without a name it is this program");
    }
    for name in names {
        match checked(name) {
            Ok(()) if name != NAME => app.printer.line(format!("{name} removed")),
            Ok(()) => {
                failed = true;
                app.printer
                    .error(format!("failed to remove {name}: it is this program"));
            }
            Err(error) => return Err(error),
        }
    }
    match failed {
        true => Err(Failure::new("failed to remove one or more builders")),
        false => Ok(()),
    }
}
