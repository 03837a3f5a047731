//! Who is let in, how, and what every answer says.

use base64::Engine;
use registry::auth::htpasswd::Htpasswd;
use serde_json::json;

use super::browser::{Browser, layer, push, text, token, users};
use crate::harness::{Answer, App};

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
allow = ["pull"]
[[access]]
repository = "**"
users = ["root"]
allow = ["admin"]
"#;

fn root() -> String {
    let pair = base64::engine::general_purpose::STANDARD.encode("root:root");
    format!("Basic {pair}")
}

async fn app() -> App {
    let app = App::configured(users, RULES).await;
    for name in ["public/app", "team/app", "secret/app"] {
        let image = format!("{name}:v1");
        let files = layer(&[("etc/motd", "hello")]);
        push(&app, &root(), &image, &json!({"os": "linux"}), &[files]).await;
    }
    app
}

fn location(answer: &Answer) -> String {
    answer.headers.get("location").map_or(String::new(), |to| {
        format!(" {}", to.to_str().unwrap().split('?').next().unwrap())
    })
}

#[tokio::test]
async fn pages_follow_the_rules_of_the_api() {
    let app = app().await;
    let nobody = Browser::new(&app);
    let (alice, bob, root) = (Browser::new(&app), Browser::new(&app), Browser::new(&app));
    alice.login("alice").await;
    bob.login("bob").await;
    root.login("root").await;
    let browsers = [&nobody, &alice, &bob, &root];
    let pages = [
        "tags/NAME",
        "rules/NAME",
        "image/NAME:v1",
        "files/NAME:v1",
        "file/NAME:v1?layer=1&path=etc/motd",
        "document/NAME:v1",
        "compare/NAME?from=v1&to=v1",
        "past/NAME:v1",
    ];
    let login = "303 /ui/login";
    for (name, expected) in [
        ("public/app", ["200", "200", "200", "200"]),
        ("team/app", [login, "200", "200", "200"]),
        ("secret/app", [login, "403", "403", "200"]),
        ("secret/none", [login, "403", "403", "404"]),
    ] {
        for page in pages {
            for (browser, expected) in browsers.iter().zip(expected) {
                let path = format!("/ui/{}", page.replace("NAME", name));
                let answer = browser.get(&path).await;
                // Rules are told of what is there; a history may be of a tag that is gone.
                let expected = match (page, expected) {
                    ("past/NAME:v1", "404") => "200",
                    (_, expected) => expected,
                };
                let is = format!("{}{}", answer.status.as_u16(), location(&answer));
                assert_eq!(is, expected, "{path}");
            }
        }
    }
    for (path, expected) in [
        ("/ui/", ["200", "200", "200", "200"]),
        ("/ui/storage", [login, "403", "403", "200"]),
        ("/ui/remove/team/app:v1", [login, "403", "403", "200"]),
        ("/ui/remove/public/app:v1", [login, "403", "403", "200"]),
        ("/ui/remove/public/app", [login, "403", "403", "200"]),
        ("/ui/login", ["200", "303 /ui/", "303 /ui/", "303 /ui/"]),
        ("/ui/activity", [login, "403", "403", "200"]),
        ("/ui/mirrors", [login, "403", "403", "200"]),
        ("/ui/tokens", [login, "200", "200", "200"]),
        (
            "/ui/login/none",
            ["404", "303 /ui/", "303 /ui/", "303 /ui/"],
        ),
        ("/ui/callback", ["200", "303 /ui/", "303 /ui/", "303 /ui/"]),
        ("/ui/nowhere", ["404", "404", "404", "404"]),
        ("/ui", ["303 /ui/", "303 /ui/", "303 /ui/", "303 /ui/"]),
    ] {
        for (browser, expected) in browsers.iter().zip(expected) {
            let answer = browser.get(path).await;
            let is = format!("{}{}", answer.status.as_u16(), location(&answer));
            assert_eq!(is, expected, "{path}");
        }
    }
    // The list shows what each may see.
    for (browser, seen) in [
        (&nobody, vec!["public/app"]),
        (&alice, vec!["public/app", "team/app"]),
        (&bob, vec!["public/app", "team/app"]),
        (&root, vec!["public/app", "secret/app", "team/app"]),
    ] {
        let page = browser.page("/ui/").await;
        for name in ["public/app", "team/app", "secret/app"] {
            let shown = page.contains(&format!("/ui/tags/{name}\""));
            assert_eq!(shown, seen.contains(&name), "{name}");
        }
    }
    // Who else has a layer is told of what the caller may see.
    let files = |name: &str| format!("/ui/files/{name}:v1?layer=1");
    assert!(root.page(&files("public/app")).await.contains("secret/app"));
    let seen = alice.page(&files("public/app")).await;
    assert!(seen.contains("team/app") && !seen.contains("secret/app"));
    let seen = nobody.page(&files("public/app")).await;
    assert!(!seen.contains("team/app") && !seen.contains("secret/app"));
}

#[tokio::test]
async fn a_password_opens_a_session_and_nothing_else_does() {
    let app = app().await;
    let browser = Browser::new(&app);
    // What was planted before is not what is logged in.
    browser.get("/ui/login").await.ok(200);
    let planted = browser.cookie.borrow().clone();
    let wrong = browser
        .send("/ui/login", "/ui/login", "user=alice&password=no")
        .await
        .ok(200);
    assert!(text(&wrong).contains("User or password is wrong."));
    assert_eq!(*browser.cookie.borrow(), planted);
    let next = "/ui/login?next=%2Fui%2Ftags%2Fteam%2Fapp";
    let entered = browser
        .send(next, next, "user=alice&password=alice")
        .await
        .ok(303);
    assert_eq!(entered.header("location"), "/ui/tags/team/app");
    let set = entered.header("set-cookie");
    assert!(
        set.ends_with("; Path=/ui/; HttpOnly; SameSite=Lax"),
        "{set}"
    );
    let session = browser.cookie.borrow().clone();
    assert_ne!(session, planted);
    assert!(browser.page("/ui/tags/team/app").await.contains("alice"));
    *browser.cookie.borrow_mut() = planted;
    browser.get("/ui/tags/team/app").await.ok(303);
    // Nobody is sent to another host.
    for next in ["//evil.example/", "https://evil.example/", "/v2/", "\\evil"] {
        let path = format!("/ui/login?next={}", next.replace('/', "%2F"));
        let other = Browser::new(&app);
        let entered = other.send(&path, &path, "user=bob&password=bob").await;
        assert_eq!(entered.ok(303).header("location"), "/ui/", "{next}");
    }
    // Out, and whoever has the old cookie too.
    *browser.cookie.borrow_mut() = session.clone();
    let left = browser.send("/ui/", "/ui/logout", "").await.ok(303);
    assert_eq!(left.header("location"), "/ui/");
    *browser.cookie.borrow_mut() = session;
    browser.get("/ui/tags/team/app").await.ok(303);
}

#[tokio::test]
async fn who_is_removed_or_has_another_password_is_out_at_once() {
    let app = app().await;
    let (alice, bob) = (Browser::new(&app), Browser::new(&app));
    alice.login("alice").await;
    bob.login("bob").await;
    let file = app.path().join("htpasswd");
    let mut all = Htpasswd::default();
    all.add("alice", "another").unwrap();
    all.write(&file).unwrap();
    let out = async |browser: &Browser<'_>| {
        // The file is looked at again some milliseconds later.
        for _ in 0..600 {
            if browser.get("/ui/tags/team/app").await.status == 303 {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        panic!("still in");
    };
    out(&alice).await;
    out(&bob).await;
}

#[tokio::test]
async fn cookies_are_secure_behind_tls() {
    let app = app().await;
    let headers = [("x-forwarded-proto", "https")];
    let answer = app.request("GET", "/ui/", &headers, "").await.ok(200);
    let set = answer.header("set-cookie");
    assert!(set.starts_with("__Host-rregistry="), "{set}");
    assert!(
        set.ends_with("; Path=/; HttpOnly; SameSite=Lax; Secure"),
        "{set}"
    );
}

#[tokio::test]
async fn every_answer_keeps_scripts_frames_and_caches_out() {
    let app = app().await;
    let browser = Browser::new(&app);
    for path in [
        "/ui/",
        "/ui/login",
        "/ui/nowhere",
        "/ui/tags/team/app",
        "/ui",
    ] {
        let answer = browser.get(path).await;
        let policy = answer.header("content-security-policy");
        assert!(policy.starts_with("default-src 'none';"), "{policy}");
        assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
        for (name, value) in [
            ("x-frame-options", "DENY"),
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "same-origin"),
            ("cache-control", "no-store"),
        ] {
            assert_eq!(answer.header(name), value, "{path}");
        }
        let page = text(&answer);
        for inline in [
            "<script", "<style", " style=", " onclick", "http://", "https://",
        ] {
            assert!(!page.contains(inline), "{path}: {inline}");
        }
    }
    // Errors are pages too.
    let missing = browser.get("/ui/nowhere").await.ok(404);
    assert_eq!(missing.header("content-type"), "text/html; charset=utf-8");
    assert!(text(&missing).contains("<h1>Not found</h1>"));
    // What pages are made of is kept for good, under a name of its own.
    let page = browser.page("/ui/").await;
    let (_, style) = page.split_once("rel=\"stylesheet\" href=\"").unwrap();
    let style = style.split('"').next().unwrap();
    let sheet = app.get(style).await.ok(200);
    assert_eq!(sheet.header("content-type"), "text/css; charset=utf-8");
    assert!(sheet.header("cache-control").contains("immutable"));
    app.get("/ui/assets/style.0000000000000000.css")
        .await
        .ok(404);
}

#[tokio::test]
async fn a_browser_lands_on_the_page_and_others_where_they_did() {
    let app = App::new().await;
    assert_eq!(text(&app.get("/").await.ok(200)), "ok\n");
    let headers = [("accept", "text/html,application/xhtml+xml,*/*;q=0.8")];
    let browser = app.request("GET", "/", &headers, "").await.ok(303);
    assert_eq!(browser.header("location"), "/ui/");
    let page = text(&app.get("/ui/").await.ok(200));
    assert!(page.contains("There is nothing here yet."));
    assert!(page.contains("docker push localhost/NAME:TAG"));
    assert!(!page.contains("Sign in"));
    // Turned off, there is nothing.
    let off = App::configured(|_| {}, "web.enabled = false\n").await;
    for path in ["/ui", "/ui/", "/ui/login", "/ui/tags/a"] {
        off.get(path).await.is(404, "UNSUPPORTED");
    }
    let answer = off.request("GET", "/", &headers, "").await.ok(200);
    assert_eq!(text(&answer), "ok\n");
}

#[tokio::test]
async fn forms_of_other_pages_do_nothing() {
    let app = app().await;
    let browser = Browser::new(&app);
    browser.login("root").await;
    let path = "/ui/remove/team/app:v1";
    let good = token(&browser.page(path).await);
    let foreign = Browser::new(&app);
    let foreign = token(&foreign.page("/ui/login").await);
    for (headers, body) in [
        (&[][..], String::new()),
        (&[], "token=".to_owned()),
        (&[], "token=AAAA".to_owned()),
        (&[], format!("token={foreign}")),
        (&[("sec-fetch-site", "cross-site")], format!("token={good}")),
        (
            &[("origin", "https://evil.example")],
            format!("token={good}"),
        ),
        (&[("origin", "null")], format!("token={good}")),
    ] {
        let answer = browser.post(path, headers, &body).await;
        let answer = answer.ok(403);
        assert!(text(&answer).contains("not one of this registry"), "{body}");
    }
    // Nor does anybody log out, or in, by a form of another page.
    browser.post("/ui/logout", &[], "").await.ok(403);
    let victim = Browser::new(&app);
    victim
        .post("/ui/login", &[], "user=alice&password=alice")
        .await
        .ok(403);
    browser.get("/ui/image/team/app:v1").await.ok(200);
    let same = [("sec-fetch-site", "same-origin")];
    browser
        .post(path, &same, &format!("token={good}"))
        .await
        .ok(303);
    browser.get("/ui/image/team/app:v1").await.ok(404);
}

#[tokio::test]
async fn guessing_passwords_gets_nowhere() {
    let app = app().await;
    let browser = Browser::new(&app);
    let mut refused = 0;
    for _ in 0..12 {
        let fields = "user=alice&password=no";
        let answer = browser.send("/ui/login", "/ui/login", fields).await;
        refused += u32::from(answer.status == 429);
    }
    assert!(refused > 0);
}

#[tokio::test]
async fn pages_are_read_and_forms_are_sent() {
    let app = app().await;
    let browser = Browser::new(&app);
    browser.login("root").await;
    let token = token(&browser.page("/ui/").await);
    for path in ["/ui/", "/ui/tags/team/app", "/ui/storage"] {
        let answer = browser.post(path, &[], &format!("token={token}")).await;
        assert_eq!(answer.ok(405).header("allow"), "GET, HEAD", "{path}");
        for method in ["PUT", "DELETE", "PATCH", "OPTIONS"] {
            let answer = app.request(method, path, &[], "").await;
            // Who is not logged in is not told what there is.
            assert!(
                [303, 405].contains(&answer.status.as_u16()),
                "{method} {path}"
            );
        }
        let head = app.head(path).await;
        assert!(head.body.is_empty(), "{path}");
    }
    // More than a form of ours can be.
    let large = format!("token={token}&x={}", "y".repeat(20_000));
    browser
        .post("/ui/remove/team/app:v1", &[], &large)
        .await
        .ok(400);
}
