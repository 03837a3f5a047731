//! What a definition needs consent for, since whoever runs it may not have written it: the host's
//! network, insecure steps, and files outside of this folder.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use bake::granted::Granted;
use bake::plan::Plan;
use bake::target::Target;

use super::arguments::is_elsewhere;
use crate::failure::{Failure, Outcome};

/// What was consented to.
#[derive(Debug, Default)]
pub struct Consent {
    entitlements: BTreeSet<String>,
    read: Vec<PathBuf>,
    write: Vec<PathBuf>,
}

/// The variable that switches the check of paths off.
const PATHS: &str = "BUILDX_BAKE_ENTITLEMENTS_FS";

/// The use of whoever's agent runs here.
const SSH: &str = "ssh";

impl Consent {
    /// From `--allow`, and from what the command line names itself.
    ///
    /// # Errors
    /// A word that is none.
    pub fn new(allowed: &[String], granted: &Granted) -> Result<Self, Failure> {
        let mut consent = Self::default();
        let here = std::env::current_dir()?;
        consent.read.push(real(&here));
        consent.write.push(real(&here));
        consent
            .read
            .extend(granted.read.iter().map(|path| real(Path::new(path))));
        consent
            .write
            .extend(granted.write.iter().map(|path| real(Path::new(path))));
        consent
            .entitlements
            .extend(granted.entitlements.iter().cloned());
        for word in allowed {
            let (key, value) = word.split_once('=').unwrap_or((word, ""));
            let everything = matches!(value, "" | "*");
            let path = match everything {
                true => PathBuf::from("/"),
                false => real(Path::new(value)),
            };
            match key {
                "network.host" | "security.insecure" | SSH => {
                    consent.entitlements.insert(key.to_owned());
                }
                "fs.read" => consent.read.push(path),
                "fs.write" => consent.write.push(path),
                "fs" => {
                    consent.read.push(path.clone());
                    consent.write.push(path);
                }
                // Images are always in the store.
                "image" | "image.push" | "image.load" => {}
                other => {
                    let text = format!("unknown entitlement key {other:?}");
                    return Err(Failure::new(text));
                }
            }
        }
        Ok(consent)
    }

    /// Whether all that the targets need was consented to.
    ///
    /// # Errors
    /// What is missing, and how to consent to it.
    pub fn check(&self, plan: &Plan) -> Outcome {
        let mut wanted: BTreeSet<(String, String)> = BTreeSet::new();
        let paths = std::env::var(PATHS).ok();
        let paths = !matches!(
            paths.as_deref(),
            Some("0" | "f" | "false" | "FALSE" | "False")
        );
        for target in plan.targets.values() {
            for need in target.entitlements.iter().flatten() {
                if !self.entitlements.contains(need) {
                    let what = match need.as_str() {
                        "network.host" => "running build containers that can access host network",
                        "security.insecure" => "running privileged containers",
                        _ => "an entitlement that is not known here",
                    };
                    wanted.insert((format!("--allow={need}"), what.to_owned()));
                }
            }
            if paths {
                self.check_paths((target, plan.remote.is_some()), &mut wanted);
            }
        }
        if wanted.is_empty() {
            return Ok(());
        }
        let flags: Vec<&str> = wanted.iter().map(|(flag, _)| flag.as_str()).collect();
        let list: Vec<String> = wanted
            .iter()
            .map(|(_, what)| format!(" - {what}"))
            .collect();
        let failure = Failure::new(format!(
            "additional privileges requested: pass {} to grant them",
            flags.join(" ")
        ));
        let text = "This build requests privileges for what may be insecure:";
        Err(failure.at(format!("{text}\n\n{}\n", list.join("\n"))))
    }

    fn check_paths(
        &self,
        (target, fetched): (&Target, bool),
        wanted: &mut BTreeSet<(String, String)>,
    ) {
        let agents = target.ssh.iter().flatten();
        if agents.filter(|one| one.paths.is_empty()).count() > 0 && !self.entitlements.contains(SSH)
        {
            let what = "forwarding default SSH agent socket";
            wanted.insert((format!("--allow={SSH}"), what.to_owned()));
        }
        let mut check = |path: &str, known: &[PathBuf], flag: &str, what: &str| {
            let path = real(Path::new(path));
            if !known.iter().any(|allowed| path.starts_with(allowed)) {
                let flag = format!("--allow={flag}={}", path.display());
                wanted.insert((flag, format!("{what} access to path {}", path.display())));
            }
        };
        for path in read_paths(target, fetched) {
            check(&path, &self.read, "fs.read", "read");
        }
        let outputs = target.output.iter().flatten();
        let outputs = outputs
            .filter_map(|one| one.dest.as_deref())
            .filter(|dest| *dest != "-");
        let caches = target.cache_to.iter().flatten();
        for path in outputs.chain(caches.filter_map(|one| one.folder("dest"))) {
            check(path, &self.write, "fs.write", "write");
        }
    }
}

/// The files and folders that a target reads.
/// `fetched` says that folders are those of the place that the definitions come from.
fn read_paths(target: &Target, fetched: bool) -> Vec<String> {
    let local = |place: &str, fetched: bool| match place.strip_prefix("cwd://") {
        Some(place) => Some(place.to_owned()),
        None if fetched || is_elsewhere(place) => None,
        None => Some(place.to_owned()),
    };
    let context = target.context.as_deref().unwrap_or(".");
    let mut paths: Vec<String> = target
        .contexts
        .values()
        .filter_map(|place| local(place, fetched))
        .collect();
    if let Some(context) = local(context, !target.local) {
        let file = target.dockerfile.as_deref().unwrap_or_default();
        let file = Path::new(&context).join(file.strip_prefix("cwd://").unwrap_or(file));
        paths.push(file.display().to_string());
        paths.push(context);
    }
    let secrets = target.secret.iter().flatten().map(|one| one.src.clone());
    paths.extend(secrets.filter(|path| !path.is_empty()));
    paths.extend(
        target
            .ssh
            .iter()
            .flatten()
            .flat_map(|one| one.paths.clone()),
    );
    let caches = target.cache_from.iter().flatten();
    paths.extend(caches.filter_map(|one| one.folder("src").map(str::to_owned)));
    paths
}

/// The path without links, as far as it is there.
fn real(path: &Path) -> PathBuf {
    let path = match std::path::absolute(path) {
        Ok(path) => path,
        Err(_) => path.to_owned(),
    };
    let mut missing = Vec::new();
    let mut there = path.as_path();
    loop {
        if let Ok(found) = there.canonicalize() {
            return missing
                .iter()
                .rev()
                .fold(found, |path, part| path.join(part));
        }
        match (there.parent(), there.file_name()) {
            (Some(parent), Some(name)) => {
                missing.push(name.to_owned());
                there = parent;
            }
            _ => return path,
        }
    }
}
