//! Downloads: what ADD names by URL, archives to import, build contexts.
//!
//! A Dockerfile is somebody else's text: only http and https are followed, never to a link-local
//! address (where clouds serve credentials), and never for more than [`MAX_SIZE`] bytes.

use std::fs::File;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::time::Duration;

use oci::Digest;
use oci::causes::with_causes;
use oci::digest::Algorithm;
use reqwest::header::{
    AUTHORIZATION, ETAG, HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED,
};
use reqwest::redirect::Policy;
use reqwest::{StatusCode, Url};
use serde::{Deserialize, Serialize};
use tempfile::{NamedTempFile, TempPath};

use crate::auth::Auth;

/// The largest download, in bytes.
const MAX_SIZE: u64 = 16 << 30;
const REDIRECTS: usize = 10;
/// How long an answer is waited for, and then each [`PROGRESS`] of it.
const PATIENCE: Duration = Duration::from_secs(60);
/// Bytes that are worth new patience: a server that sends one now and then is not waited for.
const PROGRESS: usize = 1024;

/// Why a file was not downloaded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{url}: {message}")]
pub struct DownloadError {
    /// What was asked for.
    pub url: String,
    /// Why it is not here.
    pub message: String,
}

/// A downloaded file.
#[derive(Debug)]
pub struct Download {
    /// The file; gone when dropped.
    pub file: TempPath,
    /// The digest of its content.
    pub digest: Digest,
    /// The name that it gets in a directory; `None` when the URL has none.
    pub name: Option<String>,
    /// When it was last modified as the server tells it, seconds since the epoch.
    pub modified: Option<i64>,
    /// What to ask with whether it has changed.
    pub validators: Validators,
}

/// What a server said of a file that tells when it changes (RFC 9110, section 8.8), as it was
/// written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Validators {
    etag: Option<String>,
    last_modified: Option<String>,
}

impl Validators {
    fn of(response: &reqwest::Response) -> Self {
        let header = |name| {
            let value = response.headers().get(name)?;
            value.to_str().ok().map(str::to_owned)
        };
        Self {
            etag: header(ETAG),
            last_modified: header(LAST_MODIFIED),
        }
    }

    /// Whether there are any.
    pub fn any(&self) -> bool {
        self.etag.is_some() || self.last_modified.is_some()
    }

    /// When the file was last modified, seconds since the epoch.
    fn modified(&self) -> Option<i64> {
        let time = jiff::fmt::rfc2822::parse(self.last_modified.as_deref()?).ok()?;
        Some(time.timestamp().as_second())
    }
}

/// What comes of asking for a file that may be here already.
#[derive(Debug)]
pub enum Answer {
    /// It is another one.
    New(Download),
    /// It is the same.
    Unchanged,
}

impl Download {
    /// Opens it for reading.
    ///
    /// # Errors
    /// The file system's.
    pub fn open(&self) -> std::io::Result<File> {
        File::open(&self.file)
    }
}

/// Downloads `url` into a new file in `dir` and checks it against `checksum`. No file is left
/// when the future is dropped before its end.
///
/// # Errors
/// [`DownloadError`]; no file is left then.
pub async fn fetch(
    url: &str,
    checksum: Option<&Digest>,
    dir: &Path,
    auth: &Auth,
) -> Result<Download, DownloadError> {
    fetch_within(url, checksum, dir, (PATIENCE, auth)).await
}

/// The same, when there is a file that `known` was said of.
///
/// # Errors
/// [`DownloadError`].
pub async fn ask(
    url: &str,
    checksum: Option<&Digest>,
    dir: &Path,
    known: &Validators,
    auth: &Auth,
) -> Result<Answer, DownloadError> {
    ask_within(url, checksum, dir, known, (PATIENCE, auth)).await
}

async fn fetch_within(
    url: &str,
    checksum: Option<&Digest>,
    dir: &Path,
    with: (Duration, &Auth),
) -> Result<Download, DownloadError> {
    match ask_within(url, checksum, dir, &Validators::default(), with).await? {
        Answer::New(download) => Ok(download),
        Answer::Unchanged => Err(DownloadError {
            url: url.to_owned(),
            message: "invalid response status 304: nothing was said of another file".to_owned(),
        }),
    }
}

async fn ask_within(
    url: &str,
    checksum: Option<&Digest>,
    dir: &Path,
    known: &Validators,
    (patience, auth): (Duration, &Auth),
) -> Result<Answer, DownloadError> {
    let failed = |e: &dyn std::fmt::Display| DownloadError {
        url: url.to_owned(),
        message: e.to_string(),
    };
    let parsed = Url::parse(url).map_err(|e| failed(&e))?;
    check_url(&parsed).map_err(|e| failed(&e))?;
    let http = client().map_err(|e| failed(&e))?;
    let slow = || {
        let seconds = patience.as_secs();
        failed(&format!(
            "too slow: less than {PROGRESS} bytes came within {seconds} s"
        ))
    };
    let header = auth.for_http(&parsed);
    let mut request = http.get(parsed);
    if let Some(header) = header {
        let value = HeaderValue::try_from(header);
        let mut value =
            value.map_err(|_| failed(&"the secret for it cannot be sent: it is no header"))?;
        // Redirects to other servers do not get it.
        value.set_sensitive(true);
        request = request.header(AUTHORIZATION, value);
    }
    for (name, value) in [
        (IF_NONE_MATCH, &known.etag),
        (IF_MODIFIED_SINCE, &known.last_modified),
    ] {
        if let Some(value) = value {
            request = request.header(name, value);
        }
    }
    let answer = tokio::time::timeout(patience, request.send()).await;
    let mut response = answer
        .map_err(|_| slow())?
        .map_err(|e| failed(&with_causes(&e)))?;
    if response.status() == StatusCode::NOT_MODIFIED && known.any() {
        return Ok(Answer::Unchanged);
    }
    if !response.status().is_success() {
        return Err(failed(&format!(
            "invalid response status {}",
            response.status()
        )));
    }
    let validators = Validators::of(&response);
    let mut file = NamedTempFile::new_in(dir).map_err(|e| failed(&e))?;
    let algorithm = checksum.map_or(Algorithm::Sha256, Digest::algorithm);
    let mut hasher = algorithm.hasher();
    let mut size: u64 = 0;
    let (mut left, mut gained) = (patience, 0);
    loop {
        // Only the time in which the server is waited for counts.
        let asked = tokio::time::Instant::now();
        let came = tokio::time::timeout(left, response.chunk()).await;
        let came = came.map_err(|_| slow())?;
        let Some(chunk) = came.map_err(|e| failed(&with_causes(&e)))? else {
            break;
        };
        left = left.saturating_sub(asked.elapsed());
        gained += chunk.len();
        if gained >= PROGRESS {
            (left, gained) = (patience, 0);
        }
        size += chunk.len() as u64;
        if size > MAX_SIZE {
            return Err(failed(&format!("larger than {MAX_SIZE} bytes")));
        }
        hasher.update(&chunk);
        file.write_all(&chunk).map_err(|e| failed(&e))?;
    }
    let digest = hasher.finish();
    match checksum {
        Some(expected) if *expected != digest => Err(failed(&format!(
            "digest mismatch: --checksum={expected}, the content is {digest}"
        ))),
        _ => Ok(Answer::New(Download {
            file: file.into_temp_path(),
            digest,
            name: file_name(url),
            modified: validators.modified(),
            validators,
        })),
    }
}

/// A client that goes nowhere where a Dockerfile may not.
fn client() -> reqwest::Result<reqwest::Client> {
    let policy = Policy::custom(|attempt| {
        if attempt.previous().len() > REDIRECTS {
            return attempt.error("too many redirects");
        }
        match check_url(attempt.url()) {
            Ok(()) => attempt.follow(),
            Err(e) => attempt.error(e),
        }
    });
    // Whoever installed another provider before us keeps it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .redirect(policy)
        .connect_timeout(Duration::from_secs(15))
        .user_agent(concat!("rbuild/", env!("CARGO_PKG_VERSION")))
        .dns_resolver(std::sync::Arc::new(NoLinkLocal))
        .build()
}

fn check_url(url: &Url) -> Result<(), String> {
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!("{}: only http and https are fetched", url.scheme()));
    }
    let literal = match url.host() {
        Some(url::Host::Ipv4(ip)) => Some(IpAddr::V4(ip)),
        Some(url::Host::Ipv6(ip)) => Some(IpAddr::V6(ip)),
        _ => None,
    };
    match literal {
        Some(ip) if is_link_local(ip) => Err(format!("{ip} is a link-local address")),
        _ => Ok(()),
    }
}

/// Whether an address is link-local, in whatever clothes, or where a cloud serves credentials
/// over IPv6.
fn is_link_local(ip: IpAddr) -> bool {
    let ip = match ip {
        IpAddr::V4(ip) => return ip.is_link_local(),
        IpAddr::V6(ip) => ip,
    };
    // NAT64 (RFC 6052) and IPv4-mapped addresses reach the IPv4 one.
    let embedded = match ip.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            Some(Ipv4Addr::from(u32::from(high) << 16 | u32::from(low)))
        }
        _ => ip.to_ipv4(),
    };
    ip.is_unicast_link_local()
        || embedded.is_some_and(|ip| ip.is_link_local())
        || ip.segments() == [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254]
}

/// Resolves names, leaving link-local addresses out.
struct NoLinkLocal;

impl reqwest::dns::Resolve for NoLinkLocal {
    fn resolve(&self, name: reqwest::dns::Name) -> reqwest::dns::Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let allowed: Vec<_> = found.filter(|a| !is_link_local(a.ip())).collect();
            if allowed.is_empty() {
                let text = format!("{} has no address that may be fetched from", name.as_str());
                return Err(text.into());
            }
            Ok(Box::new(allowed.into_iter()) as reqwest::dns::Addrs)
        })
    }
}

/// The last component of the URL's path as it was written. Where redirects lead to and what the
/// server calls the file don't count: the Dockerfile alone decides what is made.
pub(crate) fn file_name(url: &str) -> Option<String> {
    let url = Url::parse(url).ok()?;
    let mut segments = url.path_segments()?.filter(|s| !s.is_empty());
    let decoded = decode(segments.next_back()?)?;
    let name = decoded.rsplit('/').find(|part| !part.is_empty())?;
    (name != "." && name != ".." && !name.contains('\0')).then(|| name.to_owned())
}

/// Undoes percent encoding; `None` when that gives no text.
fn decode(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut out = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        let mut ahead = bytes.clone();
        let digit = |b: Option<u8>| char::from(b?).to_digit(16);
        match (byte, digit(ahead.next()), digit(ahead.next())) {
            (b'%', Some(high), Some(low)) => {
                out.push((high * 16 + low) as u8);
                bytes = ahead;
            }
            _ => out.push(byte),
        }
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_http_is_fetched() {
        for (url, fine) in [
            ("https://example.com/x", true),
            ("http://10.0.0.1/x", true),
            ("file:///etc/passwd", false),
            ("ftp://example.com/x", false),
            ("http://169.254.169.254/latest/meta-data", false),
            ("http://[fe80::1]/x", false),
            ("http://[::ffff:169.254.169.254]/x", false),
            ("http://[64:ff9b::169.254.169.254]/x", false),
            ("http://[::169.254.169.254]/x", false),
            ("http://[fd00:ec2::254]/x", false),
            ("http://2852039166/x", false),
            ("http://0xa9.0xfe.0xa9.0xfe/x", false),
            ("http://[::1]/x", true),
        ] {
            assert_eq!(check_url(&Url::parse(url).unwrap()).is_ok(), fine, "{url}");
        }
    }

    #[test]
    fn the_name_is_the_urls() {
        for (url, name) in [
            ("http://h/file.bin?x=/y", Some("file.bin")),
            ("http://h/sub/q/?a=b", Some("q")),
            ("http://h/a%20b", Some("a b")),
            ("http://h/%zz", Some("%zz")),
            ("http://h/..%2f..%2fetc%2fpasswd", Some("passwd")),
            ("http://h/x%2f..", None),
            ("http://h/a%00b", None),
            ("http://h/%ff", None),
            ("http://h/", None),
            ("http://h", None),
        ] {
            assert_eq!(file_name(url).as_deref(), name, "{url}");
        }
    }

    /// Answers each request with what `answer` says of its path, on a port of its own.
    fn serve(answer: fn(&str) -> String) -> String {
        use std::io::{BufRead as _, BufReader};
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok).take(32) {
                let mut lines = BufReader::new(&stream).lines().map_while(Result::ok);
                let request = lines.next().unwrap_or_default();
                let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
                lines.find(String::is_empty);
                let _ = (&stream).write_all(answer(&path).as_bytes());
            }
        });
        format!("http://{address}")
    }

    fn answer(path: &str) -> String {
        let to = |url: &str| {
            format!(
                "HTTP/1.1 302 Found\r\nlocation: {url}\r\ncontent-length: 0\r\n\
                 connection: close\r\n\r\n"
            )
        };
        match path {
            "/metadata" => to("http://169.254.169.254/latest/meta-data"),
            "/file" => to("file:///etc/passwd"),
            "/loop" => to("/loop"),
            "/moved" => to("/real-name"),
            _ => "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\
                  content-disposition: attachment; filename=\"../other\"\r\n\
                  connection: close\r\n\r\nbody"
                .to_owned(),
        }
    }

    #[tokio::test]
    async fn redirects_lead_nowhere_that_a_url_may_not() {
        let server = serve(answer);
        let dir = tempfile::tempdir().unwrap();
        for (path, why) in [
            ("/metadata", "link-local"),
            ("/file", "file"),
            ("/loop", "too many redirects"),
        ] {
            let error = fetch(
                &format!("{server}{path}"),
                None,
                dir.path(),
                &Auth::default(),
            )
            .await;
            let error = error.unwrap_err().to_string();
            assert!(error.contains(why), "{path}: {error}");
        }
        let moved = fetch(
            &format!("{server}/moved"),
            None,
            dir.path(),
            &Auth::default(),
        )
        .await
        .unwrap();
        assert_eq!(moved.name.as_deref(), Some("moved"));
        assert_eq!(moved.digest, Digest::sha256(b"body"));
    }

    /// Sends `pieces` of `size` bytes, one every 20 ms.
    fn drip(pieces: usize, size: usize) -> String {
        use std::io::{BufRead as _, BufReader};
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap())
                .lines()
                .map_while(Result::ok);
            lines.find(String::is_empty);
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n",
                pieces * size
            );
            let mut sent = stream.write_all(head.as_bytes());
            for _ in 0..pieces {
                sent = sent.and_then(|()| stream.write_all(&vec![b'x'; size]));
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        format!("http://{address}/x")
    }

    #[tokio::test]
    async fn a_server_must_get_on() {
        let dir = tempfile::tempdir().unwrap();
        let patience = Duration::from_millis(500);
        // Twice the patience in all, and a KiB often enough.
        let url = drip(50, PROGRESS);
        let whole = fetch_within(&url, None, dir.path(), (patience, &Auth::default()))
            .await
            .unwrap();
        assert_eq!(whole.digest, Digest::sha256(&vec![b'x'; 50 * PROGRESS]));
        drop(whole);
        // As often, and next to nothing: no pause is long.
        let url = drip(1_000, 1);
        let error = fetch_within(&url, None, dir.path(), (patience, &Auth::default())).await;
        let error = error.unwrap_err().to_string();
        assert!(error.contains("too slow"), "{error}");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn a_wrong_checksum_leaves_no_file() {
        let url = format!("{}/x", serve(answer));
        let dir = tempfile::tempdir().unwrap();
        let right = Digest::sha256(b"body");
        drop(
            fetch(&url, Some(&right), dir.path(), &Auth::default())
                .await
                .unwrap(),
        );
        let wrong = Digest::sha256(b"other");
        let error = fetch(&url, Some(&wrong), dir.path(), &Auth::default())
            .await
            .unwrap_err();
        assert!(error.to_string().contains("digest mismatch"), "{error}");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
