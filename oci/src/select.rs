//! Which of an index's manifests is for a platform (image-spec, image-index.md).

use crate::{Descriptor, Index, Platform};

impl Platform {
    /// Whether this platform can run an image that is for another one: its own, or one for a lower
    /// variant of its CPU.
    pub fn runs(&self, image: &Self) -> bool {
        let acceptable = acceptable(self);
        acceptable.iter().any(|wanted| image.satisfies(wanted))
    }
}

impl Index {
    /// The entry for a platform: the one that says just that, else one that fits, else one that
    /// the platform's CPU can run too.
    ///
    /// # Errors
    /// The platforms that there are.
    pub fn select(&self, wanted: &Platform) -> Result<&Descriptor, Vec<Platform>> {
        let usable = |d: &&Descriptor| d.media_type.is_manifest() || d.media_type.is_index();
        let entries: Vec<&Descriptor> = self.manifests.iter().filter(usable).collect();
        for wanted in acceptable(wanted) {
            let exact = entries
                .iter()
                .find(|d| d.platform.as_ref().is_some_and(|p| same(p, &wanted)));
            let fitting = || {
                let mut all = entries.iter();
                all.find(|d| d.platform.as_ref().is_some_and(|p| p.satisfies(&wanted)))
            };
            if let Some(found) = exact.or_else(fitting) {
                return Ok(found);
            }
        }
        // An index of one image may leave out what it is for.
        if let [only] = entries.as_slice()
            && only.platform.is_none()
        {
            return Ok(only);
        }
        let mut platforms = Vec::new();
        for platform in entries.iter().filter_map(|d| d.platform.as_ref()) {
            // Attestations are listed as unknown/unknown.
            if platform.os != "unknown" && !platforms.contains(platform) {
                platforms.push(platform.clone());
            }
        }
        Err(platforms)
    }
}

/// Both fit each other: neither names a variant that the other does not.
fn same(a: &Platform, b: &Platform) -> bool {
    a.satisfies(b) && b.satisfies(a)
}

/// The platform, then what its CPU can run too, best first.
fn acceptable(wanted: &Platform) -> Vec<Platform> {
    let mut all = vec![wanted.clone()];
    let lower: &[&str] = match (wanted.architecture.as_str(), wanted.variant.as_deref()) {
        ("arm", None | Some("v7")) => &["v6", "v5"],
        ("arm", Some("v6")) => &["v5"],
        ("amd64", Some("v4")) => &["v3", "v2", "v1"],
        ("amd64", Some("v3")) => &["v2", "v1"],
        ("amd64", Some("v2")) => &["v1"],
        _ => &[],
    };
    all.extend(lower.iter().map(|variant| Platform {
        variant: Some((*variant).to_owned()),
        ..wanted.clone()
    }));
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Digest;
    use crate::media_type::{OCI_INDEX, OCI_MANIFEST};

    fn index(platforms: &[&str]) -> Index {
        let manifests = platforms.iter().map(|text| {
            let digest = Digest::sha256(text.as_bytes());
            let mut descriptor = Descriptor::new(OCI_MANIFEST, digest, 1);
            descriptor.platform = (!text.is_empty()).then(|| {
                let mut parts = text.split('/');
                Platform {
                    os: parts.next().unwrap().into(),
                    architecture: parts.next().unwrap().into(),
                    variant: parts.next().map(Into::into),
                    os_version: None,
                    os_features: Vec::new(),
                }
            });
            descriptor
        });
        Index {
            schema_version: 2,
            media_type: Some(OCI_INDEX.into()),
            artifact_type: None,
            manifests: manifests.collect(),
            subject: None,
            annotations: Default::default(),
        }
    }

    #[test]
    fn selects_by_platform() {
        for (has, wanted, chosen) in [
            (
                &["linux/amd64", "linux/arm64"][..],
                "linux/arm64",
                Some("linux/arm64"),
            ),
            (
                &["linux/amd64", "linux/arm64/v8"],
                "linux/arm64",
                Some("linux/arm64/v8"),
            ),
            (
                &["linux/amd64/v3", "linux/amd64"],
                "linux/amd64",
                Some("linux/amd64"),
            ),
            (
                &["linux/amd64", "linux/amd64/v2"],
                "linux/amd64/v3",
                Some("linux/amd64/v2"),
            ),
            (
                &["linux/arm/v5", "linux/arm/v6"],
                "linux/arm/v7",
                Some("linux/arm/v6"),
            ),
            (&["linux/arm/v7"], "linux/arm/v6", None),
            (&["linux/s390x", "unknown/unknown"], "linux/amd64", None),
            (&[""], "linux/amd64", Some("")),
            (&["", ""], "linux/amd64", None),
        ] {
            let index = index(has);
            let wanted: Platform = wanted.parse().unwrap();
            let got = index.select(&wanted).ok().map(|d| d.digest.clone());
            let chosen = chosen.map(|text| Digest::sha256(text.as_bytes()));
            assert_eq!(got, chosen, "{has:?} {wanted}");
        }
    }

    #[test]
    fn the_platforms_there_are_leave_out_attestations() {
        let index = index(&[
            "linux/s390x",
            "linux/arm/v6",
            "unknown/unknown",
            "linux/s390x",
        ]);
        let wanted: Platform = "linux/amd64".parse().unwrap();
        let found = index.select(&wanted).unwrap_err();
        let found: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(found, ["linux/s390x", "linux/arm/v6"]);
    }
}
