//! One name, an image for each platform. COPY needs no processor, and what each build has to give
//! is what BuildKit gave for the same files; RUN needs an interpreter.

use std::fs;
use std::path::{Path, PathBuf};

use e2e::{Cmd, Dir, Meeting, Missing, Registry, Store, arm64, is_root, need, program, skopeo};
use serde_json::json;

/// An index of two images, each with a file that says what it is for.
fn index(store: &Store, registry: &Registry) -> String {
    let mut manifests = Vec::new();
    for architecture in ["amd64", "arm64"] {
        let name = registry.name(&format!("x:{architecture}"));
        let context = Dir::dockerfile("FROM scratch\nCOPY arch /arch\n").file("arch", architecture);
        let platform = format!("linux/{architecture}");
        store
            .build(&name, &context)
            .args(["--push", "--platform", &platform])
            .ok();
        store.rbuild(["rmi", "-f", &name]).ok();
        let manifest = registry.get(&format!("/v2/x/manifests/{architecture}"));
        manifests.push(json!({
            "mediaType": manifest.header("content-type").unwrap(),
            "digest": manifest.header("docker-content-digest").unwrap(),
            "size": manifest.body.len(),
            "platform": {"os": "linux", "architecture": architecture},
        }));
    }
    let kind = "application/vnd.oci.image.index.v1+json";
    let index = json!({"schemaVersion": 2, "mediaType": kind, "manifests": manifests});
    let headers = [("content-type", kind)];
    let put = registry.ask(
        "PUT",
        "/v2/x/manifests/latest",
        &headers,
        index.to_string().as_bytes(),
    );
    assert_eq!(put.status, 201, "{}", put.text());
    registry.name("x")
}

#[test]
fn every_stage_has_the_base_of_its_platform_and_copies_from_the_target_s() {
    let store = need!(Store::new());
    let registry = Registry::start();
    let x = index(&store, &registry);
    let other_first = format!(
        "FROM --platform=linux/amd64 {x} AS amd64\nFROM scratch\n\
         COPY --from=amd64 /arch /stage\nCOPY --from={x} /arch /image\n"
    );
    let target_first = format!(
        "FROM {x} AS own\nFROM --platform=linux/amd64 {x} AS amd64\n\
         COPY --from={x} /arch /image\nFROM own\n\
         COPY --from=amd64 /arch /stage\nCOPY --from=amd64 /image /image\n"
    );
    let layout = store.file("layout");
    let source = format!("docker://{x}");
    let to = format!("oci:{}:latest", layout.display());
    need!(skopeo(&[
        "copy",
        "--all",
        "--src-tls-verify=false",
        &source,
        &to
    ]))
    .ok();
    let layout = format!("{x}=oci-layout://{}", layout.display());
    for text in [other_first, target_first] {
        let context = Dir::dockerfile(&text);
        for place in [&["--pull"][..], &["--build-context", &layout]] {
            let done = store
                .build("app", &context)
                .args(["--platform", "linux/arm64"])
                .args(place)
                .ok();
            done.never_tells("InvalidBaseImagePlatform");
            let tree = store.tree("app");
            let found = (tree.text("stage"), tree.text("image"));
            let expected = ("amd64".to_owned(), "arm64".to_owned());
            assert_eq!(found, expected, "{text}{place:?}: {done}");
        }
    }
}

#[test]
fn platforms_are_built_at_the_same_time_and_equal_steps_once() {
    let store = need!(Store::busybox());
    let (both, once) = (Meeting::of(2), Meeting::of(1));
    // Each platform's step waits for the other's.
    let context = Dir::dockerfile(&format!(
        "FROM --platform=$BUILDPLATFORM busybox AS tools\nRUN {}\nARG TARGETARCH\n\
         RUN {} && echo $TARGETARCH >/arch\n\
         FROM scratch\nCOPY --from=tools /arch /arch\n",
        once.attend("equal"),
        both.attend("$TARGETARCH"),
    ));
    let flags = ["--platform", "linux/amd64,linux/arm64", "--network", "host"];
    store
        .build("app", &context)
        .args(flags)
        .arg("--no-cache")
        .ok();
    assert_eq!((once.came(), both.came()), (1, 2));
    for (arch, text) in [("amd64", "amd64\n"), ("arm64", "arm64\n")] {
        let name = format!("app-{arch}");
        let platform = format!("linux/{arch}");
        store
            .build(&name, &context)
            .args(["--platform", &platform, "--network", "host"])
            .ok();
        assert_eq!(store.tree(&name).text("arch"), text);
    }
    assert_eq!((once.came(), both.came()), (1, 2), "all of it was found");
}

#[test]
fn a_platform_that_fails_ends_the_others_and_is_told() {
    let store = need!(Store::busybox());
    let (begun, never) = (Meeting::of(2), Meeting::closed());
    let context = Dir::dockerfile(&format!(
        "FROM --platform=$BUILDPLATFORM busybox\nARG TARGETARCH\n\
         RUN {}; if [ $TARGETARCH = amd64 ]; then {}; else echo the reason; exit 9; fi\n",
        begun.attend("$TARGETARCH"),
        never.attend("x"),
    ));
    let flags = ["--platform", "linux/amd64,linux/arm64", "--network", "host"];
    let done = store.build("app", &context).args(flags).fails(9);
    done.tells("CANCELED").tells("exit code: 9");
    assert!(!store.has("app"));
}

/// qemu for programs of arm64, registered as Debian's package does it; taken back in the end.
struct Interpreter {
    entry: Option<PathBuf>,
    mounted: bool,
}

const FORMATS: &str = "/proc/sys/fs/binfmt_misc";
/// An ELF file of 64 bits, least significant byte first, for the machine 183; executable or shared.
const ARM64: &str = r":rbuild-test-aarch64:M::\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00:\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff:QEMU:F";

impl Interpreter {
    fn register() -> Result<Self, Missing> {
        is_root()?;
        let qemu = program("qemu-aarch64-static")?;
        let register = Path::new(FORMATS).join("register");
        let mut made = Self {
            entry: None,
            mounted: false,
        };
        if !register.exists() {
            let mount = Cmd::new("mount")
                .args(["-t", "binfmt_misc", "none", FORMATS])
                .run();
            made.mounted = mount.status.success();
        }
        let known = fs::read_dir(FORMATS).into_iter().flatten().flatten();
        let mut known = known.filter_map(|entry| entry.file_name().into_string().ok());
        if known.any(|name| name.contains("aarch64")) {
            return Ok(made);
        }
        let line = ARM64.replace("QEMU", &qemu.display().to_string());
        match fs::write(&register, line) {
            Ok(()) => made.entry = Some(Path::new(FORMATS).join("rbuild-test-aarch64")),
            Err(e) => return Err(Missing(format!("{}: {e}", register.display()))),
        }
        Ok(made)
    }
}

impl Drop for Interpreter {
    fn drop(&mut self) {
        if let Some(entry) = &self.entry {
            let _ = fs::write(entry, "-1");
        }
        if self.mounted {
            Cmd::new("umount").arg(FORMATS).run();
        }
    }
}

#[test]
fn a_run_for_another_processor_is_run() {
    let (store, base) = (need!(Store::busybox()), need!(arm64()));
    let _interpreter = need!(Interpreter::register());
    let import = store.rbuild(["import", "--platform", "linux/arm64"]);
    import.arg(base).arg("arm:latest").ok();
    let context = Dir::dockerfile(
        "FROM arm\nARG TARGETARCH\nRUN uname -m >/m && echo $TARGETARCH >>/m\n\
         RUN [\"/bin/busybox\", \"sh\", \"-c\", \"id -u >/u; ls /bin/busybox >>/u\"]\n\
         FROM --platform=$BUILDPLATFORM busybox AS tools\nRUN uname -m >/host\n\
         FROM arm\nCOPY --from=0 /m /u /\nCOPY --from=tools /host /\nRUN read own </m; read host </host; echo $own $host >/both\n",
    );
    store
        .build("app", &context)
        .arg("--platform=linux/arm64")
        .ok();
    let tree = store.tree("app");
    // uname(1) of Linux on both.
    assert_eq!(tree.text("m"), "aarch64\narm64\n");
    assert_eq!(tree.text("u"), "0\n/bin/busybox\n");
    let both = format!("aarch64 {}\n", std::env::consts::ARCH);
    assert_eq!(tree.text("both"), both);
    assert_eq!(store.inspect("app")["Architecture"], "arm64");
    // Nothing of the interpreter is in the image.
    assert!(!tree.has("usr/bin/qemu-aarch64-static"), "{tree:?}");
}

/// What docker 28 makes of the same Dockerfiles.
#[test]
fn an_image_for_windows_has_its_shell_and_paths() {
    let store = need!(Store::new());
    let build = |text: &str, flags: &[&str]| {
        let context = Dir::dockerfile(text).file("a", "1");
        let build = store
            .build("win", &context)
            .args(["--platform=windows/amd64"]);
        (build.args(flags).run(), context)
    };
    let text = "FROM scratch\nENV A=b P=$PATH;x\nCMD echo hi\nENTRYPOINT run it\n";
    let (done, _context) = build(text, &[]);
    assert!(done.status.success(), "{done}");
    let config = store.inspect("win")["Config"].clone();
    for (name, value) in [
        ("Env", json!(["A=b", "P=;x"])),
        ("Cmd", json!(["cmd", "/S", "/C", "echo hi"])),
        ("Entrypoint", json!(["cmd", "/S", "/C", "run it"])),
        ("WorkingDir", json!("\\")),
    ] {
        assert_eq!(config[name], value, "{name}");
    }

    let text = "# escape=`\nFROM scratch\nWORKDIR C:\\app\nCOPY a .\nWORKDIR sub\nCOPY a c\n\
                COPY a C:\\Users\\x\\\nCOPY a \\t\\y\n";
    let out = Dir::new();
    let dest = out.join("out").display().to_string();
    let (done, _context) = build(text, &["-o", &dest]);
    assert!(done.status.success(), "{done}");
    for file in ["app/a", "app/sub/c", "Users/x/a", "t/y"] {
        assert!(out.join("out").join(file).is_file(), "{file}");
    }
    for (text, why) in [
        (text, "operating system is not supported"),
        (
            "FROM scratch\nCOPY a D:\\\\x\n",
            "The specified path is not on the system drive (C:)",
        ),
    ] {
        let (done, _context) = build(text, &[]);
        assert!(!done.status.success() && done.err().contains(why), "{done}");
    }

    // Nothing is of no platform.
    let context = Dir::dockerfile("FROM --platform=linux/arm64 scratch\nCOPY a /\n").file("a", "1");
    store.build("none", &context).ok();
    let host = store.inspect("none")["Architecture"].clone();
    assert_ne!(host, "arm64");
}
