//! `SOURCE_DATE_EPOCH`: the moment that everything made is dated to, given with `--build-arg` or
//! as the default of an ARG before the first FROM (BuildKit's `docs/build-repro.md`).

use dockerfile::diagnostic::{Code, Diagnostic};
use dockerfile::eval::expand_word;
use dockerfile::instruction::Kind;
use dockerfile::shell::Lexer;
use dockerfile::span::Span;
use dockerfile::stage::Dockerfile;
use oci::Digest;
use oci::config::Config;

use super::args::EPOCH;
use super::copy::CopySource;
use super::expand::{Declared, StageInput, expand_stage};
use super::graph::{Graph, GraphOptions};
use super::named::NamedContext;
use super::step::Op;

/// What a build is to be dated to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Epoch {
    /// Nothing.
    Unset,
    /// Seconds since 1970.
    At(i64),
    /// `context`: the build context's commit, or when it was last modified.
    Context,
    /// The same of a named context.
    Named(String),
    /// A stage that only adds something remote: when that is of.
    Added {
        /// What it adds: a URL or a repository.
        source: CopySource,
        /// `--checksum`
        checksum: Option<Digest>,
    },
}

/// Why that cannot be known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EpochError {
    /// What `--build-arg` or the environment says is nothing of that kind.
    Given(String),
    /// The Dockerfile is wrong.
    Written(Vec<Diagnostic>),
}

/// What a build is to be dated to.
///
/// # Errors
/// A value that is neither a number nor `context` nor a name, and stages that do more than to add
/// one thing.
pub fn wanted(file: &Dockerfile, options: &GraphOptions<'_>) -> Result<Epoch, EpochError> {
    let (graph, _) = Graph::sketch(file, options, 0);
    let default = graph.global.get(EPOCH).map(String::as_str);
    let Some(value) = options.args.get(EPOCH).or(default) else {
        return Ok(Epoch::Unset);
    };
    if value.is_empty() {
        return Ok(Epoch::Unset);
    }
    if let Ok(seconds) = value.parse() {
        return Ok(Epoch::At(seconds));
    }
    if value == "context" {
        return Ok(Epoch::Context);
    }
    if let Some((name, context)) = options.named.get(value) {
        return Ok(match context {
            NamedContext::Tree => Epoch::Named(name.to_owned()),
            _ => Epoch::Unset,
        });
    }
    match file.stages.iter().position(|stage| stage.is_named(value)) {
        Some(index) => added(file, options, graph, index),
        None => Err(unknown(file, options, value)),
    }
}

fn unknown(file: &Dockerfile, options: &GraphOptions<'_>, value: &str) -> EpochError {
    let what = "expected seconds since 1970, `context`, or the name of a context or of a stage";
    let mut written = file.global_args.iter().flat_map(|global| &global.arg.args);
    let written = written.rfind(|def| def.name.as_str() == EPOCH);
    match written.and_then(|def| def.default.as_ref()) {
        Some(default) if options.args.get(EPOCH).is_none() => {
            let message = format!("invalid {EPOCH}: {value}");
            let error = Diagnostic::error(Code::InvalidArgument, message, default.span);
            EpochError::Written(vec![error.help(what)])
        }
        _ => EpochError::Given(format!("invalid {EPOCH} {value:?}: {what}")),
    }
}

/// The one thing that a stage adds.
fn added(
    file: &Dockerfile,
    options: &GraphOptions<'_>,
    mut graph: Graph,
    index: usize,
) -> Result<Epoch, EpochError> {
    let wrong = |message: &str, span: Span| {
        let message = format!("{EPOCH} {message}");
        let error = Diagnostic::error(Code::InvalidArgument, message, span);
        EpochError::Written(vec![error.help(
            "a stage that dates the build is FROM scratch and one ADD of a URL or repository",
        )])
    };
    // It cannot depend on what it says.
    graph.global.remove(EPOCH);
    let (Some(stage), Some(plan)) = (file.stages.get(index), graph.stages.get(index)) else {
        return Ok(Epoch::Unset);
    };
    let lexer = Lexer::new(file.directives.escape_char());
    let base = expand_word(lexer, &stage.base, &graph.global);
    let base = base.map_err(|e| EpochError::Written(vec![e]))?;
    if base != "scratch" {
        return Err(wrong("stage must use FROM scratch", stage.base.span));
    }
    for instruction in &stage.instructions {
        if !matches!(instruction.kind, Kind::Arg(_) | Kind::Add(_)) {
            let message = "stage may have ARG and one ADD, and nothing else";
            return Err(wrong(message, instruction.header.span));
        }
    }
    let expanded = expand_stage(&StageInput {
        names: options.names(file),
        stage: plan,
        global: &graph.global,
        args: options.args,
        consent: options.consent.clone(),
        base: Config::default(),
        author: None,
        declared: Declared::default(),
        open: false,
    });
    let expanded = expanded.map_err(|e| EpochError::Written(e.0))?;
    let mut adds = expanded
        .steps
        .into_iter()
        .filter_map(|step| match step.op? {
            Op::Copy(copy) => Some(copy),
            _ => None,
        });
    let remote = |source: &CopySource| matches!(source, CopySource::Url(_) | CopySource::Git(_));
    match (adds.next(), adds.next()) {
        (Some(mut add), None) if add.sources.len() == 1 && add.sources.iter().all(remote) => {
            Ok(Epoch::Added {
                source: add.sources.remove(0),
                checksum: add.checksum,
            })
        }
        _ => {
            let message = "stage must contain exactly one remote ADD";
            Err(wrong(message, stage.header.span))
        }
    }
}

#[cfg(test)]
mod tests {
    use oci::Platform;

    use super::*;
    use crate::plan::{BuildArgs, Consent, NamedContexts};

    fn epoch(text: &str, given: Option<&str>) -> Result<Epoch, String> {
        let parsed = dockerfile::parse(text);
        let platform: Platform = "linux/amd64".parse().unwrap();
        let given = given.map(|value| (EPOCH.to_owned(), value.to_owned()));
        let args = BuildArgs::new(given);
        let named: NamedContexts = [("src".to_owned(), NamedContext::Tree)]
            .into_iter()
            .collect();
        let found = wanted(
            &parsed.dockerfile,
            &GraphOptions {
                target: "",
                args: &args,
                build_platform: &platform,
                target_platform: &platform,
                named: &named,
                consent: Consent::default(),
            },
        );
        found.map_err(|e| match e {
            EpochError::Given(text) => text,
            EpochError::Written(found) => format!("{}: {}", found[0].span.start, found[0].message),
        })
    }

    #[test]
    fn what_is_given_counts_more_than_the_default() {
        for (text, given, expected) in [
            ("FROM scratch\n", None, Epoch::Unset),
            ("FROM scratch\n", Some("5"), Epoch::At(5)),
            ("FROM scratch\n", Some(""), Epoch::Unset),
            (
                "ARG SOURCE_DATE_EPOCH=7\nFROM scratch\n",
                None,
                Epoch::At(7),
            ),
            (
                "ARG SOURCE_DATE_EPOCH=7\nFROM scratch\n",
                Some("5"),
                Epoch::At(5),
            ),
            (
                "ARG SOURCE_DATE_EPOCH=7\nFROM scratch\n",
                Some(""),
                Epoch::Unset,
            ),
            (
                "ARG T=1\nARG SOURCE_DATE_EPOCH=${T}2\nFROM scratch\n",
                None,
                Epoch::At(12),
            ),
            ("ARG SOURCE_DATE_EPOCH\nFROM scratch\n", None, Epoch::Unset),
            // Only the global scope dates the build.
            (
                "FROM scratch\nARG SOURCE_DATE_EPOCH=7\n",
                None,
                Epoch::Unset,
            ),
            (
                "ARG SOURCE_DATE_EPOCH=context\nFROM scratch\n",
                None,
                Epoch::Context,
            ),
            (
                "FROM scratch AS src\n",
                Some("src"),
                Epoch::Named("src".to_owned()),
            ),
        ] {
            assert_eq!(epoch(text, given), Ok(expected), "{text} {given:?}");
        }
        let error = epoch("FROM scratch\n", Some("soon")).unwrap_err();
        assert!(
            error.starts_with("invalid SOURCE_DATE_EPOCH \"soon\""),
            "{error}"
        );
        let error = epoch("ARG SOURCE_DATE_EPOCH=soon\nFROM scratch\n", None).unwrap_err();
        assert_eq!(error, "22: invalid SOURCE_DATE_EPOCH: soon");
    }

    #[test]
    fn a_stage_that_adds_one_thing_tells_its_time() {
        let start = "ARG SOURCE_DATE_EPOCH=Base\nARG V=1\n";
        let text = format!(
            "{start}FROM scratch AS base\nARG V\nADD --checksum=0123456 https://h/r.git#v$V /\n\
             FROM scratch\n"
        );
        let Ok(Epoch::Added { source, checksum }) = epoch(&text, None) else {
            panic!("{:?}", epoch(&text, None));
        };
        let CopySource::Git(git) = source else {
            panic!("{source:?}");
        };
        assert_eq!(git.source.reference.as_deref(), Some("v1"));
        assert_eq!(git.source.checksum.as_deref(), Some("0123456"));
        assert_eq!(checksum, None);
        for (stage, why) in [
            (
                "FROM busybox AS base\nADD http://h/f /\n",
                "must use FROM scratch",
            ),
            ("FROM scratch AS base\nADD f /\n", "exactly one remote ADD"),
            (
                "FROM scratch AS base\nADD http://h/f http://h/g /\n",
                "exactly one remote ADD",
            ),
            (
                "FROM scratch AS base\nADD http://h/f /\nADD http://h/g /\n",
                "exactly one remote ADD",
            ),
            (
                "FROM scratch AS base\nADD http://h/f /\nENV A=1\n",
                "and nothing else",
            ),
            ("FROM scratch AS base\n", "exactly one remote ADD"),
        ] {
            let error = epoch(&format!("{start}{stage}FROM scratch\n"), None).unwrap_err();
            assert!(error.contains(why), "{stage}: {error}");
        }
    }
}
