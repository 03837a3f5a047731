//! Where blobs are kept.

use super::error::{ConfigError, wrong};
use super::key::Key;
use super::settings::Settings;
use crate::outgoing::is_here;
use crate::storage::{Backend, ObjectSettings, Service};

/// Settings of where blobs are kept.
pub(super) const STORING: &[Key] = &[
    Key {
        name: "storage.backend",
        default: "\"disk\"",
        help: "Where layers, configurations and manifests are kept: disk (in data_dir), s3 (Amazon \
               S3, and what speaks its protocol), gcs (Google Cloud Storage) or azure (Azure Blob \
               Storage). Names, tags and rights stay in the database in data_dir in any case, which \
               one process alone can serve. One store, or one storage.prefix of it, is for one \
               registry; a registry that has blobs keeps its backend.",
    },
    Key {
        name: "storage.bucket",
        default: "",
        help: "The bucket, or with azure the container. It must be there already.",
    },
    Key {
        name: "storage.prefix",
        default: "",
        help: "What all keys in the bucket begin with, such as registry/.",
    },
    Key {
        name: "storage.endpoint",
        default: "",
        help: "Where the store is, such as https://s3.example.com, when it is not the service's own.",
    },
    Key {
        name: "storage.region",
        default: "",
        help: "The region of an s3 bucket; AWS_REGION counts too. With storage.endpoint, us-east-1 \
               where nothing is said.",
    },
    Key {
        name: "storage.path_style",
        default: "true",
        help: "Whether the bucket of s3 stands in the path of URLs (https://HOST/BUCKET/KEY), which \
               all stores know, or in the host's name (https://BUCKET.HOST/KEY).",
    },
    Key {
        name: "storage.allow_http",
        default: "false",
        help: "Whether a storage.endpoint on another machine may be http://, without TLS.",
    },
    Key {
        name: "storage.ca",
        default: "",
        help: "Certificates in PEM to trust beside the system's when talking to the store.",
    },
    Key {
        name: "storage.access_key",
        default: "",
        help: "The access key ID of s3, or the account of azure. Without it, and without its secret, \
               they come from where the service's own tools find them: AWS_ACCESS_KEY_ID and its \
               kin, AZURE_STORAGE_ACCOUNT_NAME, or the role of the machine or pod.",
    },
    Key {
        name: "storage.secret_key",
        default: "",
        help: "The secret that belongs to storage.access_key.",
    },
    Key {
        name: "storage.secret_key_file",
        default: "",
        help: "A file with that secret.",
    },
    Key {
        name: "storage.credentials_file",
        default: "",
        help: "A file with the key of a service account of Google, for gcs; without it, \
               GOOGLE_APPLICATION_CREDENTIALS, or the role of the machine or pod.",
    },
    Key {
        name: "storage.redirect",
        default: "false",
        help: "Whether a client that pulls a layer is sent to the store for it (307, with a URL that \
               is good for 20 minutes), so that its bytes do not come through the registry. For \
               clients that all reach storage.endpoint, and trust its certificate.",
    },
];

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
                    what: format!("{name} is for storage.backend = \"s3\", \"gcs\" or \"azure\""),
                }),
            };
        }
        "s3" => Service::S3,
        "gcs" => Service::Gcs,
        "azure" => Service::Azure,
        other => return Err(wrong("storage.backend", other, "disk, s3, gcs or azure")),
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
        credentials: settings.path("storage.credentials_file")?,
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
