//! `--change` of an import: Dockerfile instructions on an empty configuration.

use std::sync::Arc;

use dockerfile::diagnostic::{Code, Diagnostic};
use dockerfile::instruction::{Instruction, Kind};
use oci::Platform;
use oci::config::Config;

use super::expand::{Declared, StageInput, expand_stage};
use super::graph::GraphOptions;
use super::{BuildArgs, Consent, Graph, NamedContexts, PlanError};

/// What `--change` may say, as `docker import` has it.
const CHANGES: &str = "CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL, ONBUILD, SHELL, \
                       STOPSIGNAL, USER, VOLUME and WORKDIR";

/// Instructions of `--change` that are wrong, with the text that their places are in.
#[derive(Clone, Debug)]
pub struct ChangeError {
    /// What is wrong.
    pub diagnostics: Vec<Diagnostic>,
    /// The text.
    pub source: String,
}

/// The configuration that Dockerfile instructions make of another; an empty one, as a rule.
///
/// # Errors
/// Every mistake, with its place.
pub fn changed_config(
    base: Config,
    changes: &[String],
    platform: &Platform,
) -> Result<Config, ChangeError> {
    if changes.is_empty() {
        return Ok(base);
    }
    let had_path = base.env.iter().any(|pair| pair.starts_with("PATH="));
    // As a Dockerfile, so that all of its syntax is the Dockerfile's.
    let text = format!("FROM scratch\n{}\n", changes.join("\n"));
    let parsed = dockerfile::parse(&text);
    let wrong = |diagnostics| ChangeError {
        diagnostics,
        source: parsed.source.clone(),
    };
    if parsed.has_errors() {
        return Err(wrong(parsed.diagnostics.clone()));
    }
    let [stage] = parsed.dockerfile.stages.as_slice() else {
        let second = parsed.dockerfile.stages.get(1);
        let span = second.map(|stage| stage.header.span).unwrap_or_default();
        return Err(wrong(vec![refused("FROM", span)]));
    };
    let found: Vec<Diagnostic> = stage
        .instructions
        .iter()
        .filter(|instruction| !is_change(instruction))
        .map(|i| refused(i.kind.keyword(), i.header.keyword.span))
        .collect();
    if !found.is_empty() {
        return Err(wrong(found));
    }
    let expand = || -> Result<Config, PlanError> {
        let (args, named) = (BuildArgs::default(), NamedContexts::default());
        let options = GraphOptions {
            target: "",
            args: &args,
            build_platform: platform,
            target_platform: platform,
            named: &named,
            consent: Consent::default(),
        };
        let graph = Graph::new(&parsed.dockerfile, &options)?;
        let mut config = Config::default();
        for stage in &graph.stages {
            let expanded = expand_stage(&StageInput {
                names: options.names(&parsed.dockerfile),
                stage,
                global: &graph.global,
                args: &args,
                consent: options.consent.clone(),
                base: base.clone(),
                author: None,
                declared: Declared::default(),
                open: false,
            })?;
            config = Arc::unwrap_or_clone(expanded.config);
        }
        Ok(config)
    };
    let mut config = expand().map_err(|e| wrong(e.0))?;
    // As docker has it: only builds say this of a CMD.
    config.args_escaped = base.args_escaped;
    // The default of builds is not wanted here.
    if !had_path && !stage.instructions.iter().any(sets_path) {
        config.env.retain(|pair| !pair.starts_with("PATH="));
    }
    Ok(config)
}

fn refused(keyword: &str, span: dockerfile::span::Span) -> Diagnostic {
    let message = format!("{keyword} is not a valid change command");
    Diagnostic::error(Code::InvalidArgument, message, span)
        .help(format!("an image can be changed by {CHANGES}"))
}

fn is_change(instruction: &Instruction) -> bool {
    !matches!(
        instruction.kind,
        Kind::Add(_) | Kind::Arg(_) | Kind::Copy(_) | Kind::Maintainer(_) | Kind::Run(_)
    )
}

fn sets_path(instruction: &Instruction) -> bool {
    match &instruction.kind {
        Kind::Env(env) => env.pairs.iter().any(|pair| pair.key.as_str() == "PATH"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(changes: &[&str]) -> Result<Config, ChangeError> {
        let changes: Vec<String> = changes.iter().map(|c| (*c).to_owned()).collect();
        changed_config(Config::default(), &changes, &Platform::host())
    }

    #[test]
    fn changes_are_read_as_in_a_dockerfile() {
        let config = changed(&[
            "ENV NAME=\"a b\"",
            "CMD [\"sh\", \"-l\"]",
            "EXPOSE 80 53/udp",
            "WORKDIR /srv",
            "VOLUME /data",
            "USER 1000:1000",
            "LABEL a=b",
            "STOPSIGNAL SIGINT",
            "ONBUILD RUN true",
            "HEALTHCHECK NONE",
        ])
        .unwrap();
        assert_eq!(config.env, ["NAME=a b"]);
        assert_eq!(config.cmd.unwrap(), ["sh", "-l"]);
        assert_eq!(config.args_escaped, None);
        let ports: Vec<_> = config.exposed_ports.keys().collect();
        assert_eq!(ports, ["53/udp", "80/tcp"]);
        assert_eq!(config.working_dir, "/srv");
        assert!(config.volumes.contains_key("/data"));
        assert_eq!(config.user, "1000:1000");
        assert_eq!(config.labels["a"], "b");
        assert_eq!(config.stop_signal.as_deref(), Some("SIGINT"));
        assert_eq!(config.on_build, ["RUN true"]);
        assert_eq!(config.healthcheck.unwrap().test, ["NONE"]);
        let path = changed(&["ENV PATH=/bin"]).unwrap();
        assert_eq!(path.env, ["PATH=/bin"]);
        assert_eq!(changed(&[]).unwrap(), Config::default());
    }

    #[test]
    fn what_would_change_files_is_refused() {
        for (change, keyword) in [
            ("RUN true", "RUN"),
            ("COPY a b", "COPY"),
            ("ARG a", "ARG"),
            ("FROM x", "FROM"),
        ] {
            let error = changed(&[change]).unwrap_err();
            let message = &error.diagnostics[0].message;
            assert_eq!(*message, format!("{keyword} is not a valid change command"));
        }
        assert!(changed(&["FOO bar"]).is_err());
    }
}
