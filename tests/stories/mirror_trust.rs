//! Whom a mirror trusts: each upstream by a certificate authority of its own.

use std::path::Path;

use e2e::{Cmd, Machine, need, program, rregistry};

/// An address that no client trusts for being this machine's own.
const ADDRESS: &str = "192.0.2.1";

/// A certificate authority, and a certificate that it gave the address.
fn authority(dir: &Path, name: &str) {
    let script = format!(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 \
             -subj /CN={name} -keyout {name}.key -out {name}.pem 2>/dev/null
         openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=x \
             -keyout {name}-server.key -out {name}.csr 2>/dev/null
         printf 'subjectAltName=IP:{ADDRESS}\n' >{name}.ext
         openssl x509 -req -in {name}.csr -CA {name}.pem -CAkey {name}.key -CAcreateserial \
             -days 30 -extfile {name}.ext -out {name}-server.pem 2>/dev/null"
    );
    let done = Cmd::new("sh").args(["-ec", &script]).current_dir(dir);
    done.ok();
}

/// Pushes an image to the registry there, as app:v1.
fn push(machine: &Machine, dir: &Path, url: &str) {
    machine.sh(&format!(
        r#"cd {dir}
        printf '{{}}' >config
        printf layer >layer
        digest() {{ echo sha256:$(sha256sum $1 | cut -d' ' -f1); }}
        for blob in config layer; do
            curl -sf --cacert right.pem -X POST --data-binary @$blob \
                "{url}/v2/app/blobs/uploads/?digest=$(digest $blob)"
        done
        printf '{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"%s","size":2}},"layers":[{{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"%s","size":5}}]}}' \
            $(digest config) $(digest layer) >manifest
        curl -sf --cacert right.pem -X PUT --data-binary @manifest \
            -H 'content-type: application/vnd.oci.image.manifest.v1+json' \
            {url}/v2/app/manifests/v1"#,
        dir = dir.display()
    ));
}

#[test]
fn an_upstream_is_trusted_by_its_own_authority_and_by_no_other() {
    need!(program("openssl"));
    need!(program("curl"));
    let machine = need!(Machine::new());
    machine.sh(&format!("ip addr add {ADDRESS}/32 dev lo"));
    let temporary = tempfile::tempdir().expect("folder");
    let dir = temporary.path();
    for name in ["right", "wrong"] {
        authority(dir, name);
    }
    let url = format!("https://{ADDRESS}:5443");
    let at = |name: &str| dir.join(name).display().to_string();
    let upstream = format!(
        "data_dir = {:?}\naddr = \"{ADDRESS}:5443\"\n[tls]\ncert = {:?}\nkey = {:?}\n",
        at("there"),
        at("right-server.pem"),
        at("right-server.key"),
    );
    let source = |name: &str, more: &str| {
        format!("[[upstream]]\nrepository = \"{name}/**\"\nurl = \"{url}\"\n{more}\n")
    };
    let pull = |name: &str, ca: &str| {
        format!(
            "[[replicate]]\nname = \"{name}\"\ndirection = \"pull\"\ninterval = \"1s\"\n\
             url = \"{url}\"\nrepositories = [\"app\"]\nprefix = \"{name}\"\nca = {:?}\n",
            at(ca)
        )
    };
    let mirror = [
        format!("data_dir = {:?}\naddr = \"127.0.0.1:5000\"\n", at("here")),
        source("right", &format!("ca = {:?}", at("right.pem"))),
        source("wrong", &format!("ca = {:?}", at("wrong.pem"))),
        source("none", ""),
        source("any", "insecure = true"),
        pull("brought", "right.pem"),
        pull("refused", "wrong.pem"),
    ];
    std::fs::write(dir.join("there.toml"), upstream).expect("write");
    std::fs::write(dir.join("here.toml"), mirror.concat()).expect("write");
    let program = rregistry().display().to_string();
    let serve = |name: &str| {
        let script = format!(
            "exec setpriv --pdeathsig KILL -- {program} serve --config {}",
            at(&format!("{name}.toml"))
        );
        let running = machine.start(&script);
        running.until_out("listening on");
        running
    };
    let _there = serve("there");
    push(&machine, dir, &url);
    let _here = serve("here");
    let ask = |path: &str| {
        let script =
            format!("curl -s -w '\n%{{http_code}}' http://127.0.0.1:5000{path} | tail -c 600");
        let said = machine.sh(&script);
        let (body, code) = said.rsplit_once('\n').expect("a code");
        (code.to_owned(), body.to_owned())
    };
    for (name, code) in [
        ("right", "200"),
        ("any", "200"),
        ("wrong", "502"),
        ("none", "502"),
    ] {
        let (said, body) = ask(&format!("/v2/{name}/app/manifests/v1"));
        assert_eq!(said, code, "{name}: {body}");
        if code == "502" {
            assert!(body.contains("certificate"), "{name}: {body}");
        }
        // Lists of tags go the same way.
        let (said, body) = ask(&format!("/v2/{name}/app/tags/list"));
        assert_eq!(said, code, "{name}: {body}");
    }
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(120);
    let until = |what: &str, holds: &dyn Fn() -> bool| {
        while !holds() {
            assert!(std::time::Instant::now() < deadline, "{what}");
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
    };
    until("the rule with the right authority brings it", &|| {
        ask("/v2/brought/app/manifests/v1").0 == "200"
    });
    until("the other rule says why not", &|| {
        let (_, rules) = ask("/api/v1/replication");
        rules.contains("certificate")
    });
    assert_eq!(ask("/v2/refused/app/manifests/v1").0, "404");
}
