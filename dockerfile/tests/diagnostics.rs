//! Mistakes, and how they are shown.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use dockerfile::diagnostic::render_all;
use dockerfile::{parse, parse_bytes, parse_trigger};

fn shown(source: &str) -> String {
    let parsed = parse(source);
    render_all(&parsed.diagnostics, "Dockerfile", &parsed.source, false)
}

/// The errors as `Code|text under the caret|help`.
fn errors(source: &str) -> Vec<String> {
    let parsed = parse(source);
    parsed
        .diagnostics
        .iter()
        .map(|d| {
            let help = d.help.clone().unwrap_or_default();
            format!("{}|{}|{help}", d.code.name(), d.span.text(&parsed.source))
        })
        .collect()
}

#[test]
fn all_mistakes_are_shown_at_once() {
    insta::assert_snapshot!(shown(
        "FORM alpine\nRUN --mont=type=cache true\nFROM alpine\nCOPY a\n"
    ));
}

#[test]
fn carets_are_under_the_very_place() {
    insta::assert_snapshot!(shown(
        "FROM alpine\nRUN --mount=type=cache,target=/x \\\n    --mount=type=bind,shring=locked,target=/y \\\n    true\n"
    ));
    insta::assert_snapshot!(shown("FROM alpine\nHEALTHCHECK --interval=30 CMD true\n"));
    insta::assert_snapshot!(shown("# escape=x\nFROM 日本 AS 1st\n"));
}

#[test]
fn json_form() {
    let parsed = parse("FROM alpine\nCOPY --form=x a b\n");
    let json = parsed.diagnostics[0].to_json("Dockerfile", &parsed.source);
    insta::assert_json_snapshot!(json);
}

#[test]
fn every_mistake_says_how_to_mend_it() {
    for (source, expected) in [
        (
            "",
            "NoInstructions||begin with a base image: `FROM image`, or `FROM scratch` for an empty one",
        ),
        (
            "ARG a\n",
            "NoStage|ARG|add a base image: `FROM image`, or `FROM scratch` for an empty one",
        ),
        (
            "RUN x\nRUN y\n",
            "MissingFrom|RUN|begin with `FROM image`; only ARG may come before it",
        ),
        (
            "FROM a\nFOO\n",
            "UnknownInstruction|FOO|a shell command needs RUN before it; a line is continued by an escape character at the end of the one before",
        ),
        (
            "FROM a\nENTRYPONT x\n",
            "UnknownInstruction|ENTRYPONT|did you mean ENTRYPOINT?",
        ),
        ("FROM a\nUSER --x a\n", "UnknownFlag|--x|USER has no flags"),
        (
            "FROM a\nCOPY --linc a b\n",
            "UnknownFlag|--linc|did you mean --link?",
        ),
        (
            "FROM a\nCOPY --link --link a b\n",
            "DuplicateFlag|--link|keep one of the two",
        ),
        (
            "FROM a\nCOPY --from a b\n",
            "InvalidFlag|--from|write --from=VALUE",
        ),
        (
            "FROM a\nCOPY --link=maybe a b\n",
            "InvalidFlag|--link=maybe|write --link or --link=false",
        ),
        (
            "FROM a\nCOPY --from=$x a b\n",
            "InvalidFlag|$x|write `FROM $VARIABLE AS name` above and use --from=name",
        ),
        (
            "# syntax=a\n# syntax=b\nFROM a\n",
            "DuplicateDirective|# syntax=b|remove one of the two",
        ),
        (
            "FROM a b\n",
            "InvalidArgument|b|write `FROM image` or `FROM image AS name`",
        ),
        (
            "FROM a AS 1x\n",
            "InvalidArgument|1x|begin with a letter; then letters, digits, `-`, `_` and `.` may follow",
        ),
        (
            "FROM a\nENV\n",
            "InvalidArgument|ENV|write `ENV NAME=VALUE`",
        ),
        ("FROM a\nENV a\n", "InvalidArgument|a|write `ENV a=VALUE`"),
        (
            "FROM a\nENV a=b c\n",
            "InvalidArgument|c|quote a value that has spaces: name=\"a value\"",
        ),
        (
            "FROM a\nENV =b\n",
            "InvalidArgument|=b|put a name before the `=`, without spaces around it",
        ),
        (
            "FROM a\nARG =b\n",
            "InvalidArgument|=b|put a name before the `=`, without spaces around it",
        ),
        (
            "FROM a\nVOLUME [\"\"]\n",
            "InvalidArgument|\"\"|remove it, or write a path",
        ),
        (
            "FROM a\nSHELL /bin/sh\n",
            "InvalidArgument|/bin/sh|write `SHELL [\"/bin/sh\", \"-c\"]`, with double quotes",
        ),
        (
            "FROM a\nSHELL []\n",
            "InvalidArgument|SHELL|write `SHELL [\"/bin/sh\", \"-c\"]`",
        ),
        (
            "FROM a\nCMD [\"a\", 1]\n",
            "InvalidJson|[\"a\", 1]|put every element in double quotes",
        ),
        (
            "FROM a\nRUN ['a', 'b']\n",
            "NotJson|['a', 'b']|put every element in double quotes and commas between them",
        ),
        (
            "FROM a\nRUN <<EOF\nx\n",
            "UnterminatedHeredoc|<<EOF|end it with a line that is exactly `EOF`",
        ),
        (
            "FROM a\nCOPY x <<EOF\nx\nEOF\n",
            "MisplacedHeredoc|<<EOF|put the destination after the here-document's marker",
        ),
        (
            "FROM a\nHEALTHCHECK FOO x\n",
            "InvalidArgument|FOO|put CMD before the command",
        ),
        (
            "FROM a\nHEALTHCHECK NONE x\n",
            "InvalidArgument|x|remove what is after NONE",
        ),
        (
            "FROM a\nHEALTHCHECK CMD\n",
            "InvalidArgument|CMD|write the command after CMD",
        ),
        (
            "FROM a\nHEALTHCHECK --retries=-1 CMD x\n",
            "InvalidFlag|-1|write a number from 0 on",
        ),
        (
            "FROM a\nHEALTHCHECK --timeout=1us CMD x\n",
            "InvalidFlag|1us|write 1ms or more, or 0 for the default",
        ),
        (
            "FROM a\nONBUILD ONBUILD RUN x\n",
            "InvalidArgument|ONBUILD|remove one of the two",
        ),
        (
            "FROM a\nONBUILD FROM x\n",
            "InvalidArgument|FROM|an image can only be built on with other instructions",
        ),
        (
            "FROM a\nONBUILD\n",
            "InvalidArgument|ONBUILD|write `ONBUILD RUN command`",
        ),
        (
            "FROM a\nRUN --network=hots x\n",
            "InvalidFlag|hots|did you mean host?",
        ),
        (
            "FROM a\nRUN --security=x y\n",
            "InvalidFlag|x|use one of sandbox, insecure",
        ),
        (
            "FROM a\nRUN --mount=type=bnd x\n",
            "InvalidFlag|type=bnd|did you mean bind?",
        ),
        (
            "FROM a\nADD a\n",
            "InvalidArgument|a|write `ADD SOURCE DESTINATION`",
        ),
        (
            "FROM a\nWORKDIR\n",
            "InvalidArgument|WORKDIR|write `WORKDIR /PATH`",
        ),
        (
            "FROM a\n\\",
            "UnknownInstruction|\\|remove the escape character",
        ),
    ] {
        assert_eq!(errors(source), [expected], "{source}");
    }
}

#[test]
fn a_refused_from_does_not_make_what_follows_wrong() {
    assert_eq!(errors("FROM a b c\nRUN x\nFROM d\nRUN y\n").len(), 1);
    let parsed = parse("FROM a b c\nRUN x\nFROM d\nRUN y\n");
    assert_eq!(parsed.dockerfile.stages.len(), 1);
    assert_eq!(parsed.dockerfile.stages[0].instructions.len(), 1);
}

#[test]
fn bytes_that_are_not_utf8() {
    let parsed = parse_bytes(b"# caf\xe9\nFROM scratch\n");
    assert!(parsed.diagnostics.is_empty(), "{:?}", parsed.diagnostics);
    let parsed = parse_bytes(b"FROM scratch\nLABEL a=caf\xe9 b=\xff\n");
    assert_eq!(parsed.diagnostics.len(), 1);
    assert_eq!(parsed.diagnostics[0].code.name(), "InvalidUtf8");
    assert_eq!(parsed.diagnostics[0].span.text(&parsed.source), "\u{fffd}");
}

#[test]
fn triggers_of_base_images() {
    let (instruction, diagnostics) = parse_trigger("COPY <<EOF /x\nhi\nEOF");
    assert!(diagnostics.is_empty(), "{diagnostics:?}");
    assert_eq!(instruction.unwrap().kind.keyword(), "COPY");
    for trigger in ["FROM x", "NOPE", "", "RUN a\nRUN b", "USER"] {
        let (instruction, diagnostics) = parse_trigger(trigger);
        assert!(
            instruction.is_none() && !diagnostics.is_empty(),
            "{trigger}"
        );
    }
}

#[test]
fn control_characters_do_not_reach_the_terminal() {
    for source in [
        "FROM a\n\u{1b}[2J\u{7}BAD x\n",
        "FROM a\nCOPY --\u{1b}]0;t\u{7}=x a b\n",
        "FROM a\nRUN --mount=type=\u{1b}[31m x\n",
        "FROM a\nENV a=\u{9b}1 \u{1b}\n",
        "FROM a\u{1b} b\n",
    ] {
        let shown = shown(source);
        let control = shown.chars().find(|c| c.is_control() && *c != '\n');
        assert_eq!(control, None, "{shown:?}");
    }
}
