//! Tags that belong to an image rather than being one: signatures, attestations, lists of
//! referrers.

use super::retention::TagAge;

/// What a tag belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Owner {
    /// The manifest whose digest begins like this, as the tag's name says: `sha256-<64 digits>`,
    /// alone as clients without a referrers API name their lists (distribution specification 1.1,
    /// "Referrers Tag Schema"), or with a suffix as cosign names signatures (`.sig`), attestations
    /// (`.att`) and bills of materials (`.sbom`). Of longer digests the schema has 64 digits.
    Named(String),
    /// The manifest of this digest, of the same repository, as the tag's own manifest says.
    Subject(String),
}

impl Owner {
    /// The digest, or what it begins with.
    pub fn digest(&self) -> &str {
        match self {
            Self::Named(digest) | Self::Subject(digest) => digest,
        }
    }
}

/// What a tag belongs to; `None` when it is an image of its own.
pub fn owner(tag: &TagAge) -> Option<Owner> {
    if let Some(digest) = named(&tag.name) {
        // One that names its own manifest is nobody's.
        return (!tag.digest.starts_with(&digest)).then_some(Owner::Named(digest));
    }
    tag.subject.clone().map(Owner::Subject)
}

/// Whether a tag's name says that it belongs to an image.
pub fn is_companion(tag: &str) -> bool {
    named(tag).is_some()
}

/// The beginning of a digest that a tag's name is made of.
fn named(tag: &str) -> Option<String> {
    const DIGITS: usize = 64;
    let (algorithm, rest) = tag.split_once('-')?;
    let (digits, suffix) = rest.split_at_checked(DIGITS)?;
    let is_digest = matches!(algorithm, "sha256" | "sha512")
        && digits
            .bytes()
            .all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        && (suffix.is_empty() || suffix.starts_with('.'));
    is_digest.then(|| format!("{algorithm}:{digits}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_belong_to_what_they_name_or_refer_to() {
        let hex = "0123456789abcdef".repeat(4);
        let tag = |name: &str, subject: Option<&str>| TagAge {
            name: name.to_owned(),
            digest: "sha256:own".to_owned(),
            subject: subject.map(str::to_owned),
            pushed_at: 0,
            sequence: 0,
            pulled_at: None,
        };
        for (name, digest) in [
            (format!("sha256-{hex}"), Some(format!("sha256:{hex}"))),
            (format!("sha256-{hex}.sig"), Some(format!("sha256:{hex}"))),
            (format!("sha256-{hex}.att"), Some(format!("sha256:{hex}"))),
            (format!("sha256-{hex}.sbom"), Some(format!("sha256:{hex}"))),
            (format!("sha512-{hex}"), Some(format!("sha512:{hex}"))),
            // No digests: too short, too long, capitals, another word before them, another after.
            (format!("sha256-{}", &hex[1..]), None),
            (format!("sha256-{hex}0"), None),
            (format!("sha256-{}", hex.to_uppercase()), None),
            (format!("v1-{hex}"), None),
            (format!("sha256-{hex}-alpine"), None),
            (format!("sha256-{}\u{e9}", &hex[1..]), None),
            ("v1".to_owned(), None),
        ] {
            assert_eq!(owner(&tag(&name, None)), digest.map(Owner::Named), "{name}");
        }
        let subject = Some(Owner::Subject("sha256:image".to_owned()));
        assert_eq!(owner(&tag("v1-sbom", Some("sha256:image"))), subject);
        let mut own = tag(&format!("sha256-{hex}.sig"), None);
        own.digest = format!("sha256:{hex}");
        assert_eq!(owner(&own), None);
    }
}
