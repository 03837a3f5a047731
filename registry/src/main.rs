//! `rregistry`, the registry.

fn main() -> std::process::ExitCode {
    registry::cli::main()
}
