//! Settings of who is in front of the registry, what it notes, and what it takes up while it runs.

use super::key::Key;

/// These settings.
pub(super) const OPERATING: &[Key] = &[
    Key {
        name: "auth.tokens",
        default: "",
        help: "File of personal tokens, which stand for a user's password in programs: see \
               `rregistry user token`. Read again when it changes. Without it, tokens.json in \
               data_dir.",
    },
    Key {
        name: "auth.ldap.url",
        default: "",
        help: "A directory of users: ldaps://HOST, or ldap://HOST with auth.ldap.start_tls. \
               Who logs in is searched for, and is who they say when the directory takes their \
               password. Users of auth.htpasswd are known by that file alone.",
    },
    Key {
        name: "auth.ldap.start_tls",
        default: "false",
        help: "Whether an ldap:// connection is encrypted before anything is asked.",
    },
    Key {
        name: "auth.ldap.ca",
        default: "",
        help: "Certificates in PEM to trust instead of the system's when talking to the directory.",
    },
    Key {
        name: "auth.ldap.bind_dn",
        default: "",
        help: "Whom to search the directory as; without it, as nobody.",
    },
    Key {
        name: "auth.ldap.bind_password_file",
        default: "",
        help: "File with the password of auth.ldap.bind_dn.",
    },
    Key {
        name: "auth.ldap.base_dn",
        default: "",
        help: "Where users are, such as ou=people,dc=example,dc=com.",
    },
    Key {
        name: "auth.ldap.user_filter",
        default: "\"(&(objectClass=person)(uid={user}))\"",
        help: "What finds a user; {user} is the name that was given, escaped.",
    },
    Key {
        name: "auth.ldap.group_base_dn",
        default: "",
        help: "Where groups are. Without it, auth.ldap.base_dn.",
    },
    Key {
        name: "auth.ldap.group_filter",
        default: "",
        help: "What finds a user's groups, such as (&(objectClass=groupOfNames)(member={dn})): {dn} \
               is the user's entry, {user} the name. Access rules name them under groups. Without \
               it the directory's users are in no groups but those of [groups].",
    },
    Key {
        name: "auth.ldap.group_attribute",
        default: "\"cn\"",
        help: "The attribute that a group is called by in access rules.",
    },
    Key {
        name: "auth.ldap.timeout",
        default: "\"5s\"",
        help: "How long to wait for each answer of the directory; then clients are answered 503.",
    },
    Key {
        name: "auth.ldap.cache",
        default: "\"5m\"",
        help: "How long a password that was right is not asked about again, and groups are as they \
               were.",
    },
    Key {
        name: "http.trusted_proxies",
        default: "[]",
        help: "Proxies in front of this registry: addresses, networks such as 10.0.0.0/8, and \
               \"unix\" for whoever comes over a unix socket. When one of them asks, what it says \
               of its client (X-Forwarded-For, -Proto, -Host, or Forwarded) counts for limits, \
               challenges and logs: the client is the rightmost address that is none of these \
               proxies. Limits of connections are not for them. Nobody else is believed then.",
    },
    Key {
        name: "http.proxy_headers",
        default: "\"auto\"",
        help: "Which headers those proxies write: x-forwarded (X-Forwarded-For and its kin), \
               forwarded (RFC 7239), or auto: the former where there is an X-Forwarded-For. A proxy \
               that writes one passes the other on as clients made it up: say which.",
    },
    Key {
        name: "http.cors_origins",
        default: "[]",
        help: "Web pages elsewhere whose scripts may use this registry: their origins, such as \
               https://ui.example.com, or \"*\" for all. Browsers' preflights (OPTIONS) are \
               answered for them, without a login.",
    },
    Key {
        name: "http.cors_credentials",
        default: "false",
        help: "Whether browsers may send cookies and passwords along with what such scripts ask. \
               Not with \"*\".",
    },
    Key {
        name: "metrics.addr",
        default: "",
        help: "Where /metrics, /healthz and /readyz answer beside addr, in plain http, in the forms \
               that addr has. With it, /metrics answers there alone.",
    },
    Key {
        name: "storage.read_only",
        default: "false",
        help: "Whether nothing can be pushed or deleted: such requests are answered 405 UNSUPPORTED, \
               and garbage is not collected by itself. For a copy of the disk, or a move.",
    },
    Key {
        name: "audit.file",
        default: "",
        help: "A file to which a line of JSON is added for all that changes: who pushed, mounted or \
               deleted what, from where. What is to be told is stored with the change itself, so \
               that neither a crash nor a full disk loses a line. The file may be renamed away at \
               any time: a new one is begun.",
    },
    Key {
        name: "reload.interval",
        default: "\"1s\"",
        help: "How often it is looked at whether files were changed: certificates, keys, a token \
               server's keys, passwords, and of this file access, groups, oidc, immutable, \
               retention and storage.read_only. \
               What cannot be used leaves everything as it was. \"0s\" for never: then SIGHUP \
               reads them again.",
    },
];

/// Tables of these, explained like them.
pub(super) const OPERATING_LISTS: &[Key] = &[OIDC, HEADERS];

/// Who vouches for users.
const OIDC: Key = Key {
    name: "oidc",
    default: "",
    help: "OpenID providers that vouch for users, such as CI systems: [[oidc]] with name, issuer (an \
           https URL; keys are found from there), audience (whom tokens are for), claims (what they \
           must say: NAME = \"PATTERN\", or a list of which one fits). Optional: user (the name, \
           with claims in braces; NAME:{sub} without it), groups (that such users are in), \
           groups_claim (the claim that names more), jwks (a file or URL of keys), ca (certificates \
           in PEM to trust beside the system's). With client_id instead of audience people log in there \
           on the page: optional are then client_secret_file, scopes (that are asked for beside \
           openid) and title (what the page calls it); the provider has to know URL/ui/callback, \
           where URL is that of url. Such a token is a password for any user's name, \
           and with auth.method = \"token\" POST /auth/token exchanges it (RFC 8693). The first \
           [[oidc]] that fits counts.",
};

/// What goes along with answers.
const HEADERS: Key = Key {
    name: "http.headers",
    default: "",
    help: "Headers that go along with every answer: [http.headers] with NAME = \"VALUE\" or a list \
           of values. What the registry says by itself stays as it is.",
};
