//! One module a command, named as it is typed.

pub mod bake;
pub mod build;
pub mod completions;
pub mod debug;
pub mod df;
pub mod export;
pub mod fsck;
pub mod history;
pub mod images;
pub mod imagetools;
pub mod import;
pub mod info;
pub mod inspect;
pub mod lint;
pub mod load;
pub mod login;
pub mod logout;
pub mod manifest;
pub mod prune;
pub mod pull;
pub mod push;
pub mod rmi;
pub mod save;
pub mod tag;
pub mod version;
