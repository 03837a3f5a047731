//! A connection to a store.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::client::{ClientOptions, HttpClient, HttpConnector};
use object_store::{BackoffConfig, RetryConfig};

use super::settings::{ObjectSettings, Service};
use super::store::{Store, Stores};
use crate::outgoing;
use crate::storage::error::StorageError;

/// How long to wait for a connection, and for anything to come over one.
const CONNECT: Duration = Duration::from_secs(5);
const SILENCE: Duration = Duration::from_secs(30);
/// Times that a request is made again, and for how long.
const RETRIES: usize = 8;
const RETRYING: Duration = Duration::from_secs(60);
/// The region that stores of others are in.
const REGION: &str = "us-east-1";

/// Reaches a store; nothing is asked of it yet.
///
/// # Errors
/// [`StorageError::Store`], [`StorageError::Unreachable`].
pub(in crate::storage) fn connect(settings: &ObjectSettings) -> Result<Store, StorageError> {
    let wrong = |cause| StorageError::Store {
        what: "use",
        place: settings.root().into(),
        cause: Box::new(cause),
    };
    let stores = match settings.service {
        Service::S3 => Stores::of(Arc::new(s3(settings)?.build().map_err(wrong)?)),
        Service::Azure => Stores::of(Arc::new(azure(settings)?.build().map_err(wrong)?)),
    };
    Ok(Store::new(stores, settings))
}

fn s3(settings: &ObjectSettings) -> Result<AmazonS3Builder, StorageError> {
    // What settings do not say comes from where all of Amazon's tools look: the environment, and
    // whatever vouches for the machine.
    let mut builder = AmazonS3Builder::from_env()
        .with_bucket_name(&settings.bucket)
        .with_virtual_hosted_style_request(!settings.path_style)
        .with_allow_http(settings.allow_http)
        .with_retry(retry())
        .with_http_connector(Connector::new(settings)?);
    if let Some(endpoint) = &settings.endpoint {
        builder = builder.with_endpoint(endpoint);
    }
    match &settings.region {
        Some(region) => builder = builder.with_region(region),
        None if settings.endpoint.is_some() => builder = builder.with_region(REGION),
        None => {}
    }
    if let (Some(key), Some(secret)) = (&settings.access_key, &settings.secret_key) {
        builder = builder
            .with_access_key_id(key)
            .with_secret_access_key(secret);
    }
    Ok(builder)
}

fn azure(settings: &ObjectSettings) -> Result<MicrosoftAzureBuilder, StorageError> {
    let mut builder = MicrosoftAzureBuilder::from_env()
        .with_container_name(&settings.bucket)
        .with_allow_http(settings.allow_http)
        .with_retry(retry())
        .with_http_connector(Connector::new(settings)?);
    if let Some(endpoint) = &settings.endpoint {
        builder = builder.with_endpoint(endpoint.clone());
    }
    if let Some(account) = &settings.access_key {
        builder = builder.with_account(account);
    }
    if let Some(key) = &settings.secret_key {
        builder = builder.with_access_key(key);
    }
    Ok(builder)
}

fn retry() -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig {
            init_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(5),
            base: 2.,
        },
        max_retries: RETRIES,
        retry_timeout: RETRYING,
    }
}

/// Requests as the registry itself sends them: with its certificates, and its patience.
#[derive(Debug)]
struct Connector(reqwest::Client);

impl Connector {
    fn new(settings: &ObjectSettings) -> Result<Self, StorageError> {
        // Without an endpoint it is the service's own, which has TLS.
        let url = settings.endpoint.as_deref().unwrap_or("https://");
        let failed = |why: String| StorageError::Unreachable {
            place: PathBuf::from(settings.root()),
            why,
        };
        let client = outgoing::builder(url, settings.ca.as_deref())
            .map_err(|e| failed(e.to_string()))?
            .connect_timeout(CONNECT)
            // A request may take long, as long as something moves.
            .read_timeout(SILENCE)
            .build()
            .map_err(|e| failed(outgoing::reason(&e)))?;
        Ok(Self(client))
    }
}

impl HttpConnector for Connector {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.0.clone()))
    }
}
