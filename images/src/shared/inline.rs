//! A cache in the configuration of an image: which of its layers is which step's.

use oci::{Descriptor, DiffId, Digest, ImageConfig};
use serde::{Deserialize, Serialize};

use super::entry::{Entry, Files, Malformed, Name, Step, check_time};

/// The field of the configuration.
pub const FIELD: &str = "dev.rbuild.cache.v1";

/// The value of [`FIELD`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inline {
    /// Steps and their layers.
    steps: Vec<StepField>,
    /// What steps take.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    files: Vec<FilesField>,
    /// Steps whose layers are not the image's: those of other stages.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    others: Vec<OtherField>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct StepField {
    key: Digest,
    /// The place of its layer among the image's, from 0.
    layer: usize,
    created: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct OtherField {
    key: Digest,
    #[serde(rename = "diffId")]
    diff_id: DiffId,
    created: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct FilesField {
    key: Digest,
    taken: Files,
}

impl Inline {
    /// Adds a step; one whose layer is not among `diff_ids` is left out.
    pub fn add_step(&mut self, key: Digest, diff_id: &DiffId, created: &str, diff_ids: &[DiffId]) {
        // The same layer may be there more than once; any of them will do.
        if let Some(layer) = diff_ids.iter().position(|id| id == diff_id) {
            self.steps.push(StepField {
                key,
                layer,
                created: created.to_owned(),
            });
        }
    }

    /// Adds a step of another stage, of which only the diff ID is kept.
    pub fn add_other(&mut self, key: Digest, diff_id: DiffId, created: &str) {
        self.others.push(OtherField {
            key,
            diff_id,
            created: created.to_owned(),
        });
    }

    /// Adds what a step takes.
    pub fn add_files(&mut self, key: Digest, taken: Files) {
        self.files.push(FilesField { key, taken });
    }

    /// Writes it into a configuration.
    ///
    /// # Errors
    /// Never for what was made here.
    pub fn write(mut self, config: &mut ImageConfig) -> Result<(), serde_json::Error> {
        self.steps
            .sort_by(|a, b| (a.layer, &a.key).cmp(&(b.layer, &b.key)));
        self.steps.dedup_by(|a, b| a.key == b.key);
        self.files.sort_by(|a, b| a.key.cmp(&b.key));
        self.files.dedup_by(|a, b| a.key == b.key);
        let own = |key: &Digest| self.steps.iter().any(|step| step.key == *key);
        self.others.retain(|other| !own(&other.key));
        self.others.sort_by(|a, b| a.key.cmp(&b.key));
        self.others.dedup_by(|a, b| a.key == b.key);
        let value = serde_json::to_value(self)?;
        config.other.insert(FIELD.to_owned(), value);
        Ok(())
    }

    /// Reads it from a configuration, if there is one.
    ///
    /// # Errors
    /// [`Malformed`]
    pub(super) fn read(config: &ImageConfig) -> Result<Option<Self>, Malformed> {
        let Some(value) = config.other.get(FIELD) else {
            return Ok(None);
        };
        let read: Result<Self, _> = Self::deserialize(value);
        let read = read.map_err(|e| Malformed(format!("its field {FIELD}: {e}")))?;
        let steps = read.steps.iter().map(|step| &step.created);
        for created in steps.chain(read.others.iter().map(|other| &other.created)) {
            check_time(created)?;
        }
        Ok(Some(read))
    }

    /// What it has under a name, in an image of these layers.
    pub(super) fn get(
        &self,
        name: &Name,
        diff_ids: &[DiffId],
        layers: &[Descriptor],
    ) -> Option<Entry> {
        match name {
            Name::Step(key) => {
                if let Some(step) = self.steps.iter().find(|step| step.key == *key) {
                    return Some(Entry::Step(Box::new(Step {
                        diff_id: diff_ids.get(step.layer)?.clone(),
                        created: step.created.clone(),
                        blob: Some(layers.get(step.layer)?.clone()),
                    })));
                }
                let other = self.others.iter().find(|other| other.key == *key)?;
                Some(Entry::Step(Box::new(Step {
                    diff_id: other.diff_id.clone(),
                    created: other.created.clone(),
                    blob: None,
                })))
            }
            Name::Files(key) => {
                let files = self.files.iter().find(|files| files.key == *key)?;
                Some(Entry::Files(files.taken.clone()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use oci::Platform;

    #[test]
    fn steps_are_found_by_their_keys_in_the_image() {
        let digest = |text: &str| Digest::sha256(text.as_bytes());
        let diff_ids: Vec<DiffId> = ["a", "b"].map(|t| digest(t).into()).to_vec();
        let layers = ["x", "y"].map(|t| Descriptor::new(oci::media_type::OCI_LAYER, digest(t), 1));
        let mut inline = Inline::default();
        inline.add_step(digest("2"), &diff_ids[1], "2026-01-01T00:00:00Z", &diff_ids);
        inline.add_step(
            digest("3"),
            &digest("c").into(),
            "2026-01-01T00:00:00Z",
            &diff_ids,
        );
        for key in ["2", "4"] {
            let diff_id = digest("d").into();
            inline.add_other(digest(key), diff_id, "2026-01-01T00:00:00Z");
        }
        let mut config = ImageConfig::for_platform(&Platform::host());
        assert_eq!(Inline::read(&config), Ok(None));
        inline.write(&mut config).unwrap();
        let bytes = serde_json::to_vec(&config).unwrap();
        let read: ImageConfig = serde_json::from_slice(&bytes).unwrap();
        let inline = Inline::read(&read).unwrap().unwrap();
        let get = |key: &str| inline.get(&Name::Step(digest(key)), &diff_ids, &layers);
        let Some(Entry::Step(step)) = get("2") else {
            panic!("it is there")
        };
        assert_eq!(
            (step.diff_id, step.blob),
            (diff_ids[1].clone(), Some(layers[1].clone()))
        );
        let Some(Entry::Step(other)) = get("4") else {
            panic!("it is there")
        };
        assert_eq!((other.diff_id, other.blob), (digest("d").into(), None));
        assert_eq!((get("1"), get("3")), (None, None));
        config.other.insert(FIELD.to_owned(), "no".into());
        assert!(Inline::read(&config).is_err());
    }
}
