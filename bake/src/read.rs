//! From files to targets.

use std::collections::BTreeMap;

use crate::compose::{self, Compose};
use crate::config::Config;
use crate::definitions::{Definitions, Given, Variable};
use crate::error::{BakeError, Mistake};
use crate::functions::World;
use crate::plan::{self, Plan};
use crate::source::{Definition, Other};
use crate::syntax::tree::Body;
use crate::syntax::{hcl, json};
use crate::target::{Group, Target};

/// What definitions are read with.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// The environment.
    pub environment: BTreeMap<String, String>,
    /// This machine's platform, which is `BAKE_LOCAL_PLATFORM`.
    pub platform: String,
    /// Where the command was typed, which is `BAKE_CMD_CONTEXT`.
    pub place: String,
    /// Where the definitions were fetched from, if they were: folders are that place's then.
    pub remote: Option<String>,
    /// The time.
    pub now: jiff::Timestamp,
    /// The user's folder.
    pub home: String,
    /// What `.env` says, which counts for compose files.
    pub dotenv: Option<String>,
    /// The files that [`wanted`] has asked for.
    pub others: Vec<Other>,
}

/// Definitions that were read.
#[derive(Clone, Debug)]
pub struct Bake {
    config: Config,
    variables: Vec<Variable>,
    environment: BTreeMap<String, String>,
    remote: Option<String>,
    /// What is written and means nothing, each with its lines.
    pub warnings: Vec<BakeError>,
}

/// Evaluation follows a definition as deep as it goes.
const STACK: usize = 64 << 20;

/// The files that compose files name, and that are not among [`Surroundings::others`] yet. Whoever
/// reads them asks again: they may name others.
///
/// # Errors
/// A `.env` that cannot be read.
pub fn wanted(files: &[Definition], around: &Surroundings) -> Result<Vec<String>, BakeError> {
    let parsed = files.iter().enumerate().map(|(at, file)| parse(file, at));
    let compose = parsed.filter_map(|parsed| match parsed {
        Ok(Parsed::Compose(file)) => Some(file),
        _ => None,
    });
    let environment = environment(around).map_err(|mistake| mistake.told(files))?;
    let compose = compose.collect();
    Ok(compose::wanted(
        compose,
        &environment,
        files,
        &around.others,
    ))
}

/// The variables of compose files.
fn environment(around: &Surroundings) -> Result<BTreeMap<String, String>, Mistake> {
    let mut environment = around.environment.clone();
    if let Some(text) = &around.dotenv {
        compose::dotenv::add(&mut environment, text).map_err(Mistake::nowhere)?;
    }
    Ok(environment)
}

/// Reads definitions; later ones change what earlier ones say.
///
/// # Errors
/// What is wrong, and where.
pub fn read(files: &[Definition], around: &Surroundings) -> Result<Bake, BakeError> {
    let others = around.others.iter().map(|other| Definition {
        name: other.path.clone(),
        text: other.text.clone().unwrap_or_default(),
    });
    let all: Vec<Definition> = files.iter().cloned().chain(others).collect();
    let told = |mistake: Mistake| mistake.told(&all);
    let read = std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK);
        let thread = thread.spawn_scoped(scope, || evaluate(files, around));
        match thread.map(std::thread::ScopedJoinHandle::join) {
            Ok(Ok(found)) => found,
            Ok(Err(_)) => Err(Mistake::nowhere("the definition could not be evaluated")),
            Err(error) => Err(Mistake::nowhere(error)),
        }
    });
    let (config, variables, warnings) = read.map_err(told)?;
    Ok(Bake {
        config,
        variables,
        environment: around.environment.clone(),
        remote: around.remote.clone(),
        warnings: warnings.into_iter().map(told).collect(),
    })
}

type Evaluated = (Config, Vec<Variable>, Vec<Mistake>);

fn evaluate(files: &[Definition], around: &Surroundings) -> Result<Evaluated, Mistake> {
    let (mut bodies, mut compose) = (Vec::new(), Vec::new());
    for (at, file) in files.iter().enumerate() {
        match parse(file, at)? {
            Parsed::Hcl(body) => bodies.push(body),
            Parsed::Compose(file) => compose.push(file),
        }
    }
    let mut config = Config::default();
    let mut warnings = Vec::new();
    if !compose.is_empty() {
        let environment = environment(around)?;
        let missing = compose::add(compose, &environment, files, &around.others, &mut config)?;
        warnings.extend(missing.iter().map(|name| {
            Mistake::nowhere(format!(
                "The {name:?} variable is not set. Defaulting to a blank string."
            ))
        }));
    }
    let given = Given {
        environment: around.environment.clone(),
        builtin: BTreeMap::from([
            ("BAKE_CMD_CONTEXT".to_owned(), around.place.clone()),
            ("BAKE_LOCAL_PLATFORM".to_owned(), around.platform.clone()),
        ]),
        world: World {
            now: around.now,
            home: around.home.clone(),
        },
    };
    let definitions = Definitions::new(&bodies, &given)?;
    warnings.extend(definitions.config(&mut config)?);
    Ok((config, definitions.variables()?, warnings))
}

enum Parsed {
    Hcl(Body),
    Compose(Compose),
}

/// A file in the language that its name tells, or else in whichever it can be read.
fn parse(file: &Definition, at: usize) -> Result<Parsed, Mistake> {
    let name = file.name.to_lowercase();
    let ends = |endings: &[&str]| endings.iter().any(|ending| name.ends_with(ending));
    if ends(&[".yml", ".yaml"]) {
        return compose::parse(&file.text, at).map(Parsed::Compose);
    }
    let hcl = || hcl::parse(&file.text, at);
    let json = || json::parse(&file.text, at);
    if ends(&[".json"]) {
        let read = json().or_else(|mistake| hcl().map_err(|_| mistake));
        return read.map(Parsed::Hcl);
    }
    if !ends(&[".hcl"])
        && let Ok(found) = compose::parse(&file.text, at)
    {
        return Ok(Parsed::Compose(found));
    }
    let read = hcl().or_else(|mistake| json().map_err(|_| mistake));
    read.map(Parsed::Hcl)
}

impl Bake {
    /// What the words mean, with what `--set` says.
    ///
    /// # Errors
    /// There is no such target, or one that cannot be built.
    pub fn plan(&self, words: &[String], set: &[String]) -> Result<Plan, BakeError> {
        let around = (&self.environment, self.remote.as_deref());
        let plan = plan::plan(&self.config, words, set, around);
        plan.map_err(|mistake| mistake.told(&[]))
    }

    /// All targets.
    pub fn targets(&self) -> &[Target] {
        &self.config.targets
    }

    /// All groups.
    pub fn groups(&self) -> &[Group] {
        &self.config.groups
    }

    /// All variables, by name.
    pub fn variables(&self) -> &[Variable] {
        &self.variables
    }
}
