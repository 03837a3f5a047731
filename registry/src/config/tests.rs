use std::path::Path;
use std::time::Duration;

use super::*;

fn read(text: &str) -> Result<Config, ConfigError> {
    Settings::from_text(text, Path::new("registry.toml"))?.check()
}

#[test]
fn the_explanation_is_a_file_that_sets_the_defaults() {
    let defaults = read("").unwrap();
    let explained = read(&explain()).unwrap();
    assert_eq!(format!("{defaults:?}"), format!("{explained:?}"));
    assert_eq!(defaults.addr.to_string(), "127.0.0.1:5000");
    for key in keys::all() {
        assert!(explain().contains(&env_name(key.name)), "{}", key.name);
    }
}

#[test]
fn unknown_keys_are_refused_with_what_was_meant() {
    for (text, message) in [
        (
            "[gc]\ngrase = \"1h\"",
            "unknown key `gc.grase`; did you mean `gc.grace`?",
        ),
        ("adr = \"x\"", "unknown key `adr`; did you mean `addr`?"),
        (
            "[tls]\ncertificate = \"x\"",
            "unknown key `tls.certificate`; `rregistry config",
        ),
        (
            "[[acess]]\nrepository = \"a\"",
            "unknown key `acess`; did you mean `access`?",
        ),
    ] {
        let error = read(text).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }
}

#[test]
fn wrong_values_say_what_is_right() {
    for (text, message) in [
        (
            "addr = \"nowhere\"",
            "addr = nowhere: invalid socket address",
        ),
        ("drain = \"soon\"", "drain = soon: a number and a unit"),
        ("drain = 30", "drain = 30: a text in quotes"),
        ("[delete]\nenabled = \"maybe\"", "true or false"),
        (
            "[limits]\nuploads = -1",
            "limits.uploads = -1: a whole number",
        ),
        ("[limits]\nuploads = \"x\"", "a whole number"),
        ("[log]\nformat = \"xml\"", "text or json"),
        ("[tls]\ncert = \"a\"", "TLS needs both"),
        (
            "[[access]]\nrepository = \"**\"\nallow = [\"pull\"]",
            "access rules need users",
        ),
        (
            "[[webhook]]\nname = \"a\"\nurl = \"ftp://x\"",
            "webhook = a: url: ftp is neither http nor https",
        ),
        (
            "[[webhook]]\nname = \"a\"\nurl = \"http://x\"\n\
             [[webhook]]\nname = \"a\"\nurl = \"http://y\"",
            "webhook = a: there are two of this name",
        ),
        (
            "[auth]\nmethod = \"token\"",
            "auth.method = token needs users",
        ),
        (
            "[auth]\ntoken_issuer = \"a\"",
            "needs both auth.token_issuer and auth.jwks",
        ),
        (
            "[auth]\ntoken_issuer = \"a\"\njwks = \"/k\"",
            "needs auth.method = \"token\"",
        ),
        (
            "[auth]\nmethod = \"token\"\ntoken_issuer = \"a\"\njwks = \"/k\"",
            "needs auth.token_url",
        ),
        (
            "[auth]\nmethod = \"token\"\ntoken_issuer = \"a\"\njwks = \"/k\"\n\
             token_url = \"https://a/\"\nhtpasswd = \"/h\"",
            "passwords are the token server's business",
        ),
        (
            "[auth]\ntoken_issuer = \"a\"\njwks = \"http://192.0.2.1/k\"",
            "a file or an https URL",
        ),
        ("[[access]]\nrepo = \"**\"", "unknown field `repo`"),
        (
            "[storage]\nquota = \"much\"",
            "storage.quota = much: a number",
        ),
        ("[[quota]]\nrepository = \"**\"", "needs each"),
        (
            "[[quota]]\nrepository = \"**\"\neach = \"1 parsec\"",
            "\"1 parsec\" is no size",
        ),
        (
            "[[quota]]\nrepository = \"**\"\nsize = \"1GiB\"",
            "unknown field `size`",
        ),
        ("addr = ", "TOML parse error"),
        ("url = \"registry\"", "url = registry: a URL"),
        (
            "[auth]\nmethod = \"token\"\ntoken_lifetime = \"500ms\"",
            "a second or more",
        ),
        (
            "[auth]\ntoken_url = \"https://a.example\"",
            "need auth.method = \"token\"",
        ),
        (
            "[auth]\njwks_ca = \"a\"",
            "auth.jwks_ca is for a token server",
        ),
    ] {
        let error = read(text).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }
}

#[test]
fn the_environment_overrides_the_file() {
    let mut settings =
        Settings::from_text("[gc]\ngrace = \"1h\"", Path::new("registry.toml")).unwrap();
    settings.override_from(|name| match name {
        "RREGISTRY_GC_GRACE" => Some("2h".into()),
        "RREGISTRY_DELETE_ENABLED" => Some("false".into()),
        "RREGISTRY_LIMITS_UPLOADS" => Some("7".into()),
        _ => None,
    });
    let config = settings.check().unwrap();
    assert_eq!(config.gc_grace, Duration::from_secs(7200));
    assert!(!config.delete_enabled);
    assert_eq!(config.limits.uploads, 7);
}

#[test]
fn booleans_are_read_as_go_reads_them() {
    for (word, expected) in [
        ("1", Some(true)),
        ("t", Some(true)),
        ("T", Some(true)),
        ("true", Some(true)),
        ("TRUE", Some(true)),
        ("True", Some(true)),
        ("0", Some(false)),
        ("f", Some(false)),
        ("F", Some(false)),
        ("false", Some(false)),
        ("FALSE", Some(false)),
        ("False", Some(false)),
        ("tRUE", None),
        ("yes", None),
        ("on", None),
        ("", None),
        (" true", None),
    ] {
        let mut settings = Settings::default();
        let variable = |name: &str| (name == "RREGISTRY_DELETE_ENABLED").then(|| word.to_owned());
        settings.override_from(variable);
        let read = settings.check();
        assert_eq!(read.ok().map(|c| c.delete_enabled), expected, "{word}");
    }
    // A text that is such a word is still a text.
    let mut settings = Settings::default();
    settings.set("auth.realm", "true".into());
    assert_eq!(settings.check().unwrap().auth.realm, "true");
}

#[test]
fn variables_that_are_no_settings_are_refused() {
    let check = |name: &str| Settings::check_names([name.to_owned(), "PATH".to_owned()]);
    for key in keys::all() {
        assert!(check(&env_name(key.name)).unwrap().is_empty());
    }
    for fine in [
        "RREGISTRY_CONFIG",
        "HOME",
        "REGISTRY_HTTP_ADDR",
        // A service of Kubernetes that is called rregistry.
        "RREGISTRY_SERVICE_HOST",
        "RREGISTRY_SERVICE_PORT_HTTP",
        "RREGISTRY_PORT",
        "RREGISTRY_PORT_5000_TCP_ADDR",
        // One that is called rregistry-metrics, beside ours.
        "RREGISTRY_METRICS_SERVICE_HOST",
        "RREGISTRY_METRICS_SERVICE_PORT",
        "RREGISTRY_METRICS_SERVICE_PORT_HTTP_PROM",
        "RREGISTRY_METRICS_PORT",
        "RREGISTRY_METRICS_PORT_9100_SCTP",
        "RREGISTRY_METRICS_PORT_9100_TCP_PROTO",
    ] {
        assert!(check(fine).unwrap().is_empty(), "{fine}");
    }
    for (name, message) in [
        (
            "RREGISTRY_AUTH_HTPASWD",
            "unknown environment variable RREGISTRY_AUTH_HTPASWD; did you mean \
             RREGISTRY_AUTH_HTPASSWD?",
        ),
        ("RREGISTRY_ADR", "did you mean RREGISTRY_ADDR?"),
        ("RREGISTRY_AUTH.REALM", "did you mean RREGISTRY_AUTH_REALM?"),
        ("RREGISTRY_ACCESS", "`access` is a list"),
    ] {
        let error = check(name).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }
    // Like none, and perhaps somebody else's.
    for strange in [
        "RREGISTRY_FROBNICATE",
        "RREGISTRY_PORT_X",
        "RREGISTRY_IMAGE",
    ] {
        assert_eq!(check(strange).unwrap(), [strange]);
    }
}

#[test]
fn what_is_in_front_is_checked() {
    let config = read(
        "[http]\ntrusted_proxies = [\"10.0.0.0/8\", \"unix\"]\ncors_origins = [\"https://ui.example\"]\n\
         [http.headers]\nX-Frame-Options = \"DENY\"\nVary = [\"Origin\", \"Cookie\"]\n",
    )
    .unwrap();
    let proxies = config.http.proxies.unwrap();
    assert!(proxies.include(crate::proxies::Hop::Socket));
    assert_eq!(config.http.cors.unwrap().origins, ["https://ui.example"]);
    assert_eq!(config.http.headers["x-frame-options"], "DENY");
    assert_eq!(config.http.headers.get_all("vary").iter().count(), 2);
    for (text, message) in [
        (
            "http.trusted_proxies = [\"10.0.0\"]",
            "http.trusted_proxies = 10.0.0: an address",
        ),
        (
            "http.proxy_headers = \"xff\"",
            "http.proxy_headers = xff: auto, x-forwarded",
        ),
        (
            "http.proxy_headers = \"forwarded\"",
            "needs http.trusted_proxies",
        ),
        (
            "http.cors_origins = [\"https://ui.example/\"]",
            "without a path",
        ),
        (
            "http.cors_origins = [\"ui.example\"]",
            "an origin as browsers have it",
        ),
        (
            "http.cors_origins = [\"*\", \"https://a.example\"]",
            "stands alone",
        ),
        (
            "http.cors_origins = [\"*\"]\nhttp.cors_credentials = true",
            "name the origins",
        ),
        ("http.cors_credentials = true", "needs http.cors_origins"),
        (
            "[http.headers]\nContent-Length = \"1\"",
            "content-length: the registry says this",
        ),
        (
            "[http.headers]\nDocker-Content-Digest = \"x\"",
            "the registry says this",
        ),
        (
            "[http.headers]\n\"a b\" = \"x\"",
            "http.headers = NAME: header \"a b\" is none",
        ),
        ("[http.header]\nA = \"x\"", "unknown key `http.header"),
        (
            "metrics.addr = \"9100\"",
            "metrics.addr = 9100: invalid socket address",
        ),
        (
            "addr = \"unix:/run/r.sock\"\n[tls]\ncert = \"a\"\nkey = \"b\"",
            "the proxy in front that speaks TLS",
        ),
    ] {
        let error = read(text).unwrap_err().to_string();
        assert!(error.contains(message), "{text}: {error}");
    }
}

#[test]
fn what_is_wrong_is_told_with_its_line() {
    for (text, begins) in [
        (
            "\n[gc]\ninterval = \"soon\"",
            "registry.toml:3: gc.interval = soon: ",
        ),
        (
            "[gc]\n\ngrase = \"1h\"",
            "registry.toml:3: unknown key `gc.grase`",
        ),
        (
            "gc.interval = \"soon\"",
            "registry.toml:1: gc.interval = soon: ",
        ),
        (
            "[[webhook]]\nname = \"a\"\nurl = \"http://a\"\n[[webhook]]\nname = \"b\"\n\
             url = \"ftp://b\"",
            "registry.toml:5: webhook = b: ",
        ),
        ("addr = 5", "registry.toml:1: addr = 5: "),
        (
            "[log]\nlevel = \"loud\"",
            "registry.toml:2: log.level = loud: no such level; try error, ",
        ),
        (
            "[log]\nlevel = \"registry=loud,x\"",
            "registry.toml:2: log.level = registry=loud,x: ",
        ),
    ] {
        let error = read(text).unwrap_err().to_string();
        assert!(error.starts_with(begins), "{error}");
    }
    // What a list lacks, or has wrong, is shown as a mistake in the syntax is.
    for (text, line) in [
        (
            "addr = \":5000\"\n[[webhook]]\nname = \"x\"",
            "line 2, column 1",
        ),
        (
            "[[access]]\nrepository = \"a\"\nallow = [\"write\"]",
            "line 3, column 10",
        ),
        ("[http.headers]\nX = 1", "line 2, column 5"),
    ] {
        let error = read(text).unwrap_err().to_string();
        assert!(error.contains(line), "{error}");
    }
    let mut settings = Settings::from_text("drain = \"1s\"", Path::new("registry.toml")).unwrap();
    settings.override_from(|name| (name == "RREGISTRY_DRAIN").then(|| "soon".to_owned()));
    let error = settings.check().unwrap_err().to_string();
    assert!(
        error.starts_with("RREGISTRY_DRAIN: drain = soon: "),
        "{error}"
    );
}
