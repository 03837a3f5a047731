use base64::Engine;
use oci::Digest;
use registry::auth::htpasswd::Htpasswd;
use serde_json::json;

use crate::harness::{Answer, App, MANIFEST, image};

fn header(user: &str, password: &str) -> String {
    let pair = format!("{user}:{password}");
    format!(
        "Basic {}",
        base64::engine::general_purpose::STANDARD.encode(pair)
    )
}

async fn app(rules: &str) -> App {
    let settings = format!("auth.htpasswd = \"$DIR/htpasswd\"\n{rules}");
    App::configured(
        |dir| {
            let mut users = Htpasswd::default();
            for user in ["reader", "writer", "cleaner", "root"] {
                users.add(user, user).unwrap();
            }
            users.write(&dir.join("htpasswd")).unwrap();
        },
        &settings,
    )
    .await
}

const RULES: &str = r#"
[groups]
team = ["writer", "cleaner"]
[[access]]
repository = "public/**"
users = ["anonymous"]
allow = ["pull"]
[[access]]
repository = "team/**"
users = ["reader"]
groups = ["team"]
allow = ["pull"]
[[access]]
repository = "team/**"
groups = ["team"]
allow = ["push"]
[[access]]
repository = "team/**"
users = ["cleaner"]
allow = ["delete"]
[[access]]
repository = "**"
users = ["root"]
allow = ["admin"]
"#;

async fn send(app: &App, user: Option<&str>, method: &str, path: &str, body: &str) -> Answer {
    let auth = user.map(|user| header(user, user));
    let mut headers = vec![("content-type", MANIFEST)];
    if let Some(auth) = &auth {
        headers.push(("authorization", auth.as_str()));
    }
    app.request(method, path, &headers, body.to_owned()).await
}

/// Every route, by every role: who gets past the door.
#[tokio::test]
async fn every_route_by_every_role() {
    let app = app(RULES).await;
    let digest = Digest::sha256(b"{}");
    for (name, pull) in [
        (
            "team/app",
            ["reader", "writer", "cleaner", "root"].as_slice(),
        ),
        ("secret", ["root"].as_slice()),
        (
            "public/app",
            ["", "reader", "writer", "cleaner", "root"].as_slice(),
        ),
    ] {
        let push: &[&str] = if name == "team/app" {
            &["writer", "cleaner", "root"]
        } else {
            &["root"]
        };
        let delete: &[&str] = if name == "team/app" {
            &["cleaner", "root"]
        } else {
            &["root"]
        };
        let id = "6b0c1e88-4f5a-4d1f-9f0e-2d6f8b6c1a55";
        let routes = [
            ("GET", "tags/list".to_owned(), pull),
            ("HEAD", "tags/list".to_owned(), pull),
            ("GET", format!("referrers/{digest}"), pull),
            ("GET", "manifests/none".to_owned(), pull),
            ("HEAD", format!("manifests/{digest}"), pull),
            ("GET", format!("blobs/{digest}"), pull),
            ("HEAD", format!("blobs/{digest}"), pull),
            ("PUT", "manifests/bad".to_owned(), push),
            ("POST", format!("blobs/uploads/?digest={digest}"), push),
            (
                "POST",
                format!("blobs/uploads/?mount={digest}&from=secret"),
                push,
            ),
            ("GET", format!("blobs/uploads/{id}"), push),
            ("PATCH", format!("blobs/uploads/{id}"), push),
            ("PUT", format!("blobs/uploads/{id}?digest={digest}"), push),
            ("DELETE", format!("blobs/uploads/{id}"), push),
            ("DELETE", "manifests/none".to_owned(), delete),
            ("DELETE", format!("manifests/{digest}"), delete),
            ("DELETE", format!("blobs/{digest}"), delete),
        ];
        for (method, path, allowed) in routes {
            for role in ["", "reader", "writer", "cleaner", "root"] {
                let user = (!role.is_empty()).then_some(role);
                let path = format!("/v2/{name}/{path}");
                let answer = send(&app, user, method, &path, "").await;
                let status = answer.status.as_u16();
                let what = format!("{role:?} {method} {path}: {answer:?}");
                if allowed.contains(&role) {
                    assert!(status != 401 && status != 403, "{what}");
                } else if role.is_empty() {
                    assert_eq!(status, 401, "{what}");
                    assert_eq!(
                        answer.header("www-authenticate"),
                        "Basic realm=\"rregistry\""
                    );
                } else {
                    assert_eq!(status, 403, "{what}");
                }
            }
        }
    }
}

#[tokio::test]
async fn logging_in() {
    let app = app("").await;
    send(&app, None, "GET", "/v2/", "")
        .await
        .is(401, "UNAUTHORIZED");
    send(&app, Some("root"), "GET", "/v2/", "").await.ok(200);
    // Twice: the second time from memory.
    send(&app, Some("root"), "GET", "/v2/", "").await.ok(200);
    for wrong in [
        header("root", "wrong"),
        header("nobody", "nobody"),
        header("root", ""),
        "Basic !!!".into(),
        "Bearer abc".into(),
        "Basic".into(),
    ] {
        app.request("GET", "/v2/", &[("authorization", &wrong)], "")
            .await
            .is(401, "UNAUTHORIZED");
    }
    // What operators ask needs no password.
    app.get("/healthz").await.ok(200);
    app.get("/readyz").await.ok(200);
}

#[tokio::test]
async fn the_catalog_lists_what_may_be_read() {
    let app = app(RULES).await;
    for name in ["public/a", "secret", "team/a", "team/b", "zzz"] {
        let path = format!("/v2/{name}/blobs/uploads/?digest={}", Digest::sha256(b"x"));
        send(&app, Some("root"), "POST", &path, "x").await.ok(201);
    }
    for (user, names) in [
        (None, json!(["public/a"])),
        (Some("reader"), json!(["public/a", "team/a", "team/b"])),
        (
            Some("root"),
            json!(["public/a", "secret", "team/a", "team/b", "zzz"]),
        ),
    ] {
        let list = send(&app, user, "GET", "/v2/_catalog", "").await.ok(200);
        assert_eq!(list.json()["repositories"], names);
    }
    // Pages are full of what may be read, and do not tell of what may not.
    let mut path = "/v2/_catalog?n=1".to_owned();
    let mut seen = Vec::new();
    loop {
        let page = send(&app, Some("reader"), "GET", &path, "").await.ok(200);
        seen.extend(page.json()["repositories"].as_array().unwrap().clone());
        let Some(link) = page.headers.get("link") else {
            break;
        };
        let link = link.to_str().unwrap();
        assert!(!link.contains("secret") && !link.contains("zzz"), "{link}");
        path = link[1..link.find('>').unwrap()].to_owned();
    }
    assert_eq!(seen, [json!("public/a"), json!("team/a"), json!("team/b")]);
}

#[tokio::test]
async fn what_may_not_be_read_cannot_be_mounted() {
    let app = app(RULES).await;
    let digest = Digest::sha256(b"x");
    let path = format!("/v2/secret/blobs/uploads/?digest={digest}");
    send(&app, Some("root"), "POST", &path, "x").await.ok(201);
    for query in [
        format!("mount={digest}&from=secret"),
        format!("mount={digest}"),
    ] {
        let path = format!("/v2/team/app/blobs/uploads/?{query}");
        send(&app, Some("writer"), "POST", &path, "").await.ok(202);
    }
    let blob = format!("/v2/team/app/blobs/{digest}");
    send(&app, Some("writer"), "GET", &blob, "")
        .await
        .is(404, "BLOB_UNKNOWN");
    let path = format!("/v2/team/app/blobs/uploads/?mount={digest}");
    send(&app, Some("root"), "POST", &path, "").await.ok(201);
}

#[tokio::test]
async fn disabled_deletion_is_disabled_everywhere() {
    let app = App::configured(|_| {}, "delete.enabled = false").await;
    let config = app.blob("app", b"{}").await;
    let text = image(&config, &[]).to_string();
    app.put_manifest("/v2/app/manifests/v1", MANIFEST, text.as_bytes())
        .await
        .ok(201);
    let digest = Digest::sha256(text.as_bytes());
    for path in [
        "/v2/app/manifests/v1".to_owned(),
        format!("/v2/app/manifests/{digest}"),
        format!("/v2/app/blobs/{config}"),
    ] {
        app.delete(&path).await.is(405, "UNSUPPORTED");
        app.get(&path).await.ok(200);
    }
    // Giving up an upload deletes nothing that anybody has.
    let location = app.upload("app").await;
    app.delete(&location).await.ok(204);
}

#[tokio::test]
async fn metrics_count_and_can_be_turned_off() {
    let app = App::new().await;
    app.image("app", "v1", "x").await;
    app.get("/v2/app/manifests/none").await.ok(404);
    let text = String::from_utf8(app.get("/metrics").await.ok(200).body.to_vec()).unwrap();
    for line in [
        "rregistry_requests_total{route=\"manifest_put\",status=\"2xx\"} 1",
        "rregistry_requests_total{route=\"manifest_get\",status=\"4xx\"} 1",
        "rregistry_manifests 1",
        "rregistry_tags 1",
        "rregistry_blobs 3",
    ] {
        assert!(text.contains(line), "{line} in\n{text}");
    }
    let app = App::configured(|_| {}, "metrics.enabled = false").await;
    app.get("/metrics").await.is(404, "UNSUPPORTED");
}

/// A token for `scope`, as clients get it.
async fn token(app: &App, user: Option<&str>, scope: &str) -> Answer {
    let path = format!("/auth/token?service=rregistry&scope={scope}");
    send(app, user, "GET", &path, "").await
}

async fn with_token(app: &App, token: &str, method: &str, path: &str) -> Answer {
    let bearer = format!("Bearer {token}");
    app.request(method, path, &[("authorization", &bearer)], "x")
        .await
}

const BOTH: &str = "repository:team/copy:pull,push repository:team/app:pull";

/// The scope that a challenge asks for.
fn asked(answer: &Answer) -> &str {
    answer.is(401, "UNAUTHORIZED");
    let challenge = answer.header("www-authenticate");
    let scope = challenge.split("scope=\"").nth(1).unwrap();
    scope.strip_suffix('"').unwrap()
}

#[tokio::test]
async fn tokens_let_do_what_they_were_asked_for_and_no_more() {
    let app = app(&format!("auth.method = \"token\"\n{RULES}")).await;
    let digest = Digest::sha256(b"x");
    let upload = format!("/v2/team/app/blobs/uploads/?digest={digest}");
    let refused = app
        .request("POST", &upload, &[("host", "registry.example:5000")], "x")
        .await;
    refused.is(401, "UNAUTHORIZED");
    assert_eq!(
        refused.header("www-authenticate"),
        "Bearer realm=\"http://registry.example:5000/auth/token\",service=\"rregistry\",\
         scope=\"repository:team/app:pull,push\""
    );
    token(&app, Some("nobody"), "")
        .await
        .is(401, "UNAUTHORIZED");
    app.request("PUT", "/auth/token", &[], "")
        .await
        .is(405, "UNSUPPORTED");

    let get = async |user: Option<&str>, scope: &str| {
        let answer = token(&app, user, scope).await.ok(200);
        assert_eq!(answer.header("cache-control"), "no-store");
        let json = answer.json();
        assert_eq!(json["token"], json["access_token"]);
        json["token"].as_str().unwrap().to_owned()
    };
    let push = get(Some("writer"), "repository:team/app:pull,push").await;
    with_token(&app, &push, "POST", &upload).await.ok(201);
    with_token(&app, &push, "GET", "/v2/").await.ok(200);
    let blob = format!("/v2/team/app/blobs/{digest}");
    with_token(&app, &push, "GET", &blob).await.ok(200);
    // Neither another right nor another repository.
    with_token(&app, &push, "DELETE", &blob)
        .await
        .is(401, "UNAUTHORIZED");
    with_token(&app, &push, "GET", "/v2/team/other/tags/list")
        .await
        .is(401, "UNAUTHORIZED");

    // What the rules do not allow is not granted, whatever is asked.
    let read = get(Some("reader"), "repository:team/app:pull,push,delete,*").await;
    with_token(&app, &read, "GET", &blob).await.ok(200);
    with_token(&app, &read, "POST", &upload)
        .await
        .is(401, "UNAUTHORIZED");
    with_token(&app, &read, "DELETE", &blob)
        .await
        .is(401, "UNAUTHORIZED");

    // A mount needs the right to pull the source in the same token.
    let mount = format!("/v2/team/copy/blobs/uploads/?mount={digest}&from=team/app");
    let narrow = get(Some("writer"), "repository:team/copy:pull,push").await;
    let refused = with_token(&app, &narrow, "POST", &mount).await;
    assert_eq!(asked(&refused), BOTH);
    let both = "repository:team/copy:pull,push&scope=repository:team/app:pull";
    let wide = get(Some("writer"), both).await;
    with_token(&app, &wide, "POST", &mount).await.ok(201);
    // Who comes without a token is told of both at once.
    assert_eq!(asked(&app.post(&mount).await), BOTH);
    // What nobody gets a token for is as good as not there.
    let secret = mount.replace("from=team/app", "from=secret");
    with_token(&app, &narrow, "POST", &secret).await.ok(202);
    // Without a source the rules say where from.
    let anywhere = format!("/v2/team/copy2/blobs/uploads/?mount={digest}");
    let narrow = get(Some("writer"), "repository:team/copy2:pull,push").await;
    with_token(&app, &narrow, "POST", &anywhere).await.ok(201);
    let hidden = Digest::sha256(b"hidden");
    let root = get(Some("root"), "repository:secret:pull,push").await;
    let bearer = format!("Bearer {root}");
    app.request(
        "POST",
        &format!("/v2/secret/blobs/uploads/?digest={hidden}"),
        &[("authorization", &bearer)],
        "hidden",
    )
    .await
    .ok(201);
    let anywhere = anywhere.replace(&digest.to_string(), &hidden.to_string());
    with_token(&app, &narrow, "POST", &anywhere).await.ok(202);

    // Nobody in particular gets a token too, good for what is public.
    let anonymous = get(None, "repository:public/a:pull+repository:team/app:pull").await;
    with_token(&app, &anonymous, "GET", "/v2/").await.ok(200);
    with_token(&app, &anonymous, "GET", "/v2/public/a/tags/list")
        .await
        .is(404, "NAME_UNKNOWN");
    with_token(&app, &anonymous, "GET", &blob)
        .await
        .is(401, "UNAUTHORIZED");

    // Another registry's token is none.
    let other = self::app(&format!("auth.method = \"token\"\n{RULES}")).await;
    let foreign = token(&other, Some("root"), "repository:team/app:*")
        .await
        .json();
    with_token(&app, foreign["token"].as_str().unwrap(), "GET", &blob)
        .await
        .is(401, "UNAUTHORIZED");
    // And where tokens are not used, there are none.
    self::app("")
        .await
        .get("/auth/token")
        .await
        .is(404, "UNSUPPORTED");
}

/// Sends a form to get a token.
async fn form(app: &App, fields: &str) -> Answer {
    let kind = [("content-type", "application/x-www-form-urlencoded")];
    let answer = app
        .request("POST", "/auth/token", &kind, fields.to_owned())
        .await;
    assert_eq!(answer.header("cache-control"), "no-store");
    answer
}

#[tokio::test]
async fn oauth_by_password_and_then_by_refresh_token() {
    const PASSWORD: &str = "grant_type=password&username=writer&password=writer";
    const CLIENT: &str = "service=rregistry&client_id=test%2F1";
    let app = app(&format!("auth.method = \"token\"\n{RULES}")).await;
    let blob = format!("/v2/team/app/blobs/{}", Digest::sha256(b"x"));

    // As a client logs in that means to come again.
    let fields = format!("{PASSWORD}&{CLIENT}&access_type=offline");
    let login = form(&app, &fields).await.ok(200).json();
    assert_eq!(login["scope"], "");
    assert!(login["expires_in"].as_i64().unwrap() >= 60);
    let access = login["access_token"].as_str().unwrap();
    with_token(&app, access, "GET", "/v2/").await.ok(200);
    let refresh = login["refresh_token"].as_str().unwrap();

    let scope = "scope=repository:team/app:pull,push,delete+repository:secret:pull";
    let fields = format!("grant_type=refresh_token&refresh_token={refresh}&{CLIENT}&{scope}");
    let again = form(&app, &fields).await.ok(200).json();
    assert_eq!(again["scope"], "repository:team/app:pull,push");
    assert_eq!(again["refresh_token"], refresh);
    let access = again["access_token"].as_str().unwrap();
    with_token(&app, access, "GET", &blob)
        .await
        .is(404, "BLOB_UNKNOWN");
    with_token(&app, access, "DELETE", &blob)
        .await
        .is(401, "UNAUTHORIZED");
    // Neither token is good for what the other is.
    with_token(&app, refresh, "GET", "/v2/")
        .await
        .is(401, "UNAUTHORIZED");
    let swapped = fields.replace(refresh, access);
    assert_eq!(form(&app, &swapped).await.json()["error"], "invalid_grant");

    let online = form(&app, &format!("{PASSWORD}&{CLIENT}&{scope}")).await;
    assert!(online.ok(200).json().get("refresh_token").is_none());

    for (fields, error) in [
        (String::new(), "invalid_request"),
        (format!("{PASSWORD}&client_id=x"), "invalid_request"),
        (format!("{PASSWORD}&service=rregistry"), "invalid_request"),
        (
            format!("{PASSWORD}&client_id=x&service=other"),
            "invalid_request",
        ),
        (
            format!("grant_type=password&username=writer&{CLIENT}"),
            "invalid_request",
        ),
        (
            format!("grant_type=refresh_token&{CLIENT}"),
            "invalid_request",
        ),
        (
            format!("grant_type=refresh_token&refresh_token=x&{CLIENT}"),
            "invalid_grant",
        ),
        (format!("{PASSWORD}x&{CLIENT}"), "invalid_grant"),
        (
            format!("grant_type=authorization_code&code=x&{CLIENT}"),
            "unsupported_grant_type",
        ),
        ("grant_type=%zz".to_owned(), "invalid_request"),
        (
            format!("{PASSWORD}&{CLIENT}&x={}", "x".repeat(70_000)),
            "invalid_request",
        ),
    ] {
        let refused = form(&app, &fields).await.ok(400).json();
        assert_eq!(refused["error"], error, "{fields}");
    }
    app.request("POST", "/auth/token", &[], format!("{PASSWORD}&{CLIENT}"))
        .await
        .ok(400);
    // Where tokens are not used, there are none.
    let without = self::app("").await;
    without.post("/auth/token").await.is(404, "UNSUPPORTED");
}

#[tokio::test]
async fn a_refresh_token_ends_with_its_password() {
    let app = App::configured(
        |dir| users(dir, "old"),
        "auth.htpasswd = \"$DIR/htpasswd\"\nauth.method = \"token\"",
    )
    .await;
    let basic = header("writer", "old");
    // By GET too, as a daemon asks that only knows Basic.
    let path = "/auth/token?service=rregistry&offline_token=true&client_id=x";
    let login = app
        .request("GET", path, &[("authorization", &basic)], "")
        .await;
    let login = login.ok(200).json();
    let anonymous = app.get(path).await.ok(200).json();
    assert!(anonymous.get("refresh_token").is_none());
    let fields = format!(
        "grant_type=refresh_token&service=rregistry&client_id=x&refresh_token={}",
        login["refresh_token"].as_str().unwrap()
    );
    form(&app, &fields).await.ok(200);
    users(app.path(), "new");
    let auth = app.auth.as_ref().unwrap();
    assert!(auth.reload_passwords().unwrap());
    let refused = form(&app, &fields).await.ok(400).json();
    assert_eq!(refused["error"], "invalid_grant");
}

fn users(dir: &std::path::Path, password: &str) {
    let mut users = Htpasswd::default();
    users.add("writer", password).unwrap();
    users.write(&dir.join("htpasswd")).unwrap();
}

/// Where passwords are asked for, and tokens are only for who has none, a client that logs in keeps
/// its password: with nothing but a token that begins others it could answer no challenge.
#[tokio::test]
async fn no_token_stands_for_a_password_where_passwords_are_asked_for() {
    let settings = "auth.htpasswd = \"$DIR/htpasswd\"\n\
        [[access]]\nrepository = \"**\"\nusers = [\"writer\"]\nallow = [\"pull\", \"push\"]\n\
        [[access]]\nrepository = \"pub/**\"\nusers = [\"anonymous\"]\nallow = [\"pull\"]\n";
    let app = App::configured(|dir| users(dir, "old"), settings).await;
    let challenge = app.get("/v2/").await.ok(401);
    assert!(challenge.header("www-authenticate").starts_with("Bearer "));
    let challenge = app.head("/v2/team/app/manifests/v1").await.ok(401);
    assert!(challenge.header("www-authenticate").starts_with("Basic "));
    let fields = "grant_type=password&username=writer&password=old&access_type=offline\
                  &service=rregistry&client_id=x";
    let login = form(&app, fields).await.ok(200).json();
    assert!(login["access_token"].is_string() && login["refresh_token"].is_null());
    let basic = header("writer", "old");
    let path = "/auth/token?service=rregistry&offline_token=true&client_id=x";
    let headers = [("authorization", &*basic)];
    let login = app.request("GET", path, &headers, "").await.ok(200).json();
    assert!(login["token"].is_string() && login["refresh_token"].is_null());
}
