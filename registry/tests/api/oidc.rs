//! Users that an OpenID provider vouches for: npm's oidc-provider, which is certified, with tokens
//! as a CI's jobs have them.

use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine;

use crate::harness::{Answer, App, packages};
use crate::process::text;
use crate::web::browser::{Browser, text as shown, token};

/// A code verifier and its challenge, those of RFC 7636, appendix B.
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
const CALLBACK: &str = "http://127.0.0.1/callback";

/// A provider that ends with the test.
struct Provider {
    child: Child,
    issuer: String,
    dir: tempfile::TempDir,
}

impl Drop for Provider {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Provider {
    fn start() -> Option<Self> {
        let folder = packages("oidc")?;
        // The port may be taken between being found and being used.
        for _ in 0..10 {
            let port = TcpListener::bind("127.0.0.1:0")
                .unwrap()
                .local_addr()
                .unwrap()
                .port();
            let mut child = Command::new("node")
                .args(["provider.mjs", &port.to_string()])
                .current_dir(&folder)
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            let deadline = Instant::now() + Duration::from_secs(60);
            while child.try_wait().unwrap().is_none() {
                if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                    return Some(Self {
                        child,
                        issuer: format!("http://127.0.0.1:{port}"),
                        dir: tempfile::tempdir().unwrap(),
                    });
                }
                assert!(Instant::now() < deadline, "the provider does not listen");
                std::thread::sleep(Duration::from_millis(50));
            }
        }
        panic!("the provider does not start");
    }

    /// A request as a browser makes it; what it leads to.
    fn browse(&self, user: &str, args: &[&str]) -> String {
        let jar = self.dir.path().join(user);
        let jar = jar.to_str().unwrap();
        let output = Command::new("curl")
            .args(["-s", "--max-time", "60", "-c", jar, "-b", jar, "-L"])
            .args(args)
            .output()
            .unwrap();
        text(&output)
    }

    /// Where a user is sent back to who began a login: by a browser, with a password.
    fn logged_in(&self, user: &str, begin: &str) -> String {
        let form = |page: &str| {
            let action = page.split("action=\"").nth(1);
            let action = action.unwrap_or_else(|| panic!("no form in {page}"));
            action.split('"').next().unwrap().to_owned()
        };
        let login = form(&self.browse(user, &[begin]));
        let password = format!("prompt=login&login={user}&password=x");
        let consent = form(&self.browse(user, &["-d", &password, &login]));
        let url = [
            "-o",
            "/dev/null",
            "-w",
            "%{url_effective}",
            "-d",
            "prompt=consent",
        ];
        self.browse(user, &[&url[..], &[&consent]].concat())
    }

    /// The token that says who a user is, got as people get it.
    fn id_token(&self, user: &str) -> String {
        let begin = format!(
            "{}/auth?client_id=registry.example&response_type=code&scope=openid&\
             redirect_uri={CALLBACK}&code_challenge={CHALLENGE}&code_challenge_method=S256",
            self.issuer
        );
        let back = self.logged_in(user, &begin);
        let code = back
            .split("code=")
            .nth(1)
            .unwrap_or_else(|| panic!("no code in {back}"));
        let code = code.split('&').next().unwrap();
        let form = format!(
            "grant_type=authorization_code&client_id=registry.example&redirect_uri={CALLBACK}&\
             code_verifier={VERIFIER}&code={code}"
        );
        let answer = self.browse(user, &["-d", &form, &format!("{}/token", self.issuer)]);
        let json: serde_json::Value = serde_json::from_str(&answer).unwrap();
        json["id_token"].as_str().unwrap().to_owned()
    }

    fn settings(&self, audience: &str, more: &str) -> String {
        format!(
            "{more}\n[[oidc]]\nname = \"ci\"\nissuer = \"{}\"\naudience = \"{audience}\"\n\
             claims = {{ repository = \"myorg/*\", ref = \"refs/heads/main\" }}\n\
             user = \"ci:{{repository}}\"\ngroups_claim = \"groups\"\n\
             [[access]]\nrepository = \"app/**\"\nusers = [\"ci:myorg/app\"]\nallow = [\"push\", \"pull\"]\n\
             [[access]]\nrepository = \"cache/**\"\ngroups = [\"runners\"]\nallow = [\"pull\"]\n",
            self.issuer
        )
    }
}

fn basic(user: &str, password: &str) -> String {
    let pair = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
    format!("Basic {pair}")
}

async fn ask(app: &App, method: &str, path: &str, auth: &str) -> Answer {
    app.request(method, path, &[("authorization", auth)], "")
        .await
}

async fn exchange(app: &App, token: &str, kind: &str, scope: &str) -> Answer {
    let form = format!(
        "grant_type=urn:ietf:params:oauth:grant-type:token-exchange&subject_token={token}&\
         subject_token_type=urn:ietf:params:oauth:token-type:{kind}&scope={scope}"
    );
    let kind = [("content-type", "application/x-www-form-urlencoded")];
    app.request("POST", "/auth/token", &kind, form).await
}

#[tokio::test]
async fn a_job_s_token_is_exchanged_for_what_its_claims_allow() {
    let Some(provider) = Provider::start() else {
        return;
    };
    let (app_token, other_token) = (provider.id_token("app"), provider.id_token("other"));
    let settings = provider.settings("registry.example", "auth.method = \"token\"");
    let app = App::configured(|_| {}, &settings).await;
    let scope = "repository:app/web:pull,push,delete repository:cache/x:pull,push";
    let answer = exchange(&app, &app_token, "id_token", scope).await.ok(200);
    let json = answer.json();
    assert_eq!(
        json["scope"],
        "repository:app/web:pull,push repository:cache/x:pull"
    );
    assert!(json["refresh_token"].is_null(), "{json}");
    let bearer = format!("Bearer {}", json["access_token"].as_str().unwrap());
    ask(&app, "POST", "/v2/app/web/blobs/uploads/", &bearer)
        .await
        .ok(202);
    ask(&app, "GET", "/v2/cache/x/tags/list", &bearer)
        .await
        .is(404, "NAME_UNKNOWN");
    // Another repository's job pushes nothing there.
    let answer = exchange(&app, &other_token, "jwt", scope).await.ok(200);
    assert_eq!(answer.json()["scope"], "repository:cache/x:pull");
    // As a password, whatever the user's name, as docker login sends it.
    let path = "/auth/token?service=rregistry&scope=repository:app/web:push";
    let answer = ask(&app, "GET", path, &basic("ci", &app_token))
        .await
        .ok(200);
    assert_eq!(answer.json()["scope"], "repository:app/web:push");
    // What is no such token, or says something else under the signature, is refused.
    let parts: Vec<&str> = app_token.split('.').collect();
    let engine = base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let claims = String::from_utf8(engine.decode(parts[1]).unwrap()).unwrap();
    let forged = engine.encode(claims.replace("myorg/app", "myorg/web"));
    for (token, kind) in [
        (format!("{}.{forged}.{}", parts[0], parts[2]), "id_token"),
        (format!("{}.{}.", parts[0], parts[1]), "id_token"),
        ("eyJ.eyJ.x".to_owned(), "jwt"),
        (String::new(), "jwt"),
        (app_token.clone(), "saml2"),
    ] {
        let refused = exchange(&app, &token, kind, scope).await;
        assert_eq!(refused.status, 400, "{token} {refused:?}");
        let refused = ask(&app, "GET", path, &basic("ci", &token)).await;
        assert!(
            kind == "saml2" || refused.status == 401,
            "{token} {refused:?}"
        );
    }
    // When the provider is not trusted any more, what it vouched for is over.
    app.registry.close().await;
    let without = "auth.method = \"token\"\nauth.htpasswd = \"$DIR/htpasswd\"\n";
    std::fs::write(app.path().join("htpasswd"), "").unwrap();
    let without = App::again(app, without).await;
    ask(&without, "POST", "/v2/app/web/blobs/uploads/", &bearer)
        .await
        .is(401, "UNAUTHORIZED");
}

#[tokio::test]
async fn a_token_for_another_service_or_of_other_claims_is_refused() {
    let Some(provider) = Provider::start() else {
        return;
    };
    let token = provider.id_token("app");
    for (audience, from, to) in [
        ("other.example", "", ""),
        ("registry.example", "myorg/*", "elsewhere/*"),
        ("registry.example", "refs/heads/main", "refs/tags/*"),
        ("registry.example", &provider.issuer, "http://127.0.0.1:1"),
    ] {
        let settings = provider.settings(audience, "auth.method = \"token\"");
        let app = App::configured(|_| {}, &settings.replace(from, to)).await;
        let refused = exchange(&app, &token, "id_token", "repository:app/web:push").await;
        assert_eq!(refused.status, 400, "{audience} {to} {refused:?}");
        assert_eq!(refused.json()["error"], "invalid_grant");
    }
    // Without tokens of ours it is a password all the same.
    let app = App::configured(|_| {}, &provider.settings("registry.example", "")).await;
    let upload = "/v2/app/web/blobs/uploads/";
    ask(&app, "POST", upload, &basic("ci", &token))
        .await
        .ok(202);
    ask(
        &app,
        "POST",
        "/v2/other/blobs/uploads/",
        &basic("ci", &token),
    )
    .await
    .is(403, "DENIED");
}

/// A registry that people log in to with a browser.
fn people(provider: &Provider, more: &str) -> String {
    format!(
        "url = \"http://127.0.0.1\"\nauth.method = \"token\"\n[[oidc]]\nname = \"idp\"\n\
         issuer = \"{}\"\ntitle = \"Example\"\n{more}\n\
         claims = {{ ref = \"refs/heads/*\" }}\ngroups_claim = \"groups\"\n\
         [[access]]\nrepository = \"team/**\"\ngroups = [\"runners\"]\nallow = [\"push\", \"pull\"]\n\
         [[access]]\nrepository = \"**\"\nusers = [\"idp:root\"]\nallow = [\"admin\"]\n",
        provider.issuer
    )
}

/// Where the provider sends a user back to who leaves for it with a browser: a path of ours.
async fn back(provider: &Provider, browser: &Browser<'_>, user: &str) -> String {
    let left = browser.get("/ui/login/idp?next=%2Fui%2Ftokens").await;
    let left = left.ok(303);
    let to = left.header("location");
    assert!(to.starts_with(&provider.issuer), "{to}");
    let back = provider.logged_in(user, to);
    let path = back.strip_prefix("http://127.0.0.1");
    path.unwrap_or_else(|| panic!("{back}")).to_owned()
}

#[tokio::test]
async fn people_log_in_at_a_provider_and_make_tokens_for_docker() {
    let Some(provider) = Provider::start() else {
        return;
    };
    let secret = provider.dir.path().join("secret");
    std::fs::write(&secret, "a secret: 100%\n").unwrap();
    let with_secret = format!(
        "client_id = \"with secret\"\nclient_secret_file = {secret:?}\nscopes = [\"openid\"]"
    );
    for (user, more) in [
        ("app", "client_id = \"registry.example\""),
        ("dev", &with_secret),
    ] {
        let app = App::configured(|_| {}, &people(&provider, more)).await;
        let browser = Browser::new(&app);
        let login = browser.page("/ui/login").await;
        assert!(login.contains("Sign in with Example"), "{login}");
        assert!(!login.contains("id=\"password\""), "{login}");
        let back = back(&provider, &browser, user).await;
        let entered = browser.get(&back).await.ok(303);
        assert_eq!(entered.header("location"), "/ui/tokens");
        let page = browser.page("/ui/tokens").await;
        assert!(page.contains(&format!("idp:{user}")), "{page}");
        // A code is good once, and so is what came back with it.
        let again = Browser::new(&app);
        assert!(shown(&again.get(&back).await.ok(200)).contains("begin again"));
        browser.get("/ui/storage").await.ok(403);
        // A token for docker, which sends a name with a colon as it comes.
        let form = format!("token={}&note=laptop&expires=90d", token(&page));
        let made = shown(&browser.post("/ui/tokens", &[], &form).await.ok(200));
        let text = made.split("rrt_").nth(1).unwrap();
        let text = format!("rrt_{}", text.split('<').next().unwrap());
        let docker = basic(&format!("idp:{user}"), &text);
        let path = "/auth/token?service=rregistry&scope=repository:team/x:push";
        let answer = ask(&app, "GET", path, &docker).await.ok(200);
        assert_eq!(answer.json()["scope"], "repository:team/x:push");
        let bearer = format!("Bearer {}", answer.json()["token"].as_str().unwrap());
        let upload = "/v2/team/x/blobs/uploads/";
        ask(&app, "POST", upload, &bearer).await.ok(202);
        let form = format!(
            "grant_type=password&service=rregistry&client_id=docker&scope=repository:team/x:pull\
             &username=idp%3A{user}&password={text}"
        );
        let kind = [("content-type", "application/x-www-form-urlencoded")];
        app.request("POST", "/auth/token", &kind, form)
            .await
            .ok(200);
        // Another's name is not in it, and no program makes tokens.
        let other = basic("idp:root", &text);
        ask(&app, "GET", path, &other).await.is(401, "UNAUTHORIZED");
        let refused = ask(&app, "GET", "/api/v1/tokens", &docker).await;
        refused.is(403, "DENIED");
        // Without the provider neither the session nor the token is worth anything.
        let settings = people(&provider, more).replace("name = \"idp\"", "name = \"new\"");
        let file = app.path().join("other.toml");
        std::fs::write(&file, settings).unwrap();
        let config = registry::config::Settings::from_file(&file).unwrap();
        let changed = config.check().unwrap().auth;
        assert!(app.auth.as_ref().unwrap().change(&changed).unwrap());
        browser.get("/ui/tokens").await.ok(303);
        ask(&app, "POST", upload, &bearer)
            .await
            .is(401, "UNAUTHORIZED");
        ask(&app, "GET", path, &docker)
            .await
            .is(401, "UNAUTHORIZED");
    }
}

#[tokio::test]
async fn a_login_is_for_the_browser_that_began_it_and_for_whom_a_rule_takes() {
    let Some(provider) = Provider::start() else {
        return;
    };
    let client = "client_id = \"registry.example\"";
    let app = App::configured(|_| {}, &people(&provider, client)).await;
    let (root, other) = (Browser::new(&app), Browser::new(&app));
    let path = back(&provider, &root, "root").await;
    let parameter = |path: &str, name: &str| {
        let start = format!("{name}=");
        let query = path.split_once('?').unwrap().1;
        let mut found = query
            .split('&')
            .filter_map(|pair| pair.strip_prefix(&*start));
        found.next().unwrap().to_owned()
    };
    // A link that somebody else made logs nobody in.
    other.get("/ui/login").await.ok(200);
    other.get(&path).await.ok(200);
    other.get("/ui/tokens").await.ok(303);
    // Nor does the code of another login.
    let theirs = back(&provider, &other, "app").await;
    let mixed = format!(
        "/ui/callback?code={}&state={}",
        parameter(&path, "code"),
        parameter(&theirs, "state")
    );
    let failed = shown(&other.get(&mixed).await.ok(200));
    assert!(failed.contains("Signing in there failed"), "{failed}");
    other.get("/ui/tokens").await.ok(303);
    // The one that began it is still on its way, once.
    root.get(&path).await.ok(303);
    root.get("/ui/storage").await.ok(200);
    // Who says no there, or comes back with nothing, is told so.
    let left = other.get("/ui/login/idp").await.ok(303);
    let state = parameter(left.header("location"), "state");
    let no = format!("/ui/callback?error=access_denied&state={state}");
    assert!(shown(&other.get(&no).await.ok(200)).contains("was not finished"));
    other.get("/ui/login/nowhere").await.ok(404);
    // Whom the provider knows and no rule takes.
    let strict = people(&provider, client).replace("refs/heads/*", "refs/tags/*");
    let app = App::configured(|_| {}, &strict).await;
    let stranger = Browser::new(&app);
    let path = back(&provider, &stranger, "late").await;
    let refused = shown(&stranger.get(&path).await.ok(403));
    assert!(refused.contains("no rule of this registry"), "{refused}");
    stranger.get("/ui/tokens").await.ok(303);
    // A provider that is not there.
    let gone = people(&provider, client).replace(&provider.issuer, "http://127.0.0.1:1");
    let app = App::configured(|_| {}, &gone).await;
    let failed = shown(&Browser::new(&app).get("/ui/login/idp").await.ok(200));
    assert!(failed.contains("Signing in there failed"), "{failed}");
}
