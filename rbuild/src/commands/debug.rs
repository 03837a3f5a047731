//! `rbuild debug`

use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use crate::app::App;
use crate::failure::{Failure, Outcome};
use crate::term::safe;

/// The largest Dockerfile that is read, in bytes.
const MAX_SIZE: u64 = 16 << 20;

/// `rbuild debug`
#[derive(Debug, Subcommand)]
pub enum DebugCommand {
    /// Print the syntax tree of a Dockerfile
    Ast(AstArgs),
}

/// `rbuild debug ast`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rbuild debug ast Dockerfile
  rbuild debug ast - < Dockerfile")]
pub struct AstArgs {
    /// The Dockerfile; `-` for standard input
    #[arg(value_name = "FILE | -")]
    pub file: PathBuf,
}

/// Runs the command.
pub async fn run(app: &App, command: DebugCommand) -> Outcome {
    let DebugCommand::Ast(AstArgs { file }) = command;
    let name = file.display().to_string();
    let bytes = tokio::task::spawn_blocking(move || read(&file)).await??;
    let source = dockerfile::parse_bytes(&bytes).source;
    // The tree knows no meaning: unknown instructions and flags are in it like any other.
    let (ast, mistakes) = dockerfile::parser::parse(&source);
    if mistakes.iter().any(|mistake| mistake.is_error()) {
        let shown = safe::render(&mistakes, &name, &source, app.printer.color());
        return Err(Failure::new(format!("{name} cannot be parsed")).at(shown));
    }
    let dump = ast.dump();
    app.printer.line(dump.trim_end_matches('\n'));
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let failed = |e: std::io::Error| Failure::new(format!("open {}: {e}", path.display()));
    let source: Box<dyn std::io::Read> = match path.as_os_str() == "-" {
        true => Box::new(std::io::stdin()),
        false => Box::new(std::fs::File::open(path).map_err(failed)?),
    };
    let mut bytes = Vec::new();
    source
        .take(MAX_SIZE + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    if bytes.len() as u64 > MAX_SIZE {
        let text = format!(
            "{}: larger than {MAX_SIZE} bytes, which no Dockerfile is",
            path.display()
        );
        return Err(Failure::new(text));
    }
    Ok(bytes)
}
