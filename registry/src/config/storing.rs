//! Where blobs are kept.

use super::error::{ConfigError, wrong};
use super::settings::Settings;
use super::stores::STORING;
use crate::outgoing::is_here;
use crate::storage::{Backend, ObjectSettings, Service};

/// Where blobs are kept.
///
/// # Errors
/// [`ConfigError::Value`], [`ConfigError::Missing`], [`ConfigError::Read`].
pub(super) fn backend(settings: &Settings) -> Result<Backend, ConfigError> {
    let text = settings.text("storage.backend")?;
    let service = match text.as_str() {
        "disk" => {
            let given = STORING.iter().map(|key| key.name);
            let given = given.filter(|name| *name != "storage.backend" && settings.is_set(name));
            return match given.into_iter().next() {
                None => Ok(Backend::Disk),
                Some(name) => Err(ConfigError::Missing {
                    place: settings.place(name),
                    what: format!("{name} is for storage.backend = \"s3\" or \"azure\""),
                }),
            };
        }
        "s3" => Service::S3,
        "azure" => Service::Azure,
        "gcs" => {
            let why = "Google's stores speak S3: use \"s3\" with an HMAC key and storage.endpoint = \
                       \"https://storage.googleapis.com\"";
            return Err(wrong("storage.backend", "gcs", why));
        }
        other => return Err(wrong("storage.backend", other, "disk, s3 or azure")),
    };
    let needs = |what: &str| ConfigError::Missing {
        place: settings.place("storage.backend"),
        what: format!("storage.backend = {text:?} needs {what}"),
    };
    let bucket = settings.given("storage.bucket")?;
    let bucket = bucket.ok_or_else(|| needs("storage.bucket"))?;
    let allow_http = settings.boolean("storage.allow_http")?;
    let endpoint = settings.url("storage.endpoint")?;
    let plain = endpoint
        .as_deref()
        .is_some_and(|url| url.starts_with("http:"));
    let here = endpoint
        .as_deref()
        .and_then(|url| reqwest::Url::parse(url).ok())
        .is_some_and(|url| is_here(&url));
    if let Some(url) = endpoint
        .as_deref()
        .filter(|_| plain && !here && !allow_http)
    {
        let why = "images would go over the network in the clear: use https://, or set \
                   storage.allow_http = true";
        return Err(wrong("storage.endpoint", url, why));
    }
    let region = settings.given("storage.region")?;
    let told = ["AWS_REGION", "AWS_DEFAULT_REGION"];
    let told = told.iter().any(|name| std::env::var_os(name).is_some());
    if service == Service::S3 && endpoint.is_none() && region.is_none() && !told {
        return Err(needs("storage.region, or storage.endpoint"));
    }
    let access_key = settings.given("storage.access_key")?;
    let secret_key = secret(settings)?;
    match (&access_key, &secret_key) {
        (Some(_), None) if service == Service::S3 => {
            return Err(ConfigError::Missing {
                place: settings.place("storage.access_key"),
                what: "storage.access_key needs storage.secret_key or storage.secret_key_file"
                    .into(),
            });
        }
        (None, Some(_)) => {
            let name = match settings.is_set("storage.secret_key") {
                true => "storage.secret_key",
                false => "storage.secret_key_file",
            };
            return Err(ConfigError::Missing {
                place: settings.place(name),
                what: format!("{name} needs storage.access_key"),
            });
        }
        _ => {}
    }
    Ok(Backend::Objects(Box::new(ObjectSettings {
        service,
        bucket,
        prefix: prefix(settings)?,
        allow_http: allow_http || plain && here,
        endpoint,
        region,
        path_style: settings.boolean("storage.path_style")?,
        ca: settings.path("storage.ca")?,
        access_key,
        secret_key,
        redirect: settings.boolean("storage.redirect")?,
    })))
}

fn secret(settings: &Settings) -> Result<Option<String>, ConfigError> {
    let said = settings.given("storage.secret_key")?;
    let Some(path) = settings.path("storage.secret_key_file")? else {
        return Ok(said);
    };
    if said.is_some() {
        return Err(ConfigError::Conflict(
            "storage.secret_key and storage.secret_key_file: leave one of them out",
        ));
    }
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(Some(text.trim().to_owned())),
        Err(cause) => Err(ConfigError::Read { path, cause }),
    }
}

/// With a slash at its end, and none at its beginning.
fn prefix(settings: &Settings) -> Result<String, ConfigError> {
    let text = settings.text("storage.prefix")?;
    let inner = text.trim_matches('/');
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let parts_fit = inner
        .split('/')
        .all(|part| !part.is_empty() && part != "." && part != ".." && part.chars().all(fits));
    match inner {
        "" => Ok(String::new()),
        _ if parts_fit => Ok(format!("{inner}/")),
        _ => Err(wrong(
            "storage.prefix",
            &text,
            "letters, digits, dots, dashes and underscores, with slashes between",
        )),
    }
}
