//! What definitions come to, as `docker buildx bake --print` of buildx 0.29.1 told it. Each file
//! below `cases` has the files, flags and environment, and then what was printed or why it failed.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by it")]

use std::collections::BTreeMap;

use bake::read::{Surroundings, read, wanted};
use bake::shorthands::Shorthands;
use bake::source::{Definition, Other};

#[derive(Default)]
struct Case {
    files: Vec<Definition>,
    /// The URLs that come before the words.
    remote: Option<String>,
    place: Option<String>,
    others: Vec<Other>,
    words: Vec<String>,
    set: Vec<String>,
    named: Vec<String>,
    short: Shorthands,
    environment: BTreeMap<String, String>,
    printed: Option<String>,
    failed: Option<String>,
}

fn case(text: &str) -> Case {
    let mut case = Case::default();
    let mut sections = Vec::new();
    for line in text.split_inclusive('\n') {
        match line.strip_prefix("-- ") {
            Some(head) => sections.push((head.trim_end().to_owned(), String::new())),
            None => sections.last_mut().unwrap().1.push_str(line),
        }
    }
    for (head, body) in sections {
        match head.as_str() {
            "args" => body.lines().for_each(|line| case.flag(line)),
            "env" => {
                let pairs = body.lines().map(|line| line.split_once('=').unwrap());
                let pairs = pairs.map(|(name, value)| (name.to_owned(), value.to_owned()));
                case.environment.extend(pairs);
            }
            "expect" => case.printed = Some(body.trim_end().to_owned()),
            "error" => case.failed = Some(body.trim_end().to_owned()),
            file if file.starts_with("other ") => case.others.push(Other {
                path: file.strip_prefix("other ").unwrap().to_owned(),
                text: Some(body),
            }),
            file => case.files.push(Definition {
                name: file.strip_prefix("file ").unwrap().to_owned(),
                text: body,
            }),
        }
    }
    case
}

impl Case {
    fn flag(&mut self, line: &str) {
        let value = |text: &str| Some(text.to_owned());
        match line.split_once([' ', '=']).unwrap_or((line, "true")) {
            ("--set", set) => self.set.push(set.to_owned()),
            ("-f", file) => self.named.push(file.to_owned()),
            ("--remote", url) => self.remote = value(url),
            ("--place", url) => self.place = value(url),
            ("--push", _) => self.short.push = true,
            ("--load", _) => self.short.load = true,
            ("--no-cache", text) => self.short.no_cache = text.parse().ok(),
            ("--pull", text) => self.short.pull = text.parse().ok(),
            ("--sbom", text) => self.short.sbom = value(text),
            ("--provenance", text) => self.short.provenance = value(text),
            ("--call", text) => self.short.call = value(text),
            _ => self
                .words
                .extend(line.split_whitespace().map(str::to_owned)),
        }
    }

    /// What is printed, or the message.
    fn told(&self) -> Result<String, String> {
        let mut files = self.files.clone();
        if !self.named.is_empty() {
            files.retain(|file| self.named.contains(&file.name));
        }
        let mut around = Surroundings {
            environment: self.environment.clone(),
            platform: "linux/amd64".to_owned(),
            place: self.place.clone().unwrap_or_else(|| "cwd://".to_owned()),
            remote: self.remote.clone(),
            now: "2026-01-02T03:04:05Z".parse().unwrap(),
            home: "/root".to_owned(),
            dotenv: None,
            others: Vec::new(),
        };
        loop {
            let more = wanted(&files, &around).map_err(|error| error.to_string())?;
            if more.is_empty() {
                break;
            }
            around.others.extend(more.into_iter().map(|path| {
                let known = self.others.iter().find(|other| other.path == path);
                let text = known.and_then(|known| known.text.clone());
                Other { path, text }
            }));
        }
        let mut set = self.set.clone();
        set.extend(self.short.written_out());
        let words = match self.words.as_slice() {
            [] => vec!["default".to_owned()],
            words => words.to_vec(),
        };
        let read = read(&files, &around).map_err(|error| error.to_string())?;
        let plan = read.plan(&words, &set).map_err(|error| error.to_string())?;
        Ok(plan.print().unwrap())
    }
}

/// The line, where there is one, and the message; how many columns are marked is a matter of taste.
fn essence(message: &str) -> (Option<&str>, &str) {
    let message = message.split(", and ").next().unwrap();
    match message.split_once(": ") {
        Some((place, text)) if place.contains(".hcl:") => (place.split(',').next(), text),
        Some((place, text)) if place.contains(".yaml:") => (None, text),
        _ => (None, message),
    }
}

/// Groups that a matrix makes are in no order with buildx.
fn with_sorted_groups(json: &str) -> serde_json::Value {
    let mut json: serde_json::Value = serde_json::from_str(json).unwrap();
    if let Some(groups) = json
        .get_mut("group")
        .and_then(|groups| groups.as_object_mut())
    {
        for group in groups.values_mut() {
            let targets = group["targets"].as_array_mut().unwrap();
            targets.sort_by_key(ToString::to_string);
        }
    }
    json
}

/// Values (`=`) and messages (`!`) of buildx, an expression a line. Where its message has a slip of
/// its own, or takes numbers below zero for others, ours stands there.
#[test]
fn expressions_come_to_what_buildx_makes_of_them() {
    let lines = include_str!("expressions.txt");
    for line in lines.lines() {
        let (expression, expected) = line.split_once('\t').unwrap();
        let text = format!("target \"default\" {{\n  args = {{\n    a = {expression}\n  }}\n}}\n");
        let case = case(&format!("-- file docker-bake.hcl\n{text}"));
        let told = match case.told() {
            Ok(printed) => {
                let printed: serde_json::Value = serde_json::from_str(&printed).unwrap();
                let value = &printed["target"]["default"]["args"]["a"];
                format!("= {}", value.as_str().unwrap())
            }
            Err(message) => format!("! {}", essence(&message).1),
        };
        assert_eq!(told, expected, "{expression}");
    }
}

#[test]
fn what_was_encrypted_to_a_key_is_decrypted() {
    use base64::Engine as _;
    use rsa::pkcs8::{EncodePrivateKey as _, LineEnding};

    let mut random = rsa::rand_core::OsRng;
    let key = rsa::RsaPrivateKey::new(&mut random, 1024).unwrap();
    let secret = key
        .to_public_key()
        .encrypt(&mut random, rsa::Pkcs1v15Encrypt, b"open sesame")
        .unwrap();
    let secret = base64::engine::general_purpose::STANDARD.encode(secret);
    let pem = key.to_pkcs8_pem(LineEnding::LF).unwrap();
    let text = format!(
        "target \"default\" {{\n  args = {{\n    a = rsadecrypt(\"{secret}\", <<K\n{}K\n    )\n  }}\n}}\n",
        pem.as_str()
    );
    let printed = case(&format!("-- file docker-bake.hcl\n{text}"))
        .told()
        .unwrap();
    assert!(printed.contains("\"a\": \"open sesame\""), "{printed}");
}

#[test]
fn definitions_come_to_what_buildx_makes_of_them() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cases");
    let mut wrong = Vec::new();
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let case = case(&std::fs::read_to_string(&path).unwrap());
        count += 1;
        match (case.told(), &case.printed, &case.failed) {
            (Ok(own), Some(theirs), None) => {
                if with_sorted_groups(&own) != with_sorted_groups(theirs) {
                    wrong.push(format!("{name}:\n{}", difference(theirs, &own)));
                } else if !name.starts_with("matrix") && own != *theirs {
                    wrong.push(format!(
                        "{name}: in another order\n{}",
                        difference(theirs, &own)
                    ));
                }
            }
            (Err(own), None, Some(theirs)) => {
                if essence(&own) != essence(theirs) {
                    wrong.push(format!("{name}:\n  buildx: {theirs}\n  rbuild: {own}"));
                }
            }
            (Ok(_), ..) => wrong.push(format!("{name}: buildx refuses it")),
            (Err(own), ..) => wrong.push(format!("{name}: {own}")),
        }
    }
    assert!(count > 60, "{count} cases");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn difference(theirs: &str, own: &str) -> String {
    let (theirs, own): (Vec<_>, Vec<_>) = (theirs.lines().collect(), own.lines().collect());
    let mut lines = Vec::new();
    lines.extend(
        theirs
            .iter()
            .filter(|line| !own.contains(line))
            .map(|line| format!("  - {line}")),
    );
    lines.extend(
        own.iter()
            .filter(|line| !theirs.contains(line))
            .map(|line| format!("  + {line}")),
    );
    lines.join("\n")
}
