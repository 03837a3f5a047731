//! Keys are compared with those that the BuildKit of docker 28.5 wrote into its caches.

use dockerfile::instruction::Network;
use dockerfile::value::Chmod;
use oci::Platform;

use super::ops::{Input, keyed};
use super::*;
use crate::files::rootfs::Rootfs;
use crate::files::select::{Everything, SourceTree};
use crate::plan::{CopyOp, CopySource, Op, RunOp, WorkdirOp};
use crate::stop::Stop;

fn platform() -> Platform {
    "linux/amd64".parse().unwrap()
}

fn run(command: &str, env: &[&str], cwd: &str) -> RunOp {
    RunOp {
        argv: ["/bin/sh", "-c", command].map(str::to_owned).to_vec(),
        env: Vec::new(),
        env_as_set: env.iter().map(|pair| (*pair).to_owned()).collect(),
        hidden_env: vec!["HTTP_PROXY=x".to_owned()],
        user: String::new(),
        cwd: cwd.to_owned(),
        network: Network::Default,
        script: None,
        mounts: Vec::new(),
        devices: Vec::new(),
        insecure: false,
    }
}

fn copy(paths: &[&str], dest: &str) -> CopyOp {
    let sources = paths
        .iter()
        .map(|path| CopySource::Path((*path).to_owned()));
    CopyOp {
        sources: sources.collect(),
        dest: dest.to_owned(),
        ..CopyOp::default()
    }
}

fn key(op: Op, on_layers: bool) -> String {
    let keyed = keyed(&op, on_layers, &platform(), "none").unwrap();
    keyed.key.hex().to_owned()
}

const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

#[test]
fn operations_have_buildkits_keys() {
    let one = run("echo one > /one", &[PATH, "FOO=bar"], "/w");
    assert_eq!(
        key(Op::Run(one), true),
        "057205a313c719facac46357ab95fd0bc1d44c87c173d1fa0b344ba8b7650234"
    );
    let dir = WorkdirOp {
        path: "/w".to_owned(),
        user: String::new(),
    };
    assert_eq!(
        key(Op::Workdir(dir), true),
        "f6515d8afd8f2d2ce6612a1d4492f88887feb327524d76cfd0f4c19c328711c2"
    );
    assert_eq!(
        key(Op::Copy(copy(&["f"], "/f").into()), true),
        "f41954d9a6bb5b52733f3154627e2490beeabac549b32a657fccc876f275afeb"
    );
}

#[test]
fn images_have_buildkits_keys() {
    let digest = |hex: &str| -> Digest { format!("sha256:{hex}").parse().unwrap() };
    let layer = digest("e370c6724c89b1c9d6afc2ca738a66a00feebc48ab28497c24ea19bb8f70b659");
    let chain = ChainId::chain(&[layer.into()]).pop().unwrap();
    assert_eq!(
        image_key(&chain).hex(),
        "3a3c45ae8a2c55a8f52e0f5cd09d54a1d4d8701ad68a98b99ca099c4b7906515"
    );
    let manifest = digest("fe9eaff3b30affc2f3802a16a8d7905ba0263172eed5407668e872d64f2da5b3");
    assert_eq!(
        manifest_key(&manifest, &platform()).unwrap().hex(),
        "efd243b1c460cf1f8054f2d979427e582e8de67739326367d5ef980236a6b1d8"
    );
}

#[test]
fn files_have_buildkits_keys() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("f");
    std::fs::write(&path, "hello\n").unwrap();
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let rootfs = Rootfs::open(dir.path()).unwrap();
    let stop = Stop::default();
    let tree = SourceTree {
        rootfs: &rootfs,
        filter: &Everything,
        stop: &stop,
    };
    let selected = tree.select("f").unwrap();
    let digest = content::digest(&rootfs, &selected[0], &stop).unwrap();
    assert_eq!(
        content::key([&digest]).hex(),
        "c24a47b576469b52903dd7e5045a62fee5855b447dee1771d67b829458d2c08e"
    );
}

#[test]
fn what_is_not_known_to_be_the_same_has_no_key() {
    let none = |op: Op, on_layers: bool, network: &str| {
        assert_eq!(keyed(&op, on_layers, &platform(), network), None, "{op:?}");
    };
    none(Op::Run(run("x", &[PATH], "/")), true, "default ulimits [x]");
    none(Op::Run(run("x", &[PATH], "/")), false, "default");
    let mut script = run("x", &[PATH], "/");
    script.script = Some(("/dev/x".to_owned(), "#!/bin/x".to_owned()));
    none(Op::Run(script), true, "default");
    let mut insecure = run("x", &[PATH], "/");
    insecure.insecure = true;
    none(Op::Run(insecure), true, "default");
    let linked = CopyOp {
        link: true,
        ..copy(&["f"], "/f")
    };
    none(Op::Copy(linked.into()), true, "default");
    let symbolic = CopyOp {
        chmod: Some(("u=rw".to_owned(), Chmod::parse("u=rw").unwrap())),
        ..copy(&["f"], "/f")
    };
    none(Op::Copy(symbolic.into()), true, "default");
    let fetched = CopyOp {
        sources: vec![CopySource::Url("https://x".to_owned())],
        ..copy(&[], "/f")
    };
    none(Op::Copy(fetched.into()), true, "default");
}

#[test]
fn what_a_copy_takes_is_its_last_input() {
    let keyed = keyed(
        &Op::Copy(copy(&["a", "/b/"], "/d/").into()),
        true,
        &platform(),
        "default",
    );
    let inputs = keyed.unwrap().inputs;
    assert_eq!(inputs[0], Input::Parent { selector: None });
    let selector = Digest::sha256(b"/b\0/a");
    let paths = ["/a", "/b"].map(str::to_owned).to_vec();
    assert_eq!(inputs[1], Input::Files { selector, paths });
}
