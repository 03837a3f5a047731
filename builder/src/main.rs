//! The `rbuild` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    // First of all: the same binary, started again, is the init process of a container.
    runtime::init_hook();
    builder::cli::main(std::env::args_os())
}
