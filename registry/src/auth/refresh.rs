//! Refresh tokens: what a client keeps instead of the password.
//!
//! `user.serial.signature`, the first in base64. The signature is also over the service and the
//! hash of the user's password, which are not in the token: it ends when the password changes or
//! the user goes, and nothing need be kept for that.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::token::Signer;

/// What every signed text begins with; no other token's begins so.
const KIND: &str = "refresh token\n";
/// Longest token that is looked at.
const MAX_TOKEN: usize = 4 << 10;

/// A new token for `user`, whose password has this hash.
pub(super) fn make(signer: &Signer, user: &str, hash: &str) -> String {
    let serial = uuid::Uuid::new_v4().simple().to_string();
    let signature = signer.signature(&signed(signer, user, &serial, hash));
    format!("{}.{serial}.{signature}", URL_SAFE_NO_PAD.encode(user))
}

/// The user that a token stands for, by the hash that the user's password has now.
pub(super) fn user<'a>(
    signer: &Signer,
    token: &str,
    hash: impl Fn(&str) -> Option<&'a str>,
) -> Option<String> {
    if token.len() > MAX_TOKEN {
        return None;
    }
    let (encoded, rest) = token.split_once('.')?;
    let (serial, signature) = rest.split_once('.')?;
    let user = String::from_utf8(URL_SAFE_NO_PAD.decode(encoded).ok()?).ok()?;
    let bytes = signed(signer, &user, serial, hash(&user)?);
    signer.is_signature(&bytes, signature).then_some(user)
}

/// Each part with its length, so that none can be taken for another.
fn signed(signer: &Signer, user: &str, serial: &str, hash: &str) -> Vec<u8> {
    let mut text = KIND.to_owned();
    for part in [signer.service(), user, serial, hash] {
        text.push_str(&format!("{}\n{part}\n", part.len()));
    }
    text.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_ends_with_its_password() {
        let dir = tempfile::tempdir().unwrap();
        let open = |service: &str| Signer::open(&dir.path().join("token.key"), service).unwrap();
        let signer = open("registry.example");
        let token = make(&signer, "alice", "hash");
        let known = |_: &str| Some("hash");
        assert_eq!(user(&signer, &token, known).as_deref(), Some("alice"));
        assert_ne!(token, make(&signer, "alice", "hash"));

        assert_eq!(user(&signer, &token, |_| Some("changed")), None);
        assert_eq!(user(&signer, &token, |_| None), None);
        assert_eq!(user(&open("other.example"), &token, known), None);
        let (_, rest) = token.split_once('.').unwrap();
        let other = format!("{}.{rest}", URL_SAFE_NO_PAD.encode("root"));
        assert_eq!(user(&signer, &other, known), None);
        // An access token is no refresh token, nor the other way round.
        let access = signer.sign("alice", Vec::new(), 1000, 300).unwrap();
        assert_eq!(user(&signer, &access, known), None);
        assert_eq!(signer.verify(&token, 1100), None);
        for junk in [
            "",
            ".",
            "..",
            "a.b.c",
            &token[..token.len() - 1],
            &"x".repeat(9000),
        ] {
            assert_eq!(user(&signer, junk, known), None);
        }
    }
}
