//! Operations as BuildKit writes them before it takes their digest: Go's JSON of its messages, in
//! which fields stand in the order of the message and empty ones are left out.

use oci::{Digest, Platform};
use serde::Serialize;

fn is_zero(number: &i64) -> bool {
    *number == 0
}

fn is_false(flag: &bool) -> bool {
    !flag
}

/// What an ExecOp is keyed by.
#[derive(Serialize)]
pub struct ExecKey<'a> {
    #[serde(rename = "Type")]
    pub kind: &'static str,
    #[serde(rename = "Exec")]
    pub exec: Exec<'a>,
    #[serde(rename = "OS")]
    pub os: &'a str,
    #[serde(rename = "Arch")]
    pub architecture: &'a str,
    #[serde(rename = "Variant", skip_serializing_if = "str::is_empty")]
    pub variant: &'a str,
}

/// ExecOp
#[derive(Serialize)]
pub struct Exec<'a> {
    pub meta: Meta<'a>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<Mount<'a>>,
    #[serde(skip_serializing_if = "is_zero")]
    pub network: i64,
    #[serde(rename = "secretenv", skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<SecretEnv<'a>>,
}

/// Meta
#[derive(Serialize)]
pub struct Meta<'a> {
    pub args: &'a [String],
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<&'a str>,
    pub cwd: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub user: &'a str,
    #[serde(rename = "removeMountStubsRecursive")]
    pub remove_stubs: bool,
}

/// Mount
#[derive(Default, Serialize)]
pub struct Mount<'a> {
    #[serde(skip_serializing_if = "is_zero")]
    pub input: i64,
    pub dest: &'a str,
    #[serde(skip_serializing_if = "is_zero")]
    pub output: i64,
    #[serde(skip_serializing_if = "is_false")]
    pub readonly: bool,
    #[serde(rename = "mountType", skip_serializing_if = "is_zero")]
    pub kind: i64,
    #[serde(rename = "TmpfsOpt", skip_serializing_if = "Option::is_none")]
    pub tmpfs: Option<Tmpfs>,
    #[serde(rename = "cacheOpt", skip_serializing_if = "Option::is_none")]
    pub cache: Option<CacheOpt>,
    #[serde(rename = "secretOpt", skip_serializing_if = "Option::is_none")]
    pub secret: Option<SecretOpt<'a>>,
}

/// TmpfsOpt
#[derive(Serialize)]
pub struct Tmpfs {
    #[serde(skip_serializing_if = "is_zero")]
    pub size: i64,
}

/// CacheOpt
#[derive(Serialize)]
pub struct CacheOpt {
    #[serde(rename = "ID", skip_serializing_if = "String::is_empty")]
    pub id: String,
}

/// SecretOpt
#[derive(Serialize)]
pub struct SecretOpt<'a> {
    #[serde(rename = "ID")]
    pub id: &'a str,
    #[serde(skip_serializing_if = "is_zero")]
    pub uid: i64,
    #[serde(skip_serializing_if = "is_zero")]
    pub gid: i64,
    #[serde(skip_serializing_if = "is_zero")]
    pub mode: i64,
    #[serde(skip_serializing_if = "is_false")]
    pub optional: bool,
}

/// SecretEnv
#[derive(Serialize)]
pub struct SecretEnv<'a> {
    #[serde(rename = "ID")]
    pub id: &'a str,
    pub name: &'a str,
    #[serde(skip_serializing_if = "is_false")]
    pub optional: bool,
}

/// What a FileOp is keyed by.
#[derive(Serialize)]
struct FileKey {
    #[serde(rename = "Type")]
    kind: &'static str,
    /// Each in JSON, in base64.
    #[serde(rename = "Actions")]
    actions: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    indexes: Vec<[i64; 3]>,
}

/// FileActionCopy
#[derive(Serialize)]
pub struct Copy<'a> {
    pub src: &'a str,
    pub dest: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<Owner<'a>>,
    #[serde(skip_serializing_if = "is_zero")]
    pub mode: i64,
    #[serde(rename = "followSymlink", skip_serializing_if = "is_false")]
    pub follow: bool,
    #[serde(rename = "dirCopyContents", skip_serializing_if = "is_false")]
    pub contents: bool,
    #[serde(
        rename = "attemptUnpackDockerCompatibility",
        skip_serializing_if = "is_false"
    )]
    pub unpack: bool,
    #[serde(rename = "createDestPath")]
    pub create: bool,
    #[serde(rename = "allowWildcard", skip_serializing_if = "is_false")]
    pub wildcard: bool,
    #[serde(rename = "allowEmptyWildcard", skip_serializing_if = "is_false")]
    pub empty_wildcard: bool,
    pub timestamp: i64,
}

/// FileActionMkDir
#[derive(Serialize)]
pub struct MkDir<'a> {
    pub path: &'a str,
    pub mode: i64,
    #[serde(rename = "makeParents")]
    pub parents: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<Owner<'a>>,
    pub timestamp: i64,
}

/// FileActionMkFile
#[derive(Serialize)]
pub struct MkFile<'a> {
    pub path: &'a str,
    pub mode: i64,
    /// In base64.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub data: &'a str,
    pub timestamp: i64,
}

/// ChownOpt
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Owner<'a> {
    user: UserOpt<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<UserOpt<'a>>,
}

/// UserOpt
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct UserOpt<'a> {
    #[serde(rename = "User")]
    user: User<'a>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct User<'a> {
    #[serde(rename = "byName", skip_serializing_if = "Option::is_none")]
    name: Option<Named<'a>>,
    #[serde(rename = "byId", skip_serializing_if = "is_zero")]
    id: i64,
}

/// NamedUserOpt
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Named<'a> {
    name: &'a str,
}

impl<'a> Owner<'a> {
    /// `USER[:GROUP]`, names or numbers; none for an empty text or an empty half.
    pub fn parse(text: &'a str) -> Option<Self> {
        let (user, group) = match text.split_once(':') {
            Some((user, group)) => (user, Some(group)),
            None => (text, None),
        };
        if user.is_empty() || group.is_some_and(str::is_empty) {
            return None;
        }
        Some(Self {
            user: UserOpt::of(user),
            group: group.map(UserOpt::of),
        })
    }
}

impl<'a> UserOpt<'a> {
    fn of(text: &'a str) -> Self {
        let user = match text.parse::<u32>() {
            Ok(id) => User {
                name: None,
                id: id.into(),
            },
            Err(_) => User {
                name: Some(Named { name: text }),
                id: 0,
            },
        };
        Self { user }
    }
}

/// The bytes that Go writes.
fn go<T: Serialize>(value: &T) -> Option<String> {
    let json = serde_json::to_string(value).ok()?;
    Some(golang::quote::json_escapes(&json))
}

/// The digest by which a manifest is known.
pub fn manifest(digest: &Digest, platform: &Platform) -> Option<Digest> {
    #[derive(Serialize)]
    struct Key<'a> {
        #[serde(rename = "Digest")]
        digest: String,
        #[serde(rename = "OS")]
        os: &'a str,
        #[serde(rename = "Arch")]
        architecture: &'a str,
        #[serde(rename = "Variant", skip_serializing_if = "str::is_empty")]
        variant: &'a str,
    }
    let key = Key {
        digest: digest.to_string(),
        os: &platform.os,
        architecture: &platform.architecture,
        variant: platform.variant.as_deref().unwrap_or_default(),
    };
    Some(Digest::sha256(go(&key)?.as_bytes()))
}

/// The digest of an ExecOp.
pub fn exec(key: &ExecKey<'_>) -> Option<Digest> {
    Some(Digest::sha256(go(key)?.as_bytes()))
}

/// The digest of a FileOp of some actions, each with what it is done to, what it takes from and
/// which output it makes. The usual ones are left out: each action after the one before, from the
/// second input, and the last is the output.
pub fn file<T: Serialize>(actions: &[T], indexes: Vec<[i64; 3]>) -> Option<Digest> {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    let number = i64::try_from(actions.len()).ok()?;
    let usual = indexes.iter().zip(0..).all(|(index, at): (_, i64)| {
        let [input, from, out] = *index;
        let before = if at == 0 { 0 } else { number + at - 1 };
        let last = if at == number - 1 { 0 } else { -1 };
        input == before && (from == -1 || from == 1) && out == last
    });
    let actions: Option<Vec<String>> = actions
        .iter()
        .map(|action| Some(STANDARD.encode(go(action)?)))
        .collect();
    let key = FileKey {
        kind: "buildkit.file.v0",
        actions: actions?,
        indexes: if usual { Vec::new() } else { indexes },
    };
    Some(Digest::sha256(go(&key)?.as_bytes()))
}
