use std::os::unix::fs::PermissionsExt;

use client::config::{Credentials, DockerConfig};
use client::{Client, Error, Login};

use crate::auth::{ALICE, ask_for_token};
use crate::fake::*;

fn alice(password: &str) -> Login {
    Login {
        username: "alice".into(),
        password: password.into(),
    }
}

fn want_basic(registry: &Fake) {
    registry.hook_all(|seen| {
        let asked = answer(401, &[("www-authenticate", "Basic realm=\"x\"")], "");
        (seen.authorization() != Some(ALICE)).then_some(asked)
    });
}

#[tokio::test]
async fn only_credentials_that_work_are_stored() {
    let registry = Fake::start().await;
    want_basic(&registry);
    let dir = tempfile::tempdir().unwrap();
    let config = config_with(dir.path(), &[("other.example.com", "x:y")]);
    let client = Client::new(config.clone());

    let error = client
        .login(&registry.host, &alice("wrong"))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Login { .. }), "{error}");
    assert_eq!(
        config.docker.credentials(&registry.host).await.unwrap(),
        None
    );

    let outcome = client
        .login(&registry.host, &alice("secret"))
        .await
        .unwrap();
    assert_eq!(outcome.helper, None);
    let stored = config.docker.credentials(&registry.host).await.unwrap();
    let expected = Credentials::Basic {
        username: "alice".into(),
        password: "secret".into(),
    };
    assert_eq!(stored, Some(expected));
    assert!(
        config
            .docker
            .credentials("other.example.com")
            .await
            .unwrap()
            .is_some()
    );

    assert!(client.logout(&registry.host).await.unwrap());
    assert!(!client.logout(&registry.host).await.unwrap());
}

#[tokio::test]
async fn a_token_server_may_give_an_identity_token_instead() {
    let registry = Fake::start().await;
    ask_for_token(&registry, registry.url("/token"));
    let dir = tempfile::tempdir().unwrap();
    let config = config_with(dir.path(), &[]);
    let client = Client::new(config.clone());
    client
        .login(&registry.host, &alice("secret"))
        .await
        .unwrap();
    let asked = registry.seen();
    let token = asked.iter().find(|s| s.path == "/token").unwrap();
    assert!(
        token.query.contains("offline_token=true"),
        "{}",
        token.query
    );

    let challenge = format!(r#"Bearer realm="{}""#, registry.url("/token"));
    registry.hook_all(
        move |seen| match (seen.path.as_str(), seen.authorization()) {
            ("/token", Some(ALICE)) => Some(answer(
                200,
                &[],
                r#"{"token":"good","refresh_token":"idt"}"#,
            )),
            ("/token", _) => Some(error(401, "UNAUTHORIZED", "incorrect username or password")),
            (_, Some("Bearer good")) => None,
            _ => Some(answer(401, &[("www-authenticate", &challenge)], "")),
        },
    );
    client
        .login(&registry.host, &alice("secret"))
        .await
        .unwrap();
    let stored = config.docker.credentials(&registry.host).await.unwrap();
    assert_eq!(stored, Some(Credentials::IdentityToken("idt".into())));

    let error = client
        .login(&registry.host, &alice("wrong"))
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "login to {} failed: unauthorized: incorrect username or password",
            registry.host
        )
    );
}

#[tokio::test]
async fn a_helper_keeps_the_credentials_when_one_is_configured() {
    let registry = Fake::start().await;
    registry.add_image("app", "v1");
    want_basic(&registry);
    let dir = tempfile::tempdir().unwrap();
    let kept = dir.path().join("kept");
    let script = format!(
        "#!/bin/sh\ncase $1 in\nstore) cat > {0};;\nget) if [ -f {0} ]; then cat {0}; else echo \
         'credentials not found in native keychain'; exit 1; fi;;\nerase) rm {0};;\nesac\n",
        kept.display()
    );
    let program = dir.path().join("docker-credential-box");
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = dir.path().join("config.json");
    std::fs::write(&path, r#"{"credsStore":"box"}"#).unwrap();
    let mut config = config();
    config.docker = DockerConfig::at(path.clone()).with_helpers_in(dir.path().to_owned());
    let client = Client::new(config.clone());

    assert_eq!(
        config.docker.credentials(&registry.host).await.unwrap(),
        None
    );
    let outcome = client
        .login(&registry.host, &alice("secret"))
        .await
        .unwrap();
    assert_eq!(outcome.helper.as_deref(), Some("box"));
    assert!(!std::fs::read_to_string(&path).unwrap().contains("auth\""));
    assert!(std::fs::read_to_string(&kept).unwrap().contains("secret"));
    client
        .manifest(&registry.reference("app:v1"))
        .await
        .unwrap();
    assert!(client.logout(&registry.host).await.unwrap());
    assert!(!kept.exists());
}
