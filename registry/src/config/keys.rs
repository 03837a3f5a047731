//! The one list of settings.

use super::key::Key;
use super::operating::{OPERATING, OPERATING_LISTS};
use super::stores::{DATABASES, STORING};

/// What everybody may want to set.
const KEYS: &[Key] = &[
    Key {
        name: "addr",
        default: "\"127.0.0.1:5000\"",
        help: "Where to listen: address and port. Without an address (\":5000\") on all of them; a \
               name such as localhost is looked up. Port 0 takes a free one.",
    },
    Key {
        name: "url",
        default: "",
        help: "Where clients reach this registry, such as https://registry.example.com. Webhooks \
               and challenges name it; without it they name the host that a request asked for, \
               which a client can make up.",
    },
    Key {
        name: "data_dir",
        default: "",
        help: "Where content and metadata are kept. Without it: /var/lib/rregistry for root, \
               $XDG_DATA_HOME/rregistry for others.",
    },
    Key {
        name: "drain",
        default: "\"30s\"",
        help: "How long requests in flight may take to finish when the server is told to stop.",
    },
    Key {
        name: "log.level",
        default: "\"warn\"",
        help: "What to log to standard error: error, warn, info, debug or trace.",
    },
    Key {
        name: "log.format",
        default: "\"text\"",
        help: "How log lines look: text or json.",
    },
    Key {
        name: "log.access",
        default: "false",
        help: "Log every request to standard output, in log.format.",
    },
    Key {
        name: "tls.cert",
        default: "",
        help: "Certificate chain in PEM, the server's own first. With tls.key it turns TLS on; \
               both are read again on SIGHUP.",
    },
    Key {
        name: "tls.key",
        default: "",
        help: "Private key in PEM for tls.cert.",
    },
    Key {
        name: "tls.client_ca",
        default: "",
        help: "Certificates in PEM of those who may sign client certificates. When set, a client \
               without such a certificate gets nothing but /healthz and /readyz.",
    },
    Key {
        name: "auth.htpasswd",
        default: "",
        help: "File of users and bcrypt passwords, as made by `rregistry user add` or \
               `htpasswd -B`; read again when it changes. When set, clients must log in, but for \
               what access rules give to everybody. After ten wrong passwords for a user, or from \
               an address, further ones are answered 429 for a while, longer each time.",
    },
    Key {
        name: "auth.realm",
        default: "\"rregistry\"",
        help: "The realm that clients are shown when they must log in.",
    },
    Key {
        name: "auth.method",
        default: "\"basic\"",
        help: "How clients prove who they are: basic sends the password with every request, token \
               gets a token for it that is good for some minutes and for what it was asked for. \
               Where access rules give something to \"anonymous\", /v2/ offers tokens also with \
               basic: clients cannot be anonymous otherwise.",
    },
    Key {
        name: "auth.token_lifetime",
        default: "\"5m\"",
        help: "How long a token is good for.",
    },
    Key {
        name: "auth.token_url",
        default: "",
        help: "Where clients get tokens, such as https://registry.example.com/auth/token. Needed \
               behind a proxy that changes the Host header; without it, it is where they ask.",
    },
    Key {
        name: "auth.token_service",
        default: "",
        help: "What tokens are for, as clients are told and as tokens say (aud). Without it, \
               auth.realm.",
    },
    Key {
        name: "auth.token_issuer",
        default: "",
        help: "Who signs tokens, as they say (iss), when a token server elsewhere does. It needs \
               auth.method = \"token\", auth.token_url and auth.jwks, and no auth.htpasswd. Its \
               tokens say who may do what; access rules, if there are any, must allow it too.",
    },
    Key {
        name: "auth.jwks",
        default: "",
        help: "The token server's public keys as a JWKS: a file, or an https URL. Ed25519, P-256 \
               and RSA of 2048 bits or more are used, for EdDSA, ES256 and RS256. Read again on \
               SIGHUP and, at most every 10s, when a token names a key that is not known.",
    },
    Key {
        name: "auth.jwks_ca",
        default: "",
        help: "Certificates in PEM to trust beside the system's when auth.jwks is a URL.",
    },
    Key {
        name: "manifests.sparse_indexes",
        default: "false",
        help: "Whether an index may list manifests that were not pushed, as a mirror of some \
               platforms only has it. Layers and configurations must always be there.",
    },
    Key {
        name: "delete.enabled",
        default: "true",
        help: "Whether manifests, tags and blobs can be deleted through the API.",
    },
    Key {
        name: "delete.needed",
        default: "false",
        help: "Whether a manifest can be deleted while the index of a tag lists it, which breaks that \
               tag's image. What an immutable tag needs can never be deleted.",
    },
    Key {
        name: "pulls.ignore_agents",
        default: "[]",
        help: "Clients whose requests are no pulls for retention, such as scanners that look at every \
               tag: patterns of their User-Agent, in which * is anything: [\"trivy/*\"]. For others \
               a GET of a manifest, and a HEAD by tag, is a pull. In the environment, with commas.",
    },
    Key {
        name: "uploads.expire_after",
        default: "\"7d\"",
        help: "How long an unfinished upload may rest before it is removed.",
    },
    Key {
        name: "storage.quota",
        default: "",
        help: "How much may be stored in all, such as 500GiB; blobs that repositories share count \
               once. A push that would pass it is refused. What is deleted counts until garbage is \
               collected, what unfinished uploads brought until they expire. Without it, as much as fits on the disk.",
    },
    Key {
        name: "gc.interval",
        default: "\"1h\"",
        help: "How often garbage is collected while serving; \"0s\" for never.",
    },
    Key {
        name: "gc.grace",
        default: "\"24h\"",
        help: "How long a blob that no manifest needs is kept: at least as long as any push takes.",
    },
    Key {
        name: "backup.interval",
        default: "\"1h\"",
        help: "How often the database is copied beside itself while serving, when it changed; \"0s\" \
               for never. Should it be lost, `rregistry fsck --rebuild` takes the names of \
               repositories and tags from the copy; everything else is in the blobs.",
    },
    Key {
        name: "limits.connections",
        default: "8192",
        help: "Connections that may be open. One more takes the place of one that has nothing to \
               do, of the address that has most; where there is none such it is closed at once. 0 \
               for no limit but the system's. For this and all limits below.",
    },
    Key {
        name: "limits.connections_per_address",
        default: "1024",
        help: "Connections that one address (in IPv6 one network of 64 bits) may have open. Behind \
               a proxy every client has the proxy's address.",
    },
    Key {
        name: "limits.uploads",
        default: "128",
        help: "Uploads that one client may be sending at once. A client is a user, or an address \
               for who is not logged in. Who wants more is answered 429 TOOMANYREQUESTS, and docker \
               and skopeo, which send several layers of an image at once, give up then: let each \
               have at least 10.",
    },
    Key {
        name: "limits.upload_sessions",
        default: "10000",
        help: "Uploads that may be unfinished, those included that nobody goes on with until they \
               expire (uploads.expire_after). A further one is answered 429 TOOMANYREQUESTS.",
    },
    Key {
        name: "limits.upload_sessions_per_client",
        default: "1000",
        help: "The same for one client, as for limits.uploads; what began before a restart is \
               nobody's.",
    },
    Key {
        name: "limits.request_rate",
        default: "0",
        help: "Requests a second that one client may make for long. Who makes more is answered \
               429 with Retry-After. Wrong passwords, and questions for tokens, count for the \
               address; from one that made too many, no further password is looked at.",
    },
    Key {
        name: "limits.request_burst",
        default: "500",
        help: "Requests that one client may make at once, if it has rested before; only with \
               limits.request_rate.",
    },
    Key {
        name: "limits.body_idle",
        default: "\"60s\"",
        help: "How long to wait for each KiB of a request's body; then it is answered 408. What \
               came of an upload before is kept, and the client can go on from there.",
    },
    Key {
        name: "limits.first_request",
        default: "\"10s\"",
        help: "How long a new connection is waited for, of whatever protocol, until the head of its \
               first request has come. A TLS handshake has 10s before.",
    },
    Key {
        name: "limits.idle",
        default: "\"75s\"",
        help: "How long a connection may rest between requests, until the head of the next one has \
               come.",
    },
    Key {
        name: "limits.send_idle",
        default: "\"5m\"",
        help: "How long to wait for a client to take any more of an answer.",
    },
    Key {
        name: "web.enabled",
        default: "true",
        help: "Show what is here to people with a browser, at /ui/. Access rules are those of the \
               API; users log in with the same passwords.",
    },
    Key {
        name: "metrics.enabled",
        default: "true",
        help: "Whether /metrics answers, in the format of Prometheus.",
    },
    Key {
        name: "mirror.offline",
        default: "false",
        help: "Ask no upstream anything: what is here is served, whatever its age.",
    },
    Key {
        name: "mirror.max_size",
        default: "",
        help: "How much of what upstreams gave is kept, such as 100GiB; what nobody pulled for \
               longest goes first. What is pinned is not counted. Looked at every minute.",
    },
    Key {
        name: "mirror.max_age",
        default: "",
        help: "How long what upstreams gave is kept after it was pulled last, such as 30d.",
    },
    Key {
        name: "mirror.pinned",
        default: "[]",
        help: "Mirrored repositories of which nothing is let go, as patterns.",
    },
];

/// All settings, those that stand elsewhere included.
pub fn all() -> impl Iterator<Item = &'static Key> + Clone {
    let places = DATABASES.iter().chain(STORING);
    KEYS.iter().chain(places).chain(OPERATING)
}

/// All tables that hold lists.
pub(super) fn all_lists() -> impl Iterator<Item = &'static Key> + Clone {
    LISTS.iter().chain(OPERATING_LISTS)
}

/// The tables that hold lists rather than settings, explained like them.
const LISTS: &[Key] = &[
    Key {
        name: "groups",
        default: "",
        help: "Groups of users, for access rules: [groups] then NAME = [\"USER\", …].",
    },
    Key {
        name: "immutable",
        default: "",
        help: "Tags that neither move nor go: [[immutable]] with repository and tags, both patterns.",
    },
    Key {
        name: "retention",
        default: "",
        help: "How long tags are kept, looked at when garbage is collected: [[retention]] with \
               repository (a pattern; the first rule for a repository counts), and what is kept: \
               keep_newest (a number), keep_pushed_within, keep_pulled_within (times such as \
               30d; a push counts as a pull), keep_tags (patterns). A tag that none of them keeps \
               goes; without any of them all stay. delete_untagged_after: how long manifests stay \
               after they lost their last tag. Signatures, attestations and the like (tags such as \
               sha256-….sig, and tags of manifests that refer to one that is there) are not \
               counted: they stay and go with their image. `rregistry gc --dry-run` shows what \
               would go.",
    },
    Key {
        name: "quota",
        default: "",
        help: "How much repositories may hold: [[quota]] with repository (a pattern; the first rule \
               for a repository counts), each (a size such as 10GiB: for every repository that it \
               matches) and together (for all of them added up); one of the two or both. A blob \
               counts in every repository that shows it. `rregistry usage` shows what is used.",
    },
    Key {
        name: "webhook",
        default: "",
        help: "Who is told what happens: [[webhook]] with name and url (http or https). Events are \
               in the form of Docker's notifications, in order, at least once. Of pushes, mounts \
               and deletions they are kept on disk until the webhook has answered 2xx; of pulls \
               in memory. Optional: repository (a pattern), actions (only these of push, pull, \
               mount, delete), ignore.actions and ignore.mediatypes (not these), headers (NAME = \
               \"VALUE\" or a list of values), ca (certificates in PEM to trust beside the \
               system's), timeout (5s; of one delivery), threshold (5; so many failures in a row \
               are tried again at once), backoff (1s; the pause after that, doubled with each \
               failure up to 5m), backlog (10000; when more wait, the oldest are dropped), \
               include_references (false; tell what a pushed manifest names), disabled (false).",
    },
    Key {
        name: "upstream",
        default: "",
        help: "Other registries that are asked for what is not here: [[upstream]] with repository \
               (the names here that it answers for, a pattern such as \"docker.io/**\") and url \
               (http[s]://host[:port][/prefix]). Several for a name are asked in order. What they \
               give is kept in repositories here, to which nobody else can push. Optional: except \
               (patterns of names that it does not answer for), strip (what of a name here is not \
               part of the name there; without it, a first part that is a host, else what stands \
               before /**), ns (the registries that it stands for when a client asks with ?ns=; \
               without it, strip if that is a host), hostless (false; names without a host that \
               are not here are looked for there, as docker's registry-mirrors asks), username \
               with password or password_file, ca (certificates in PEM to trust beside the \
               system's), insecure (false; credentials go over plain http, and certificates are \
               not verified), ttl (5m; how long a tag is served without asking whether it has \
               moved), stale (1h; how long after that it is served at once and asked about \
               meanwhile), missing_ttl (1m; how long it is remembered that something is not \
               there), timeout (30s; how long nothing may come), referrers (false; bring \
               signatures and other referrers along).",
    },
    Key {
        name: "replicate",
        default: "",
        help: "Images kept the same at another registry: [[replicate]] with name, direction (push \
               or pull), url, username, password or password_file, ca, insecure, repositories, \
               except and tags (patterns for names where images come from), strip and prefix (what \
               of a name is left away, and what is put before it, where they go), on_event (true \
               for push; changes here go there at once), interval (how often both sides are \
               compared; a rule that pulls needs it), deletes (false; tags that the rule brought \
               go when they are gone where they came from), referrers (true; signatures and other \
               referrers come along), mirrored (false; push what is mirrored, too), at_once (4), \
               timeout (60s), disabled.",
    },
    Key {
        name: "access",
        default: "",
        help: "Who may do what: [[access]] with repository (a pattern: * within a part, ** across \
               parts), users and groups (\"*\" is everybody logged in, \"anonymous\" also who is \
               not), allow (pull, push, delete, admin). Each rule only adds. Without any rule, \
               whoever is logged in may do everything.",
    },
];

/// What the environment variables of all keys begin with.
pub(super) const PREFIX: &str = "RREGISTRY_";

/// The environment variable of a key.
pub fn env_name(key: &str) -> String {
    format!("{PREFIX}{}", key.to_uppercase().replace('.', "_"))
}

/// The key that was meant, if one is near enough.
pub(super) fn similar(name: &str) -> Option<&'static str> {
    all()
        .chain(all_lists())
        .map(|key| (distance(name, key.name), key.name))
        .filter(|(distance, key)| *distance <= 1 + key.len() / 4)
        .min()
        .map(|(_, key)| key)
}

/// The variable that was meant, if one is near enough.
pub(super) fn similar_variable(name: &str) -> Option<String> {
    all()
        .map(|key| env_name(key.name))
        .map(|known| (distance(name, &known), known))
        .filter(|(distance, known)| *distance <= 1 + (known.len() - PREFIX.len()) / 4)
        .min()
        .map(|(_, known)| known)
}

/// The edit distance between two words.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let cost = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = cost.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

/// Every key with its default, its variable and its meaning, as a file that can be used.
pub fn explain() -> String {
    let mut out = String::from(
        "# registry.toml: settings of rregistry, each with its default.\n\
         # Environment variables override the file; the command line overrides both.\n",
    );
    let table = |key: &Key| key.name.split_once('.').map_or("", |(table, _)| table);
    let mut tables = Vec::new();
    for key in all() {
        if !tables.contains(&table(key)) {
            tables.push(table(key));
        }
    }
    let grouped = tables
        .iter()
        .flat_map(|t| all().filter(move |key| table(key) == *t));
    let mut now = "";
    for key in grouped {
        let (own, name) = key.name.split_once('.').unwrap_or(("", key.name));
        if own != now {
            now = own;
            out.push_str(&format!("\n[{now}]\n"));
        }
        out.push('\n');
        comment(&mut out, key.help);
        out.push_str(&format!("# Environment: {}\n", env_name(key.name)));
        if key.default.is_empty() {
            out.push_str(&format!("#{name} = \"\"\n"));
        } else {
            out.push_str(&format!("{name} = {}\n", key.default));
        }
    }
    for list in all_lists() {
        out.push('\n');
        comment(&mut out, list.help);
    }
    out.push_str(
        "#[groups]\n#developers = [\"alice\", \"bob\"]\n\
         #[[access]]\n#repository = \"team/**\"\n#groups = [\"developers\"]\n\
         #allow = [\"pull\", \"push\"]\n\
         #[[immutable]]\n#repository = \"team/**\"\n#tags = \"v*\"\n\
         #[[retention]]\n#repository = \"ci/**\"\n#keep_newest = 20\n\
         #delete_untagged_after = \"7d\"\n\
         #[[quota]]\n#repository = \"team/**\"\n#each = \"10GiB\"\n#together = \"50GiB\"\n\
         #[[webhook]]\n#name = \"scanner\"\n#url = \"https://scanner.example.com/events\"\n\
         #headers = { Authorization = \"Bearer SECRET\" }\n#actions = [\"push\", \"delete\"]\n\
         #[[oidc]]\n#name = \"github\"\n\
         #issuer = \"https://token.actions.githubusercontent.com\"\n\
         #audience = \"registry.example.com\"\n#claims = { repository = \"myorg/*\" }\n\
         #user = \"github:{repository}\"\n#groups = [\"ci\"]\n\
         #[http.headers]\n#Strict-Transport-Security = \"max-age=31536000\"\n\
         #[[upstream]]\n#repository = \"docker.io/**\"\n#url = \"https://registry-1.docker.io\"\n\
         #hostless = true\n\
         #[[replicate]]\n#name = \"standby\"\n#direction = \"push\"\n\
         #url = \"https://standby.example.com\"\n#repositories = [\"team/**\"]\n\
         #interval = \"24h\"\n",
    );
    out
}

/// Wraps a text into comment lines.
fn comment(out: &mut String, text: &str) {
    let mut line = String::from("#");
    for word in text.split_whitespace() {
        if line.len() + word.len() > 95 {
            out.push_str(&line);
            out.push('\n');
            line = String::from("#");
        }
        line.push(' ');
        line.push_str(word);
    }
    out.push_str(&line);
    out.push('\n');
}
