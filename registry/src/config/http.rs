//! What is in front of the registry: proxies, pages of others, and headers for all answers.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use super::error::{ConfigError, wrong};
use super::settings::Settings;
use crate::proxies::{Dialect, TrustedProxies};

/// What is in front of the registry.
#[derive(Clone, Debug, Default)]
pub struct Http {
    /// Proxies that are believed; none named is `None`.
    pub proxies: Option<TrustedProxies>,
    /// Which pages elsewhere may use it.
    pub cors: Option<Cors>,
    /// What goes along with every answer.
    pub headers: HeaderMap,
}

/// Pages elsewhere whose scripts may use the registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cors {
    /// Their origins; none for all of them.
    pub origins: Vec<HeaderValue>,
    /// Whether browsers send cookies and passwords along.
    pub credentials: bool,
}

/// Headers that are the protocol's, or the registry's own.
const TAKEN: [HeaderName; 10] = [
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::CONTENT_RANGE,
    header::CONNECTION,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::LOCATION,
    header::RANGE,
    header::WWW_AUTHENTICATE,
    header::DATE,
];

/// These settings, checked.
///
/// # Errors
/// [`ConfigError::Value`], [`ConfigError::Conflict`].
pub(super) fn http(settings: &Settings) -> Result<Http, ConfigError> {
    let dialect: Dialect = settings.parse("http.proxy_headers")?;
    let proxies = settings.list("http.trusted_proxies")?;
    let proxies = match proxies.is_empty() {
        true if dialect != Dialect::Either => {
            return Err(ConfigError::Conflict(
                "http.proxy_headers needs http.trusted_proxies: nobody else is believed",
            ));
        }
        true => None,
        false => Some(TrustedProxies::new(&proxies, dialect).map_err(|text| {
            let why = "an address, a network such as 10.0.0.0/8, or unix";
            wrong("http.trusted_proxies", text, why)
        })?),
    };
    Ok(Http {
        proxies,
        cors: cors(settings)?,
        headers: headers(settings)?,
    })
}

fn cors(settings: &Settings) -> Result<Option<Cors>, ConfigError> {
    let origins = settings.list("http.cors_origins")?;
    let credentials = settings.boolean("http.cors_credentials")?;
    if origins.is_empty() {
        return match credentials {
            true => Err(ConfigError::Conflict(
                "http.cors_credentials needs http.cors_origins",
            )),
            false => Ok(None),
        };
    }
    if origins.iter().any(|origin| origin == "*") {
        return match (origins.len(), credentials) {
            (1, false) => Ok(Some(Cors {
                origins: Vec::new(),
                credentials,
            })),
            (_, true) => Err(ConfigError::Conflict(
                "http.cors_credentials with \"*\": any page could act for whoever looks at it; \
                 name the origins",
            )),
            _ => Err(ConfigError::Conflict(
                "http.cors_origins: \"*\" is all of them, and stands alone",
            )),
        };
    }
    let origins = origins.iter().map(|text| {
        // As browsers send it: scheme, host, and a port that is not the scheme's own.
        let fits = reqwest::Url::parse(text).is_ok_and(|url| {
            url.origin().is_tuple() && url.origin().ascii_serialization() == *text
        });
        match (fits, HeaderValue::from_str(text)) {
            (true, Ok(value)) => Ok(value),
            _ => Err(wrong(
                "http.cors_origins",
                text,
                "an origin as browsers have it, such as https://ui.example.com or \
                 http://localhost:8080, without a path",
            )),
        }
    });
    Ok(Some(Cors {
        origins: origins.collect::<Result<_, _>>()?,
        credentials,
    }))
}

fn headers(settings: &Settings) -> Result<HeaderMap, ConfigError> {
    let key = "http.headers";
    let headers = settings.lists.headers.to_map();
    let headers = headers.map_err(|why| wrong(key, "NAME", why))?;
    for name in headers.keys() {
        let own = name.as_str().starts_with("docker-") || name.as_str().starts_with("oci-");
        if own || TAKEN.contains(name) {
            return Err(wrong(key, name, "the registry says this by itself"));
        }
    }
    Ok(headers)
}
