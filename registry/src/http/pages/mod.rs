//! The web page: what the registry holds, for people with a browser.
//!
//! Every page is whole as it is sent: there are no scripts, and nothing comes from another host.
//! Who may see what is what the API's rules say.
//!
//! | module | what it holds |
//! |---|---|
//! | [`handler`] | who asks, for which page, and the answer |
//! | [`repositories`], [`tags`], [`image`] | what there is |
//! | [`unfetched`] | what a mirror's upstream has besides |
//! | [`files`], [`file`], [`compare`] | what is inside |
//! | [`document`] | SBOMs, signatures and other referrers, readable |
//! | [`remove`], [`past`] | what is changed by hand |
//! | [`rules`], [`storage`] | what goes by rule, how much there is |
//! | [`replication`] | other registries, and how it goes |
//! | [`activity`], [`mirrors`] | what happened, how upstreams are doing |
//! | [`login`], [`elsewhere`] | in and out, by password or by a provider |
//! | [`tokens`] | personal tokens |
//! | [`frame`], [`parts`], [`assets`] | what pages look like |
//! | [`visitor`], [`form`] | who asks, what they send |
//! | [`view`], [`done`], [`stop`] | what a page is made with, what it comes to, or why not |
//! | [`path`] | the path of a page, and back |

mod activity;
mod assets;
mod compare;
mod config;
mod document;
mod done;
mod elsewhere;
mod file;
mod files;
mod form;
mod frame;
mod handler;
mod image;
mod layers;
mod login;
mod mirrors;
mod parts;
mod past;
mod path;
mod remove;
mod replication;
mod repositories;
mod rules;
mod stop;
mod storage;
mod tags;
mod tokens;
mod unfetched;
mod view;
mod visitor;

pub(super) use handler::{handle, welcome};
