use serde_json::{Value, json};

use super::*;

const TYPES: Types = Types {
    maps: &["Labels", "Volumes"],
    lists: &["Cmd", "Env", "Shell"],
    durations: &["Interval"],
    texts: &["Signal"],
    pointers: &["Check"],
};

fn data() -> Value {
    json!({
        "Id": "sha256:abc",
        "Size": 1234,
        "Ratio": 0.5,
        "Tags": ["app:v1", "app:v2"],
        "Config": {
            "Cmd": ["sh", "-c", "echo \"hi\""],
            "Env": null,
            "Labels": {"b": "2", "a": "1", "x.y/z": "dotted"},
            "Volumes": null,
            "Health": null,
        },
        "Empty": "",
        "Yes": true,
        "Interval": 1_500_000_000,
    })
}

fn render(template: &str) -> Result<String, TemplateError> {
    Template::parse(template)?.render(&data(), &TYPES)
}

#[test]
fn renders_as_go_does() {
    for (template, text) in [
        ("plain", "plain"),
        ("{{.Id}}", "sha256:abc"),
        ("{{ .Size }}/{{.Ratio}}/{{.Yes}}", "1234/0.5/true"),
        ("{{.Interval}} {{json .Interval}}", "1.5s 1500000000"),
        ("{{.Tags}}", "[app:v1 app:v2]"),
        ("{{.Config.Labels}}", "map[a:1 b:2 x.y/z:dotted]"),
        ("{{.Config.Cmd}}", "[sh -c echo \"hi\"]"),
        (
            "{{.Config.Env}}{{.Config.Volumes}}{{.Config.Health}}",
            "[]map[]<nil>",
        ),
        (
            "{{.Config.Shell}}{{.Config.Signal}}{{.Config.Check}}",
            "[]<nil>",
        ),
        ("{{.Config.Labels.none}}", "<no value>"),
        ("{{index .Config.Labels \"x.y/z\"}}", "dotted"),
        ("{{index .Config.Labels \"none\"}}", ""),
        ("{{index .Tags 1}}", "app:v2"),
        ("{{json .Config.Cmd}}", r#"["sh","-c","echo \"hi\""]"#),
        ("{{.Config.Cmd | json}}", r#"["sh","-c","echo \"hi\""]"#),
        ("{{json .Config.Env}}", "null"),
        ("{{range .Tags}}<{{.}}>{{end}}", "<app:v1><app:v2>"),
        (
            "{{range $i, $t := .Tags}}{{$i}}={{$t}};{{end}}",
            "0=app:v1;1=app:v2;",
        ),
        (
            "{{range $k, $v := .Config.Labels}}{{$k}}={{$v}} {{end}}",
            "a=1 b=2 x.y/z=dotted ",
        ),
        ("{{range .Config.Env}}x{{else}}none{{end}}", "none"),
        ("{{range .Tags}}{{.}}{{break}}{{end}}", "app:v1"),
        (
            "{{range .Tags}}{{if eq . \"app:v1\"}}{{continue}}{{end}}{{.}}{{end}}",
            "app:v2",
        ),
        ("{{range .Tags}}{{$.Size}} {{end}}", "1234 1234 "),
        ("{{if .Empty}}a{{else}}b{{end}}", "b"),
        ("{{if .Empty}}a{{else if .Yes}}b{{else}}c{{end}}", "b"),
        ("{{if .Empty}}a{{else if .Empty}}b{{else}}c{{end}}!", "c!"),
        ("{{if and .Yes (not .Empty)}}ok{{end}}", "ok"),
        ("{{if or .Empty .Id}}ok{{end}}", "ok"),
        ("{{with .Config}}{{len .Cmd}}{{end}}", "3"),
        ("{{with .Empty}}x{{else}}y{{end}}", "y"),
        ("{{$n := len .Tags}}{{$n}}{{$n = 5}}{{$n}}", "25"),
        (
            "{{len .Config.Labels}}{{len .Config.Env}}{{len .Id}}",
            "3010",
        ),
        ("{{join .Tags \", \"}}", "app:v1, app:v2"),
        ("{{join .Config.Env \",\"}}", ""),
        ("{{split .Id \":\"}}", "[sha256 abc]"),
        ("{{index (split .Id \":\") 1}}", "abc"),
        (
            "{{upper .Id}} {{lower \"ABC\"}} {{title \"big apple\"}}",
            "SHA256:ABC abc Big Apple",
        ),
        ("{{truncate .Id 3}}|{{pad .Id 1 2}}|", "sha| sha256:abc  |"),
        ("{{slice .Id 7}}-{{slice .Id 0 3}}", "abc-sha"),
        (
            "{{printf \"%-5s|%5d|%05d|%q|%.1f|%v|%%\" \"a\" 42 42 \"q\" 1.25 .Tags}}",
            "a    |   42|00042|\"q\"|1.2|[app:v1 app:v2]|%",
        ),
        (
            "{{printf \"%d\" .Id}}{{printf \"%s\"}}",
            "%!d(string=sha256:abc)%!s(MISSING)",
        ),
        ("{{.Id | printf \"%s-%s\" \"x\"}}", "x-sha256:abc"),
        ("{{println .Id 1}}", "sha256:abc 1\n"),
        ("{{print \"a\" 1 2 \"b\"}}", "a1 2b"),
        (
            "{{eq .Size 1234}} {{eq .Id \"x\" \"sha256:abc\"}} {{ne 1 2}} {{lt 1 2}} {{ge 1.5 2}}",
            "true true true true false",
        ),
        ("a {{- .Size -}} b", "a1234b"),
        ("a\n{{- /* gone */ -}}\n b", "ab"),
        ("{{/* gone */}}x", "x"),
        ("{{`raw \\n`}} {{\"\\u00e9\\t\"}}", "raw \\n \u{e9}\t"),
        ("{{-1}}{{ -3 }}", "-1-3"),
        ("{{(index .Tags 0)}}{{(.Config).Cmd | len}}", "app:v13"),
        ("{{if not .Config.Health}}none{{end}}", "none"),
    ] {
        match render(template) {
            Ok(found) => assert_eq!(found, text, "{template}"),
            Err(e) => panic!("{template}: {e}"),
        }
    }
}

#[test]
fn mistakes_are_pointed_at() {
    for (template, message, column) in [
        (
            "a {{.Nope}}",
            "can't evaluate field Nope: there is no such field",
            4,
        ),
        (
            "{{.Config.Nope}}",
            "can't evaluate field Nope: there is no such field",
            9,
        ),
        (
            "{{.Id.Nope}}",
            "can't evaluate field Nope in type string",
            5,
        ),
        (
            "{{.Config.Health.Test}}",
            "nil pointer evaluating field .Test",
            16,
        ),
        ("{{foo .Id}}", "function \"foo\" not defined", 2),
        ("{{.Id", "unclosed action: a }} is missing", 0),
        ("{{if .Id}}x", "unexpected EOF: an {{end}} is missing", 0),
        ("x{{end}}", "unexpected {{end}}", 1),
        ("{{}}", "missing value for command", 0),
        ("{{.Id | .Size}}", "can't give argument to non-function", 8),
        ("{{$x}}", "undefined variable \"$x\"", 2),
        ("{{\"open}}", "unterminated quoted string", 2),
        (
            "{{upper .Size}}",
            "wrong type for upper: expected string; got int",
            8,
        ),
        ("{{json}}", "wrong number of args for json: want 1 got 0", 2),
        (
            "{{index .Tags 5}}",
            "error calling index: index out of range: 5",
            2,
        ),
        ("{{range .Id}}{{end}}", "range can't iterate over string", 8),
        (
            "{{lt \"a\" 1}}",
            "error calling lt: incompatible types for comparison",
            2,
        ),
        ("{{template \"x\"}}", "template is not supported", 0),
        ("{{(.Id}}", "unclosed left paren", 2),
        ("{{.Id)}}", "unexpected )", 5),
        ("{{break}}", "{{break}} outside {{range}}", 0),
    ] {
        let error = render(template).unwrap_err();
        assert_eq!(
            (error.message.as_str(), error.offset),
            (message, column),
            "{template}"
        );
    }
    insta::assert_snapshot!(render("first\nx {{.Nope}} y").unwrap_err(), @r"
    template parsing error: can't evaluate field Nope: there is no such field
      x {{.Nope}} y
          ^
    ");
}

proptest::proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "(\\{\\{|\\}\\}|[-a-z.$|()\" ]|if|end|else|range|\\PC){0,20}") {
        let _ = render(&text);
    }
}
