//! The registry where teams run it: by docker compose and in Kubernetes, from the files in
//! packaging/ and an image that rbuild makes.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use e2e::{Cmd, Dir, Docker, Machine, Podman, Store, busybox, need, program, repository};
use serde_json::{Value, json};

use crate::both::eventually;
use crate::packages::dist;

/// The image of the registry, by this name, as an archive that everybody loads.
fn registry_image(store: &Store, dist: &Path, name: &str) -> tempfile::NamedTempFile {
    let file = repository().join("packaging/images/registry.Dockerfile");
    let build = store.rbuild(["build", "-t", name, "-f"]);
    build.arg(file).arg(dist).ok();
    let tar = tempfile::NamedTempFile::new().expect("file");
    let save = store.rbuild(["save", "-o"]);
    save.arg(tar.path()).arg(name).ok();
    tar
}

/// What the kernel says of a process that has this in its arguments and this in the names of its
/// control groups.
fn status(arguments: &str, group: &str) -> Option<String> {
    fs::read_dir("/proc")
        .expect("/proc")
        .flatten()
        .find_map(|process| {
            let read =
                |name: &str| fs::read_to_string(process.path().join(name)).unwrap_or_default();
            let found = read("cmdline").replace('\0', " ").contains(arguments)
                && read("cgroup").contains(group);
            found.then(|| read("status"))
        })
}

/// Nothing but the rights of a user with this number.
#[track_caller]
fn is_confined(status: &str) {
    let value = |name: &str| {
        let mut lines = status.lines().filter_map(|line| line.split_once(":\t"));
        let found = lines.find(|(key, _)| *key == name);
        found.map(|(_, value)| value.to_owned()).unwrap_or_default()
    };
    assert_eq!(value("Uid"), "10000\t10000\t10000\t10000");
    assert_eq!(value("Gid"), "10000\t10000\t10000\t10000");
    assert_eq!(value("CapEff"), "0000000000000000");
    assert_eq!(value("CapBnd"), "0000000000000000");
    assert_eq!(value("NoNewPrivs"), "1");
    assert_eq!(value("Seccomp"), "2");
}

/// Pushes an image to the registry at port 5000 of a machine.
fn push(machine: &Machine, store: &Store) {
    store
        .rbuild(["tag", "busybox", "127.0.0.1:5000/app:v1"])
        .ok();
    let push = store.rbuild(["push", "-q", "127.0.0.1:5000/app:v1"]);
    machine.on(push).ok();
}

/// Pulls it from there, where nothing of it is yet.
fn pull(machine: &Machine) {
    let fresh = Store::new().expect("a store");
    let pull = fresh.rbuild(["pull", "-q", "127.0.0.1:5000/app:v1"]);
    machine.on(pull).ok();
    assert!(fresh.tree("127.0.0.1:5000/app:v1").has("bin/busybox"));
}

#[test]
fn compose_brings_up_a_healthy_registry_that_keeps_its_data() {
    let dist = need!(dist());
    let store = need!(Store::busybox());
    let machine = need!(Machine::new());
    let docker = need!(Docker::on(&machine));
    let tar = registry_image(&store, &dist, "rregistry");
    docker.cmd(["load", "-i"]).arg(tar.path()).ok();
    let compose = |args: &[&str]| {
        let file = repository().join("packaging/compose.yaml");
        docker.compose().arg("-f").arg(file).args(args)
    };
    compose(&["up", "-d", "--wait"]).ok();
    let shown = compose(&["ps", "--format", "json"]).ok().json();
    assert_eq!(shown["Health"], "healthy", "{shown}");
    let id = shown["ID"].as_str().expect("an ID");
    is_confined(&status("rregistry serve", id).expect("the registry's process"));
    let inspected = docker.cmd(["inspect", id]).ok().json();
    assert_eq!(inspected[0]["HostConfig"]["ReadonlyRootfs"], true);
    push(&machine, &store);
    // Another one on the same data; it deletes, as the file says.
    compose(&["down"]).ok();
    compose(&["up", "-d", "--wait"]).ok();
    pull(&machine);
    let skopeo = Cmd::new(need!(program("skopeo")));
    let delete = skopeo.args(["delete", "--tls-verify=false"]);
    let delete = delete.arg("docker://127.0.0.1:5000/app:v1");
    machine.on(delete).ok();
    compose(&["down", "--volumes"]).ok();
    let left = docker.cmd(["volume", "ls", "-q"]).ok().out();
    assert_eq!(left, "");
}

/// Whether all that one document says is in the other.
fn is_within(part: &Value, whole: &Value) -> Result<(), String> {
    match (part, whole) {
        (Value::Object(part), Value::Object(whole)) => part.iter().try_for_each(|(key, value)| {
            let found = whole.get(key).ok_or_else(|| format!("there is no {key}"))?;
            is_within(value, found).map_err(|why| format!("{key}: {why}"))
        }),
        (Value::Array(part), Value::Array(whole)) if part.len() == whole.len() => {
            let mut both = part.iter().zip(whole);
            both.try_for_each(|(part, whole)| is_within(part, whole))
        }
        _ if part == whole => Ok(()),
        _ => Err(format!("{part} became {whole}")),
    }
}

/// The documents of the manifest, each by its kind, in a file of its own.
fn documents(dir: &Path) -> Vec<(String, PathBuf)> {
    let all = fs::read_to_string(repository().join("packaging/kubernetes.yaml")).expect("read");
    let one = |text: &str| {
        let kind = text.lines().find_map(|line| line.strip_prefix("kind: "));
        let kind = kind.expect("a kind").to_owned();
        let path = dir.join(format!("{kind}.yaml"));
        fs::write(&path, text).expect("write");
        (kind, path)
    };
    all.split("\n---\n").map(one).collect()
}

/// kubectl knows every field: what it does not know it leaves out of what it reads.
#[test]
fn kubernetes_knows_every_field_of_the_manifest() {
    let kubectl = need!(program("kubectl"));
    let dir = tempfile::tempdir().expect("folder");
    let documents = documents(dir.path());
    let kinds: Vec<&str> = documents.iter().map(|(kind, _)| kind.as_str()).collect();
    assert_eq!(
        kinds,
        [
            "ConfigMap",
            "PersistentVolumeClaim",
            "Deployment",
            "Service"
        ]
    );
    for (kind, words, change) in [
        ("Deployment", ["set", "resources"], "--limits=memory=1Gi"),
        ("Service", ["set", "selector"], "app=rregistry"),
    ] {
        let (_, file) = documents
            .iter()
            .find(|(of, _)| of == kind)
            .expect("a document");
        let mut read = local(&kubectl, file, &["label"], "a=b");
        let metadata = read["metadata"].as_object_mut().expect("metadata");
        if let Some(labels) = metadata["labels"].as_object_mut() {
            labels.remove("a");
        }
        metadata.retain(|_, value| value.as_object().is_none_or(|map| !map.is_empty()));
        let known = local(&kubectl, file, &words, change);
        assert_eq!(is_within(&read, &known), Ok(()), "{kind}");
    }
}

/// The fields that Kubernetes' API v1 knows of documents that kubectl takes as they are; `*` is any
/// name.
const FIELDS: [(&str, &[&str]); 2] = [
    ("ConfigMap", &["data.*", "binaryData.*", "immutable"]),
    (
        "PersistentVolumeClaim",
        &[
            "spec.accessModes",
            "spec.resources.limits.storage",
            "spec.resources.requests.storage",
            "spec.selector.matchExpressions",
            "spec.selector.matchLabels.*",
            "spec.storageClassName",
            "spec.volumeAttributesClassName",
            "spec.volumeMode",
            "spec.volumeName",
        ],
    ),
];
/// Those that every document has.
const OF_ALL: [&str; 6] = [
    "apiVersion",
    "kind",
    "metadata.annotations.*",
    "metadata.labels.*",
    "metadata.name",
    "metadata.namespace",
];

/// The fields of a document that Kubernetes does not know.
fn strangers(document: &Value, path: &str, known: &[&str]) -> Vec<String> {
    let Value::Object(fields) = document else {
        let is_it = |known: &&str| {
            let (mut own, mut theirs) = (path.split('/'), known.split('.'));
            let same = own
                .by_ref()
                .zip(theirs.by_ref())
                .all(|(own, known)| known == "*" || own == known);
            same && path.split('/').count() == known.split('.').count()
        };
        let is_known = known.iter().chain(&OF_ALL).any(is_it);
        return Vec::from_iter((!is_known).then(|| path.to_owned()));
    };
    let below = fields.iter().flat_map(|(name, value)| {
        let path = match path {
            "" => name.clone(),
            path => format!("{path}/{name}"),
        };
        strangers(value, &path, known)
    });
    below.collect()
}

#[test]
fn kubernetes_knows_the_settings_and_the_volume_of_the_manifest() {
    let kubectl = need!(program("kubectl"));
    let dir = tempfile::tempdir().expect("folder");
    for (kind, file) in documents(dir.path()) {
        let Some((_, known)) = FIELDS.iter().find(|(of, _)| *of == kind) else {
            continue;
        };
        let mut read = local(&kubectl, &file, &["label"], "a=b");
        assert_eq!(strangers(&read, "", known), [""; 0], "{kind}");
        match kind.as_str() {
            "ConfigMap" => {
                let data = read["data"].as_object().expect("data");
                assert!(data.values().all(Value::is_string), "{data:?}");
            }
            _ => {
                let modes = read["spec"]["accessModes"].as_array().expect("modes");
                let ways = [
                    "ReadWriteOnce",
                    "ReadOnlyMany",
                    "ReadWriteMany",
                    "ReadWriteOncePod",
                ];
                let is_one = |mode: &Value| mode.as_str().is_some_and(|mode| ways.contains(&mode));
                assert!(!modes.is_empty() && modes.iter().all(is_one), "{modes:?}");
                let size = read["spec"]["resources"]["requests"]["storage"].as_str();
                let size = size
                    .and_then(|size| size.strip_suffix("Gi"))
                    .expect("a size");
                assert!(size.parse::<u32>().is_ok_and(|size| size > 0), "{size}");
            }
        }
        // And one that it does not know is found.
        read["metadata"]["nmae"] = "x".into();
        read["spec"]["resources"]["reqests"] = serde_json::json!({"storage": "1Gi"});
        let found = strangers(&read, "", known);
        assert_eq!(
            found,
            ["metadata/nmae", "spec/resources/reqests/storage"],
            "{kind}"
        );
    }
}

/// A document as kubectl reads it, after a change that it makes without a cluster.
fn local(kubectl: &Path, file: &Path, words: &[&str], change: &str) -> Value {
    let cmd = Cmd::new(kubectl)
        .args(words)
        .arg("-f")
        .arg(file)
        .arg(change);
    let home = file.parent().expect("a folder");
    cmd.args(["--local", "-o", "json"])
        .env("HOME", home)
        .ok()
        .json()
}

/// The manifest as podman plays it: it makes the volume, the settings and the pod.
#[test]
fn the_manifest_is_played_by_podman() {
    let dist = need!(dist());
    let store = need!(Store::busybox());
    let machine = need!(Machine::new());
    let podman = need!(Podman::new());
    need!(program("skopeo"));
    let tar = registry_image(&store, &dist, "localhost/rregistry:latest");
    podman.podman(&["load", "-q", "-i"]).arg(tar.path()).ok();
    // What holds a pod's namespaces, where this machine has no image for that.
    let pause = need!(busybox());
    let entry = r#"ENTRYPOINT ["/bin/sh","-c","trap exit TERM; while :; do sleep 0.1; done"]"#;
    let import = podman.podman(&["import", "-c", entry]);
    import.arg(pause).arg("localhost/pause:latest").ok();
    let settings = podman.file("containers.conf");
    fs::write(
        &settings,
        "[containers]\ndefault_ulimits = [\"nofile=1024:1024\", \"nproc=1024:1024\"]\n\
         [engine]\ninfra_image = \"localhost/pause:latest\"\n",
    )
    .expect("write");
    let image = podman.file("busybox.tar");
    store.rbuild(["save", "-o"]).arg(&image).arg("busybox").ok();
    // All of it in one mount namespace, where podman keeps those of networks too.
    let shown = podman.podman(&[]).to_string();
    let (_, command) = shown.split_once(" -- ").expect("unshare's words");
    let script = PLAY
        .replace("PODMAN", command.trim())
        .replace("MANIFEST", &manifest())
        .replace("IMAGE", &image.display().to_string());
    let play = Cmd::new("unshare")
        .args(["--mount", "--propagation", "private", "--", "bash", "-ec"])
        .arg(script)
        .env("CONTAINERS_CONF", &settings)
        .env("HOME", podman.file(""))
        .limit(Duration::from_secs(300));
    let told = machine.on(play).ok().out();
    let (status, rest) = told
        .split_once("== digests\n")
        .expect("what the script tells");
    is_confined(status);
    let (digests, metrics) = rest.split_once("== metrics\n").expect("metrics");
    let digests: Vec<&str> = digests.lines().collect();
    assert!(digests.len() == 2 && digests[0] == digests[1], "{told}");
    assert!(digests[0].starts_with("sha256:"), "{told}");
    assert!(metrics.contains("rregistry_requests_total"), "{told}");
}

/// The manifest's path.
fn manifest() -> String {
    let path = repository().join("packaging/kubernetes.yaml");
    path.to_str().expect("a path").to_owned()
}

/// Plays the manifest, pushes an image, plays it again on the same volume, and looks.
const PLAY: &str = r#"
mkdir -p /run/netns /var/lib/cni
for dir in /run/netns /var/lib/cni; do mount -t tmpfs tmpfs $dir; done
podman="PODMAN"
name=rregistry-pod-0-registry
play() {
    $podman kube play $1 >&2
    tries=0
    until $podman exec $name /bin/rregistry health --config /etc/rregistry/registry.toml >&2; do
        tries=$((tries + 1))
        [ $tries -lt 100 ]
        sleep 0.1
    done
    infra=$($podman ps -q --filter name=infra)
    address=$($podman inspect -f '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}' $infra)
}
digest() {
    skopeo inspect --tls-verify=false --format '{{.Digest}}' docker://$address:5000/app:v1
}
play MANIFEST
cat /proc/$($podman inspect -f '{{.State.Pid}}' $name)/status
skopeo --insecure-policy copy --dest-tls-verify=false docker-archive:IMAGE     docker://$address:5000/app:v1 >&2
echo "== digests"
digest
$podman kube down MANIFEST >&2
# This podman makes a volume that is there no second time.
again=/run/netns/again.yaml
awk 'BEGIN { RS = ORS = "---\n" } !/kind: PersistentVolumeClaim/' MANIFEST >$again
play $again
digest
echo "== metrics"
busybox wget -q -O - http://$address:5001/metrics
$podman kube down $again >&2
"#;

/// The same container by rbuild itself, with all that the manifest asks of it.
#[test]
fn the_manifest_s_container_runs_by_rbuild_with_the_same_rights() {
    let dist = need!(dist());
    let store = need!(Store::busybox());
    registry_image(&store, &dist, "rregistry");
    let kubectl = need!(program("kubectl"));
    let dir = tempfile::tempdir().expect("folder");
    let documents = documents(dir.path());
    let read = |kind: &str| {
        let (_, file) = documents
            .iter()
            .find(|(of, _)| of == kind)
            .expect("a document");
        local(&kubectl, file, &["label"], "a=b")
    };
    let pod = &read("Deployment")["spec"]["template"]["spec"];
    let (rights, container) = (&pod["securityContext"], &pod["containers"][0]);
    assert_eq!(rights["runAsNonRoot"], true);
    assert_eq!(rights["seccompProfile"], json!({"type": "RuntimeDefault"}));
    let own = &container["securityContext"];
    assert_eq!(own["readOnlyRootFilesystem"], true);
    assert_eq!(own["capabilities"], json!({"drop": ["ALL"]}));
    let words = |list: &Value| -> Vec<String> {
        let words = list.as_array().expect("words").iter();
        words
            .map(|word| word.as_str().expect("a word").to_owned())
            .collect()
    };
    let map = read("ConfigMap");
    let text = map["data"]["registry.toml"].as_str().expect("settings");
    let settings = Dir::new().file("registry.toml", text.as_bytes());
    let user = format!("{}:{}", rights["runAsUser"], rights["runAsGroup"]);
    store
        .rbuild([
            "run",
            "-d",
            "--name",
            "registry",
            "--net",
            "none",
            "--read-only",
        ])
        .args(["--cap-drop", "ALL", "--security-opt", "no-new-privileges"])
        .args([
            "--tmpfs",
            "/tmp",
            "-v",
            "data:/var/lib/rregistry",
            "--user",
            &user,
            "-v",
        ])
        .arg(format!("{}:/etc/rregistry:ro", settings.path().display()))
        .arg("rregistry")
        .args(words(&container["args"]))
        .ok();
    let probe = words(&container["readinessProbe"]["exec"]["command"]);
    eventually("it is ready", || {
        let asked = store.rbuild(["exec", "registry"]).args(&probe).run();
        asked.status.success()
    });
    let id = store
        .rbuild(["inspect", "--format", "{{.Id}}", "registry"])
        .ok()
        .out();
    is_confined(&status("rregistry serve", id.trim()).expect("the registry's process"));
    // Health tells what is wrong, too.
    store.rbuild(["stop", "-t", "30", "registry"]).ok();
    let code = ["inspect", "--format", "{{.State.ExitCode}}", "registry"];
    assert_eq!(store.rbuild(code).ok().out(), "0\n");
    store.rbuild(["rm", "-v", "registry"]).ok();
}
