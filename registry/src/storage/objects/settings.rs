//! Which store, and how to reach it.

use std::fmt;
use std::path::PathBuf;

/// Whose protocol a store speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// Amazon's S3.
    S3,
    /// Azure Blob Storage.
    Azure,
}

impl Service {
    /// As settings name it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::S3 => "s3",
            Self::Azure => "azure",
        }
    }
}

/// Which store, and how to reach it.
#[derive(Clone, PartialEq, Eq)]
pub struct ObjectSettings {
    /// Whose protocol it speaks.
    pub service: Service,
    /// The bucket, or Azure's container.
    pub bucket: String,
    /// What all keys begin with: empty, or with a slash at its end.
    pub prefix: String,
    /// Where it is, when it is not the service's own.
    pub endpoint: Option<String>,
    /// S3's region.
    pub region: Option<String>,
    /// Whether the bucket stands in the path of URLs, rather than in the name of the host.
    pub path_style: bool,
    /// Whether it may be reached without TLS.
    pub allow_http: bool,
    /// Certificates to trust beside the system's.
    pub ca: Option<PathBuf>,
    /// S3's access key ID, or Azure's account.
    pub access_key: Option<String>,
    /// What belongs to it.
    pub secret_key: Option<String>,
    /// Whether clients are sent to the store for what they pull.
    pub redirect: bool,
}

impl ObjectSettings {
    /// Where keys begin, for people.
    pub fn root(&self) -> String {
        format!(
            "{}://{}/{}",
            self.service.as_str(),
            self.bucket,
            self.prefix
        )
    }
}

impl fmt::Debug for ObjectSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without secrets.
        f.debug_struct("ObjectSettings")
            .field("root", &self.root())
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}
