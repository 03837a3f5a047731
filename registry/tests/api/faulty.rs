//! A proxy in front of an object store that does what stores and networks do on their bad days.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;

/// What becomes of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    None,
    /// It does not reach the store, which is said to be busy.
    Busy,
    /// The store does it, and no answer comes.
    Lost,
    /// The answer breaks off in the middle.
    Cut,
    /// The answer ends early and looks whole.
    Short,
    /// One bit of the answer is another one.
    Wrong,
    /// What is there looks as if it were empty.
    Empty,
    /// The answer takes its time.
    Slow,
}

type Plan = Box<dyn FnMut(&Parts) -> Fault + Send>;

/// A proxy.
#[derive(Clone)]
pub struct Faulty {
    store: SocketAddr,
    plan: Arc<Mutex<Plan>>,
    client: reqwest::Client,
}

impl Faulty {
    /// In front of a store; it does nothing bad at first.
    pub async fn before(store: SocketAddr) -> (Self, SocketAddr) {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .no_proxy()
            .tls_certs_only([])
            .build()
            .unwrap();
        let this = Self {
            store,
            plan: Arc::new(Mutex::new(Box::new(|_| Fault::None))),
            client,
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let serving = this.clone();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let _ = socket.set_nodelay(true);
                let this = serving.clone();
                let service = service_fn(move |request| pass(this.clone(), request));
                let connection = Builder::new(TokioExecutor::new());
                let io = TokioIo::new(socket);
                tokio::spawn(async move { drop(connection.serve_connection(io, service).await) });
            }
        });
        (this, addr)
    }

    /// What is to become of requests from now on.
    pub fn plan(&self, plan: impl FnMut(&Parts) -> Fault + Send + 'static) {
        *self.plan.lock().unwrap() = Box::new(plan);
    }

    /// These faults in turn, and again, each for one request.
    pub fn in_turn(&self, faults: &'static [Fault]) {
        let mut next = 0;
        self.plan(move |_| {
            next += 1;
            faults[next % faults.len()]
        });
    }

    /// What a test is about is over.
    pub fn heal(&self) {
        self.plan(|_| Fault::None);
    }
}

/// An error ends the connection, without an answer.
async fn pass(this: Faulty, request: Request<Incoming>) -> Result<Response, std::io::Error> {
    let (head, body) = request.into_parts();
    let fault = (this.plan.lock().unwrap())(&head);
    let body = body
        .collect()
        .await
        .map_err(std::io::Error::other)?
        .to_bytes();
    if fault == Fault::Busy {
        let busy = StatusCode::SERVICE_UNAVAILABLE;
        let why = Body::from("<Error><Code>SlowDown</Code></Error>");
        return Ok(answer(busy, HeaderMap::new(), why));
    }
    let path = head.uri.path_and_query().unwrap();
    // Signatures are for the host that was asked, which goes along.
    let asked = this
        .client
        .request(head.method.clone(), format!("http://{}{path}", this.store))
        .headers(head.headers)
        .body(body);
    let answered = asked.send().await.unwrap();
    let (status, headers) = (answered.status(), answered.headers().clone());
    let head_only = head.method == http::Method::HEAD;
    let content = answered.bytes().await.unwrap();
    let half = content.len() / 2;
    Ok(match fault {
        Fault::Lost => return Err(std::io::Error::other("lost")),
        Fault::Cut if !head_only => broken(status, headers, content.slice(..half)),
        Fault::Short if !head_only => {
            let mut headers = headers;
            headers.insert("content-length", half.into());
            answer(status, headers, Body::from(content.slice(..half)))
        }
        Fault::Empty => {
            let mut headers = headers;
            headers.insert("content-length", 0.into());
            answer(status, headers, Body::empty())
        }
        Fault::Wrong if !content.is_empty() => {
            let mut content = content.to_vec();
            content[half] ^= 1;
            answer(status, headers, Body::from(content))
        }
        Fault::Slow => {
            tokio::time::sleep(Duration::from_millis(100)).await;
            answer(status, headers, Body::from(content))
        }
        _ => {
            // Of a HEAD it is the length that is asked for.
            answer(status, headers, Body::from(content))
        }
    })
}

fn answer(status: StatusCode, headers: HeaderMap, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// An answer whose connection ends after these bytes.
fn broken(status: StatusCode, headers: HeaderMap, bytes: Bytes) -> Response {
    let parts = [Ok(bytes), Err(std::io::Error::other("cut"))];
    answer(
        status,
        headers,
        Body::from_stream(futures_util::stream::iter(parts)),
    )
}
