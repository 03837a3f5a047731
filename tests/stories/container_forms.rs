//! Forms that few ask lists for, and what commits are made on. The values are docker 28's.

use e2e::{Store, need};

use crate::both::Both;

#[test]
fn lists_have_dockers_oldest_form() {
    let store = need!(Store::busybox());
    let says = |words: &[&str]| store.rbuild(words).ok().out();
    says(&["volume", "create", "data"]);
    assert_eq!(
        says(&["volume", "ls", "--format", "raw"]),
        "name: data\ndriver: local\n\n"
    );
    assert_eq!(
        says(&["volume", "ls", "-q", "--format", "raw"]),
        "name: data\n"
    );
    let id = says(&["network", "ls", "-q", "-f", "name=host"]);
    let id = id.trim();
    assert_eq!(
        says(&["network", "ls", "-f", "name=host", "--format", "raw"]),
        format!("network_id: {id}\nname: host\ndriver: host\nscope: local\n\n")
    );
    assert_eq!(
        says(&["network", "ls", "-q", "-f", "name=host", "--format", "raw"]),
        format!("network_id: {id}\n")
    );
    let create = [
        "create", "--name", "web", "--net", "none", "busybox", "true",
    ];
    let id = says(&create);
    let id = &id[..12];
    let image = says(&["images", "--format", "{{.ID}} {{.CreatedAt}} {{.Size}}"]);
    let (image, rest) = image.trim().split_once(' ').unwrap();
    let (created, size) = rest.rsplit_once(' ').unwrap();
    let digest = |line: &str| {
        format!(
            "repository: busybox\ntag: latest\n{line}image_id: {image}\ncreated_at: {created}\n\
             virtual_size: {size}\n\n"
        )
    };
    assert_eq!(says(&["images", "--format", "raw"]), digest(""));
    assert_eq!(
        says(&["images", "--digests", "--format", "raw"]),
        digest("digest: <none>\n")
    );
    assert_eq!(
        says(&["images", "-q", "--format", "raw"]),
        format!("image_id: {image}\n")
    );
    let made = says(&["ps", "-a", "--format", "{{.CreatedAt}}"]);
    let made = made.trim();
    let plain = format!(
        "container_id: {id}\nimage: busybox\ncommand: \"true\"\ncreated_at: {made}\n\
         state: created\nstatus: Created\nnames: web\nlabels:\nports:\n"
    );
    assert_eq!(says(&["ps", "-a", "--format", "raw"]), format!("{plain}\n"));
    assert_eq!(
        says(&["ps", "-as", "--format", "raw"]),
        format!("{plain}size: 0B (virtual {size})\n\n")
    );
    let quiet = store.rbuild(["ps", "-aq", "--format", "raw"]).ok();
    assert_eq!(quiet.out(), format!("container_id: {id}\n"));
    quiet.tells("WARNING: Ignoring custom format, because both --format and --quiet are set.");
    let used = says(&["system", "df", "--format", "raw"]);
    let first: Vec<&str> = used.lines().take(3).collect();
    assert_eq!(first, ["type: Images", "total: 1", "active: 1"]);
    says(&["rm", "web"]);
    says(&["volume", "rm", "data"]);
}

/// Lines of which everything is the same.
const SAME: &[&str] = &[
    "create --name forms-a --net none busybox sh -c 'echo made'",
    "inspect -f '{{json .Config.Env}}' forms-a",
    "commit -m why forms-a forms-image",
    "create --name forms-b --net none forms-image",
    "commit forms-b forms-later",
    "history -q forms-image",
    "history -q --no-trunc forms-later",
    "history --format '{{.ID}} {{.Comment}}' forms-later",
    "inspect -f '{{.Parent}}' forms-later",
    "inspect -f '{{.Parent}}' busybox",
    "rm forms-a forms-b",
];

#[test]
fn what_is_committed_knows_what_it_was_committed_on() {
    let both = need!(Both::new());
    let wrong: Vec<String> = SAME.iter().filter_map(|line| both.same(line)).collect();
    both.run("rmi -f forms-later forms-image");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // The IDs are those of the images.
    let store = &both.ours;
    let create = [
        "create", "--name", "own", "--net", "none", "busybox", "true",
    ];
    store.rbuild(create).ok();
    let committed = store.rbuild(["commit", "own", "own-image"]).ok().out();
    let history = ["history", "-q", "--no-trunc", "own-image"];
    assert_eq!(
        store.rbuild(history).ok().out(),
        format!("{committed}{}\n", store.id("busybox"))
    );
    store.rbuild(["rm", "own"]).ok();
    store.rbuild(["rmi", "busybox"]).ok();
    let left = store.rbuild(history).ok().out();
    assert_eq!(left, format!("{committed}<missing>\n"));
}

#[test]
fn versions_are_told_with_dockers_fields() {
    let store = need!(Store::new());
    let version = |format: &str| {
        let done = store.rbuild(["version", "--format", format]).ok();
        done.out().trim_end().to_owned()
    };
    let own = version("{{.Version}}");
    assert_eq!(
        version("{{.Client.Version}} {{.Server.Version}} {{.Client.Context}}"),
        format!("{own} {own} default")
    );
    assert_eq!(
        version(
            "{{.Client.APIVersion}} {{.Client.DefaultAPIVersion}} {{.Server.APIVersion}} {{.Server.MinAPIVersion}} {{.Server.Experimental}}"
        ),
        "1.51 1.51 1.51 1.24 false"
    );
    let components =
        "{{range .Server.Components}}{{.Name}} {{.Version}} {{.Details.MinAPIVersion}}{{end}}";
    assert_eq!(version(components), format!("Engine {own} 1.24"));
    let client: serde_json::Value = serde_json::from_str(&version("{{json .Client}}")).unwrap();
    assert_eq!(client["ApiVersion"], "1.51");
    for command in ["run", "create"] {
        store
            .rbuild([command, "--restart", "always", "--rm", "busybox", "true"])
            .fails(125)
            .tells("conflicting options: cannot specify both --restart and --rm");
    }
}
