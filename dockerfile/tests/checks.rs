//! Every build check: a file that violates it, where, and one that does not.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use dockerfile::eval::platform::PlatformParts;
use dockerfile::ignore::IgnoreMatcher;
use dockerfile::lint::{BaseImage, Config, Options, Report, Rule, UnknownBase, lint};
use dockerfile::{Parsed, parse};

fn check_with(source: &str, options: &Options<'_>) -> (Parsed, Report) {
    let parsed = parse(source);
    let report = lint(&parsed, options);
    (parsed, report)
}

/// The violations as `Rule|text under the caret|message`.
fn found_with(source: &str, options: &Options<'_>) -> Vec<String> {
    let (parsed, report) = check_with(source, options);
    report
        .diagnostics
        .iter()
        .map(|d| {
            format!(
                "{}|{}|{}",
                d.code.name(),
                d.span.text(&parsed.source),
                d.message
            )
        })
        .collect()
}

fn found(source: &str) -> Vec<String> {
    found_with(source, &Options::default())
}

fn clean(source: &str) {
    assert_eq!(found(source), Vec::<String>::new(), "{source}");
}

#[test]
fn stage_name_casing() {
    assert_eq!(
        found("FROM scratch AS BuilderBase\n"),
        ["StageNameCasing|BuilderBase|Stage name 'BuilderBase' should be lowercase"]
    );
    clean("FROM scratch AS builder-base\n");
}

#[test]
fn from_as_casing() {
    assert_eq!(
        found("FROM scratch as builder\n"),
        ["FromAsCasing|as|'as' and 'FROM' keywords' casing do not match"]
    );
    clean("from scratch as builder\n");
    clean("FROM scratch AS builder\n");
}

#[test]
fn no_empty_continuation() {
    assert_eq!(
        found("FROM scratch\nEXPOSE \\\n\n80\n"),
        ["NoEmptyContinuation||Empty continuation line"]
    );
    clean("FROM scratch\nEXPOSE \\\n# Port\n80\n");
}

#[test]
fn consistent_instruction_casing() {
    assert_eq!(
        found("FROM scratch\nUSER a\nEntryPoint [\"a\"]\nworkdir /x\n"),
        [
            "ConsistentInstructionCasing|EntryPoint|Command 'EntryPoint' should match the case of the command majority (uppercase)",
            "ConsistentInstructionCasing|workdir|Command 'workdir' should match the case of the command majority (uppercase)",
        ]
    );
    assert_eq!(
        found("from scratch\nuser a\nENV a=b\n"),
        [
            "ConsistentInstructionCasing|ENV|Command 'ENV' should match the case of the command majority (lowercase)"
        ]
    );
    clean("from scratch\nentrypoint [\"a\"]\n");
}

#[test]
fn duplicate_and_reserved_stage_names() {
    assert_eq!(
        found("FROM scratch AS a\nFROM scratch AS A\n")
            .last()
            .unwrap(),
        "DuplicateStageName|A|Duplicate stage name \"a\", stage names should be unique"
    );
    assert_eq!(
        found("FROM alpine AS scratch\nFROM alpine AS context\n"),
        [
            "ReservedStageName|scratch|Stage name should not use the same name as reserved stage \"scratch\"",
            "ReservedStageName|context|Stage name should not use the same name as reserved stage \"context\"",
        ]
    );
    clean("FROM scratch AS a\nFROM scratch AS b\n");
}

#[test]
fn json_args_recommended() {
    assert_eq!(
        found("FROM scratch\nENTRYPOINT my-program start\n"),
        [
            "JSONArgsRecommended|my-program start|JSON arguments recommended for ENTRYPOINT to prevent unintended behavior related to OS signals"
        ]
    );
    clean("FROM scratch\nENTRYPOINT [\"my-program\"]\n");
    clean("FROM scratch\nSHELL [\"/bin/bash\", \"-c\"]\nENTRYPOINT echo\nCMD x\n");
    clean("FROM scratch AS a\nSHELL [\"/s\"]\nFROM a\nCMD x\n");
    let shell = |_: &str, _: Option<&str>| {
        Some(BaseImage {
            has_shell: true,
            ..BaseImage::default()
        })
    };
    let options = Options {
        base_images: &shell,
        ..Options::default()
    };
    assert!(found_with("FROM windows\nCMD x\n", &options).is_empty());
}

#[test]
fn maintainer_deprecated() {
    assert_eq!(
        found("FROM scratch\nMAINTAINER me\n"),
        [
            "MaintainerDeprecated|MAINTAINER|Maintainer instruction is deprecated in favor of using label"
        ]
    );
    clean("FROM scratch\nLABEL org.opencontainers.image.authors=\"me\"\n");
}

#[test]
fn undefined_arg_in_from() {
    assert_eq!(
        found("FROM --platform=$BULIDPLATFORM scratch\n"),
        [
            "UndefinedArgInFrom|$BULIDPLATFORM|FROM argument 'BULIDPLATFORM' is not declared (did you mean BUILDPLATFORM?)"
        ]
    );
    assert_eq!(
        found("FROM node:22${VARIANT}\n"),
        ["UndefinedArgInFrom|${VARIANT}|FROM argument 'VARIANT' is not declared"]
    );
    clean("ARG VARIANT\nFROM node:22${VARIANT}\n");
    clean("FROM --platform=$BUILDPLATFORM node\n");
}

#[test]
fn workdir_relative_path() {
    assert_eq!(
        found("FROM nginx\nWORKDIR app/src\nWORKDIR more\n"),
        [
            "WorkdirRelativePath|app/src|Relative workdir \"app/src\" can have unexpected results if the base image changes"
        ]
    );
    clean("FROM nginx\nWORKDIR /a\nWORKDIR b\n");
    clean("FROM nginx AS a\nWORKDIR /a\nFROM a\nWORKDIR b\n");
}

#[test]
fn undefined_var() {
    assert_eq!(
        found("FROM alpine AS base\nCOPY $foo .\n"),
        ["UndefinedVar|$foo|Usage of undefined variable '$foo'"]
    );
    assert_eq!(
        found("FROM alpine\nENV PATH=$PAHT:/app/bin\n"),
        ["UndefinedVar|$PAHT|Usage of undefined variable '$PAHT' (did you mean $PATH?)"]
    );
    assert_eq!(
        found("FROM alpine\nARG VERSION=$foo\n"),
        ["UndefinedVar|$foo|Usage of undefined variable '$foo'"]
    );
    clean("FROM alpine\nARG foo\nCOPY $foo .\n");
    clean("FROM alpine\nRUN echo $foo\nCMD [\"$foo\"]\nENTRYPOINT [\"$foo\"]\n");
    clean("ARG V=1\nFROM alpine\nARG V\nENV W=$V\nUSER $W\n");
    clean("FROM alpine AS a\nARG V=1\nFROM a\nUSER $V\n");
    clean(
        "FROM alpine\nUSER ${x:-root}\n"
            .replace("${x:-root}", "root")
            .as_str(),
    );
    let python = |_: &str, _: Option<&str>| {
        let env = vec![("PYTHON_VERSION".to_owned(), "3".to_owned())];
        Some(BaseImage {
            env,
            ..BaseImage::default()
        })
    };
    let known = Options {
        base_images: &python,
        ..Options::default()
    };
    assert!(found_with("FROM python\nARG V=$PYTHON_VERSION\n", &known).is_empty());
    let open = Options {
        unknown_base: UnknownBase::Anything,
        ..Options::default()
    };
    assert!(found_with("FROM python\nARG V=$PYTHON_VERSION\n", &open).is_empty());
    assert_eq!(found_with("FROM scratch\nUSER $x\n", &open).len(), 1);
    // A here-document is expanded too, unless its delimiter is quoted.
    assert_eq!(found("FROM scratch\nCOPY <<EOF /x\n$foo\nEOF\n").len(), 1);
    clean("FROM scratch\nCOPY <<'EOF' /x\n$foo\nEOF\n");
    assert_eq!(
        found("FROM scratch\nRUN --mount=target=$foo true\n").len(),
        1
    );
}

#[test]
fn multiple_instructions_disallowed() {
    assert_eq!(
        found("FROM scratch\nCMD [\"a\"]\nCMD [\"b\"]\n"),
        [
            "MultipleInstructionsDisallowed|CMD [\"a\"]|Multiple CMD instructions should not be used in the same stage because only the last one will be used"
        ]
    );
    assert_eq!(
        found("FROM scratch\nHEALTHCHECK NONE\nHEALTHCHECK CMD x\nENTRYPOINT [\"a\"]\nENTRYPOINT [\"a\"]\n").len(),
        2
    );
    clean("FROM scratch AS a\nCMD [\"a\"]\nHEALTHCHECK CMD [\"x\"]\nFROM a\nCMD [\"b\"]\n");
}

#[test]
fn legacy_key_value_format() {
    assert_eq!(
        found("FROM scratch\nENV a b c\n"),
        [
            "LegacyKeyValueFormat|a b c|\"ENV key=value\" should be used instead of legacy \"ENV key value\" format"
        ]
    );
    assert_eq!(found("FROM scratch\nLABEL a b\n").len(), 1);
    clean("FROM scratch\nENV a=b c=\"d e\"\n");
}

#[test]
fn platforms_in_from() {
    assert_eq!(
        found("FROM --platform=$TARGETPLATFORM alpine\n"),
        [
            "RedundantTargetPlatform|$TARGETPLATFORM|Setting platform to predefined $TARGETPLATFORM in FROM is redundant as this is the default behavior"
        ]
    );
    assert_eq!(
        found("FROM --platform=linux/amd64 alpine AS base\n"),
        [
            "FromPlatformFlagConstDisallowed|linux/amd64|FROM --platform flag should not use constant value \"linux/amd64\""
        ]
    );
    clean("FROM --platform=linux/arm64 alpine AS build_arm64\n");
    clean("FROM --platform=${BUILDPLATFORM} alpine AS base\n");
}

#[test]
fn invalid_base_image_platform() {
    let arm = |_: &str, _: Option<&str>| {
        Some(BaseImage {
            platform: Some("linux/arm64".to_owned()),
            ..BaseImage::default()
        })
    };
    let options = Options {
        base_images: &arm,
        ..Options::default()
    };
    assert_eq!(
        found_with("FROM alpine\n", &options),
        [
            "InvalidBaseImagePlatform|alpine|Base image alpine was pulled with platform \"linux/arm64\", expected \"linux/amd64\" for current build"
        ]
    );
    let options = Options {
        target_platform: PlatformParts::new("linux/arm64/v8"),
        ..options
    };
    assert!(found_with("FROM alpine\n", &options).is_empty());
}

#[test]
fn secrets_used_in_arg_or_env() {
    assert_eq!(
        found("FROM scratch\nARG AWS_SECRET_ACCESS_KEY\nENV token=x\n"),
        [
            "SecretsUsedInArgOrEnv|AWS_SECRET_ACCESS_KEY|Do not use ARG or ENV instructions for sensitive data (ARG \"AWS_SECRET_ACCESS_KEY\")",
            "SecretsUsedInArgOrEnv|token|Do not use ARG or ENV instructions for sensitive data (ENV \"token\")",
        ]
    );
    clean("FROM scratch\nENV PASSWORD_FILE=/run/x PUBLIC_KEY=y\n");
}

#[test]
fn invalid_default_arg_in_from() {
    assert_eq!(
        found("ARG TAG\nFROM busybox:${TAG}\n"),
        [
            "InvalidDefaultArgInFrom|busybox:${TAG}|Default value for ARG busybox:${TAG} results in empty or invalid base image name"
        ]
    );
    clean("ARG TAG=latest\nFROM busybox:${TAG}\n");
    clean("ARG VARIANT\nFROM busybox:stable${VARIANT}\n");
    clean("ARG TAG\nFROM alpine:${TAG:-3.14}\n");
}

#[test]
fn expose_rules() {
    assert_eq!(
        found("FROM scratch\nEXPOSE 127.0.0.1:80:80\n"),
        [
            "ExposeInvalidFormat|127.0.0.1:80:80|EXPOSE instruction should not define an IP address or host-port mapping, found '127.0.0.1:80:80'"
        ]
    );
    assert_eq!(
        found("FROM scratch\nEXPOSE 80/TcP\n"),
        [
            "ExposeProtoCasing|80/TcP|Defined protocol '80/TcP' in EXPOSE instruction should be lowercase"
        ]
    );
    clean("FROM scratch\nEXPOSE 80 81/udp 8000-8010/tcp\n");
}

#[test]
fn experimental_rules_run_when_asked_for() {
    let ignore = IgnoreMatcher::from_file("*/tmp/*\n").unwrap();
    let options = Options {
        ignore: Some(&ignore),
        ..Options::default()
    };
    let copy = "FROM scratch\nCOPY ./a/tmp/x /x\nADD b /b\n";
    assert!(found_with(copy, &options).is_empty());
    assert_eq!(
        found_with(
            &format!("# check=experimental=CopyIgnoredFile\n{copy}"),
            &options
        ),
        [
            "CopyIgnoredFile|./a/tmp/x|Attempting to Copy file \"a/tmp/x\" that is excluded by .dockerignore"
        ]
    );
    let described = "# nothing about it\nFROM scratch AS base\n\n# other\nARG VERSION=1\n";
    clean(described);
    assert_eq!(
        found(&format!("# check=experimental=all\n{described}")),
        [
            "InvalidDefinitionDescription|# nothing about it|Comment for FROM should follow the format: `# base <description>`",
            "InvalidDefinitionDescription|# other|Comment for ARG should follow the format: `# VERSION <description>`",
        ]
    );
    clean(
        "# check=experimental=all\n# base is the base\nFROM scratch AS base\n# VERSION of it\nARG VERSION\n",
    );
    clean("# check=experimental=all\n# other\n\nFROM scratch AS base\n# a\n#\nARG VERSION\n");
}

#[test]
fn the_directive_skips_and_fails() {
    let source = "# check=skip=StageNameCasing;error=true\nFROM scratch AS Base\nMAINTAINER me\n";
    let (_, report) = check_with(source, &Options::default());
    assert_eq!(
        report.rules().collect::<Vec<_>>(),
        [Rule::MaintainerDeprecated]
    );
    assert!(report.error_on_violation && report.fails_build() && report.has_violations());
    let config = Config::parse("skip=all").unwrap();
    let options = Options {
        config: Some(&config),
        ..Options::default()
    };
    assert!(check_with(source, &options).1.diagnostics.is_empty());
    let (_, report) = check_with("# check=skp=x\nFROM scratch\n", &Options::default());
    assert!(report.fails_build() && !report.has_violations());
}

#[test]
fn only_needed_stages_are_checked_for_a_target() {
    let source = "FROM a AS base\nENV x y\nFROM b AS other\nENV x y\nFROM base AS last\nCOPY --from=other a b\nFROM c AS unused\nENV x y\n";
    let lines = |target: Option<&str>| {
        let options = Options {
            target,
            ..Options::default()
        };
        let (parsed, report) = check_with(source, &options);
        let index = dockerfile::span::LineIndex::new(&parsed.source);
        report
            .diagnostics
            .iter()
            .map(|d| index.line(d.span.start))
            .collect::<Vec<_>>()
    };
    assert_eq!(lines(None), [2, 4, 8]);
    assert_eq!(lines(Some("")), [8]);
    assert_eq!(lines(Some("base")), [2]);
    assert_eq!(lines(Some("last")), [2, 4]);
}

#[test]
fn triggers_are_checked_where_they_fire() {
    let source = "FROM scratch AS base\nONBUILD ENV a b\nONBUILD CMD [\"x\"]\nFROM base AS child\nCMD [\"y\"]\n";
    assert_eq!(
        found(source),
        [
            "LegacyKeyValueFormat|base|\"ENV key=value\" should be used instead of legacy \"ENV key value\" format",
            "MultipleInstructionsDisallowed|base|Multiple CMD instructions should not be used in the same stage because only the last one will be used",
        ]
    );
    let image = |_: &str, _: Option<&str>| {
        let onbuild = vec!["USER $nobody".to_owned()];
        Some(BaseImage {
            onbuild,
            ..BaseImage::default()
        })
    };
    let options = Options {
        base_images: &image,
        ..Options::default()
    };
    assert_eq!(
        found_with("FROM img\n", &options),
        ["UndefinedVar|img|Usage of undefined variable '$nobody'"]
    );
}

#[test]
fn words_that_cannot_be_expanded_are_errors() {
    let (_, report) = check_with(
        "FROM scratch\nUSER ${x:?set x}\nENV a=${b\n",
        &Options::default(),
    );
    let messages: Vec<&str> = report
        .diagnostics
        .iter()
        .map(|d| d.message.as_str())
        .collect();
    assert_eq!(messages, ["x: set x", "syntax error: missing '}'"]);
    assert!(report.fails_build());
}

#[test]
fn build_arguments_count() {
    let args = [("TAG", "1"), ("x", "y")];
    let args = args.as_slice();
    let options = Options {
        build_args: &args,
        ..Options::default()
    };
    let source = "ARG TAG\nFROM busybox:$TAG\nARG x\nUSER $x\n";
    assert_eq!(
        found_with(source, &options),
        [
            "InvalidDefaultArgInFrom|busybox:$TAG|Default value for ARG busybox:$TAG results in empty or invalid base image name"
        ]
    );
    assert!(
        found("ARG B\nFROM $B\nENV a b\n")
            .iter()
            .any(|f| f.contains("should not be blank"))
    );
}

#[test]
fn directives_work_below_a_shebang_and_not_behind_blanks() {
    clean("#!/usr/bin/env x\n# check=skip=all\nFROM alpine\nCMD x\n");
    assert_eq!(found("  # check=skip=all\nFROM alpine\nCMD x\n").len(), 1);
    let parsed = parse("#!/bin/x\n# escape=`\nFROM scratch\n");
    assert_eq!(parsed.dockerfile.directives.escape_char(), '\\');
    let parsed = parse("  # escape=`\nFROM scratch\n");
    assert_eq!(parsed.dockerfile.directives.escape_char(), '`');
}

#[test]
fn triggers_are_stored_as_they_are_and_warned_of() {
    for trigger in ["FOO", "COPY a", "RUN --bogus x", "COPY --from=$x a b"] {
        let parsed = parse(&format!("FROM scratch\nONBUILD {trigger}\n"));
        assert!(!parsed.has_errors(), "{trigger}: {:?}", parsed.diagnostics);
        let warned = parsed.diagnostics.iter();
        let warned = warned.filter(|d| d.message.starts_with("images based on this one"));
        assert_eq!(warned.count(), 1, "{trigger}");
    }
    for trigger in ["ONBUILD RUN x", "FROM x", "MAINTAINER x"] {
        let parsed = parse(&format!("FROM scratch\nONBUILD {trigger}\n"));
        assert!(parsed.has_errors(), "{trigger}");
    }
}

#[test]
fn the_platform_of_a_from_is_what_its_base_is_compared_with() {
    let base = |_: &str, _: Option<&str>| {
        Some(BaseImage {
            platform: Some("linux/arm64".to_owned()),
            ..BaseImage::default()
        })
    };
    let options = Options {
        base_images: &base,
        ..Options::default()
    };
    let rules = |text: &str| found_with(text, &options).len();
    assert_eq!(rules("FROM a\n"), 1);
    assert_eq!(rules("FROM --platform=linux/arm64 a AS arm64\n"), 0);
    assert_eq!(rules("FROM --platform=linux/s390x a AS s390x\n"), 1);
}

#[test]
fn ports_of_the_host_are_named_by_something_before_the_colon() {
    clean("FROM scratch\nEXPOSE :80\n");
    assert_eq!(found("FROM scratch\nEXPOSE 1:80\n").len(), 1);
}

#[test]
fn a_refused_file_has_the_violations_above_its_first_error() {
    let parsed = parse("FROM a AS B\nRUM x\nFROM c AS D\nMAINTAINER me\n");
    let report = dockerfile::lint::lint_text(&parsed);
    let rules: Vec<&str> = report.rules().map(Rule::name).collect();
    assert_eq!(rules, ["StageNameCasing"]);
}
