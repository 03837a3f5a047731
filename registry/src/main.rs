//! `rregistry`, the registry.

/// musl's own allocator takes a lock and tidies up with each call.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    registry::cli::main()
}
