//! The API for people and their tools, each answer checked against what openapi.json says of it.

use std::path::Path;

use axum::body::Body;
use base64::Engine;
use oci::Digest;
use registry::auth::htpasswd::Htpasswd;
use serde_json::{Value, json};

use crate::harness::{Answer, App, INDEX, MANIFEST};
use crate::lists::push;

/// The description, as the registry serves it.
pub async fn description(app: &App) -> Value {
    app.get("/api/v1/openapi.json").await.ok(200).json()
}

/// The description's template for a path.
fn template(path: &str) -> String {
    let path = path.split('?').next().unwrap();
    if path.starts_with("/api/v1/replication/") {
        return "/api/v1/replication/{rule}/run".to_owned();
    }
    if path.starts_with("/api/v1/tokens/") {
        return "/api/v1/tokens/{id}".to_owned();
    }
    let Some(rest) = path.strip_prefix("/api/v1/repositories/") else {
        return path.to_owned();
    };
    match rest.split_once("/-/") {
        None => "/api/v1/repositories/{name}".to_owned(),
        Some((_, what)) if what.starts_with("manifests/") => {
            "/api/v1/repositories/{name}/-/manifests/{reference}".to_owned()
        }
        Some((_, what)) => format!("/api/v1/repositories/{{name}}/-/{what}"),
    }
}

/// Checks an answer against the description; the operation that it is one of.
#[track_caller]
pub fn conforms(api: &Value, method: &str, path: &str, answer: &Answer) -> String {
    let template = template(path);
    let operation = &api["paths"][&template][method.to_lowercase()];
    let id = operation["operationId"].as_str();
    let id = id.unwrap_or_else(|| panic!("{method} {template} is not described"));
    let status = answer.status.as_u16().to_string();
    let responses = &operation["responses"];
    let described = match responses.get(&status) {
        Some(described) => described,
        None => &responses["default"],
    };
    let media_type = answer.header("content-type");
    let schema = &described["content"][media_type]["schema"];
    assert!(
        schema.is_object(),
        "{method} {path}: {media_type} of {status}"
    );
    // References are to the whole description.
    let mut schema = schema.clone();
    schema["components"] = api["components"].clone();
    let validator = jsonschema::draft202012::new(&schema).unwrap();
    let body = answer.json();
    let wrong: Vec<String> = validator
        .iter_errors(&body)
        .map(|e| format!("{e} at {}", e.instance_path()))
        .collect();
    assert_eq!(wrong, [""; 0], "{method} {path}: {body}");
    id.to_owned()
}

fn about(description: &str) -> Value {
    json!({"os": "linux", "architecture": "amd64", "history": [{"created_by": "COPY a /"}],
           "config": {"Labels": {"org.opencontainers.image.description": description}}})
}

async fn post(app: &App, path: &str, body: &str) -> Answer {
    let json = [("content-type", "application/json")];
    app.request("POST", path, &json, body.to_owned()).await
}

#[tokio::test]
async fn every_answer_is_what_the_description_says() {
    let app = App::new().await;
    let api = description(&app).await;
    let digest = push(&app, "team/web", "v1", &about("Serves pages"), 100).await;
    push(&app, "team/web", "v2", &about("Serves pages"), 200).await;
    push(&app, "db", "v1", &about("Keeps rows"), 300).await;
    let entry = json!({"mediaType": MANIFEST, "digest": digest, "size": 1,
                       "platform": {"os": "linux", "architecture": "amd64"}});
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]}).to_string();
    app.put_manifest("/v2/team/web/manifests/all", INDEX, index.as_bytes())
        .await
        .ok(201);
    let web = "/api/v1/repositories/team/web";
    let mut seen = std::collections::BTreeSet::new();
    for (method, path, status) in [
        ("GET", "/api/v1/openapi.json".to_owned(), 200),
        ("GET", "/api/v1/repositories".to_owned(), 200),
        (
            "GET",
            "/api/v1/repositories?sort=size&order=desc&n=1".to_owned(),
            200,
        ),
        ("GET", "/api/v1/repositories?sort=color".to_owned(), 400),
        ("GET", "/api/v1/repositories?after=x".to_owned(), 400),
        ("GET", "/api/v1/repositories?n=-1".to_owned(), 400),
        ("GET", web.to_owned(), 200),
        ("GET", "/api/v1/repositories/team%2Fweb".to_owned(), 200),
        ("GET", "/api/v1/repositories/nobody".to_owned(), 404),
        ("GET", "/api/v1/repositories/Team".to_owned(), 400),
        ("GET", format!("{web}/-/tags?sort=time"), 200),
        ("GET", "/api/v1/repositories/nobody/-/tags".to_owned(), 404),
        ("GET", format!("{web}/-/manifests/v1"), 200),
        ("GET", format!("{web}/-/manifests/all"), 200),
        ("GET", format!("{web}/-/manifests/none"), 404),
        (
            "DELETE",
            format!("{web}/-/manifests/{digest}?dry_run=true"),
            200,
        ),
        // Its index has a tag.
        ("DELETE", format!("{web}/-/manifests/{digest}"), 403),
        ("DELETE", format!("{web}/-/manifests/v1"), 200),
        ("GET", format!("{web}/-/history"), 200),
        ("GET", "/api/v1/search?q=pages".to_owned(), 200),
        ("GET", "/api/v1/usage".to_owned(), 200),
        ("GET", "/api/v1/replication".to_owned(), 200),
        ("POST", "/api/v1/replication/none/run".to_owned(), 404),
        (
            "DELETE",
            "/api/v1/repositories/db?dry_run=true".to_owned(),
            200,
        ),
        (
            "DELETE",
            "/api/v1/repositories/db?dry_run=perhaps".to_owned(),
            400,
        ),
        ("DELETE", "/api/v1/repositories/db".to_owned(), 200),
        ("DELETE", "/api/v1/repositories/db".to_owned(), 404),
        ("GET", "/api/v1/activity?n=2".to_owned(), 200),
        ("GET", "/api/v1/activity?before=x".to_owned(), 400),
        ("GET", "/api/v1/mirrors".to_owned(), 200),
        ("GET", "/api/v1/state".to_owned(), 200),
        // Nobody has tokens where nobody logs in.
        ("GET", "/api/v1/tokens".to_owned(), 404),
        ("DELETE", "/api/v1/tokens/0".to_owned(), 404),
    ] {
        let answer = app.request(method, &path, &[], Body::empty()).await;
        assert_eq!(answer.status.as_u16(), status, "{method} {path} {answer:?}");
        seen.insert(conforms(&api, method, &path, &answer));
    }
    for (path, body, status) in [
        (format!("{web}/-/restore"), "{\"tag\": \"v1\"}", 200),
        (format!("{web}/-/restore"), "{\"tag\": \"v7\"}", 404),
        (format!("{web}/-/restore"), "{\"tag\": \"!\"}", 400),
        (format!("{web}/-/restore"), "{\"digest\": \"x\"}", 400),
        ("/api/v1/repositories/db/-/restore".to_owned(), "{}", 200),
        ("/api/v1/gc".to_owned(), "{\"dry_run\": true}", 200),
        ("/api/v1/gc".to_owned(), "{}", 200),
        ("/api/v1/gc".to_owned(), "{\"dry\": true}", 400),
        ("/api/v1/gc".to_owned(), "", 400),
        ("/api/v1/tokens".to_owned(), "{}", 404),
    ] {
        let answer = post(&app, &path, body).await;
        assert_eq!(answer.status.as_u16(), status, "{path} {body} {answer:?}");
        seen.insert(conforms(&api, "POST", &path, &answer));
    }
    // A page of another site can send this, but not with a type of its choice.
    let plain = [("content-type", "text/plain")];
    let answer = app.request("POST", "/api/v1/gc", &plain, "{}").await;
    assert_eq!(answer.status, 415);
    conforms(&api, "POST", "/api/v1/gc", &answer);
    let mut described = std::collections::BTreeSet::new();
    for path in api["paths"].as_object().unwrap().values() {
        for operation in path.as_object().unwrap().values() {
            described.extend(operation["operationId"].as_str().map(str::to_owned));
        }
    }
    assert_eq!(seen, described);
}

#[tokio::test]
async fn problems_are_errors_of_the_distribution_too() {
    let app = App::new().await;
    for (path, status, code) in [
        ("/api/v1/repositories/nobody", 404, "NAME_UNKNOWN"),
        ("/api/v1/repositories/Team", 400, "NAME_INVALID"),
        ("/api/v1/nowhere", 404, "UNSUPPORTED"),
    ] {
        let answer = app.get(path).await;
        answer.is(status, code);
        assert_eq!(answer.header("content-type"), "application/problem+json");
        assert_eq!(answer.json()["status"], status);
        assert_eq!(
            answer.json()["detail"],
            answer.json()["errors"][0]["message"]
        );
    }
    let answer = app.post("/api/v1/repositories").await;
    assert_eq!(
        (answer.status.as_u16(), answer.header("allow")),
        (405, "GET, HEAD")
    );
    let app = App::configured(|_| {}, "delete.enabled = false\n").await;
    push(&app, "app", "v1", &about("x"), 1).await;
    app.delete("/api/v1/repositories/app")
        .await
        .is(405, "UNSUPPORTED");
    app.delete("/api/v1/repositories/app?dry_run=true")
        .await
        .ok(200);
}

const RULES: &str = r#"
auth.htpasswd = "$DIR/htpasswd"
[[access]]
repository = "public/**"
users = ["anonymous"]
allow = ["pull"]
[[access]]
repository = "team/**"
users = ["alice"]
allow = ["pull", "push"]
[[access]]
repository = "team/**"
users = ["bob"]
allow = ["delete"]
[[access]]
repository = "**"
users = ["root"]
allow = ["admin"]
"#;

fn users(dir: &Path) {
    let mut users = Htpasswd::default();
    for user in ["alice", "bob", "root"] {
        users.add(user, user).unwrap();
    }
    users.write(&dir.join("htpasswd")).unwrap();
}

fn basic(user: &str) -> String {
    let pair = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{user}"));
    format!("Basic {pair}")
}

/// Every route by everybody. 401 for who did not log in, 403 for who may not.
#[tokio::test]
async fn everybody_sees_and_does_what_the_rules_say() {
    let app = App::configured(users, RULES).await;
    let root = basic("root");
    for name in ["public/app", "team/app", "secret"] {
        let digest = crate::harness::sized(b"{}");
        let auth = [("authorization", root.as_str())];
        let path = format!("/v2/{name}/blobs/uploads/?digest={digest}");
        app.request("POST", &path, &auth, "{}").await.ok(201);
        let text = crate::harness::image(&digest, &[]).to_string();
        let auth = [auth[0], ("content-type", MANIFEST)];
        for tag in ["v1", "v2"] {
            let path = format!("/v2/{name}/manifests/{tag}");
            app.request("PUT", &path, &auth, text.clone()).await.ok(201);
        }
    }
    let team = "/api/v1/repositories/team/app";
    let public = "/api/v1/repositories/public/app";
    let image = |of: &str| format!("{of}/-/manifests/v1");
    // Of nobody, alice, bob, root.
    let table: [(&str, String, [u16; 4]); 25] = [
        ("GET", "/api/v1/openapi.json".into(), [200, 200, 200, 200]),
        ("GET", "/api/v1/repositories".into(), [200, 200, 200, 200]),
        ("GET", "/api/v1/search?q=app".into(), [200, 200, 200, 200]),
        ("GET", "/v1/search?q=app".into(), [200, 200, 200, 200]),
        ("GET", "/v1/search?q=secret".into(), [401, 200, 200, 200]),
        ("GET", public.into(), [200, 200, 200, 200]),
        ("GET", image(public), [200, 200, 200, 200]),
        ("GET", team.into(), [401, 200, 403, 200]),
        ("GET", format!("{team}/-/tags"), [401, 200, 403, 200]),
        ("GET", format!("{team}/-/history"), [401, 200, 403, 200]),
        ("GET", image(team), [401, 200, 403, 200]),
        ("GET", "/api/v1/usage".into(), [401, 403, 403, 200]),
        ("GET", "/api/v1/activity".into(), [401, 403, 403, 200]),
        ("GET", "/api/v1/mirrors".into(), [401, 403, 403, 200]),
        ("GET", "/api/v1/state".into(), [401, 403, 403, 200]),
        ("GET", "/api/v1/tokens".into(), [401, 200, 200, 200]),
        (
            "GET",
            "/api/v1/tokens?all=true".into(),
            [401, 403, 403, 200],
        ),
        ("POST", "/api/v1/tokens".into(), [401, 201, 201, 201]),
        ("DELETE", "/api/v1/tokens/0".into(), [401, 404, 404, 404]),
        ("POST", "/api/v1/gc".into(), [401, 403, 403, 200]),
        ("GET", "/api/v1/replication".into(), [401, 403, 403, 200]),
        (
            "POST",
            "/api/v1/replication/a/run".into(),
            [401, 403, 403, 404],
        ),
        ("DELETE", image(team), [401, 403, 200, 404]),
        ("POST", format!("{team}/-/restore"), [401, 200, 403, 404]),
        ("DELETE", team.into(), [401, 403, 200, 404]),
    ];
    for (method, path, expected) in table {
        let mut found = Vec::new();
        for user in [None, Some("alice"), Some("bob"), Some("root")] {
            let auth = user.map(basic).unwrap_or_default();
            let mut headers = vec![("content-type", "application/json")];
            if user.is_some() {
                headers.push(("authorization", &auth));
            }
            let answer = app.request(method, &path, &headers, "{}").await;
            found.push(answer.status.as_u16());
        }
        assert_eq!(found, expected, "{method} {path}");
    }
    let lists = async |user: &str| {
        let auth = basic(user);
        let auth = [("authorization", auth.as_str())];
        let mut all = Vec::new();
        for path in [
            "/api/v1/repositories",
            "/api/v1/repositories?sort=time&order=desc",
            "/api/v1/repositories?order=desc",
            "/api/v1/search?q=",
        ] {
            let answer = app.request("GET", path, &auth, Body::empty()).await;
            let mut names: Vec<String> = answer.ok(200).json()["repositories"]
                .as_array()
                .unwrap()
                .iter()
                .map(|entry| entry["name"].as_str().unwrap().to_owned())
                .collect();
            names.sort();
            all.push(names);
        }
        all
    };
    assert_eq!(lists("alice").await, vec![vec!["public/app"]; 4]);
    assert_eq!(lists("root").await, vec![vec!["public/app", "secret"]; 4]);
}

/// Tokens are made, listed and revoked by their own users, and by who may do everything.
#[tokio::test]
async fn personal_tokens_are_their_user_s() {
    let app = App::configured(users, RULES).await;
    let api = description(&app).await;
    let ask = async |method: &str, path: &str, auth: &str, body: &str| {
        let headers = [
            ("content-type", "application/json"),
            ("authorization", auth),
        ];
        let answer = app.request(method, path, &headers, body.to_owned()).await;
        conforms(&api, method, path, &answer);
        answer
    };
    let (alice, bob, root) = (basic("alice"), basic("bob"), basic("root"));
    let all = "/api/v1/tokens";
    let body = "{\"note\": \"laptop\", \"expires\": \"90d\"}";
    let made = ask("POST", all, &alice, body).await.ok(201).json();
    let id = made["made"]["id"].as_str().unwrap();
    let text = made["token"].as_str().unwrap();
    let pair = format!("alice:{text}");
    let pair = base64::engine::general_purpose::STANDARD.encode(pair);
    let program = format!("Basic {pair}");
    let list = "/v2/team/app/tags/list";
    let pull = async |auth: &str| {
        app.request("GET", list, &[("authorization", auth)], "")
            .await
            .status
            .as_u16()
    };
    assert_eq!(pull(&program).await, 404);
    let listed = ask("GET", all, &alice, "").await.ok(200).json();
    assert_eq!(listed["tokens"], json!([made["made"]]));
    assert_eq!(listed["tokens"][0]["note"], "laptop");
    assert!(!listed.to_string().contains(text), "{listed}");
    let others = ask("GET", all, &bob, "").await.ok(200).json();
    assert_eq!(others["tokens"], json!([]));
    let every = ask("GET", "/api/v1/tokens?all=true", &root, "").await;
    assert_eq!(every.ok(200).json()["tokens"], json!([made["made"]]));
    // A program makes none, revokes none, and sees none.
    for (method, path) in [("POST", all), ("GET", all)] {
        ask(method, path, &program, "{}").await.is(403, "DENIED");
    }
    let own = format!("/api/v1/tokens/{id}");
    ask("DELETE", &own, &program, "").await.is(403, "DENIED");
    ask("DELETE", &own, &bob, "").await.ok(404);
    for bad in [
        "{\"expires\": \"soon\"}",
        "{\"note\": \"a\\nb\"}",
        "{\"x\": 1}",
    ] {
        ask("POST", all, &alice, bad).await.ok(400);
    }
    let revoked = ask("DELETE", &own, &root, "").await.ok(200).json();
    assert_eq!(revoked["revoked"], made["made"]);
    assert_eq!(pull(&program).await, 401);
    ask("DELETE", &own, &alice, "").await.ok(404);
}

/// Who may see few of many gets full pages, each once, in every order.
#[tokio::test]
async fn pages_are_full_for_who_sees_few() {
    let app = App::configured(users, RULES).await;
    let mut fill = String::from("INSERT INTO repositories (name, created_at) VALUES ('x', 0)");
    for i in 0..600 {
        let team = if i % 7 == 0 { "team" } else { "zone" };
        fill.push_str(&format!(", ('{team}/r{i:03}', 0)"));
    }
    crate::images::sql(app.path(), &fill).await;
    let alice = basic("alice");
    for order in ["", "&order=desc"] {
        for sort in ["name", "time", "size"] {
            let mut names = Vec::new();
            let mut after = String::new();
            loop {
                let path = format!("/api/v1/repositories?n=10&sort={sort}{order}&after={after}");
                let auth = [("authorization", alice.as_str())];
                let page = app.request("GET", &path, &auth, Body::empty()).await;
                let page = page.ok(200).json();
                let entries = page["repositories"].as_array().unwrap();
                names.extend(
                    entries
                        .iter()
                        .map(|e| e["name"].as_str().unwrap().to_owned()),
                );
                match page["next"].as_str() {
                    Some(next) => {
                        assert_eq!(entries.len(), 10);
                        after = next.replace('/', "%2F");
                    }
                    None => break,
                }
            }
            let mut sorted = names.clone();
            sorted.sort();
            sorted.dedup();
            assert_eq!((names.len(), sorted.len()), (86, 86), "{sort} {order}");
            if order.is_empty() {
                assert_eq!(names, sorted, "{sort}");
            } else {
                sorted.reverse();
                assert_eq!(names, sorted, "{sort} {order}");
            }
        }
    }
}

#[tokio::test]
async fn docker_searches_names_and_labels() {
    let app = App::new().await;
    push(&app, "team/web", "v1", &about("Serves pages"), 1).await;
    push(&app, "web", "v1", &about("Serves more"), 1).await;
    push(&app, "team/webhook", "v1", &about("Calls others"), 1).await;
    push(&app, "cobweb", "v1", &about(""), 1).await;
    let names = async |query: &str| -> Vec<String> {
        let answer = app.get(&format!("/v1/search?{query}")).await.ok(200).json();
        let results = answer["results"].as_array().unwrap();
        assert_eq!(answer["num_results"], results.len());
        let names = results
            .iter()
            .map(|r| r["name"].as_str().unwrap().to_owned());
        names.collect()
    };
    // The name itself, a part of it, the beginning of one, anywhere.
    let all = ["web", "team/web", "team/webhook", "cobweb"];
    assert_eq!(names("q=web").await, all);
    assert_eq!(names("q=WEB&n=2").await, all[..2]);
    assert_eq!(names("q=team%2Fweb").await, ["team/web", "team/webhook"]);
    // Two letters are fewer than the index knows.
    assert_eq!(names("q=eb").await.len(), 4);
    assert_eq!(names("q=others").await, ["team/webhook"]);
    assert_eq!(names("q=serves+pages").await, ["team/web"]);
    assert_eq!(names("q=nothing").await, [""; 0]);
    for strange in [
        "q=%22",
        "q=%22%20OR%20%22",
        "q=%2A",
        "q=name%3Aweb",
        "q=web%00zz",
        "q=%27--",
    ] {
        assert_eq!(names(strange).await, [""; 0], "{strange}");
    }
    let answer = app.get("/v1/search?q=pages").await.json();
    assert_eq!(
        answer["results"],
        json!([{"name": "team/web", "description": "Serves pages", "star_count": 0,
                "is_official": false, "is_automated": false}])
    );
    // The words are those of the newest image.
    push(&app, "team/web", "v2", &about("Draws graphs"), 2).await;
    assert_eq!(names("q=pages").await, [""; 0]);
    assert_eq!(names("q=graphs").await, ["team/web"]);
    // What docker asks before may be missing.
    app.get("/v1/_ping").await.is(404, "UNSUPPORTED");
}

#[tokio::test]
async fn what_was_deleted_comes_back_until_it_is_collected() {
    let app = App::new().await;
    let first = push(&app, "app", "v1", &about("one"), 10).await;
    let second = push(&app, "app", "v1", &about("two"), 20).await;
    let entry = json!({"mediaType": MANIFEST, "digest": second, "size": 1});
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]}).to_string();
    let put = app.put_manifest("/v2/app/manifests/all", INDEX, index.as_bytes());
    put.await.ok(201);
    let restore = async |body: Value| {
        post(
            &app,
            "/api/v1/repositories/app/-/restore",
            &body.to_string(),
        )
        .await
    };
    let digest = async |tag: &str| {
        let answer = app.get(&format!("/v2/app/manifests/{tag}")).await.ok(200);
        answer.header("docker-content-digest").to_owned()
    };
    // Moved: it points where it did before, and back again.
    restore(json!({"tag": "v1"})).await.ok(200);
    assert_eq!(digest("v1").await, first.to_string());
    restore(json!({"tag": "v1", "digest": second}))
        .await
        .ok(200);
    assert_eq!(digest("v1").await, second.to_string());
    // A whole repository, with an index whose child has no tag.
    let gone = app.delete("/api/v1/repositories/app").await.ok(200).json();
    assert_eq!(
        (&gone["tag_count"], &gone["manifest_count"]),
        (&json!(2), &json!(3))
    );
    app.get("/v2/app/manifests/all").await.ok(404);
    let restored = restore(json!({})).await.ok(200).json();
    assert_eq!(restored["tags"].as_array().unwrap().len(), 2, "{restored}");
    assert_eq!(digest("v1").await, second.to_string());
    assert_eq!(
        digest("all").await,
        Digest::sha256(index.as_bytes()).to_string()
    );
    // Nothing deleted is left.
    restore(json!({})).await.is(404, "MANIFEST_UNKNOWN");
    app.delete("/api/v1/repositories/app").await.ok(200);
    let options = registry::service::CollectOptions {
        grace: std::time::Duration::ZERO,
        dry_run: false,
        every_file: true,
    };
    app.registry.collect(options).await.unwrap();
    let restored = restore(json!({"tag": "v1"})).await.ok(200).json();
    assert!(restored["tags"][0]["failed"].is_string(), "{restored}");
    app.get("/v2/app/manifests/v1").await.ok(404);
    let history = app.get("/api/v1/repositories/app/-/history?tag=all").await;
    assert_eq!(
        history.ok(200).json()["places"].as_array().unwrap().len(),
        2
    );
}

/// Ten places of a tag are kept, however often it moves.
#[tokio::test]
async fn history_does_not_grow() {
    let app = App::new().await;
    for i in 0..14 {
        push(&app, "app", "latest", &about(&i.to_string()), 1).await;
    }
    let history = app.get("/api/v1/repositories/app/-/history").await.json();
    assert_eq!(history["places"].as_array().unwrap().len(), 10);
}
