//! End-to-end tests, a module a user's story. See the harness in `src/` for their words.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr
)]

mod baking;
mod both;
mod building;
mod buildkit_cache;
mod cache;
mod container_attacks;
mod container_copies;
mod container_events;
mod container_forms;
mod container_groups;
mod container_habits;
mod container_health;
mod container_ipv6;
mod container_limits;
mod container_links;
mod container_network_kinds;
mod container_network_options;
mod container_networks;
mod container_picky;
mod container_ports;
mod container_proof;
mod container_servers;
mod container_systemd;
mod container_terminal;
mod container_volume_options;
mod container_volumes;
mod container_words;
mod containers;
mod contexts;
mod copying;
mod deployed;
mod examples;
mod exchange;
mod explain;
mod failing;
mod first_steps;
mod flags;
mod full_disk;
mod git;
mod images;
mod indexes;
mod instructions;
mod interrupted;
mod isolation;
mod layers;
mod lists;
mod mirror;
mod mirror_trust;
mod mounts;
mod networked;
mod networks;
mod operators;
mod outputs;
mod packages;
mod parallel;
mod peers;
mod platforms;
mod quickstart;
mod random_trees;
mod registry;
mod replication;
mod robust;
mod same_as_docker;
mod sandbox;
mod secrets;
mod shared_cache;
mod squash;
mod terminal;
mod tidying;
mod web;
