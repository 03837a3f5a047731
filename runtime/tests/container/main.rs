//! Containers for real: needs root and Debian's busybox-static. What is missing is said.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout
)]

mod attacks;
mod basics;
mod harness;
mod limits;
mod mounts;
mod network;
mod probe;

use std::process::ExitCode;

fn main() -> ExitCode {
    runtime::init_hook();
    if let Some(code) = probe::run() {
        return code;
    }
    let all: Vec<harness::Test> = [
        basics::TESTS,
        mounts::TESTS,
        attacks::TESTS,
        limits::TESTS,
        network::TESTS,
    ]
    .concat();
    harness::run(&all)
}
