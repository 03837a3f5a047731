//! Who is let in to mirrored images and who we are upstream; how much is kept, and what is brought
//! before it is asked for.

use base64::Engine;
use oci::Digest;
use registry::auth::htpasswd::Htpasswd;
use registry::mirror::WarmOptions;
use serde_json::json;

use crate::harness::{App, INDEX, MANIFEST, image};
use crate::upstream::{Fault, Mood, Upstream};

async fn mirror_of(upstream: &Upstream, more: &str) -> App {
    let url = upstream.url();
    let settings = format!(
        "[[upstream]]\nrepository = \"docker.io/**\"\nurl = \"{url}\"\nhostless = true\n{more}"
    );
    App::configured(|_| {}, &settings).await
}

fn users(dir: &std::path::Path) {
    let mut users = Htpasswd::default();
    for user in ["alice", "bob"] {
        users.add(user, user).unwrap();
    }
    users.write(&dir.join("htpasswd")).unwrap();
}

fn basic(user: &str) -> String {
    let pair = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{user}"));
    format!("Basic {pair}")
}

fn blob_path(name: &str, digest: &Digest) -> String {
    format!("/v2/{name}/blobs/{digest}")
}

/// An upstream that wants a login, by password or by token: another registry of ours.
#[tokio::test]
async fn upstreams_are_logged_in_to() {
    for method in ["basic", "token"] {
        let rules = format!(
            "auth.htpasswd = \"$DIR/htpasswd\"\nauth.method = \"{method}\"\n\
             [[access]]\nrepository = \"**\"\nusers = [\"alice\"]\nallow = [\"pull\", \"push\"]\n"
        );
        let upstream = App::configured(users, &rules).await;
        let auth = basic("alice");
        let token = upstream
            .request(
                "GET",
                "/auth/token?service=rregistry&scope=repository:team/app:pull,push",
                &[("authorization", &auth)],
                "",
            )
            .await;
        let auth = match method {
            "token" => format!("Bearer {}", token.ok(200).json()["token"].as_str().unwrap()),
            _ => auth,
        };
        let send = async |method: &str, path: String, body: Vec<u8>| {
            let headers = [("authorization", auth.as_str()), ("content-type", MANIFEST)];
            upstream.request(method, &path, &headers, body).await
        };
        let layer = crate::harness::sized(b"private");
        let path = format!("/v2/team/app/blobs/uploads/?digest={layer}");
        send("POST", path, b"private".to_vec()).await.ok(201);
        let text = image(&layer, &[&layer]).to_string();
        send("PUT", "/v2/team/app/manifests/1".into(), text.into_bytes())
            .await
            .ok(201);

        let url = format!("http://{}", upstream.listen().await);
        let settings =
            |login: &str| format!("[[upstream]]\nrepository = \"up/**\"\nurl = \"{url}\"\n{login}");
        let login = "username = \"alice\"\npassword_file = \"$DIR/password\"\n";
        let write =
            |dir: &std::path::Path| std::fs::write(dir.join("password"), "alice\n").unwrap();
        let app = App::configured(write, &settings(login)).await;
        app.get("/v2/up/team/app/manifests/1").await.ok(200);
        let got = app.get(&blob_path("up/team/app", &layer)).await.ok(200);
        assert_eq!(&got.body[..], b"private", "{method}");

        // Without, or with the wrong ones, it is as good as not there.
        let wrong = "username = \"alice\"\npassword = \"bob\"\n";
        for login in ["", wrong, "username = \"bob\"\npassword = \"bob\"\n"] {
            let app = App::configured(|_| {}, &settings(login)).await;
            app.get("/v2/up/team/app/manifests/1")
                .await
                .is(404, "MANIFEST_UNKNOWN");
        }
    }
}

#[tokio::test]
async fn credentials_go_to_no_other_host() {
    let (upstream, elsewhere) = (Upstream::start().await, Upstream::start().await);
    let (_, layer) = upstream.image("lib/app", "1", b"elsewhere");
    let _ = elsewhere.image("lib/app", "1", b"elsewhere");
    upstream.fault(&layer, Fault::Redirect(elsewhere.url()));
    let app = mirror_of(&upstream, "username = \"alice\"\npassword = \"secret\"").await;
    // What our client says to us is not said to anybody.
    let headers = [("authorization", "Basic bWU6bXk="), ("cookie", "a=b")];
    let path = blob_path("docker.io/lib/app", &layer);
    let got = app.request("GET", &path, &headers, "").await.ok(200);
    assert_eq!(&got.body[..], b"elsewhere");
    for asked in upstream.asked("").iter().chain(&elsewhere.asked("")) {
        assert!(!asked.headers.contains_key("cookie"));
        let sent = asked.headers.get("authorization");
        assert!(sent.is_none_or(|sent| sent != "Basic bWU6bXk="));
    }
    assert!(!elsewhere.asked("").is_empty());
    for asked in elsewhere.asked("") {
        assert!(!asked.headers.contains_key("authorization"), "{asked:?}");
    }
}

#[tokio::test]
async fn access_rules_hold_for_mirrored_names() {
    let upstream = Upstream::start().await;
    let (_, layer) = upstream.image("lib/app", "1", b"content");
    let _ = upstream.image("secret/app", "1", b"hidden");
    let rules = "auth.htpasswd = \"$DIR/htpasswd\"\n\
         [[access]]\nrepository = \"docker.io/lib/**\"\nusers = [\"anonymous\"]\nallow = [\"pull\"]\n\
         [[access]]\nrepository = \"docker.io/secret/**\"\nusers = [\"alice\"]\nallow = [\"pull\"]\n";
    let url = upstream.url();
    let settings = format!(
        "{rules}[[upstream]]\nrepository = \"docker.io/**\"\nurl = \"{url}\"\nhostless = true\n"
    );
    let app = App::configured(users, &settings).await;
    let get = async |path: &str, auth: &str| {
        let headers = [("authorization", auth)];
        app.request(
            "GET",
            path,
            if auth.is_empty() { &[] } else { &headers },
            "",
        )
        .await
    };
    for name in ["docker.io/secret/app", "secret/app"] {
        let path = format!("/v2/{name}/manifests/1");
        let refused = get(&path, "").await;
        let challenge = refused
            .is(401, "UNAUTHORIZED")
            .header("www-authenticate")
            .to_owned();
        assert!(!challenge.is_empty());
        get(&path, &basic("bob")).await.is(403, "DENIED");
        assert_eq!(upstream.count("GET /v2/secret"), 0, "{name} was asked for");
    }
    get("/v2/secret/app/manifests/1?ns=docker.io", "")
        .await
        .is(401, "UNAUTHORIZED");
    get("/v2/docker.io/secret/app/manifests/1", &basic("alice"))
        .await
        .ok(200);
    // By each of its names, and with a token for the name that the client knows.
    for name in ["docker.io/lib/app", "lib/app"] {
        get(&format!("/v2/{name}/manifests/1"), "").await.ok(200);
        get(&blob_path(name, &layer), "").await.ok(200);
        let scope = format!("repository:{name}:pull");
        let token = app
            .get(&format!("/auth/token?service=rregistry&scope={scope}"))
            .await;
        let token = format!("Bearer {}", token.ok(200).json()["token"].as_str().unwrap());
        get(&format!("/v2/{name}/manifests/1"), &token)
            .await
            .ok(200);
        get(&format!("/v2/{name}/tags/list"), &token).await.ok(200);
        get("/v2/docker.io/secret/app/manifests/1", &token).await;
    }
}

#[tokio::test]
async fn offline_what_is_here_is_served() {
    let upstream = Upstream::start().await;
    let (_, layer) = upstream.image("lib/app", "1", b"content");
    let app = mirror_of(&upstream, "ttl = \"0s\"\nstale = \"0s\"").await;
    app.get("/v2/docker.io/lib/app/manifests/1").await.ok(200);
    app.get(&blob_path("docker.io/lib/app", &layer))
        .await
        .ok(200);
    app.registry.close().await;
    let url = upstream.url();
    let offline = format!(
        "mirror.offline = true\n[[upstream]]\nrepository = \"docker.io/**\"\nurl = \"{url}\"\n\
         ttl = \"0s\"\nstale = \"0s\"\n"
    );
    let app = App::again(app, &offline).await;
    let asked = upstream.count("");
    let tag = app.get("/v2/docker.io/lib/app/manifests/1").await.ok(200);
    assert!(!tag.headers.contains_key("warning"));
    app.get(&blob_path("docker.io/lib/app", &layer))
        .await
        .ok(200);
    app.get("/v2/docker.io/lib/app/manifests/2")
        .await
        .is(404, "MANIFEST_UNKNOWN");
    let none = Digest::sha256(b"none");
    app.get(&blob_path("docker.io/lib/app", &none))
        .await
        .is(404, "BLOB_UNKNOWN");
    app.get(&format!("/v2/docker.io/lib/app/referrers/{none}"))
        .await
        .ok(200);
    assert_eq!(upstream.count(""), asked);
}

fn warm(images: &[&str], platforms: &[&str]) -> WarmOptions {
    WarmOptions {
        images: images.iter().map(|image| (*image).to_owned()).collect(),
        platforms: platforms
            .iter()
            .map(|platform| (*platform).to_owned())
            .collect(),
    }
}

#[tokio::test]
async fn whole_images_are_brought_before_they_are_asked_for() {
    let upstream = Upstream::start().await;
    let (amd, amd_layer) = upstream.image("library/base", "amd", b"amd");
    let (arm, arm_layer) = upstream.image("library/base", "arm", b"arm");
    let entry = |d: &Digest, arch: &str| {
        json!({"mediaType": MANIFEST, "digest": d, "size": 1,
               "platform": {"os": "linux", "architecture": arch}})
    };
    let index = json!({"schemaVersion": 2, "mediaType": INDEX,
        "manifests": [entry(&amd, "amd64"), entry(&arm, "arm64")]});
    let index = upstream.manifest("library/base", "latest", &index.to_string(), INDEX);
    let app = mirror_of(&upstream, "").await;
    let mirror = app.mirror.clone().unwrap();
    let warmed = mirror
        .warm(&warm(
            &["base", "ghcr.io/x/y:1", "none:1"],
            &["linux/amd64"],
        ))
        .await;
    assert_eq!(warmed.here, [("base".to_owned(), index.to_string())]);
    assert_eq!(warmed.failed.len(), 2, "{warmed:?}");
    assert!(
        warmed.failed[0]
            .1
            .contains("no [[upstream]] answers for ghcr.io"),
        "{warmed:?}"
    );
    assert!(app.registry.is_stored(&amd_layer).await.unwrap());
    assert!(!app.registry.is_stored(&arm_layer).await.unwrap());
    let warmed = mirror
        .warm(&warm(&["docker.io/library/base@".to_owned().as_str()], &[]))
        .await;
    assert_eq!(warmed.here, []);
    let by_digest = format!("docker.io/library/base@{index}");
    let warmed = mirror.warm(&warm(&[&by_digest], &[])).await;
    assert_eq!(warmed.failed, []);
    assert!(app.registry.is_stored(&arm_layer).await.unwrap());
    upstream.mood(Mood::Status(500));
    app.get("/v2/library/base/manifests/latest").await.ok(200);
    app.get(&blob_path("library/base", &arm_layer))
        .await
        .ok(200);
}

#[tokio::test]
async fn what_nobody_pulls_goes_first_and_what_is_pinned_stays() {
    let upstream = Upstream::start().await;
    let mut layers = Vec::new();
    for name in ["lib/old", "lib/new", "pinned/app"] {
        let (manifest, layer) = upstream.image(name, "1", &name.repeat(5000).into_bytes());
        layers.push((format!("docker.io/{name}"), manifest, layer));
    }
    let limits = "[mirror]\nmax_size = \"60KiB\"\npinned = [\"docker.io/pinned/**\"]\n";
    let app = mirror_of(&upstream, limits).await;
    let mirror = app.mirror.clone().unwrap();
    let images: Vec<String> = layers
        .iter()
        .map(|(name, ..)| format!("{name}:1"))
        .collect();
    let images: Vec<&str> = images.iter().map(String::as_str).collect();
    assert_eq!(mirror.warm(&warm(&images, &[])).await.failed, []);
    // Some second later the first one is pulled once more.
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    app.get("/v2/docker.io/lib/old/manifests/1").await.ok(200);
    let evicted = mirror.keep_within().await.unwrap();
    assert_eq!(evicted.manifests, 1, "{evicted:?}");
    assert!(evicted.bytes > 35_000, "{evicted:?}");
    let kept = async |i: usize| app.registry.is_stored(&layers[i].2).await.unwrap();
    assert_eq!(
        [kept(0).await, kept(1).await, kept(2).await],
        [true, false, true]
    );
    assert!(
        !app.path()
            .join("blobs/sha256")
            .join(&layers[1].2.hex()[..2])
            .join(layers[1].2.hex())
            .exists()
    );
    // Nothing more is to go, and what went comes again.
    assert_eq!(mirror.keep_within().await.unwrap().manifests, 0);
    app.get("/v2/docker.io/lib/new/manifests/1").await.ok(200);
    app.get(&blob_path("docker.io/lib/new", &layers[1].2))
        .await
        .ok(200);
    let checked = app.registry.check(Default::default()).await.unwrap();
    assert!(checked.problems.is_empty(), "{checked:?}");
}

#[tokio::test]
async fn signatures_and_referrers_come_along_when_asked_for() {
    let upstream = Upstream::start().await;
    let (manifest, _) = upstream.image("lib/app", "1", b"signed");
    let (sbom, sbom_layer) = {
        let layer = upstream.blob("lib/app", b"sbom");
        let config = upstream.blob("lib/app", b"{}");
        let mut text = image(&config, &[&layer]);
        text["subject"] = json!({"mediaType": MANIFEST, "digest": manifest, "size": 1});
        let digest = upstream.manifest("lib/app", "sbom", &text.to_string(), MANIFEST);
        (digest, layer)
    };
    upstream.refers(&manifest, &[&sbom]);
    let signature = format!("sha256-{}.sig", manifest.hex());
    let (_, signature_layer) = upstream.image("lib/app", &signature, b"signature");

    // Who asks for the list gets it, and no blob comes for that.
    let app = mirror_of(&upstream, "").await;
    app.get("/v2/docker.io/lib/app/manifests/1").await.ok(200);
    assert_eq!(upstream.count("GET /v2/lib/app/referrers"), 0);
    let list = app
        .get(&format!("/v2/docker.io/lib/app/referrers/{manifest}"))
        .await
        .ok(200);
    assert_eq!(list.json()["manifests"][0]["digest"], sbom.to_string());
    assert!(!app.registry.is_stored(&sbom_layer).await.unwrap());
    app.get(&format!("/v2/docker.io/lib/app/manifests/{signature}"))
        .await
        .ok(200);

    let app = mirror_of(&upstream, "referrers = true").await;
    app.get("/v2/docker.io/lib/app/manifests/1").await.ok(200);
    let mut here = false;
    for _ in 0..6000 {
        here = app.registry.is_stored(&sbom_layer).await.unwrap()
            && app.registry.is_stored(&signature_layer).await.unwrap();
        if here {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert!(here, "they do not come");
    upstream.mood(Mood::Status(503));
    let list = app
        .get(&format!("/v2/docker.io/lib/app/referrers/{manifest}"))
        .await
        .ok(200);
    assert_eq!(list.json()["manifests"][0]["digest"], sbom.to_string());
    app.get(&format!("/v2/docker.io/lib/app/manifests/{signature}"))
        .await
        .ok(200);
}
