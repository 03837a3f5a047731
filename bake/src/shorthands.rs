//! Flags of `bake` that are short for `--set`.

use crate::compose::attest_flag;

/// The flags, as they were typed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shorthands {
    /// `--push`
    pub push: bool,
    /// `--load`
    pub load: bool,
    /// `--call`, unless it is `build`.
    pub call: Option<String>,
    /// `--no-cache`
    pub no_cache: Option<bool>,
    /// `--pull`
    pub pull: Option<bool>,
    /// `--sbom`
    pub sbom: Option<String>,
    /// `--provenance`
    pub provenance: Option<String>,
}

impl Shorthands {
    /// What they are short for.
    pub fn written_out(&self) -> Vec<String> {
        let mut set = Vec::new();
        if self.push {
            set.push("*.push=true".to_owned());
        }
        if self.load {
            set.push("*.load=true".to_owned());
        }
        set.extend(self.call.iter().map(|call| match call.as_str() {
            "check" => "*.call=lint".to_owned(),
            call => format!("*.call={call}"),
        }));
        set.extend(
            self.no_cache
                .map(|no_cache| format!("*.no-cache={no_cache}")),
        );
        set.extend(self.pull.map(|pull| format!("*.pull={pull}")));
        for (kind, text) in [("sbom", &self.sbom), ("provenance", &self.provenance)] {
            let text = text.iter().filter(|text| !text.is_empty());
            set.extend(text.map(|text| format!("*.attest={}", attest_flag(kind, text))));
        }
        set
    }
}
