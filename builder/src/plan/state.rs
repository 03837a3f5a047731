//! What a stage has set so far: its configuration, and the variables its next line sees.

use std::borrow::Cow;

use dockerfile::diagnostic::{Code, Diagnostic};
use dockerfile::eval::global::Scope;
use dockerfile::eval::stage::{StageVariables, set};
use dockerfile::eval::{ArgValue, arg_value, expand_word};
use dockerfile::instruction::{Arg, Env};
use dockerfile::shell::{Lexer, Variables};
use dockerfile::stage::DEFAULT_PATH;
use oci::config::Config;

use super::args::BuildArgs;
use super::windows;

/// The state of a stage between two instructions.
#[derive(Clone, Debug)]
pub struct StageState {
    /// The configuration of the image so far.
    pub config: Config,
    /// What the next line sees.
    variables: StageVariables,
    /// Whether CMD was set in this stage.
    pub cmd_set: bool,
    /// MAINTAINER's.
    pub author: Option<String>,
    /// It is for Windows.
    windows: bool,
}

/// What a stage hands down beside its image: the values of its arguments, which stages based on
/// it see too (reference, "ARG", scope). The history of a RUN lists only a stage's own.
#[derive(Clone, Debug, Default)]
pub struct Declared(Option<StageVariables>);

impl StageState {
    /// The state of a stage on a base, which declared arguments if it is a stage.
    pub fn new(
        mut config: Config,
        author: Option<String>,
        declared: Declared,
        windows: bool,
    ) -> Self {
        config.on_build.clear();
        if !windows && !config.env.iter().any(|pair| pair.starts_with("PATH=")) {
            config.env.push(format!("PATH={DEFAULT_PATH}"));
        }
        Self {
            variables: match declared.0 {
                Some(below) => below.inherited(),
                None if windows => StageVariables::of_environment(&config.env),
                None => StageVariables::of_image(&config.env),
            },
            config,
            cmd_set: false,
            author,
            windows,
        }
    }

    /// What stages based on this one see of its arguments.
    pub fn declared(&self) -> Declared {
        Declared(Some(self.variables.clone()))
    }

    /// Sets a variable of the image; one that exists keeps its place.
    fn set_env(&mut self, name: &str, value: &str) {
        set(&mut self.config.env, name, value);
        self.variables.set_env(name, value);
    }

    /// ARG: declares its arguments, each with the value that was given, its default, or the
    /// global scope's; returns them.
    ///
    /// # Errors
    /// When a word of it cannot be expanded.
    pub fn declare(
        &mut self,
        lexer: Lexer,
        arg: &Arg,
        given: &BuildArgs,
        global: &Scope,
    ) -> Result<Vec<(String, Option<String>)>, Diagnostic> {
        let mut declared = Vec::new();
        for def in &arg.args {
            // Names are taken as they are written.
            let name = def.name.as_str().to_owned();
            let value = match arg_value(def, given, global) {
                ArgValue::Known(value) => Some(value.to_owned()),
                ArgValue::Default(default) => Some(expand_word(lexer, default, self)?),
                ArgValue::None => None,
            };
            self.variables.set_arg(&name, value.as_deref());
            declared.push((name, value));
        }
        Ok(declared)
    }

    /// ENV: sets its variables and returns them. Every pair of a line sees the variables as they
    /// were before the line.
    ///
    /// # Errors
    /// When a word of it cannot be expanded, or a name is empty.
    pub fn assign(&mut self, lexer: Lexer, env: &Env) -> Result<Vec<(String, String)>, Diagnostic> {
        let mut assigned = Vec::new();
        for pair in &env.pairs {
            let key = expand_word(lexer, &pair.key, self)?;
            let value = expand_word(lexer, &pair.value, self)?;
            if key.is_empty() {
                let message = "the name of the variable is empty";
                let code = Code::InvalidArgument;
                return Err(Diagnostic::error(code, message, pair.key.span));
            }
            assigned.push((key, value));
        }
        for (key, value) in &assigned {
            self.set_env(key, value);
        }
        Ok(assigned)
    }

    /// The arguments as RUN's history lists them: each once, with the value in force, which is
    /// empty when none was given.
    pub fn args_with_values(&self) -> Vec<(String, String)> {
        let value = |name: &String| self.value(name).unwrap_or_default().to_owned();
        let all = self
            .variables
            .declared()
            .iter()
            .map(|name| (name.clone(), value(name)));
        all.collect()
    }

    /// The environment of a RUN: the image's variables and the arguments, the later line winning
    /// where both have a name.
    pub fn run_env(&self) -> Vec<String> {
        self.variables.pairs().to_vec()
    }

    /// The same in the order in which they were set last.
    pub fn run_env_as_set(&self) -> Vec<String> {
        self.variables.pairs_as_set()
    }

    /// The words that a shell form is run by.
    pub fn shell(&self) -> Vec<String> {
        match &self.config.shell {
            Some(shell) if !shell.is_empty() => shell.clone(),
            _ if self.windows => windows::SHELL.map(str::to_owned).to_vec(),
            _ => vec!["/bin/sh".to_owned(), "-c".to_owned()],
        }
    }

    /// The working directory, `/` when none was set, as Linux writes it.
    pub fn cwd(&self) -> Cow<'_, str> {
        match &*self.config.working_dir {
            "" => Cow::Borrowed("/"),
            dir if self.windows => Cow::Owned(windows::slashed(dir).unwrap_or_default()),
            dir => Cow::Borrowed(dir),
        }
    }

    /// A path that was written for the stage's system, as Linux writes it.
    ///
    /// # Errors
    /// When it is nowhere in an image.
    pub fn path(&self, written: &str) -> Result<String, String> {
        match self.windows {
            true => windows::slashed(written),
            false => Ok(written.to_owned()),
        }
    }

    /// Sets the working directory to what a WORKDIR asks for; returns it as it is written in the
    /// image, and as Linux writes it.
    pub fn set_cwd(&mut self, path: &str) -> (String, String) {
        let (written, path) = match self.windows {
            true => {
                let path = join(&self.cwd(), path);
                (windows::written(&path), path)
            }
            false => {
                let path = working_dir(&self.cwd(), path);
                (path.clone(), path)
            }
        };
        self.config.working_dir.clone_from(&written);
        (written, path)
    }
}

impl Variables for StageState {
    fn value(&self, name: &str) -> Option<&str> {
        self.variables.value(name)
    }

    fn names(&self) -> Vec<&str> {
        self.variables.names()
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

/// The directory that a WORKDIR asks for, as BuildKit writes it: an absolute path as it is, a
/// relative one joined to the directory before it, which stays when nothing is asked for.
fn working_dir(cwd: &str, path: &str) -> String {
    match path {
        "" => cwd.to_owned(),
        path if path.starts_with('/') => path.to_owned(),
        path => join(cwd, path),
    }
}

/// The absolute destination of COPY and ADD: what means a directory keeps a trailing slash. One
/// that is empty once it is expanded is the directory that the instruction stands in.
pub fn destination(cwd: &str, dest: &str) -> String {
    let mut joined = join(cwd, dest);
    // `--link` sees no tree in which it could find that these are directories.
    let is_dir = matches!(dest.rsplit('/').next(), None | Some("" | "." | ".."));
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
        let mut state = StageState::new(Config::default(), None, Declared::default(), false);
        state.set_env("A", "1");
        state.set_env("B", "2");
        state.set_env("A", "3");
        assert_eq!(state.config.env[1..], ["A=3", "B=2"]);
        state.variables.set_arg("A", Some("arg"));
        state.variables.set_arg("C", Some("c"));
        state.variables.set_arg("D", None);
        state.variables.set_arg("C", None);
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

    /// What docker 28 has as WorkingDir.
    #[test]
    fn working_directories_are_what_buildkit_makes_of_them() {
        for (path, written) in [
            ("/a/.", "/a/."),
            ("/a/", "/a/"),
            ("foo/", "/p/q/foo"),
            ("foo/.", "/p/q/foo"),
            (".", "/p/q"),
            ("..", "/p"),
            ("../", "/p"),
            ("../..", "/"),
            ("/", "/"),
            ("//", "//"),
            ("/a/../b/", "/a/../b/"),
            ("/a//b", "/a//b"),
            ("a//b/../c", "/p/q/a/c"),
            ("/.", "/."),
            ("", "/p/q"),
        ] {
            assert_eq!(working_dir("/p/q", path), written, "{path}");
        }
        assert_eq!(working_dir("/a/../b/", "c"), "/b/c");
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
            ("/app", "", "/app/"),
            ("/app/x", "..", "/app/"),
            ("/app", "/x/y/..", "/x/"),
            ("/app", "x..", "/app/x.."),
        ] {
            assert_eq!(destination(cwd, dest), absolute, "{dest} in {cwd}");
        }
    }
}
