//! Comments and other text behind an instruction's arguments.

use dockerfile::diagnostic::{Code, Severity};
use dockerfile::lint::{Options, Rule, lint};
use dockerfile::{Parsed, parse};

fn in_stage(line: &str) -> Parsed {
    parse(&format!("FROM scratch\n{line}\n"))
}

/// The one error of a file with this line, and its help.
fn error(line: &str) -> (String, String) {
    let parsed = in_stage(line);
    let errors: Vec<_> = parsed.diagnostics.iter().filter(|d| d.is_error()).collect();
    assert_eq!(errors.len(), 1, "{line}: {errors:?}");
    let help = errors[0].help.clone().unwrap_or_default();
    (errors[0].message.clone(), help)
}

#[test]
fn a_comment_after_an_array_is_left_out_with_a_warning() {
    for (array, comment) in [
        (r#"CMD ["/x.sh", "run"]"#, "# starts it"),
        (r#"ENTRYPOINT ["/x.sh","run"]"#, "# starts it"),
        (r#"RUN ["a"]"#, "#"),
        (r#"SHELL ["/bin/sh", "-c"]"#, "# c"),
        (r#"VOLUME ["/a"]"#, "# c"),
        (r#"COPY ["a b", "/c/"]"#, "# \"quoted\" ]"),
        (r#"ADD --chown=1:2 ["a", "/c/"]"#, "# c"),
        (r#"HEALTHCHECK --retries=3 CMD ["a"]"#, "# c"),
        (r#"ONBUILD CMD ["a"]"#, "# c"),
        (r#"ONBUILD HEALTHCHECK CMD ["a"]"#, "# c"),
        ("CMD []", "# none"),
    ] {
        let line = format!("{array}  {comment}");
        let (with, without) = (in_stage(&line), in_stage(array));
        let (with_kind, without_kind) = (
            &with.dockerfile.stages[0].instructions[0],
            &without.dockerfile.stages[0].instructions[0],
        );
        assert_eq!(with_kind.kind, without_kind.kind, "{line}");
        assert_eq!(with_kind.header.code, array, "{line}");
        assert!(without.diagnostics.is_empty(), "{array}");
        let [warning] = with.diagnostics.as_slice() else {
            panic!("{line}: {:?}", with.diagnostics);
        };
        assert_eq!(warning.code, Code::TrailingComment, "{line}");
        assert_eq!(warning.severity, Severity::Warning, "{line}");
        let shown = &with.source[warning.span.start..warning.span.end];
        assert_eq!(shown, comment, "{line}");
    }
}

#[test]
fn other_text_after_an_array_is_an_error() {
    for line in [
        r#"CMD ["a"] b"#,
        r#"CMD ["a", "b"] && c"#,
        r#"ENTRYPOINT ["a"]]"#,
        r#"RUN ["a"] || true"#,
        r#"SHELL ["a"] b"#,
        r#"VOLUME ["/a"] /b"#,
        r#"COPY ["a"] /b"#,
        r#"ADD ["a", "/b"] /c"#,
        r#"HEALTHCHECK CMD ["a"] b"#,
        r#"ONBUILD RUN ["a"] b"#,
    ] {
        assert_eq!(
            error(line).0,
            "there is other text after the array",
            "{line}"
        );
    }
}

#[test]
fn the_shells_own_brackets_are_no_array() {
    for line in [
        r#"RUN [ "$DEBUG" ] && echo on"#,
        r#"RUN [ "$DEBUG" ] || true # c"#,
        r#"RUN [ "$A" = "b" ] && c"#,
        r#"CMD [ "$A" ]; exec b"#,
        "RUN [ -f x ] # c",
        "COPY [a].txt /b/",
    ] {
        let parsed = in_stage(line);
        let serious = parsed.diagnostics.iter().any(|d| d.is_error());
        assert!(!serious, "{line}: {:?}", parsed.diagnostics);
        let instruction = &parsed.dockerfile.stages[0].instructions[0];
        assert_eq!(instruction.header.code, line);
    }
}

#[test]
fn comments_that_are_arguments_are_told_to_move() {
    for line in [
        "FROM x # comment",
        "FROM x AS y # comment",
        "HEALTHCHECK NONE # comment",
        "EXPOSE 80 # the web port",
        "ENV A=1 # comment",
        "LABEL a=1 # comment",
        "STOPSIGNAL SIGTERM # comment",
    ] {
        let (_, help) = error(line);
        assert!(
            help.starts_with("comments need a line of their own"),
            "{line}: {help}"
        );
    }
    // BuildKit takes these as they stand, for a user and a folder of that name.
    for (line, comment) in [
        ("USER app # comment", true),
        ("WORKDIR /w # comment", true),
        ("WORKDIR /w#1 x", false),
        ("USER app", false),
        ("MAINTAINER me # and you", false),
    ] {
        let parsed = in_stage(line);
        let told: Vec<_> = parsed.diagnostics.iter().map(|d| d.help.clone()).collect();
        let wanted = match comment {
            true => vec![Some(
                "comments need a line of their own: put it above the instruction".to_owned(),
            )],
            false => Vec::new(),
        };
        assert_eq!(told, wanted, "{line}");
        assert!(!parsed.diagnostics.iter().any(|d| d.is_error()), "{line}");
    }
}

fn rules(text: &str) -> Vec<Rule> {
    lint(&parse(text), &Options::default()).rules().collect()
}

#[test]
fn a_check_comment_counts_for_the_instruction_below_it() {
    let cmd = Rule::JsonArgsRecommended;
    for (text, found) in [
        (
            "FROM scratch\n# check=skip=JSONArgsRecommended\nCMD a\n",
            vec![],
        ),
        ("FROM scratch\n# check=skip=all\nCMD a\n", vec![]),
        (
            "FROM scratch\n# why\n# check=skip=JSONArgsRecommended\n# more\nCMD a\n",
            vec![],
        ),
        (
            "FROM scratch\n# check=skip=JSONArgsRecommended\n\nCMD a\n",
            vec![cmd],
        ),
        (
            "FROM scratch\n# check=skip=StageNameCasing\nCMD a\n",
            vec![cmd],
        ),
        (
            "FROM scratch\n# check=skip=JSONArgsRecommended\nRUN b\nCMD a\n",
            vec![cmd],
        ),
        (
            "FROM scratch\n# check=skip=JSONArgsRecommended\nENTRYPOINT a\nENTRYPOINT b\n",
            vec![Rule::MultipleInstructionsDisallowed, cmd],
        ),
        (
            "# a\n# check=skip=StageNameCasing\nFROM scratch AS A\n",
            vec![],
        ),
        // What the file skips stays skipped.
        (
            "# check=skip=JSONArgsRecommended\nFROM scratch\n# check=skip=FromAsCasing\nCMD a\n",
            vec![],
        ),
    ] {
        assert_eq!(rules(text), found, "{text}");
    }
    let report = lint(
        &parse("FROM scratch\n# check=skip\nCMD []\n"),
        &Options::default(),
    );
    let codes: Vec<Code> = report.diagnostics.iter().map(|d| d.code).collect();
    assert_eq!(codes, [Code::InvalidCheck]);
}

#[test]
fn a_description_is_not_the_check_comment() {
    let text =
        "# check=experimental=all\nARG A\n# B is\n# check=skip=UndefinedVar\nARG B\nFROM scratch\n";
    assert_eq!(rules(text), []);
}

#[test]
fn stages_are_bases_in_any_case() {
    let text = "FROM scratch AS BASE2\nFROM Base2\n";
    assert_eq!(rules(text), [Rule::StageNameCasing]);
}
