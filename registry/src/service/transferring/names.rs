//! Which repository and tag an entry of a layout or archive is of.

use oci::archive::{IMAGE_NAME, REF_NAME};
use oci::{Descriptor, Reference};

use crate::name::{RepositoryName, Tag};

/// Which repository an entry of a layout with several of them belongs to.
pub(super) const REPOSITORY: &str = "rregistry.repository";

/// Where an entry of `index.json` goes, by what tools write beside it.
pub(super) fn target(
    entry: &Descriptor,
    given: Option<&RepositoryName>,
) -> Result<(RepositoryName, Option<Tag>), String> {
    let annotation = |key: &str| entry.annotations.get(key).map(String::as_str);
    let ref_name = annotation(REF_NAME);
    // skopeo and docker write a tag here; podman and we, where needed, a whole name.
    let plain: Option<Tag> = ref_name.and_then(|text| text.parse().ok());
    let whole = [ref_name.filter(|_| plain.is_none()), annotation(IMAGE_NAME)]
        .into_iter()
        .flatten()
        .find_map(|text| text.parse::<Reference>().ok());
    let tag = match (plain, &whole) {
        (Some(tag), _) => Some(tag),
        (None, Some(name)) => name.tag().and_then(|tag| tag.parse().ok()),
        (None, None) => None,
    };
    if let Some(repository) = given {
        return Ok((repository.clone(), tag));
    }
    let name = match (annotation(REPOSITORY), &whole) {
        (Some(name), _) => name.to_owned(),
        (None, Some(name)) if name.repository().domain() == "docker.io" => {
            name.repository().familiar()
        }
        (None, Some(name)) => name.repository().path().to_owned(),
        (None, None) => {
            return Err("nothing says which repository it is of: name one after the layout".into());
        }
    };
    let repository = name.parse().map_err(|e| format!("{name}: {e}"))?;
    Ok((repository, tag))
}

#[cfg(test)]
mod tests {
    use super::*;
    use oci::Digest;

    #[test]
    fn names_say_where_an_entry_goes() {
        let entry = |annotations: &[(&str, &str)]| {
            let mut entry = Descriptor::new(oci::media_type::OCI_MANIFEST, Digest::empty(), 0);
            for (key, value) in annotations {
                entry.annotations.insert((*key).into(), (*value).into());
            }
            target(&entry, None).map(|(repository, tag)| {
                format!("{repository}:{}", tag.map_or("-".into(), |t| t.to_string()))
            })
        };
        for (annotations, expected) in [
            // docker save
            (
                &[(IMAGE_NAME, "docker.io/library/app:v1"), (REF_NAME, "v1")][..],
                "app:v1",
            ),
            // podman save
            (&[(REF_NAME, "localhost/team/app:v1")], "team/app:v1"),
            (&[(REF_NAME, "quay.io/team/app:v1")], "team/app:v1"),
            // our own, of several repositories
            (
                &[(REF_NAME, "a.b/app:v1"), (REPOSITORY, "a.b/app")],
                "a.b/app:v1",
            ),
            (&[(REPOSITORY, "team/app")], "team/app:-"),
        ] {
            assert_eq!(entry(annotations).unwrap(), expected);
        }
        for annotations in [&[(REF_NAME, "v1")][..], &[]] {
            entry(annotations).unwrap_err();
        }
    }
}
