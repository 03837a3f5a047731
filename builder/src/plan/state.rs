//! What a stage has set so far: its configuration, and the variables its next line sees.

use std::collections::BTreeMap;

use dockerfile::shell::Variables;
use oci::config::Config;

/// The search path of a stage whose base sets none.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The state of a stage between two instructions.
#[derive(Clone, Debug)]
pub struct StageState {
    /// The configuration of the image so far.
    pub config: Config,
    /// Arguments declared in the stage, in order; without a value when none was given.
    pub args: Vec<(String, Option<String>)>,
    /// Whether CMD was set in this stage.
    pub cmd_set: bool,
    /// MAINTAINER's.
    pub author: Option<String>,
}

impl StageState {
    /// The state of a stage on a base.
    pub fn new(mut config: Config, author: Option<String>) -> Self {
        config.on_build.clear();
        if !config.env.iter().any(|pair| pair.starts_with("PATH=")) {
            config.env.push(format!("PATH={DEFAULT_PATH}"));
        }
        Self {
            config,
            args: Vec::new(),
            cmd_set: false,
            author,
        }
    }

    /// Sets a variable of the image; one that exists keeps its place.
    pub fn set_env(&mut self, name: &str, value: &str) {
        let pair = format!("{name}={value}");
        let same =
            |old: &&mut String| old.split_once('=').map_or(old.as_str(), |(old, _)| old) == name;
        match self.config.env.iter_mut().find(same) {
            Some(old) => *old = pair,
            None => self.config.env.push(pair),
        }
    }

    /// Declares an argument; declared again, the later value counts.
    pub fn set_arg(&mut self, name: String, value: Option<String>) {
        match self.args.iter_mut().find(|(old, _)| *old == name) {
            Some((_, old)) => {
                if value.is_some() {
                    *old = value;
                }
            }
            None => self.args.push((name, value)),
        }
    }

    /// The arguments with a value, as RUN's history lists them: where ENV sets the same name, its
    /// value wins.
    pub fn args_with_values(&self) -> Vec<(String, String)> {
        let with_value = self.args.iter().filter_map(|(name, value)| {
            let value = self
                .env(name)
                .map(str::to_owned)
                .or_else(|| value.clone())?;
            Some((name.clone(), value))
        });
        with_value.collect()
    }

    /// The environment of a RUN: the image's, then the arguments that it doesn't set.
    pub fn run_env(&self) -> Vec<String> {
        let mut env = self.config.env.clone();
        for (name, value) in &self.args {
            if let (None, Some(value)) = (self.env(name), value) {
                env.push(format!("{name}={value}"));
            }
        }
        env
    }

    /// The words that a shell form is run by.
    pub fn shell(&self) -> Vec<String> {
        match &self.config.shell {
            Some(shell) if !shell.is_empty() => shell.clone(),
            _ => vec!["/bin/sh".to_owned(), "-c".to_owned()],
        }
    }

    /// The working directory, `/` when none was set.
    pub fn cwd(&self) -> &str {
        if self.config.working_dir.is_empty() {
            "/"
        } else {
            &self.config.working_dir
        }
    }

    fn env(&self, name: &str) -> Option<&str> {
        self.config.env.iter().find_map(|pair| {
            let (key, value) = pair.split_once('=')?;
            (key == name).then_some(value)
        })
    }

    /// The variables in force as a map, for callers that change the state while they expand.
    pub fn snapshot(&self) -> BTreeMap<String, String> {
        let names = self.names().into_iter();
        names
            .filter_map(|n| self.value(n).map(|v| (n.to_owned(), v.to_owned())))
            .collect()
    }
}

/// ENV wins over ARG of the same name (reference, "Using ARG variables").
impl Variables for StageState {
    fn value(&self, name: &str) -> Option<&str> {
        self.env(name).or_else(|| {
            self.args
                .iter()
                .find(|(arg, _)| arg == name)
                .and_then(|(_, v)| v.as_deref())
        })
    }

    fn names(&self) -> Vec<&str> {
        let env = self
            .config
            .env
            .iter()
            .filter_map(|pair| pair.split_once('=').map(|(k, _)| k));
        env.chain(self.args.iter().map(|(name, _)| name.as_str()))
            .collect()
    }
}

/// Joins a path to a working directory and cleans it, as Go's `path.Join` does; the result is
/// absolute.
pub fn join(cwd: &str, path: &str) -> String {
    let whole = if path.starts_with('/') {
        path.to_owned()
    } else {
        format!("{cwd}/{path}")
    };
    let mut parts: Vec<&str> = Vec::new();
    for part in whole.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

/// The absolute destination of COPY and ADD: what means a directory keeps a trailing slash.
pub fn destination(cwd: &str, dest: &str) -> String {
    let mut joined = join(cwd, dest);
    let is_dir = dest.ends_with('/') || dest == "." || dest.ends_with("/.");
    if is_dir && !joined.ends_with('/') {
        joined.push('/');
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn env_keeps_its_order_and_wins_over_arg() {
        let mut state = StageState::new(Config::default(), None);
        state.set_env("A", "1");
        state.set_env("B", "2");
        state.set_env("A", "3");
        assert_eq!(state.config.env[1..], ["A=3", "B=2"]);
        state.set_arg("A".into(), Some("arg".into()));
        state.set_arg("C".into(), Some("c".into()));
        state.set_arg("D".into(), None);
        assert_eq!(state.value("A"), Some("3"));
        assert_eq!(state.value("D"), None);
        assert_eq!(state.run_env()[3..], ["C=c"]);
        let args = [
            ("A".to_owned(), "3".to_owned()),
            ("C".to_owned(), "c".to_owned()),
        ];
        assert_eq!(state.args_with_values(), args);
    }

    #[test]
    fn destinations_keep_their_slash() {
        for (cwd, dest, absolute) in [
            ("/app", ".", "/app/"),
            ("/app", "./", "/app/"),
            ("/app", "x", "/app/x"),
            ("/app", "x/.", "/app/x/"),
            ("/app", "/x/../y", "/y"),
            ("/", "a/", "/a/"),
            ("/", "/", "/"),
            ("/", "../..", "/"),
        ] {
            assert_eq!(destination(cwd, dest), absolute, "{dest} in {cwd}");
        }
    }
}
