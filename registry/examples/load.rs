//! A load on a registry, for `benches/peers.sh`: pushes as a client makes them, over connections
//! that stay open, and how long they took.
//!
//! Usage: load URL CASE [N] …
//!
//!   images N          N small images pushed over one connection; prints images a second
//!   parallel N MIB    N blobs of MIB MiB pushed at once, each over its own; prints MiB a second
//!   blobs N MIB C     N blobs of MIB MiB pushed over C connections; prints blobs a second
//!   pull PATH N       N times GET PATH over one connection; prints MiB a second
//!   same PATH C       GET PATH over C connections at once; prints seconds
//!   tags N            one image under N tags of the repository `tags`; prints tags a second
//!   repositories N    one image in N repositories `many/…`; prints repositories a second
//!   heads PATH N      N times HEAD PATH over 16 connections; prints requests a second
//!   latency PATH N    N times GET PATH, one after the other; prints the median in milliseconds
//!
//! Only for loopback addresses: it stops after N.
#![allow(clippy::print_stdout)]

use std::error::Error;
use std::time::Instant;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST, LOCATION};
use http::{Method, Request, Response, Uri};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use oci::Digest;
use tokio::net::TcpStream;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

type Failure = Box<dyn Error + Send + Sync>;

/// One connection.
struct Client {
    sender: SendRequest<Full<Bytes>>,
    host: String,
}

impl Client {
    async fn connect(url: &Uri) -> Result<Self, Failure> {
        let host = url.authority().ok_or("the URL has no host")?.to_string();
        let stream = TcpStream::connect(&host).await?;
        if !stream.peer_addr()?.ip().is_loopback() {
            return Err("only registries on loopback addresses are put under load".into());
        }
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Self { sender, host })
    }

    /// One request; its answer must be a success.
    async fn send(
        &mut self,
        method: Method,
        path: &str,
        kind: &str,
        body: Bytes,
    ) -> Result<Response<Bytes>, Failure> {
        let request = Request::builder()
            .method(&method)
            .uri(path)
            .header(HOST, &self.host)
            .header(CONTENT_TYPE, kind)
            .header(CONTENT_LENGTH, body.len())
            .body(Full::new(body))?;
        self.sender.ready().await?;
        let (head, body) = self.sender.send_request(request).await?.into_parts();
        let body = body.collect().await?.to_bytes();
        if !head.status.is_success() {
            let text = String::from_utf8_lossy(&body).into_owned();
            return Err(format!("{method} {path}: {}: {text}", head.status).into());
        }
        Ok(Response::from_parts(head, body))
    }

    /// A blob, by POST and PUT as docker pushes it.
    async fn push_blob(&mut self, repository: &str, bytes: Bytes) -> Result<Digest, Failure> {
        let digest = Digest::sha256(&bytes);
        self.push_known(repository, &digest, bytes).await?;
        Ok(digest)
    }

    /// The same of a blob whose digest is known.
    async fn push_known(
        &mut self,
        repository: &str,
        digest: &Digest,
        bytes: Bytes,
    ) -> Result<(), Failure> {
        let path = format!("/v2/{repository}/blobs/uploads/");
        let begun = self.send(Method::POST, &path, "", Bytes::new()).await?;
        let location = begun.headers().get(LOCATION).ok_or("no Location")?;
        let location: Uri = location.to_str()?.parse()?;
        let path = location.path_and_query().ok_or("no path in Location")?;
        let separator = if path.query().is_some() { '&' } else { '?' };
        let path = format!("{path}{separator}digest={digest}");
        let kind = "application/octet-stream";
        self.send(Method::PUT, &path, kind, bytes).await?;
        Ok(())
    }

    /// Reads what is at a path, and keeps nothing of it; how many bytes came.
    async fn drain(&mut self, path: &str) -> Result<u64, Failure> {
        let request = Request::builder().uri(path).header(HOST, &self.host);
        let request = request.body(Full::default())?;
        self.sender.ready().await?;
        let (head, mut body) = self.sender.send_request(request).await?.into_parts();
        if !head.status.is_success() {
            return Err(format!("GET {path}: {}", head.status).into());
        }
        let mut len = 0;
        while let Some(frame) = body.frame().await {
            len += frame?.data_ref().map_or(0, |data| data.len() as u64);
        }
        Ok(len)
    }

    async fn push_manifest(&mut self, name: &str, tag: &str, body: &str) -> Result<(), Failure> {
        let path = format!("/v2/{name}/manifests/{tag}");
        let body = Bytes::copy_from_slice(body.as_bytes());
        self.send(Method::PUT, &path, MANIFEST, body).await?;
        Ok(())
    }

    /// A whole image of a configuration and one layer; returns its manifest.
    async fn push_image(&mut self, name: &str, tag: &str, seed: usize) -> Result<String, Failure> {
        let layer = Bytes::from(format!("layer {seed} ").repeat(80));
        let config = Bytes::from(format!(
            "{{\"architecture\":\"amd64\",\"os\":\"linux\",\"seed\":{seed}}}"
        ));
        let sizes = (config.len(), layer.len());
        let config = self.push_blob(name, config).await?;
        let layer = self.push_blob(name, layer).await?;
        let manifest = manifest((&config, sizes.0), (&layer, sizes.1));
        self.push_manifest(name, tag, &manifest).await?;
        Ok(manifest)
    }
}

fn manifest(config: (&Digest, usize), layer: (&Digest, usize)) -> String {
    format!(
        "{{\"schemaVersion\":2,\"mediaType\":\"{MANIFEST}\",\"config\":{{\"mediaType\":\
         \"application/vnd.oci.image.config.v1+json\",\"digest\":\"{}\",\"size\":{}}},\"layers\":\
         [{{\"mediaType\":\"application/vnd.oci.image.layer.v1.tar\",\"digest\":\"{}\",\
         \"size\":{}}}]}}",
        config.0, config.1, layer.0, layer.1
    )
}

/// Bytes that no disk or network compresses, other ones for each seed.
fn noise(seed: u64, len: usize) -> Bytes {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes.into()
}

/// Other bytes than in any run before.
fn fresh() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |d| d.as_nanos() as u64)
}

async fn images(url: &Uri, count: usize) -> Result<f64, Failure> {
    let mut client = Client::connect(url).await?;
    let first = fresh() as usize % 1_000_000_000;
    let begun = Instant::now();
    for i in 0..count {
        let (name, tag) = (format!("images/{}", i % 20), format!("v{i}"));
        client.push_image(&name, &tag, first + i).await?;
    }
    Ok(count as f64 / begun.elapsed().as_secs_f64())
}

async fn parallel(url: &Uri, count: usize, mib: usize) -> Result<f64, Failure> {
    let first = fresh();
    let blobs: Vec<Bytes> = (0..count)
        .map(|i| noise(first + i as u64, mib << 20))
        .collect();
    let begun = Instant::now();
    let mut pushes = tokio::task::JoinSet::new();
    for (i, blob) in blobs.into_iter().enumerate() {
        let url = url.clone();
        pushes.spawn(async move {
            let mut client = Client::connect(&url).await?;
            client.push_blob(&format!("parallel/{i}"), blob).await
        });
    }
    while let Some(pushed) = pushes.join_next().await {
        pushed??;
    }
    Ok((count * mib) as f64 / begun.elapsed().as_secs_f64())
}

async fn blobs(url: &Uri, count: usize, mib: usize, clients: usize) -> Result<f64, Failure> {
    let first = fresh();
    let blobs: Vec<(Digest, Bytes)> = (0..count)
        .map(|i| noise(first + i as u64, mib << 20))
        .map(|bytes| (Digest::sha256(&bytes), bytes))
        .collect();
    let begun = Instant::now();
    let mut pushes = tokio::task::JoinSet::new();
    for some in blobs.chunks(count.div_ceil(clients.max(1)).max(1)) {
        let (url, some) = (url.clone(), some.to_vec());
        pushes.spawn(async move {
            let mut client = Client::connect(&url).await?;
            for (digest, bytes) in some {
                client.push_known("blobs", &digest, bytes).await?;
            }
            Ok::<_, Failure>(())
        });
    }
    while let Some(pushed) = pushes.join_next().await {
        pushed??;
    }
    Ok(count as f64 / begun.elapsed().as_secs_f64())
}

async fn pull(url: &Uri, path: &str, count: usize) -> Result<f64, Failure> {
    let mut client = Client::connect(url).await?;
    let (begun, mut len) = (Instant::now(), 0);
    for _ in 0..count {
        len += client.drain(path).await?;
    }
    Ok(len as f64 / f64::from(1 << 20) / begun.elapsed().as_secs_f64())
}

async fn same(url: &Uri, path: &str, clients: usize) -> Result<f64, Failure> {
    let begun = Instant::now();
    let mut pulls = tokio::task::JoinSet::new();
    for _ in 0..clients {
        let (url, path) = (url.clone(), path.to_owned());
        pulls.spawn(async move { Client::connect(&url).await?.drain(&path).await });
    }
    while let Some(pulled) = pulls.join_next().await {
        pulled??;
    }
    Ok(begun.elapsed().as_secs_f64())
}

async fn tags(url: &Uri, count: usize) -> Result<f64, Failure> {
    let mut client = Client::connect(url).await?;
    let manifest = client.push_image("tags", "t0", 1).await?;
    let begun = Instant::now();
    for i in 1..count {
        client
            .push_manifest("tags", &format!("t{i}"), &manifest)
            .await?;
    }
    Ok(count as f64 / begun.elapsed().as_secs_f64())
}

async fn repositories(url: &Uri, count: usize) -> Result<f64, Failure> {
    let mut client = Client::connect(url).await?;
    let manifest = client.push_image("many/r0", "v1", 1).await?;
    let document: serde_json::Value = serde_json::from_str(&manifest)?;
    let digests = [
        &document["config"]["digest"],
        &document["layers"][0]["digest"],
    ];
    let digests: Vec<&str> = digests.iter().filter_map(|d| d.as_str()).collect();
    let begun = Instant::now();
    for i in 1..count {
        let name = format!("many/r{i}");
        for digest in &digests {
            let path = format!("/v2/{name}/blobs/uploads/?mount={digest}&from=many/r0");
            client.send(Method::POST, &path, "", Bytes::new()).await?;
        }
        client.push_manifest(&name, "v1", &manifest).await?;
    }
    Ok(count as f64 / begun.elapsed().as_secs_f64())
}

async fn heads(url: &Uri, path: &str, count: usize) -> Result<f64, Failure> {
    const CONNECTIONS: usize = 16;
    let begun = Instant::now();
    let mut asking = tokio::task::JoinSet::new();
    for _ in 0..CONNECTIONS {
        let (url, path) = (url.clone(), path.to_owned());
        asking.spawn(async move {
            let mut client = Client::connect(&url).await?;
            for _ in 0..count / CONNECTIONS {
                client.send(Method::HEAD, &path, "", Bytes::new()).await?;
            }
            Ok::<_, Failure>(())
        });
    }
    while let Some(asked) = asking.join_next().await {
        asked??;
    }
    Ok((count / CONNECTIONS * CONNECTIONS) as f64 / begun.elapsed().as_secs_f64())
}

async fn latency(url: &Uri, path: &str, count: usize) -> Result<f64, Failure> {
    let mut client = Client::connect(url).await?;
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        let begun = Instant::now();
        client.send(Method::GET, path, "", Bytes::new()).await?;
        times.push(begun.elapsed().as_secs_f64() * 1000.0);
    }
    times.sort_by(f64::total_cmp);
    times.get(count / 2).copied().ok_or("no request".into())
}

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<(), Failure> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let usage = "usage: load URL images N | parallel N MIB | blobs N MIB C | pull PATH N | \
                 same PATH C | tags N | repositories N | heads PATH N | latency PATH N";
    let [url, case, rest @ ..] = args.as_slice() else {
        return Err(usage.into());
    };
    let url: Uri = url.parse()?;
    let value = match (*case, rest) {
        ("images", [n]) => images(&url, n.parse()?).await?,
        ("parallel", [n, mib]) => parallel(&url, n.parse()?, mib.parse()?).await?,
        ("blobs", [n, mib, c]) => blobs(&url, n.parse()?, mib.parse()?, c.parse()?).await?,
        ("pull", [path, n]) => pull(&url, path, n.parse()?).await?,
        ("same", [path, c]) => same(&url, path, c.parse()?).await?,
        ("tags", [n]) => tags(&url, n.parse()?).await?,
        ("repositories", [n]) => repositories(&url, n.parse()?).await?,
        ("heads", [path, n]) => heads(&url, path, n.parse()?).await?,
        ("latency", [path, n]) => latency(&url, path, n.parse()?).await?,
        _ => return Err(usage.into()),
    };
    println!("{value:.3}");
    Ok(())
}
