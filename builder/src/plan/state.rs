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
    /// Names of the arguments declared in the stage, in order.
    args: Vec<String>,
    /// What the next line sees: the image's variables and the arguments that have a value.
    vars: Vec<String>,
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
            vars: config.env.clone(),
            config,
            args: Vec::new(),
            cmd_set: false,
            author,
        }
    }

    /// Sets a variable of the image; one that exists keeps its place.
    pub fn set_env(&mut self, name: &str, value: &str) {
        set(&mut self.config.env, name, value);
        set(&mut self.vars, name, value);
    }

    /// Declares an argument. With a value it hides an ENV of that name from the lines below it;
    /// the image keeps what ENV set.
    pub fn set_arg(&mut self, name: String, value: Option<String>) {
        if let Some(value) = value {
            set(&mut self.vars, &name, &value);
        }
        if !self.args.contains(&name) {
            self.args.push(name);
        }
    }

    /// The arguments as RUN's history lists them: each once, with the value in force, which is
    /// empty when none was given.
    pub fn args_with_values(&self) -> Vec<(String, String)> {
        let value = |name: &String| self.value(name).unwrap_or_default().to_owned();
        let all = self.args.iter().map(|name| (name.clone(), value(name)));
        all.collect()
    }

    /// The environment of a RUN: the image's variables and the arguments, the later line winning
    /// where both have a name.
    pub fn run_env(&self) -> Vec<String> {
        self.vars.clone()
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

    /// The variables in force as a map, for callers that change the state while they expand.
    pub fn snapshot(&self) -> BTreeMap<String, String> {
        let names = self.names().into_iter();
        names
            .filter_map(|n| self.value(n).map(|v| (n.to_owned(), v.to_owned())))
            .collect()
    }
}

/// The last line that sets a name wins, be it ENV or ARG: so BuildKit does it.
impl Variables for StageState {
    fn value(&self, name: &str) -> Option<&str> {
        self.vars.iter().find_map(|pair| {
            let (key, value) = pair.split_once('=')?;
            (key == name).then_some(value)
        })
    }

    fn names(&self) -> Vec<&str> {
        let pairs = self.vars.iter();
        pairs
            .filter_map(|pair| pair.split_once('=').map(|(k, _)| k))
            .collect()
    }
}

/// Sets `name` in a list of `NAME=value`; one that exists keeps its place.
fn set(pairs: &mut Vec<String>, name: &str, value: &str) {
    let pair = format!("{name}={value}");
    let same = |old: &&mut String| old.split_once('=').map_or(old.as_str(), |(old, _)| old) == name;
    match pairs.iter_mut().find(same) {
        Some(old) => *old = pair,
        None => pairs.push(pair),
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
    fn env_keeps_its_order_and_the_later_line_wins() {
        let mut state = StageState::new(Config::default(), None);
        state.set_env("A", "1");
        state.set_env("B", "2");
        state.set_env("A", "3");
        assert_eq!(state.config.env[1..], ["A=3", "B=2"]);
        state.set_arg("A".into(), Some("arg".into()));
        state.set_arg("C".into(), Some("c".into()));
        state.set_arg("D".into(), None);
        state.set_arg("C".into(), None);
        assert_eq!(state.value("A"), Some("arg"));
        assert_eq!(state.value("D"), None);
        assert_eq!(
            state.config.env[1..],
            ["A=3", "B=2"],
            "the image keeps ENV's"
        );
        assert_eq!(state.run_env()[1..], ["A=arg", "B=2", "C=c"]);
        state.set_env("C", "env");
        let args = [("A", "arg"), ("C", "env"), ("D", "")];
        let args = args.map(|(name, value)| (name.to_owned(), value.to_owned()));
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
