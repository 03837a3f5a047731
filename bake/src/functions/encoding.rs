//! Functions that encode and digest.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::Digest as _;
use sha2::Digest as _;
use uuid::Uuid;

use super::wants::{Arguments as _, World};
use crate::value::Value;

type Result = std::result::Result<Value, String>;

/// `base64encode`
pub fn base64_encode(of: &[Value], _: &World) -> Result {
    Ok(Value::text(STANDARD.encode(of.text(0))))
}

/// `base64decode`
pub fn base64_decode(of: &[Value], _: &World) -> Result {
    let bytes = STANDARD.decode(of.text(0));
    let bytes = bytes.map_err(|_| "failed to decode base64 data".to_owned())?;
    let text = String::from_utf8(bytes);
    text.map(Value::String)
        .map_err(|_| "the result of decoding is not valid UTF-8".to_owned())
}

/// `jsonencode`
pub fn json_encode(of: &[Value], _: &World) -> Result {
    Ok(Value::text(of.any(0).to_json()))
}

/// `jsondecode`
pub fn json_decode(of: &[Value], _: &World) -> Result {
    let json: serde_json::Value =
        serde_json::from_str(of.text(0)).map_err(|error| error.to_string())?;
    Value::from_json(&json)
}

/// `md5`
pub fn md5(of: &[Value], _: &World) -> Result {
    Ok(Value::text(hex::encode(md5::Md5::digest(of.text(0)))))
}

/// `sha1`
pub fn sha1(of: &[Value], _: &World) -> Result {
    Ok(Value::text(hex::encode(sha1::Sha1::digest(of.text(0)))))
}

/// `sha256`
pub fn sha256(of: &[Value], _: &World) -> Result {
    Ok(Value::text(hex::encode(sha2::Sha256::digest(of.text(0)))))
}

/// `sha512`
pub fn sha512(of: &[Value], _: &World) -> Result {
    Ok(Value::text(hex::encode(sha2::Sha512::digest(of.text(0)))))
}

/// `urlencode`: as in the query of a URL.
pub fn url_encode(of: &[Value], _: &World) -> Result {
    let mut out = String::new();
    for byte in of.text(0).bytes() {
        match byte {
            b' ' => out.push('+'),
            b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            byte if byte.is_ascii_alphanumeric() => out.push(char::from(byte)),
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
    Ok(Value::text(out))
}

/// `uuidv4`: another one at every call.
pub fn uuid_v4(_: &[Value], _: &World) -> Result {
    Ok(Value::text(Uuid::new_v4().to_string()))
}

/// `uuidv5`: the namespace is `dns`, `url`, `oid`, `x500` or a UUID.
pub fn uuid_v5(of: &[Value], _: &World) -> Result {
    let namespace = match of.text(0) {
        "dns" => Uuid::NAMESPACE_DNS,
        "url" => Uuid::NAMESPACE_URL,
        "oid" => Uuid::NAMESPACE_OID,
        "x500" => Uuid::NAMESPACE_X500,
        text => {
            let parsed = Uuid::parse_str(text);
            parsed.map_err(|_| "uuidv5() doesn't support that namespace".to_owned())?
        }
    };
    let name = of.text(1).as_bytes();
    Ok(Value::text(Uuid::new_v5(&namespace, name).to_string()))
}
