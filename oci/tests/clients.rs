//! Archives exchanged with the real tools: docker, podman and skopeo load what is written here,
//! and what they save is read here. A tool that is missing is skipped, loudly.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use std::error::Error;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use oci::archive::read::{self, ReadOptions};
use oci::archive::write::{self, Format, ImageSource, LayerSource};
use oci::layer::compression::{CompressOptions, Compressor};
use oci::layer::unpack::{UnpackOptions, layer};
use oci::layer::{TarOptions, diff, open_dir};
use oci::media_type::{self, LayerCompression};
use oci::{Descriptor, DiffId, Digest, Reference};

/// Each step of a tool must be done by then.
const DEADLINE: Duration = Duration::from_secs(120);

/// A layer made anew from its directory each time, or kept as gzip.
struct Layer {
    dir: PathBuf,
    diff_id: DiffId,
    descriptor: Descriptor,
    gzip: Option<Vec<u8>>,
}

impl Layer {
    fn new(dir: PathBuf, compress: bool) -> Self {
        let fd = open_dir(&dir).unwrap();
        let (diff_id, size) = diff::diff_id(&fd, &TarOptions::default()).unwrap();
        if !compress {
            let descriptor = Descriptor::new(media_type::OCI_LAYER, diff_id.0.clone(), size);
            return Self {
                dir,
                diff_id,
                descriptor,
                gzip: None,
            };
        }
        let mut gzip = Compressor::new(
            LayerCompression::Gzip,
            Vec::new(),
            &CompressOptions::default(),
        )
        .unwrap();
        diff::write_tar(&fd, &TarOptions::default(), &mut gzip).unwrap();
        let gzip = gzip.finish().unwrap();
        let digest = Digest::sha256(&gzip);
        Self {
            dir,
            diff_id,
            descriptor: Descriptor::new(media_type::OCI_LAYER_GZIP, digest, gzip.len() as u64),
            gzip: Some(gzip),
        }
    }
}

impl LayerSource for Layer {
    fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    fn write_to(&self, mut out: &mut dyn Write) -> Result<(), Box<dyn Error + Send + Sync>> {
        match &self.gzip {
            Some(gzip) => out.write_all(gzip)?,
            None => {
                diff::write_tar(open_dir(&self.dir)?, &TarOptions::default(), &mut out)?;
            }
        }
        Ok(())
    }
}

struct Image {
    layers: Vec<Layer>,
    config: Vec<u8>,
}

impl Image {
    /// A shell, and a layer above it that removes a file and adds one.
    fn new(dir: &Path, greeting: &str) -> Option<Self> {
        let busybox = ["/bin/busybox", "/usr/bin/busybox"]
            .into_iter()
            .find(|path| Path::new(path).exists());
        let Some(busybox) = busybox else {
            println!("skipped: images need a static busybox");
            return None;
        };
        let base = dir.join(format!("base-{greeting}"));
        fs::create_dir_all(base.join("bin")).unwrap();
        fs::copy(busybox, base.join("bin/busybox")).unwrap();
        symlink("busybox", base.join("bin/sh")).unwrap();
        symlink("busybox", base.join("bin/cat")).unwrap();
        fs::write(base.join("removed"), "").unwrap();
        let top = dir.join(format!("top-{greeting}"));
        fs::create_dir_all(&top).unwrap();
        fs::write(top.join("greeting"), greeting).unwrap();
        let mode = rustix::fs::Mode::empty();
        let device = rustix::fs::makedev(0, 0);
        let kind = rustix::fs::FileType::CharacterDevice;
        rustix::fs::mknodat(rustix::fs::CWD, top.join("removed"), kind, mode, device).unwrap();
        for dir in [&base, &base.join("bin"), &top] {
            fs::set_permissions(dir, PermissionsExt::from_mode(0o755)).unwrap();
        }
        let layers = vec![Layer::new(base, true), Layer::new(top, false)];
        let config = serde_json::json!({
            "architecture": oci::Platform::host().architecture,
            "os": "linux",
            "created": "2024-01-01T00:00:00Z",
            "config": {"Cmd": ["/bin/cat", "/greeting"], "Env": ["PATH=/bin"]},
            "rootfs": {
                "type": "layers",
                "diff_ids": layers.iter().map(|l| &l.diff_id).collect::<Vec<_>>(),
            },
            "history": [
                {"created": "2024-01-01T00:00:00Z", "created_by": "base"},
                {"created": "2024-01-01T00:00:00Z", "created_by": "top"},
            ],
        });
        Some(Self {
            layers,
            config: config.to_string().into_bytes(),
        })
    }

    fn id(&self) -> Digest {
        Digest::sha256(&self.config)
    }

    fn save(&self, file: &Path, format: Format, names: &[&str]) {
        let references: Vec<Reference> = names.iter().map(|name| name.parse().unwrap()).collect();
        let source = ImageSource {
            config: &self.config,
            manifest: None,
            references: &references,
            layers: self.layers.iter().map(|l| l as &dyn LayerSource).collect(),
            listed: false,
            annotations: Default::default(),
        };
        write::tar(&[source], &[], format, File::create(file).unwrap()).unwrap();
    }

    /// Reads an archive of one image, and finds this one in it.
    fn check(&self, archive: &Path, spool: &Path, what: &str) {
        let options = ReadOptions::new(spool);
        let mut archives = vec![read::open(archive, &options).unwrap()];
        if archive.is_file() {
            archives.push(read::read(File::open(archive).unwrap(), &options).unwrap());
        }
        for archive in archives {
            assert_eq!(archive.images.len(), 1, "{what}");
            let image = &archive.images[0];
            let diff_ids: Vec<_> = self.layers.iter().map(|l| l.diff_id.clone()).collect();
            assert_eq!(image.image_config.rootfs.diff_ids, diff_ids, "{what}");
            for layer in &image.layers {
                let mut tar = layer.open_tar(1 << 30).unwrap();
                io::copy(&mut tar, &mut io::sink()).unwrap();
                tar.finish().unwrap();
            }
        }
    }
}

/// Runs a tool to its end; `None` when it is not there.
fn run(command: &mut Command) -> Option<String> {
    let shown = format!("{command:?}");
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = match child {
        Ok(child) => child,
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            println!("skipped: {shown} needs a tool that is not installed");
            return None;
        }
        Err(e) => panic!("{shown}: {e}"),
    };
    let drain = |pipe: Option<Box<dyn Read + Send>>| {
        std::thread::spawn(move || {
            let mut text = String::new();
            pipe.unwrap().read_to_string(&mut text).unwrap();
            text
        })
    };
    let out = drain(child.stdout.take().map(|p| Box::new(p) as _));
    let err = drain(child.stderr.take().map(|p| Box::new(p) as _));
    let end = Instant::now() + DEADLINE;
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if Instant::now() > end {
            child.kill().unwrap();
            panic!("{shown} did not end");
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let (out, err) = (out.join().unwrap(), err.join().unwrap());
    assert!(status.success(), "{shown}: {status}\n{out}{err}");
    Some(out)
}

fn root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        println!("skipped: the tools' stores need root");
    }
    root
}

#[test]
fn skopeo_reads_and_writes_both_kinds() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let Some(image) = Image::new(dir, "hello") else {
        return;
    };
    let file = dir.join("saved.tar");
    for (format, transports) in [
        (Format::Docker, &["docker-archive", "oci-archive"][..]),
        (Format::Oci, &["oci-archive"]),
    ] {
        image.save(&file, format, &["app:v1"]);
        for transport in transports {
            let source = format!("{transport}:{}", file.display());
            let Some(config) = run(Command::new("skopeo")
                .args(["inspect", "--config", "--raw"])
                .arg(&source))
            else {
                return;
            };
            assert_eq!(config.as_bytes(), image.config, "{source}");
            for to in ["docker-archive", "oci-archive", "oci"] {
                let copy = dir.join(format!("copy-{transport}-{to}-{format:?}"));
                run(Command::new("skopeo")
                    .args(["--insecure-policy", "copy", &source])
                    .arg(format!("{to}:{}:app:v1", copy.display())));
                image.check(&copy, dir, to);
            }
        }
    }
}

#[test]
fn podman_loads_and_saves() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let Some(image) = Image::new(dir, "hello") else {
        return;
    };
    if !root() {
        return;
    }
    let podman = |args: &[&str]| {
        let store = ["--storage-driver", "vfs", "--cgroup-manager", "cgroupfs"];
        let mut command = Command::new("podman");
        command.arg("--root").arg(dir.join("root"));
        command.arg("--runroot").arg(dir.join("runroot"));
        run(command.args(store).args(args))
    };
    let file = dir.join("saved.tar");
    for format in [Format::Docker, Format::Oci] {
        image.save(&file, format, &["localhost/app:v1"]);
        if podman(&["load", "-i", file.to_str().unwrap()]).is_none() {
            return;
        }
        let id = podman(&[
            "images",
            "--no-trunc",
            "--format",
            "{{.ID}} {{.Repository}}",
        ])
        .unwrap();
        assert!(id.contains(&image.id().to_string()), "{format:?}: {id}");
        for format in ["docker-archive", "oci-archive"] {
            let back = dir.join(format!("back-{format}"));
            // It does not overwrite.
            let _ = fs::remove_file(&back);
            let back_name = back.to_str().unwrap();
            let id = image.id();
            podman(&["save", "--format", format, "-o", back_name, id.hex()]);
            image.check(&back, dir, format);
        }
        podman(&["rmi", "-f", image.id().hex()]);
    }
}

/// A docker daemon of our own, stopped with the test.
struct Dockerd {
    child: Child,
    socket: String,
}

impl Dockerd {
    fn start(dir: &Path) -> Option<Self> {
        let socket = format!("unix://{}", dir.join("docker.sock").display());
        let log = File::create(dir.join("dockerd.log")).unwrap();
        let child = Command::new("dockerd")
            .arg("--data-root")
            .arg(dir.join("data"))
            .arg("--exec-root")
            .arg(dir.join("exec"))
            .arg("--pidfile")
            .arg(dir.join("pid"))
            .args(["-H", &socket, "--iptables=false", "--bridge=none"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn();
        let child = match child {
            Ok(child) => child,
            Err(e) => {
                println!("skipped: loading into docker needs dockerd: {e}");
                return None;
            }
        };
        let mut daemon = Self { child, socket };
        let end = Instant::now() + DEADLINE;
        while !dir.join("docker.sock").exists() || !daemon.answers() {
            let ended = daemon.child.try_wait().unwrap();
            let log = || fs::read_to_string(dir.join("dockerd.log")).unwrap();
            assert!(ended.is_none(), "dockerd: {ended:?}\n{}", log());
            assert!(Instant::now() < end, "dockerd does not answer\n{}", log());
            std::thread::sleep(Duration::from_millis(100));
        }
        Some(daemon)
    }

    fn answers(&self) -> bool {
        Command::new("docker")
            .args(["-H", &self.socket, "version"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    }

    fn docker(&self, args: &[&str]) -> String {
        run(Command::new("docker").args(["-H", &self.socket]).args(args)).unwrap()
    }
}

impl Drop for Dockerd {
    fn drop(&mut self) {
        // It has containerd and mounts to clean up, and does so when asked to end.
        let pid = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let end = Instant::now() + DEADLINE;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(50));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn docker_loads_runs_and_saves() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let Some(image) = Image::new(dir, "hello") else {
        return;
    };
    if !root() {
        return;
    }
    let Some(dockerd) = Dockerd::start(dir) else {
        return;
    };
    let file = dir.join("saved.tar");
    image.save(&file, Format::Docker, &["app:v1", "localhost:5000/app:v2"]);
    let told = dockerd.docker(&["load", "-i", file.to_str().unwrap()]);
    assert!(told.contains("Loaded image: app:v1"), "{told}");
    assert!(
        told.contains("Loaded image: localhost:5000/app:v2"),
        "{told}"
    );
    let id = dockerd.docker(&["image", "inspect", "--format", "{{.Id}}", "app:v1"]);
    assert_eq!(id.trim(), image.id().to_string());
    let said = dockerd.docker(&["run", "--rm", "--network=none", "app:v1"]);
    assert_eq!(said, "hello");
    let gone = [
        "run",
        "--rm",
        "--network=none",
        "app:v1",
        "sh",
        "-c",
        "! [ -e /removed ]",
    ];
    dockerd.docker(&gone);
    let back = dir.join("back.tar");
    dockerd.docker(&["save", "-o", back.to_str().unwrap(), "app:v1"]);
    image.check(&back, dir, "docker save");

    // The daemon's own tar of the layers unpacks to the same layers.
    let archive = read::open(&back, &ReadOptions::new(dir)).unwrap();
    for (read, layer_source) in archive.images[0].layers.iter().zip(&image.layers) {
        let to = tempfile::tempdir_in(dir).unwrap();
        let to = open_dir(to.path()).unwrap();
        let mut tar = read.open_tar(1 << 30).unwrap();
        layer(&mut tar, &to, &UnpackOptions::default()).unwrap();
        tar.finish().unwrap();
        let (diff_id, _) = diff::diff_id(&to, &TarOptions::default()).unwrap();
        assert_eq!(diff_id, layer_source.diff_id);
    }
}
