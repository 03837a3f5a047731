//! The harness of the end-to-end tests in `stories/`: the two programs, stores and registries of a
//! test's own, the other clients with private storage, and a check that nothing is left behind.
//!
//! A test reads as a story: a [`Dir`] is a context, a [`Store`] runs `rbuild` on a store of its
//! own, a [`Registry`] is a running `rregistry`. What a machine lacks is a [`Missing`], and
//! `need!` skips the test that wanted it (or fails it, where `RBUILD_TEST_REQUIRE_ALL` is set).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr
)]

mod archive;
mod bases;
mod bins;
mod cmd;
mod dir;
mod docker;
mod docker_registry;
mod git;
mod http;
mod leftovers;
mod machine;
mod meeting;
mod peers;
mod registry;
mod skip;
mod store;
mod tree;

pub use archive::Archive;
pub use bases::{arm64, busybox, debian, tomcat};
pub use bins::{rbuild, repository, rregistry};
pub use cmd::{Cmd, Done, Running};
pub use dir::{Dir, OLD};
pub use docker::{Container, Docker, docker, modern_docker};
pub use docker_registry::DockerRegistry;
pub use git::{GitServer, Repositories};
pub use http::{Files, Reply, http, http_with};
pub use leftovers::assert_nothing_left;
pub use machine::Machine;
pub use meeting::Meeting;
pub use peers::{Podman, buildah, skopeo};
pub use registry::Registry;
pub use skip::{Missing, is_root, program, skipped};
pub use store::Store;
pub use tree::{Content, Entry, Tree};
