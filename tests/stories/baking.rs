//! Several targets from one file. What files come to is compared with buildx in the crate `bake`;
//! here they are built.

use e2e::{Dir, Meeting, Store, need};

const TWO: &str = r#"
variable "VERSION" { default = "1" }
group "default" { targets = ["app", "tools"] }
target "base" {
  context = "base"
  args = { FROM = "base" }
}
target "app" {
  contexts = { start = "target:base" }
  dockerfile = "app.Dockerfile"
  args = { VERSION = VERSION }
  labels = { "org.example.version" = VERSION }
  tags = ["app:${VERSION}", "app:latest"]
}
target "tools" {
  contexts = { start = "target:base" }
  dockerfile-inline = <<EOT
FROM busybox
COPY --from=start /base /copied
EOT
  tags = ["tools"]
}
"#;

fn two() -> Dir {
    Dir::new()
        .file("docker-bake.hcl", TWO)
        .file(
            "base/Dockerfile",
            "FROM busybox\nARG FROM\nRUN echo $FROM >/base\n",
        )
        .file(
            "app.Dockerfile",
            "FROM start\nARG VERSION\nRUN cat /base >/app && echo $VERSION >>/app\n",
        )
}

#[test]
fn a_group_is_built_with_what_its_targets_link_to() {
    let store = need!(Store::busybox());
    let dir = two();
    let bake = |version: &str| {
        let bake = store.rbuild(["bake", "--metadata-file", "out.json"]);
        bake.current_dir(dir.path()).env("VERSION", version).ok()
    };
    let done = bake("7");
    assert_eq!(done.err().matches("RUN echo $FROM").count(), 1, "{done}");
    assert_eq!(store.tree("app:7").text("app"), "base\n7\n");
    assert_eq!(store.id("app:7"), store.id("app:latest"));
    assert_eq!(store.tree("tools").text("copied"), "base\n");
    let labels = &store.config("app:7")["Labels"];
    assert_eq!(labels["org.example.version"], "7");
    assert_eq!(
        store.config("tools")["Labels"]["org.example.version"],
        serde_json::Value::Null
    );
    assert!(!store.has("base"), "what others link to has no name");
    let told: serde_json::Value = serde_json::from_str(&dir.read("out.json")).unwrap();
    assert_eq!(
        told["app"]["containerimage.config.digest"],
        store.id("app:7")
    );
    assert_eq!(
        told["tools"]["image.name"],
        "docker.io/library/tools:latest"
    );

    // Only what the variable reaches is built again.
    bake("8").tells("RUN echo $FROM >/base\n#3 CACHED");
    assert_eq!(store.tree("app:8").text("app"), "base\n8\n");
    assert!(store.has("app:7"));
}

/// The names are those that buildx 0.29 leaves in docker for the same file.
#[test]
fn only_images_that_are_outputs_get_names() {
    let store = need!(Store::busybox());
    let dir = Dir::new().file(
        "docker-bake.hcl",
        r#"
target "base" {
  tags = ["named:base"]
  dockerfile-inline = "FROM busybox\nRUN echo base >/b"
}
target "app" {
  contexts = { base = "target:base" }
  tags = ["named:app"]
  dockerfile-inline = "FROM base\nRUN cat /b"
}
target "cached" {
  tags = ["named:cached"]
  output = ["type=cacheonly"]
  dockerfile-inline = "FROM busybox\nRUN echo cached >/c"
}
target "folder" {
  tags = ["named:folder"]
  output = ["out"]
  dockerfile-inline = "FROM scratch\nCOPY docker-bake.hcl /x"
}
target "uses" {
  contexts = { folder = "target:folder", cached = "target:cached" }
  tags = ["named:uses"]
  dockerfile-inline = "FROM folder\nCOPY --from=cached /c /c"
}
"#,
    );
    let bake = store.rbuild(["bake", "app", "cached", "folder", "uses"]);
    bake.current_dir(dir.path()).ok();
    let format = ["images", "--format", "{{.Repository}}:{{.Tag}}"];
    let all = store.rbuild(format).ok().out();
    let mut named: Vec<&str> = all.lines().filter(|l| l.starts_with("named:")).collect();
    named.sort_unstable();
    assert_eq!(named, ["named:app", "named:uses"]);
    assert!(dir.path().join("out/x").exists());
    assert_eq!(store.tree("named:uses").text("c"), "cached\n");
    // The Dockerfiles are called after their targets, not after files that are gone.
    let builds = store.rbuild(["builds"]).ok().out();
    assert!(builds.contains("/uses.Dockerfile "), "{builds}");
    let told = store.rbuild(HOST).current_dir(dir.path());
    let told = told.args(["--call=check,format=json", "cached"]).ok().out();
    assert!(
        told.contains("\"filename\": \"cached.Dockerfile\""),
        "{told}"
    );
    // An outcome that cannot be written is told before anything is built.
    let told = store.rbuild(HOST).current_dir(dir.path());
    let told = told.args(["--metadata-file=no/where", "app"]).fails(1);
    told.tells("--metadata-file no/where");
    assert!(!told.err().contains("CACHED"), "{told}");
}

#[test]
fn a_matrix_makes_targets_that_set_can_change() {
    let store = need!(Store::busybox());
    let dir = Dir::dockerfile("FROM busybox\nARG A\nARG B\nRUN echo $A$B >/f\n").file(
        "docker-bake.json",
        r#"{"target": {"app": {
            "name": "app-${v}", "matrix": {"v": ["one", "two"]},
            "args": {"A": "${upper(v)}"}, "tags": ["app:${v}"]}}}"#,
    );
    let bake = |args: &[&str]| {
        store
            .rbuild(["buildx", "bake"])
            .args(args)
            .current_dir(dir.path())
    };
    bake(&["app", "--set", "*.args.B=!", "--set", "app-two.tags+=other"]).ok();
    assert_eq!(store.tree("app:one").text("f"), "ONE!\n");
    assert_eq!(store.tree("app:two").text("f"), "TWO!\n");
    assert_eq!(store.id("other"), store.id("app:two"));
    store.rbuild(["rmi", "-f", "app:one"]).ok();
    bake(&["app-t*"]).ok();
    assert!(!store.has("app:one"));
    assert_eq!(store.tree("app:two").text("f"), "TWO\n");
}

#[test]
fn services_of_a_compose_file_are_built() {
    let store = need!(Store::busybox());
    let compose = "\
services:
  web:
    image: web:${TAG}
    build:
      context: ./web
      target: prod
      args:
        WHO: ${WHO:-nobody}
      x-bake:
        tags: [web:extra]
  job:
    image: job
    build:
      dockerfile_inline: |
        FROM busybox
        RUN echo $$((6 * 7)) >/job
  db:
    image: postgres
";
    let dir = Dir::new()
        .file("compose.yaml", compose)
        .file(".env", "TAG=v1\nWHO=env-file\n")
        .file(
            "web/Dockerfile",
            "FROM busybox AS prod\nARG WHO\nRUN echo $WHO >/who\nFROM prod\nRUN false\n",
        );
    let done = store
        .rbuild(["bake"])
        .current_dir(dir.path())
        .env("WHO", "me")
        .ok();
    assert_eq!(store.tree("web:extra").text("who"), "me\n");
    assert!(
        !store.has("web:v1"),
        "tags count before the service's image: {done}"
    );
    assert_eq!(store.tree("job").text("job"), "42\n");
    assert!(!store.has("postgres"));
}

/// Paths of files that are included or extended start from their own folders, as compose has it.
#[test]
fn compose_files_include_and_extend_others() {
    let store = need!(Store::busybox());
    let dir = Dir::new()
        .file(
            "compose.yaml",
            "include: [part/more.yaml]\n\
             services:\n  web:\n    extends: {file: part/base.yaml, service: base}\n    image: web\n",
        )
        .file(
            "part/more.yaml",
            "services:\n  job:\n    image: job:${TAG}\n    build: {context: ./job}\n",
        )
        .file("part/.env", "TAG=one\n")
        .file(
            "part/base.yaml",
            "services:\n  base:\n    build: {context: ../web, args: {WHO: base}}\n",
        )
        .file("part/job/Dockerfile", "FROM busybox\nCOPY f /f\n")
        .file("part/job/f", "job\n")
        .file("web/Dockerfile", "FROM busybox\nARG WHO\nRUN echo $WHO >/who\n");
    store.rbuild(["bake"]).current_dir(dir.path()).ok();
    assert_eq!(store.tree("job:one").text("f"), "job\n");
    assert_eq!(store.tree("web").text("who"), "base\n");
    let broken = Dir::new().file(
        "compose.yaml",
        "include: [gone.yaml]\nservices:\n  a: {build: .}\n",
    );
    store
        .rbuild(["bake"])
        .current_dir(broken.path())
        .fails(1)
        .tells("compose.yaml:1:11")
        .tells("open gone.yaml: no such file or directory");
}

#[test]
fn a_broken_file_is_shown_where_it_is_broken() {
    let store = need!(Store::busybox());
    let dir = Dir::new().file(
        "docker-bake.hcl",
        "target \"default\" {\n  tags = [\"a\", nope]\n}\n",
    );
    for flags in [&["bake", "--print"][..], &["bake"]] {
        let done = store.rbuild(flags).current_dir(dir.path()).fails(1);
        assert_eq!(done.out(), "");
        for line in [
            " --> docker-bake.hcl:2:16\n",
            "2 |   tags = [\"a\", nope]\n",
            "  |                ^^^^",
            "ERROR: docker-bake.hcl:2,16-20: Unknown variable; There is no variable named \"nope\".",
        ] {
            assert!(done.err().contains(line), "{line} in {done}");
        }
    }
    dir.write("docker-bake.hcl", "target \"default\" {\n  tags = [\n}\n");
    let done = store.rbuild(["bake"]).current_dir(dir.path()).fails(1);
    assert!(done.err().contains(" --> docker-bake.hcl:3:1\n"), "{done}");
    let nothing = Dir::new();
    let done = store.rbuild(["bake"]).current_dir(nothing.path()).fails(1);
    done.tells("couldn't find a bake definition");
    let done = store
        .rbuild(["bake", "-f", "x.hcl"])
        .current_dir(dir.path())
        .fails(1);
    done.tells("open x.hcl: no such file or directory");
}

#[test]
fn what_is_there_is_printed_listed_and_looked_at() {
    let store = need!(Store::busybox());
    let dir = two();
    let bake = |args: &[&str]| store.rbuild(["bake"]).args(args).current_dir(dir.path());
    let printed = bake(&["--print", "tools"]).ok().json();
    assert_eq!(
        printed["target"]["tools"]["contexts"]["start"],
        "target:base"
    );
    assert_eq!(printed["target"]["base"]["output"][0]["type"], "cacheonly");
    assert_eq!(printed["group"]["default"]["targets"][0], "tools");
    let listed = bake(&["--list", "targets"]).ok().out();
    let lines: Vec<Vec<&str>> = listed
        .lines()
        .map(|l| l.split_whitespace().collect())
        .collect();
    assert_eq!(lines[0], ["TARGET", "DESCRIPTION"]);
    assert_eq!(lines[3], ["default", "app,", "tools"]);
    let listed = bake(&["--list=type=variables,format=json"]).ok().json();
    assert_eq!(listed[0]["name"], "VERSION");
    assert_eq!(listed[0]["value"], "1");
    dir.write("base/Dockerfile", "FROM busybox as x\nARG FROM\n");
    let done = bake(&["base", "--check"]).fails(1);
    assert!(done.out().starts_with("base\n\n"), "{done}");
    assert!(done.out().contains("FromAsCasing"), "{done}");
    assert!(!store.has("tools"), "nothing was built");
}

/// buildx's order: `--var`, the environment, the default.
#[test]
fn a_variable_of_the_command_line_comes_first() {
    let store = need!(Store::busybox());
    let hcl = "variable \"V\" {\n  default = \"d\"\n}\n\
               target \"default\" {\n  args = { A = V }\n}\n";
    let compose =
        "services:\n  default:\n    build:\n      context: .\n      args:\n        A: ${V:-d}\n";
    let dir = Dir::dockerfile("FROM scratch\n")
        .file("h.hcl", hcl)
        .file("c.yml", compose);
    let value = |file: &str, args: &[&str]| {
        let bake = store.rbuild(["bake", "--print", "-f", file]).args(args);
        let told = bake.current_dir(dir.path()).env("V", "env").ok().json();
        told["target"]["default"]["args"]["A"].clone()
    };
    for file in ["h.hcl", "c.yml"] {
        assert_eq!(value(file, &[]), "env");
        assert_eq!(value(file, &["--var", "V=flag"]), "flag");
    }
    let wrong = store.rbuild(["bake", "--print", "--var", "V"]);
    wrong.current_dir(dir.path()).fails(125).tells("NAME=VALUE");
}

#[test]
fn a_definition_reaches_nothing_that_was_not_consented_to() {
    let store = need!(Store::busybox());
    let outside = Dir::dockerfile("FROM busybox\n");
    let place = outside.path().canonicalize().unwrap();
    let place = place.display();
    let dir = Dir::dockerfile("FROM busybox\n").file(
        "docker-bake.hcl",
        format!(
            "target \"host\" {{\n  network = \"host\"\n}}\n\
             target \"away\" {{\n  context = \"{place}\"\n  tags = [\"away\"]\n}}\n"
        ),
    );
    let bake = |args: &[&str]| store.rbuild(["bake"]).args(args).current_dir(dir.path());
    bake(&["host"]).fails(1).tells("--allow=network.host");
    bake(&["host", "--allow", "network.host"]).ok();
    let flag = format!("--allow=fs.read={place}");
    bake(&["away"]).fails(1).tells(&flag);
    assert!(!store.has("away"));
    bake(&["away", &flag]).ok();
    assert!(store.has("away"));
    // As buildx asks before it hands out the agent of whoever runs it.
    let agent = "target \"agent\" {\n  ssh = [\"default\"]\n}\n";
    std::fs::write(dir.path().join("agent.hcl"), agent).unwrap();
    let socket = std::os::unix::net::UnixListener::bind(store.file("agent")).unwrap();
    let asked = |args: &[&str]| {
        let bake = bake(&["-f", "agent.hcl", "agent"]).args(args);
        bake.env("SSH_AUTH_SOCK", store.file("agent"))
    };
    asked(&[]).fails(1).tells("--allow=ssh");
    asked(&["--allow=ssh"]).ok();
    asked(&["--set", "*.ssh=default"]).ok();
    asked(&[]).env("BUILDX_BAKE_ENTITLEMENTS_FS", "0").ok();
    drop(socket);
    bake(&["host", "--allow=nope"])
        .fails(1)
        .tells("unknown entitlement key \"nope\"");
}

#[test]
fn what_builds_cannot_do_is_refused_by_its_name() {
    let store = need!(Store::busybox());
    let dir = Dir::dockerfile("FROM busybox\n").file(
        "docker-bake.hcl",
        "target \"default\" {\n  attest = [\"type=sbom,generator=x\"]\n  tags = [\"app\"]\n}\n",
    );
    let done = store.rbuild(["bake"]).current_dir(dir.path()).fails(125);
    done.tells("target default: ").tells("--attest");
    assert!(!store.has("app"));
    let done = store
        .rbuild(["bake", "nope"])
        .current_dir(dir.path())
        .fails(1);
    done.tells("failed to find target nope");
}

/// Targets `a` and `b`, each with a Dockerfile and the host's network for its steps.
fn pair(a: &str, b: &str) -> Dir {
    let target = |name: &str| {
        format!(
            "target \"{name}\" {{\n  dockerfile = \"{name}\"\n  tags = [\"{name}\"]\n  \
             network = \"host\"\n}}\n"
        )
    };
    let group = "group \"default\" { targets = [\"a\", \"b\"] }\n";
    let hcl = format!("{group}{}{}", target("a"), target("b"));
    Dir::new()
        .file("docker-bake.hcl", hcl)
        .file("a", a)
        .file("b", b)
}

const HOST: [&str; 2] = ["bake", "--allow=network.host"];

#[test]
fn targets_are_built_at_the_same_time_and_equal_steps_once() {
    let store = need!(Store::busybox());
    let (both, once) = (Meeting::of(2), Meeting::of(1));
    let file = |name: &str| {
        format!(
            "FROM busybox\nRUN {}\nRUN {} && echo {name} >/name\n",
            once.attend("equal"),
            both.attend(name)
        )
    };
    let dir = pair(&file("a"), &file("b"));
    // Each waits for the other: one after the other they would never end. Without a cache the
    // store has nothing to say of equal steps.
    let bake = || store.rbuild(HOST).current_dir(dir.path());
    let done = bake().arg("--no-cache").ok();
    assert_eq!(once.came(), 1);
    assert_eq!(store.tree("a").text("name"), "a\n");
    assert_eq!(store.tree("b").text("name"), "b\n");
    done.tells("[a 3/3] RUN").tells("[b 3/3] RUN");
    done.tells("[a] exporting to image")
        .tells("naming to docker.io/library/b:latest");
    // Lines are counted through.
    let first = |line: &&str| line.starts_with("#1 ");
    assert!(done.err().lines().filter(first).count() > 0);
    let names = done.err();
    let names = names.lines().filter(|line| line.contains("] RUN "));
    let mut numbers: Vec<&str> = names.filter_map(|line| line.split(' ').next()).collect();
    numbers.sort();
    numbers.dedup();
    assert_eq!(numbers.len(), 4, "{done}");
    bake().ok();
    assert_eq!(once.came(), 1, "what was made without a cache is in it");
}

#[test]
fn a_target_that_fails_ends_the_others_and_is_told_last() {
    let store = need!(Store::busybox());
    let (begun, never) = (Meeting::of(2), Meeting::closed());
    let slow = format!(
        "FROM busybox\nRUN {}; {}\n",
        begun.attend("a"),
        never.attend("a")
    );
    let broken = format!(
        "FROM busybox\nRUN {}; echo the reason; exit 7\n",
        begun.attend("b")
    );
    let dir = pair(&slow, &broken);
    let metadata = ["--metadata-file", "out.json"];
    let bake = store.rbuild(HOST).args(metadata);
    let done = bake.current_dir(dir.path()).fails(7);
    let err = done.err();
    let last = err.lines().last().unwrap();
    assert!(last.contains("target b: failed to solve"), "{done}");
    let reason = err.rfind("the reason").unwrap();
    assert!(reason > err.rfind("CANCELED").unwrap(), "{done}");
    // With tags: one letter alone may be how the ID of another image begins.
    assert!(!store.has("a:latest") && !store.has("b:latest"));
    assert!(!dir.path().join("out.json").exists());
    let records = store.rbuild(["builds"]).ok().out();
    assert!(
        records.contains("Canceled") && records.contains("Error"),
        "{records}"
    );
}

#[test]
fn what_is_wrong_with_one_target_is_told_and_the_others_end() {
    let store = need!(Store::busybox());
    let never = Meeting::closed();
    let slow = format!("FROM busybox\nRUN {}\n", never.attend("a"));
    let dir = pair(&slow, "FROM busybox\nRUNS x\n");
    let done = store.rbuild(HOST).current_dir(dir.path()).fails(1);
    done.tells("unknown instruction").tells("target b: ");
}

#[test]
fn jobs_bound_the_steps_of_all_targets() {
    let store = need!(Store::busybox());
    let file = |name: &str| format!("FROM busybox\nRUN sleep 0.2; echo {name}\n");
    let dir = pair(&file("a"), &file("b"));
    let bake = store.rbuild(HOST).args(["--jobs", "1"]);
    let done = bake.current_dir(dir.path()).ok();
    let mut running = 0;
    for line in done.err().lines() {
        running += i32::from(line.contains("2/2] RUN sleep"));
        running -= i32::from(line.contains(" DONE 0."));
        assert!(running <= 1, "{done}");
        running = running.max(0);
    }
}

/// The shape is what buildx 0.29 prints for the same files.
#[test]
fn answers_about_several_targets_are_one_document() {
    let store = need!(Store::busybox());
    let dir = Dir::new()
        .file(
            "docker-bake.hcl",
            "group \"default\" { targets = [\"app\", \"db\"] }\n\
             target \"app\" {\n  description = \"the app\"\n  args = { A = \"x$${y}\" }\n}\n\
             target \"db\" { dockerfile = \"D2\" }\n",
        )
        .file("Dockerfile", "FROM busybox as b\nMAINTAINER x\n")
        .file("D2", "FROM scratch AS z\n");
    let call = |call: &str| {
        let bake = store.rbuild(["bake", "--call", call]);
        bake.current_dir(dir.path())
    };
    let told = call("targets,format=json").ok().json();
    let groups = serde_json::json!({"default": {"targets": ["app", "db"]}});
    assert_eq!(told["group"], groups);
    let build = serde_json::json!({
        "description": "the app", "context": ".", "dockerfile": "Dockerfile",
        "args": {"A": "x$${y}"}, "call": "targets",
    });
    assert_eq!(told["target"]["app"]["build"], build);
    assert_eq!(
        told["target"]["app"]["targets"]["targets"][0]["base"],
        "busybox"
    );
    assert_eq!(told["target"]["db"]["targets"]["targets"][0]["name"], "z");
    let done = call("check,format=json").fails(1);
    let told = done.json();
    assert_eq!(told["target"]["app"]["build"]["call"], "lint");
    let warnings = &told["target"]["app"]["check"]["warnings"];
    let rules: Vec<&str> = (0..2)
        .filter_map(|i| warnings[i]["ruleName"].as_str())
        .collect();
    assert_eq!(rules, ["FromAsCasing", "MaintainerDeprecated"]);
    assert!(told["target"]["db"]["check"].is_object());
    call("check,format=json")
        .args(["--metadata-file", "m.json"])
        .fails(1);
    let told = std::fs::read(dir.path().join("m.json")).unwrap();
    let told: serde_json::Value = serde_json::from_slice(&told).unwrap();
    let warnings = &told["app"]["result.json"]["warnings"];
    assert_eq!(warnings.as_array().unwrap().len(), 2);
    assert_eq!(told["db"]["result.statuscode"], "0");
    // Two targets of one file have its warnings once.
    let bake = store.rbuild([
        "bake",
        "--set=db.dockerfile=Dockerfile",
        "--metadata-file=m.json",
    ]);
    let bake = bake.env("BUILDX_METADATA_WARNINGS", "1");
    bake.current_dir(dir.path()).ok();
    let told = std::fs::read(dir.path().join("m.json")).unwrap();
    let told: serde_json::Value = serde_json::from_slice(&told).unwrap();
    assert_eq!(told["buildx.build.warnings"].as_array().unwrap().len(), 2);
    assert!(told["db"]["buildx.build.ref"].is_string());
    // For people, all of them one after the other.
    let done = call("check").fails(1);
    assert!(done.out().starts_with("app\nthe app\n\n"), "{done}");
    assert!(done.out().contains("\n\ndb\n\nCheck complete"), "{done}");
}

#[test]
fn two_archives_do_not_go_into_one_stream() {
    let store = need!(Store::busybox());
    let dir = pair("FROM busybox\n", "FROM busybox\n");
    let bake = store
        .rbuild(HOST)
        .args(["--set", "*.output=type=tar,dest=-"]);
    let done = bake.current_dir(dir.path()).fails(1);
    done.tells("targets a and b would both write to standard output");
}
