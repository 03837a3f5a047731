//! A browser that keeps one cookie, and images to look at.

use std::cell::RefCell;
use std::path::Path;

use oci::Digest;
use registry::auth::htpasswd::Htpasswd;
use serde_json::{Value, json};

use crate::harness::{Answer, App, CONFIG, LAYER, MANIFEST};

/// Users alice, bob and root, whose passwords are their names.
pub fn users(dir: &Path) {
    let mut users = Htpasswd::default();
    for user in ["alice", "bob", "root"] {
        users.add(user, user).unwrap();
    }
    users.write(&dir.join("htpasswd")).unwrap();
}

/// Keeps the cookie that it was given last.
pub struct Browser<'a> {
    pub app: &'a App,
    pub cookie: RefCell<String>,
}

impl<'a> Browser<'a> {
    pub fn new(app: &'a App) -> Self {
        Self {
            app,
            cookie: RefCell::default(),
        }
    }

    async fn ask(&self, method: &str, path: &str, more: &[(&str, &str)], body: &str) -> Answer {
        let cookie = self.cookie.borrow().clone();
        let mut headers = vec![("accept", "text/html"), ("cookie", cookie.as_str())];
        headers.extend_from_slice(more);
        let answer = self
            .app
            .request(method, path, &headers, body.to_owned())
            .await;
        if let Some(set) = answer.headers.get("set-cookie") {
            let set = set.to_str().unwrap();
            *self.cookie.borrow_mut() = set.split(';').next().unwrap().to_owned();
        }
        answer
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[], "").await
    }

    /// A page that must be there.
    pub async fn page(&self, path: &str) -> String {
        text(&self.get(path).await.ok(200))
    }

    /// Sends a form, with the token of the page that has it.
    pub async fn send(&self, page: &str, action: &str, fields: &str) -> Answer {
        let token = token(&self.page(page).await);
        let body = format!("token={token}&{fields}");
        self.post(action, &[], &body).await
    }

    pub async fn post(&self, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut all = vec![("content-type", "application/x-www-form-urlencoded")];
        all.extend_from_slice(headers);
        self.ask("POST", path, &all, body).await
    }

    /// Logs a user in whose password is their name.
    pub async fn login(&self, user: &str) -> &Self {
        let fields = format!("user={user}&password={user}");
        self.send("/ui/login", "/ui/login", &fields).await.ok(303);
        self
    }
}

pub fn text(answer: &Answer) -> String {
    String::from_utf8(answer.body.to_vec()).unwrap()
}

/// The token of the first form of a page.
pub fn token(page: &str) -> String {
    let (_, rest) = page.split_once("name=\"token\" value=\"").unwrap();
    rest.split('"').next().unwrap().to_owned()
}

/// A layer of files with their content; a name that ends with a slash is a directory.
pub fn layer(files: &[(&str, &str)]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (path, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(content.len() as u64);
        if path.ends_with('/') {
            header.set_entry_type(tar::EntryType::Directory);
        }
        tar.append_data(&mut header, path, content.as_bytes())
            .unwrap();
    }
    tar.into_inner().unwrap()
}

/// Pushes blobs and a manifest as `authorization` says; the manifest's digest.
pub async fn push(
    app: &App,
    authorization: &str,
    image: &str,
    config: &Value,
    layers: &[Vec<u8>],
) -> Digest {
    push_with(
        app,
        authorization,
        image,
        (CONFIG, config),
        layers,
        json!({}),
    )
    .await
}

/// The same with a configuration of any type, and more fields of the manifest.
pub async fn push_with(
    app: &App,
    authorization: &str,
    image: &str,
    (kind, config): (&str, &Value),
    layers: &[Vec<u8>],
    more: Value,
) -> Digest {
    let (name, tag) = image.split_once(':').unwrap();
    let blob = async |bytes: Vec<u8>| {
        let digest = Digest::sha256(&bytes);
        let path = format!("/v2/{name}/blobs/uploads/?digest={digest}");
        let headers = [("authorization", authorization)];
        let size = bytes.len();
        app.request("POST", &path, &headers, bytes).await.ok(201);
        (digest, size)
    };
    let (digest, size) = blob(config.to_string().into_bytes()).await;
    let config = json!({"mediaType": kind, "digest": digest, "size": size});
    let mut list = Vec::new();
    for bytes in layers {
        let (digest, size) = blob(bytes.clone()).await;
        list.push(json!({"mediaType": LAYER, "digest": digest, "size": size}));
    }
    let mut manifest = json!({
        "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": list,
    });
    for (key, value) in more.as_object().unwrap() {
        manifest[key] = value.clone();
    }
    let text = manifest.to_string();
    let headers = [("authorization", authorization), ("content-type", MANIFEST)];
    let reference = if tag.is_empty() {
        Digest::sha256(text.as_bytes()).to_string()
    } else {
        tag.to_owned()
    };
    let path = format!("/v2/{name}/manifests/{reference}");
    app.request("PUT", &path, &headers, text.clone())
        .await
        .ok(201);
    Digest::sha256(text.as_bytes())
}
