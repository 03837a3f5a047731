//! What whoever runs a registry types: lists, searches, deletions, and what comes back.

use e2e::{Cmd, Dir, Registry, Store, docker, modern_docker, need, program, rregistry, skopeo};
use serde_json::Value;

/// A command on the registry's directory.
fn operator(registry: &Registry, args: &[&str]) -> Cmd {
    let cmd = Cmd::new(rregistry()).args(args).arg("--data-dir");
    cmd.arg(registry.data())
}

#[track_caller]
fn push(store: &Store, registry: &Registry, name: &str, description: &str) -> String {
    let full = registry.name(name);
    let file = format!(
        "FROM busybox\nLABEL org.opencontainers.image.description=\"{description}\"\n\
         RUN echo {name} >/made\n"
    );
    store.build(&full, &Dir::dockerfile(&file)).ok();
    store.rbuild(["push", "-q", &full]).ok();
    let id = store.id(&full);
    store.rbuild(["rmi", &full]).ok();
    id
}

/// The cells of a table, without its times: columns are told apart by two spaces.
fn cells(table: &str) -> Vec<Vec<String>> {
    let line = |line: &str| {
        let cells = line.split("  ").map(str::trim);
        cells
            .filter(|cell| !cell.is_empty())
            .map(str::to_owned)
            .collect()
    };
    table.lines().map(line).collect()
}

#[test]
fn an_operator_lists_inspects_deletes_and_restores() {
    let store = need!(Store::busybox());
    let mut registry = Registry::start();
    let id = push(&store, &registry, "team/web:v1", "Serves pages");
    push(&store, &registry, "team/web:v2", "Serves pages");
    push(&store, &registry, "db:latest", "Keeps rows");
    // The same from a registry that runs and from one that does not.
    for running in [true, false] {
        if !running {
            registry.kill();
        }
        let table = operator(&registry, &["ls"]).ok().out();
        let rows = cells(&table);
        assert_eq!(rows[0], ["REPOSITORY", "TAGS", "SIZE", "PUSHED", "PULLED"]);
        assert_eq!((rows[1][0].as_str(), rows[1][1].as_str()), ("db", "1"));
        assert_eq!(
            (rows[2][0].as_str(), rows[2][1].as_str()),
            ("team/web", "2")
        );
        let names = operator(&registry, &["ls", "-q", "--search", "pages"]);
        assert_eq!(names.ok().out(), "team/web\n");
        let tags = operator(&registry, &["tags", "-q", "--sort", "time", "team/web"]);
        assert_eq!(tags.ok().out(), "team/web:v2\nteam/web:v1\n");
        let tags = operator(&registry, &["tags", "--format", "json", "team/web", "1"]);
        let tags = tags.ok().json();
        assert_eq!(tags.as_array().map(Vec::len), Some(1));
        let image = ["inspect", "--format", "json", "team/web:v1"];
        let image: Value = operator(&registry, &image).ok().json();
        // rbuild's own image ID, and the digest of the list.
        assert_eq!(image["config"]["digest"], id.as_str());
        assert_eq!(image["manifest"]["digest"], tags[0]["manifest"]["digest"]);
        let made = image["layers"][1]["instruction"]
            .as_str()
            .unwrap_or_default();
        assert!(made.contains("echo team/web:v1 >/made"), "{image}");
        let text = operator(&registry, &["inspect", "team/web:v1"]).ok().out();
        assert!(
            text.contains("LAYER ") && text.contains("Tags:        v1\n"),
            "{text}"
        );
    }
    registry.restart();

    operator(&registry, &["rm", "team/web"])
        .fails(1)
        .tells("say --all to delete all of it");
    operator(&registry, &["rm", "--all", "--dry-run", "team/web"])
        .ok()
        .says("would delete team/web: 2 tags, 2 manifests");
    operator(&registry, &["rm", "team/web:v1"])
        .ok()
        .says("deleted team/web:v1: 1 tags, 0 manifests");
    operator(&registry, &["rm", "--all", "team/web"])
        .ok()
        .says("deleted team/web: 1 tags, 2 manifests");
    assert_eq!(operator(&registry, &["ls", "-q"]).ok().out(), "db\n");
    let catalog = registry.get("/v2/_catalog").body;
    assert_eq!(catalog, b"{\"repositories\":[\"db\"]}");
    operator(&registry, &["rm", "team/web:v1", "db:latest"])
        .fails(1)
        .tells("team/web:v1");
    operator(&registry, &["restore", "team/web"]).ok();
    operator(&registry, &["restore", "db"]).ok();
    // That it is back does not change what happened to it; what replaces it now moves it.
    let listed = || {
        let listed = operator(&registry, &["restore", "--list", "team/web:v1"]);
        let rows = cells(&listed.ok().out());
        let then = |row: &Vec<String>| (row[0].clone(), row.last().cloned().unwrap_or_default());
        rows[1..].iter().map(then).collect::<Vec<_>>()
    };
    let place = |then: &str| ("v1".to_owned(), then.to_owned());
    assert_eq!(listed(), [place("deleted")]);
    let (v2, v1) = (registry.name("team/web:v2"), registry.name("team/web:v1"));
    let copy = need!(skopeo(&[
        "copy",
        "-q",
        "--src-tls-verify=false",
        "--dest-tls-verify=false"
    ]));
    copy.arg(format!("docker://{v2}"))
        .arg(format!("docker://{v1}"))
        .ok();
    assert_eq!(listed(), [place("moved"), place("deleted")]);
    operator(&registry, &["restore", "team/web:v1"]).ok();
    // All of it, for whoever pulls.
    let fresh = need!(Store::new());
    for name in ["team/web:v1", "team/web:v2", "db:latest"] {
        let full = registry.name(name);
        fresh.rbuild(["pull", "-q", &full]).ok();
        assert_eq!(fresh.tree(&full).text("made"), format!("{name}\n"));
    }
    let tags = need!(skopeo(&["list-tags", "--tls-verify=false"]));
    let tags = tags.arg(format!("docker://{}", registry.name("team/web")));
    let tags = tags.ok().json();
    assert_eq!(tags["Tags"], serde_json::json!(["v1", "v2"]));
}

#[test]
fn docker_and_rbuild_search_a_registry() {
    let store = need!(Store::busybox());
    let registry = Registry::start();
    push(&store, &registry, "team/web:v1", "Serves pages");
    push(&store, &registry, "db:v1", "Keeps rows");
    let format = ["--format", "{{.Name}}|{{.Description}}|{{.StarCount}}"];
    for (term, expected) in [
        ("web", Some("team/web|Serves pages|0\n")),
        ("rows", Some("db|Keeps rows|0\n")),
        ("none", None),
    ] {
        let expected = expected.unwrap_or_default();
        for docker in [need!(docker()), need!(modern_docker())] {
            let search = docker.cmd(["search", "--no-trunc"]).args(format);
            let found = search.arg(registry.name(term)).ok().out();
            assert_eq!(found, expected, "{term}");
        }
        let search = store.rbuild(["search", "--no-trunc"]).args(format);
        let found = search.arg(registry.name(term)).ok().out();
        // Ours says where it is pulled from.
        let host = format!("{}/", registry.address());
        assert_eq!(found.replace(&host, ""), expected, "{term}");
        let stars = store.rbuild(["search", "-f", "stars=1"]);
        let found = stars.args(format).arg(registry.name(term)).ok().out();
        assert_eq!(found, "", "{term}");
    }
    let found = registry.get("/api/v1/search?q=serves+pages");
    let found: Value = serde_json::from_slice(&found.body).expect("JSON");
    assert_eq!(found["repositories"][0]["name"], "team/web");
}

/// What shells offer, through the scripts that are printed for them, for a registry that runs and
/// for one that does not.
#[test]
fn shells_complete_repositories_and_tags() {
    let (fish, zsh) = (need!(program("fish")), need!(program("zsh")));
    let store = need!(Store::busybox());
    let mut registry = Registry::start();
    push(&store, &registry, "team/web:v1", "Serves pages");
    push(&store, &registry, "team/web:v2", "Serves pages");
    push(&store, &registry, "team/db:v1", "Keeps rows");
    // More than is looked at, all of them before those.
    let empty = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    for at in 0..600 {
        let path = format!("/v2/other/app{at}/blobs/uploads/?digest={empty}");
        assert_eq!(registry.ask("POST", &path, &[], b"").status, 201);
    }
    let folder = rregistry().parent().unwrap().display().to_string();
    let data = registry.data().display().to_string();
    let bash = |line: &str| {
        let line = line.replace("DATA", &data);
        let script = format!(
            "PATH={folder}:$PATH\nsource <(rregistry completions bash)\n\
             COMP_LINE={line:?} COMP_POINT={}\n_rregistry\nprintf '%s\\n' \"${{COMPREPLY[@]}}\"",
            line.len(),
        );
        Cmd::new("bash").args(["--norc", "-c", &script]).ok().out()
    };
    let fish = |line: &str| {
        let line = line.replace("DATA", &data);
        let script = format!(
            "set -gx PATH {folder} $PATH\nrregistry completions fish | source\n\
             complete --do-complete {line:?}",
        );
        let fish = Cmd::new(&fish).args(["--no-config", "-c", &script]);
        fish.env("HOME", &data).ok().out()
    };
    let zsh = |line: &str| {
        let line = line.replace("DATA", &data);
        let script = format!(
            r#"zmodload zsh/zpty
zpty inner zsh -f -i
zpty -w inner 'PS1= PATH={folder}:$PATH; autoload -Uz compinit; compinit -u -D
source <(rregistry completions zsh)
tell() {{ print -r -- "<$BUFFER>"; BUFFER=; zle -R }}; zle -N tell; bindkey "^G" tell
print rea""dy'
zpty -r inner seen '*ready*'
zpty -w -n inner $'{line}\t\a'
zpty -r inner seen '*<rregistry*>*'
print -r -- "$seen"
zpty -d inner"#
        );
        let zsh = Cmd::new(&zsh).args(["-f", "-c", &script]);
        let out = zsh.env("HOME", &data).env("TERM", "dumb").ok().out();
        let (_, told) = out.rsplit_once('<').expect("a command line");
        let (told, _) = told.split_once('>').expect("its end");
        told.trim_end().replace(&data, "DATA")
    };
    for running in [true, false] {
        if !running {
            registry.kill();
        }
        assert_eq!(
            zsh("rregistry tags --data-dir DATA team/w"),
            "rregistry tags --data-dir DATA team/web"
        );
        assert_eq!(
            zsh("rregistry inspect --data-dir DATA team/db:"),
            "rregistry inspect --data-dir DATA team/db:v1"
        );
        assert_eq!(
            bash("rregistry tags --data-dir DATA te"),
            "team/db\nteam/web\n"
        );
        assert_eq!(
            bash("rregistry rm --data-dir=DATA x:v1 team/w"),
            "team/web\n"
        );
        // Words are taken apart at colons: only what follows the last one is offered.
        assert_eq!(
            bash("rregistry inspect --data-dir DATA team/web:"),
            "v1\nv2\n"
        );
        let tags = fish("rregistry restore --data-dir DATA team/web:v");
        assert_eq!(tags, "team/web:v1\nteam/web:v2\n");
        assert_eq!(bash("rregistry tags --data-dir DATA nothing"), "\n");
    }
    assert_eq!(bash("rregistry ins"), "inspect\n");
    assert_eq!(fish("rregistry rm --dry").lines().count(), 1);
    assert_eq!(zsh("rregistry rm --dry"), "rregistry rm --dry-run");
    // Where there is no registry nothing is offered, and nothing made.
    let none = registry.data().with_file_name("none");
    let line = format!("rregistry tags --data-dir {} te", none.display());
    assert_eq!(bash(&line), "\n");
    assert!(!none.exists());
}
