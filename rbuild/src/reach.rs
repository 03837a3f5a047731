//! What to do about an image that is not to be had from where its name leads.

use client::Error;
use images::ImageError;

/// How to go on without the registry, where that is what failed.
pub fn help(error: &ImageError) -> Option<String> {
    let ImageError::Client(error) = error else {
        return None;
    };
    match error.as_ref() {
        Error::Connect { registry, .. } => Some(without(registry)),
        Error::Transport { .. } | Error::Registry { .. } => Some(without("docker.io")),
        Error::PullDenied { .. }
        | Error::Unauthorized { .. }
        | Error::Denied { .. }
        | Error::ManifestNotFound { .. }
        | Error::RepositoryNotFound { .. } => Some(
            "`rbuild images` lists what is here, `rbuild login` lets private images be pulled,\n\
             and `rbuild import ROOTFS.tar NAME` makes a base image of a root file system"
                .to_owned(),
        ),
        _ => None,
    }
}

fn without(registry: &str) -> String {
    format!(
        "without a way to the registry, `rbuild import ROOTFS.tar NAME` makes a base image of a\n\
         root file system, and `rbuild load -i FILE` takes what docker or podman saved.\n\
         A mirror is set by mirrors = [\"https://HOST\"] below [registry.\"{registry}\"] in\n\
         /etc/rbuild/registries.toml or ~/.config/rbuild/registries.toml (registry-mirrors of\n\
         /etc/docker/daemon.json is heeded too), a proxy by HTTPS_PROXY"
    )
}
