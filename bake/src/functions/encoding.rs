//! Functions that encode and digest.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rsa::pkcs1::DecodeRsaPrivateKey as _;
use rsa::pkcs8::DecodePrivateKey as _;
use rsa::{Pkcs1v15Encrypt, RsaPrivateKey};
use sha1::Digest as _;
use uuid::Uuid;

use super::wants::{Arguments as _, World};
use crate::csv;
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

/// The longest password that bcrypt takes, in bytes: it would not see the rest.
const LONGEST_PASSWORD: usize = 72;

/// `bcrypt`: another one at every call, for the salt. Its cost is 10 where none, or a lower one
/// than there is, is asked for.
pub fn bcrypt(of: &[Value], _: &World) -> Result {
    if of.len() > 2 {
        return Err("bcrypt() takes no more than two arguments".to_owned());
    }
    let failed = |what: String| format!("error occurred generating password {what}");
    let cost = if of.len() == 2 { of.whole(1)? } else { 0 };
    let cost = match cost {
        ..4 => 10,
        4..=31 => u32::try_from(cost).unwrap_or(10),
        _ => {
            let what =
                format!("crypto/bcrypt: cost {cost} is outside allowed inclusive range 4..31");
            return Err(failed(what));
        }
    };
    let password = of.text(0);
    if password.len() > LONGEST_PASSWORD {
        let what = format!("bcrypt: password length exceeds {LONGEST_PASSWORD} bytes");
        return Err(failed(what));
    }
    let hash = bcrypt::hash_with_result(password, cost).map_err(|e| failed(e.to_string()))?;
    Ok(Value::text(hash.format_for_version(bcrypt::Version::TwoA)))
}

/// `csvdecode`: a map for every line behind the first, which has the names.
pub fn csv_decode(of: &[Value], _: &World) -> Result {
    let wrong = |line: usize, what: &str| format!("CSV parse error on line {line}: {what}");
    let records = csv::records(of.text(0)).map_err(|(line, what)| wrong(line, &what))?;
    let mut records = records.into_iter();
    let (_, names) = records.next().ok_or("missing header line")?;
    for (at, name) in names.iter().enumerate() {
        if names.iter().take(at).any(|other| other == name) {
            return Err(format!("duplicate column name {name:?}"));
        }
    }
    let mut rows = Vec::new();
    for (line, fields) in records {
        if fields.len() != names.len() {
            return Err(wrong(line, "wrong number of fields"));
        }
        let cells = names
            .iter()
            .cloned()
            .zip(fields.into_iter().map(Value::String));
        rows.push(Value::Map(cells.collect::<BTreeMap<_, _>>()));
    }
    Ok(Value::List(rows))
}

/// `rsadecrypt`: what was encrypted to a key by PKCS #1 v1.5, in base64.
pub fn rsa_decrypt(of: &[Value], _: &World) -> Result {
    let (text, key) = (of.text(0), of.text(1));
    let secret = STANDARD.decode(text).map_err(|_| {
        format!("failed to decode input {text:?}: cipher text must be base64-encoded")
    })?;
    let read = RsaPrivateKey::from_pkcs1_pem(key).or_else(|_| RsaPrivateKey::from_pkcs8_pem(key));
    let key = read.map_err(|_| match key.contains("-----BEGIN") {
        true => "failed to parse key: it is no private RSA key in PEM".to_owned(),
        false => "failed to parse key: no key found".to_owned(),
    })?;
    let plain = key.decrypt(Pkcs1v15Encrypt, &secret);
    let plain = plain.map_err(|error| format!("failed to decrypt: {error}"))?;
    let text = String::from_utf8(plain);
    text.map(Value::String)
        .map_err(|_| "what was decrypted is not valid UTF-8".to_owned())
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
