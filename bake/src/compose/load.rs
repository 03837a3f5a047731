//! Compose files with the files that they name: `include`, and `extends.file`.

use std::collections::BTreeMap;

use super::node::{self, Kind, Node};
use super::{dotenv, interpolate, paths, services};
use crate::error::Mistake;
use crate::source::{Definition, Other, Span};

/// The variables that files are read with.
pub type Environment = BTreeMap<String, String>;

/// Files that are read in all, however often: each may name the others twice.
const MOST: usize = 1000;

/// What is shared between the files that are read.
pub struct Loader<'a> {
    given: &'a [Definition],
    others: &'a [Other],
    /// Unknown files are noted, and taken for empty, where nobody has been asked for them yet.
    asking: bool,
    /// Files that nobody has read yet.
    pub wanted: Vec<String>,
    /// Variables that the environment does not have.
    pub missing: Vec<String>,
    read: usize,
}

/// Where a file stands.
#[derive(Clone, Copy)]
struct Place<'a> {
    /// The folder that its paths start from; empty for the one where the command was typed.
    folder: &'a str,
    environment: &'a Environment,
    /// The files that have led here, this one last.
    chain: &'a [String],
}

impl<'a> Loader<'a> {
    /// `asking` is for finding out which files are wanted.
    pub fn new(given: &'a [Definition], others: &'a [Other], asking: bool) -> Self {
        Self {
            given,
            others,
            asking,
            wanted: Vec::new(),
            missing: Vec::new(),
            read: 0,
        }
    }

    /// A file that was named on the command line, with all that it names.
    ///
    /// # Errors
    /// What is wrong in it, or in what it names.
    pub fn load(&mut self, root: Node, environment: &Environment) -> Result<Node, Mistake> {
        let name = self.given.get(root.at.file).map(|file| file.name.clone());
        let place = Place {
            folder: "",
            environment,
            chain: &[name.unwrap_or_default()],
        };
        self.model(root, place)
    }

    fn model(&mut self, root: Node, place: Place<'_>) -> Result<Node, Mistake> {
        let mut root = self.plain(root, place)?;
        self.extend(&mut root, place)?;
        let Kind::Map(entries) = &mut root.kind else {
            return Ok(root);
        };
        let include = entries.iter().position(|(name, _)| name == "include");
        if let Some(at) = include {
            let (_, include) = entries.remove(at);
            let Kind::List(list) = &include.kind else {
                return Err(Mistake::at(include.at, "`include` must be a list"));
            };
            for one in list {
                if let Some(model) = self.included(one, place)? {
                    import(&mut root, model)?;
                }
            }
        }
        Ok(root)
    }

    /// Everything in its long form, with variables in their place and paths from the folder where
    /// the command was typed.
    fn plain(&mut self, mut root: Node, place: Place<'_>) -> Result<Node, Mistake> {
        interpolate::interpolate(&mut root, "", place.environment, &mut self.missing)?;
        services::canonical(&mut root)?;
        paths::rebase(&mut root, place.folder);
        Ok(root)
    }

    /// Services get what they extend in other files.
    fn extend(&mut self, root: &mut Node, place: Place<'_>) -> Result<(), Mistake> {
        let Kind::Map(entries) = &mut root.kind else {
            return Ok(());
        };
        for (_, all) in entries.iter_mut().filter(|(name, _)| name == "services") {
            let Kind::Map(all) = &mut all.kind else {
                continue;
            };
            for (name, service) in all {
                let Some(extends) = Extends::of(service)? else {
                    continue;
                };
                let Some(file) = extends.file else {
                    continue;
                };
                let mut seen = vec![format!("{name} in {}", last(place.chain))];
                let base = self.base(&file, &extends.service, extends.at, place, &mut seen)?;
                let Some(mut base) = base else {
                    continue;
                };
                let mut own = service.clone();
                if let Kind::Map(parts) = &mut own.kind {
                    parts.retain(|(part, _)| part != "extends");
                }
                base.merge(own);
                *service = base;
            }
        }
        Ok(())
    }

    /// A service of another file, with what it extends there.
    fn base(
        &mut self,
        file: &str,
        service: &str,
        at: Span,
        place: Place<'_>,
        seen: &mut Vec<String>,
    ) -> Result<Option<Node>, Mistake> {
        let file = paths::within(place.folder, file);
        let this = format!("{service} in {file}");
        let again = seen.contains(&this);
        seen.push(this);
        if again {
            let text = format!("circular reference: {}", seen.join(" extends "));
            return Err(Mistake::at(at, text));
        }
        let Some(root) = self.file(&file, at)? else {
            return Ok(None);
        };
        let folder = parent(&file).to_owned();
        let chain = [file.clone()];
        let inner = Place {
            folder: &folder,
            chain: &chain,
            ..place
        };
        let root = self.plain(root, inner)?;
        let found = root.get("services").and_then(|all| all.get(service));
        let Some(found) = found else {
            let text = format!("cannot extend service: service {service:?} not found in {file}");
            return Err(Mistake::at(at, text));
        };
        let mut found = found.clone();
        let Some(extends) = Extends::of(&found)? else {
            return Ok(Some(found));
        };
        let further = extends.file.as_deref();
        // Its path starts from that file, whose folder is known already where it names itself.
        let (further, inner) = match further {
            Some(further) => (further, inner),
            None => (
                file.as_str(),
                Place {
                    folder: "",
                    ..inner
                },
            ),
        };
        let base = self.base(further, &extends.service, extends.at, inner, seen)?;
        if let Kind::Map(parts) = &mut found.kind {
            parts.retain(|(part, _)| part != "extends");
        }
        Ok(Some(match base {
            Some(mut base) => {
                base.merge(found);
                base
            }
            None => found,
        }))
    }

    /// The model of one entry of `include`.
    fn included(&mut self, one: &Node, place: Place<'_>) -> Result<Option<Node>, Mistake> {
        let part = |name: &str| {
            one.get(name)
                .map(|node| node.texts(&format!("include.{name}")))
        };
        let named = match &one.kind {
            Kind::Text(path) => vec![path.clone()],
            _ => part("path").transpose()?.unwrap_or_default(),
        };
        let files: Vec<String> = named
            .iter()
            .map(|path| paths::within(place.folder, path))
            .collect();
        let Some(first) = files.first() else {
            return Ok(None);
        };
        let folder = match one.get("project_directory") {
            Some(folder) => {
                let folder = folder
                    .text("include.project_directory")?
                    .unwrap_or_default();
                paths::within(place.folder, &folder)
            }
            None => parent(first).to_owned(),
        };
        let mut environment = place.environment.clone();
        match part("env_file").transpose()? {
            Some(named) => {
                for name in named {
                    let name = paths::within(place.folder, &name);
                    let text = self.text(&name, one.at)?;
                    added(&mut environment, text.map_or("", |(_, text)| text), one.at)?;
                }
            }
            // It counts where it is.
            None => {
                let name = paths::within(&folder, ".env");
                let text = self.find(&name)?;
                added(&mut environment, text.map_or("", |(_, text)| text), one.at)?;
            }
        }
        let mut whole: Option<Node> = None;
        for path in &files {
            if place.chain.contains(path) {
                let chain: Vec<&str> = place.chain.iter().map(String::as_str).collect();
                let text = format!("include cycle detected: {}, {path}", chain.join(", "));
                return Err(Mistake::at(one.at, text));
            }
            let Some(root) = self.file(path, one.at)? else {
                continue;
            };
            let chain = [place.chain, std::slice::from_ref(path)].concat();
            let model = self.model(
                root,
                Place {
                    folder: &folder,
                    environment: &environment,
                    chain: &chain,
                },
            )?;
            match &mut whole {
                Some(whole) => whole.merge(model),
                None => whole = Some(model),
            }
        }
        if let Some(whole) = &mut whole {
            paths::set_contexts(whole, &folder);
        }
        Ok(whole)
    }

    /// A file as a tree; `None` where it has to be read first.
    fn file(&mut self, path: &str, at: Span) -> Result<Option<Node>, Mistake> {
        self.read += 1;
        if self.read > MOST {
            let text = format!("more than {MOST} files are included");
            return Err(Mistake::at(at, text));
        }
        match self.text(path, at)? {
            Some((file, text)) => node::parse(text, file).map(Some),
            None => Ok(None),
        }
    }

    /// What is in a file that has to be there.
    fn text(&mut self, path: &str, at: Span) -> Result<Option<(usize, &'a str)>, Mistake> {
        let found = self.find(path)?;
        match found {
            None if !self.asking => {
                let text = format!("open {path}: no such file or directory");
                Err(Mistake::at(at, text))
            }
            found => Ok(found),
        }
    }

    /// What is in a file, and its number for messages.
    fn find(&mut self, path: &str) -> Result<Option<(usize, &'a str)>, Mistake> {
        let found = self.others.iter().position(|other| other.path == path);
        let Some(at) = found else {
            if self.asking && !self.wanted.iter().any(|known| known == path) {
                self.wanted.push(path.to_owned());
            }
            return Ok(None);
        };
        let text = self.others.get(at).and_then(|other| other.text.as_deref());
        Ok(text.map(|text| (self.given.len() + at, text)))
    }
}

/// `extends`, in either form.
struct Extends {
    service: String,
    file: Option<String>,
    at: Span,
}

impl Extends {
    fn of(service: &Node) -> Result<Option<Self>, Mistake> {
        let Some(extends) = service.get("extends") else {
            return Ok(None);
        };
        let part = |name: &str| -> Result<Option<String>, Mistake> {
            let node = extends.get(name);
            let text = node.map(|node| node.text(&format!("extends.{name}")));
            Ok(text.transpose()?.flatten())
        };
        Ok(Some(match &extends.kind {
            Kind::Text(name) => Self {
                service: name.clone(),
                file: None,
                at: extends.at,
            },
            _ => Self {
                service: part("service")?.unwrap_or_default(),
                file: part("file")?.filter(|file| !file.is_empty()),
                at: extends.at,
            },
        }))
    }
}

fn last(chain: &[String]) -> &str {
    chain.last().map_or("", String::as_str)
}

/// The folder of a file; empty for the one where the command was typed.
fn parent(path: &str) -> &str {
    match path.rsplit_once('/') {
        Some(("", _)) => "/",
        Some((folder, _)) => folder,
        None => "",
    }
}

fn added(environment: &mut Environment, text: &str, at: Span) -> Result<(), Mistake> {
    dotenv::add(environment, text).map_err(|what| Mistake::at(at, what))
}

/// Takes over what a file that is included has; what is there already has to be the same.
fn import(root: &mut Node, model: Node) -> Result<(), Mistake> {
    let Kind::Map(entries) = model.kind else {
        return Ok(());
    };
    for (kind, all) in entries {
        let Kind::Map(all) = all.kind else {
            continue;
        };
        if !matches!(kind.as_str(), "services" | "secrets") {
            continue;
        }
        for (name, one) in all {
            let known = root.get(&kind).and_then(|known| known.get(&name));
            match known {
                Some(known) if known.same(&one) => {}
                Some(known) => {
                    let text = format!("{kind}.{name} conflicts with imported resource");
                    return Err(Mistake::at(known.at, text));
                }
                None => {
                    let at = one.at;
                    let entry = Node {
                        kind: Kind::Map(vec![(name, one)]),
                        at,
                    };
                    root.merge(Node {
                        kind: Kind::Map(vec![(kind.clone(), entry)]),
                        at,
                    });
                }
            }
        }
    }
    Ok(())
}
