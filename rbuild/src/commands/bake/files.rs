//! The files that define what is built, and what is around them.

use std::collections::BTreeMap;
use std::io::{self, Read as _};
use std::path::Path;

use bake::read::Surroundings;
use bake::source::{Definition, Other};
use builder::context::BuildContext;
use oci::Platform;

use crate::failure::Failure;

/// What is read when no file is named, as far as it is there.
pub const DEFAULTS: [&str; 8] = [
    "compose.yaml",
    "compose.yml",
    "docker-compose.yml",
    "docker-compose.yaml",
    "docker-bake.json",
    "docker-bake.hcl",
    "docker-bake.override.json",
    "docker-bake.override.hcl",
];

/// The variable that names files in place of `-f`, and the one that says what stands between them.
const NAMED: &str = "BUILDX_BAKE_FILE";
const SEPARATOR: &str = "BUILDX_BAKE_PATH_SEPARATOR";

/// The longest that a definition may be.
const LONGEST: u64 = 16 << 20;

/// Reads the files, from a place that was fetched if there is one: then `cwd://` names those of this
/// machine, which come after the others.
///
/// # Errors
/// One that was named is not there, or there is none at all.
pub fn read(named: &[String], fetched: Option<&BuildContext>) -> Result<Vec<Definition>, Failure> {
    let mut names = named.to_vec();
    if names.is_empty()
        && let Ok(list) = std::env::var(NAMED)
    {
        let separator = std::env::var(SEPARATOR)
            .ok()
            .filter(|text| !text.is_empty());
        let separator = separator.unwrap_or_else(|| ":".to_owned());
        let words = list.split(&separator).map(str::trim);
        names = words
            .filter(|word| !word.is_empty())
            .map(str::to_owned)
            .collect();
    }
    let (local, others): (Vec<_>, Vec<_>) = names
        .iter()
        .map(String::as_str)
        .partition(|name| name.starts_with("cwd://"));
    let mut files = Vec::new();
    if others.is_empty() && (local.is_empty() || fetched.is_some()) {
        for name in DEFAULTS {
            files.extend(read_one(name, true, fetched)?);
        }
    }
    if fetched.is_some() {
        for name in others {
            files.extend(read_one(name, false, fetched)?);
        }
        for name in local {
            files.extend(read_one(name.trim_start_matches("cwd://"), false, None)?);
        }
    } else {
        for name in &names {
            files.extend(read_one(name.trim_start_matches("cwd://"), false, None)?);
        }
    }
    match files.is_empty() {
        true => Err(Failure::new(
            "couldn't find a bake definition: there is no docker-bake.hcl, docker-bake.json or \
             compose.yaml here; name another file with -f",
        )),
        false => Ok(files),
    }
}

/// Reads what compose files include and extend, and what these do.
///
/// # Errors
/// A file that is there and cannot be read.
pub fn read_others(
    files: &[Definition],
    around: &mut Surroundings,
    fetched: Option<&BuildContext>,
) -> Result<(), Failure> {
    loop {
        // Which files are wrong is told when all are there.
        let wanted = bake::read::wanted(files, around).unwrap_or_default();
        if wanted.is_empty() {
            return Ok(());
        }
        for path in wanted {
            let text = read_one(&path, true, fetched)?.map(|file| file.text);
            around.others.push(Other { path, text });
        }
    }
}

fn read_one(
    name: &str,
    may_miss: bool,
    fetched: Option<&BuildContext>,
) -> Result<Option<Definition>, Failure> {
    let failed = |what: &dyn std::fmt::Display| Failure::new(format!("open {name}: {what}"));
    let bytes = match fetched {
        Some(fetched) => fetched.small_file(Path::new(name), "definition")?,
        None => read_here(name).map_err(|error| failed(&error))?,
    };
    let Some(bytes) = bytes else {
        return match may_miss {
            true => Ok(None),
            false => Err(failed(&"no such file or directory")),
        };
    };
    if bytes.len() as u64 > LONGEST {
        return Err(failed(&format_args!("it is longer than {LONGEST} bytes")));
    }
    let text = String::from_utf8(bytes).map_err(|_| failed(&"it is no text (UTF-8)"))?;
    Ok(Some(Definition {
        name: name.to_owned(),
        text,
    }))
}

/// A file of this machine, or what is typed; no more of it than is too much.
fn read_here(name: &str) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    match name {
        "-" => io::stdin()
            .lock()
            .take(LONGEST + 1)
            .read_to_end(&mut bytes)?,
        name => match std::fs::File::open(name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file?.take(LONGEST + 1).read_to_end(&mut bytes)?,
        },
    };
    Ok(Some(bytes))
}

/// The variable that keeps the environment from definitions.
const HIDDEN: &str = "BUILDX_BAKE_DISABLE_VARS_ENV_LOOKUP";

/// What definitions see of the world.
///
/// # Errors
/// `.env` cannot be read.
pub fn around() -> Result<Surroundings, Failure> {
    let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        Some((name.into_string().ok()?, value.into_string().ok()?))
    };
    let mut environment: BTreeMap<String, String> = std::env::vars_os().filter_map(text).collect();
    let hidden = environment.get(HIDDEN).map(String::as_str);
    if matches!(hidden, Some("1" | "t" | "true" | "TRUE" | "True")) {
        environment.clear();
    }
    let dotenv = match std::fs::read_to_string(".env") {
        Ok(text) => Some(text),
        Err(_) if !Path::new(".env").is_file() => None,
        Err(error) => return Err(Failure::new(format!("open .env: {error}"))),
    };
    Ok(Surroundings {
        home: environment.get("HOME").cloned().unwrap_or_default(),
        environment,
        platform: Platform::host().to_string(),
        place: "cwd://".to_owned(),
        now: jiff::Timestamp::now(),
        dotenv,
        others: Vec::new(),
        remote: None,
    })
}
