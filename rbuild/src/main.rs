//! The `rbuild` command: raw flags, validated options, one file a command.
//!
//! - [`args`]: what can be typed; [`usage`]: what is said of what cannot
//! - [`late`]: flags that are described once they are needed; [`ways`]: docker's ways with flags
//! - [`dispatch`]: which command does it
//! - [`commands`]: one module a command
//! - [`frontend`]: what building and checking a Dockerfile have in common
//! - [`reach`]: what to do about registries that are out of reach
//! - [`app`]: what every command needs: the store, the client, the printer
//! - [`term`]: everything between the commands and the terminal

mod app;
mod args;
mod commands;
mod dispatch;
mod failure;
mod filter;
mod flags;
mod frontend;
mod happened;
mod late;
mod limits;
mod reach;
mod term;
mod usage;
mod ways;
mod when;

use std::process::ExitCode;

fn main() -> ExitCode {
    // First of all: the same binary, started again, is the init process of a container.
    runtime::init_hook();
    containers::monitor_hook();
    dispatch::main(std::env::args_os())
}
