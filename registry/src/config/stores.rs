//! The settings of where blobs are kept, and of the database.

use super::key::Key;

/// Settings of the database.
pub(super) const DATABASES: &[Key] = &[
    Key {
        name: "database.url",
        default: "\"sqlite\"",
        help: "Where names, tags and all else that is known about content are kept: sqlite (in a \
               file in data_dir) or a PostgreSQL server, as \
               postgres://USER@HOST:PORT/DATABASE, with ?sslmode=verify-full and \
               sslrootcert=FILE where it is on another machine. database = \"…\" says the same. \
               The database must be there already, in UTF-8, and USER own it; the tables are made \
               in the first schema of its search path. One process serves a database, as it does \
               data_dir.",
    },
    Key {
        name: "database.password_file",
        default: "",
        help: "A file with the password, when it does not stand in the URL (USER:PASSWORD@HOST). \
               PGPASSWORD and ~/.pgpass count too.",
    },
];

/// Settings of where blobs are kept.
pub(super) const STORING: &[Key] = &[
    Key {
        name: "storage.backend",
        default: "\"disk\"",
        help: "Where layers, configurations and manifests are kept: disk (in data_dir), s3 (Amazon \
               S3, and what speaks its protocol, as Google's stores do) or azure (Azure Blob \
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
        name: "storage.redirect",
        default: "false",
        help: "Whether a client that pulls a layer is sent to the store for it (307, with a URL that \
               is good for 20 minutes), so that its bytes do not come through the registry. For \
               clients that all reach storage.endpoint, and trust its certificate.",
    },
];
