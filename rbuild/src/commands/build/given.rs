//! `--secret` and `--ssh`: what the build is given and the image does not get.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

use builder::engine::keys::Keys;
use builder::engine::secrets::{Agent, Agents, Secrets};
use runtime::Hidden;

/// The most bytes that a secret has, as with BuildKit.
const MAX_SECRET: u64 = 500 << 10;

/// `--secret id=ID[,src=FILE|,env=NAME]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretFlag {
    id: String,
    from: Source,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Source {
    File(PathBuf),
    Variable(String),
}

/// `--ssh ID[=SOCKET|KEY[,KEY]]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SshFlag {
    id: String,
    paths: Vec<PathBuf>,
}

/// Reads a `--secret`; `set` tells whether there is such a variable. The words are buildx's.
pub fn secret(text: &str, set: &dyn Fn(&str) -> bool) -> Result<SecretFlag, String> {
    let (mut id, mut kind, mut file, mut variable) = ("", "", "", "");
    let fields = fields(text)?;
    for field in &fields {
        let Some((key, value)) = field.split_once('=') else {
            return Err(format!("invalid field '{field}' must be a key=value pair"));
        };
        match key.to_lowercase().as_str() {
            "type" if !matches!(value, "file" | "env") => {
                return Err(format!(
                    "unsupported secret type {value:?}; use file or env"
                ));
            }
            "type" => kind = value,
            "id" => id = value,
            "source" | "src" => file = value,
            "env" => variable = value,
            key => {
                return Err(format!(
                    "unexpected key '{key}' in '{field}'; there are id, src, env and type"
                ));
            }
        }
    }
    if id.is_empty() {
        return Err(format!("secret missing ID: write id=NAME,{text}"));
    }
    if kind == "env" && variable.is_empty() {
        variable = file;
        file = "";
    }
    let from = match (file, variable) {
        // With nothing but a name, that is the variable's or else the file's.
        ("", "") if kind != "file" && set(id) => Source::Variable(id.to_owned()),
        ("", "") => Source::File(id.into()),
        ("", variable) => Source::Variable(variable.to_owned()),
        (file, _) => Source::File(file.into()),
    };
    let id = id.to_owned();
    Ok(SecretFlag { id, from })
}

/// Reads a `--ssh`.
pub fn ssh(text: &str) -> Result<SshFlag, String> {
    let (id, paths) = text.split_once('=').unwrap_or((text, ""));
    if id.is_empty() {
        return Err(format!(
            "invalid ssh agent {text:?}: write default, or NAME=SOCKET, or NAME=KEY"
        ));
    }
    let paths = paths.split(',').filter(|path| !path.is_empty());
    Ok(SshFlag {
        id: id.to_owned(),
        paths: paths.map(PathBuf::from).collect(),
    })
}

/// Comma-separated values, in which quotes protect commas (RFC 4180).
fn fields(text: &str) -> Result<Vec<String>, String> {
    let mut fields = Vec::new();
    let mut field = String::new();
    let mut quoted = false;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                field.push('"');
            }
            '"' if quoted || field.is_empty() => quoted = !quoted,
            ',' if !quoted => fields.push(std::mem::take(&mut field)),
            c => field.push(c),
        }
    }
    if quoted {
        return Err(format!("{text:?} ends within a quotation"));
    }
    fields.push(field);
    Ok(fields)
}

/// The secrets themselves.
pub fn read(flags: &[SecretFlag]) -> Result<Secrets, String> {
    let mut secrets = Secrets::new();
    for SecretFlag { id, from } in flags {
        let value = match from {
            // As with BuildKit: one that is not set is empty.
            Source::Variable(name) => std::env::var_os(name).unwrap_or_default().into_vec(),
            Source::File(path) => read_file(path)
                .map_err(|e| format!("secret {id}: cannot read {}: {e}", path.display()))?,
        };
        if value.len() as u64 > MAX_SECRET {
            return Err(format!("secret {id} too big. max size 500KB"));
        }
        secrets.insert(id.clone(), Hidden(value));
    }
    Ok(secrets)
}

/// At most a byte more than a secret may have.
fn read_file(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut value = Vec::new();
    File::open(path)?
        .take(MAX_SECRET + 1)
        .read_to_end(&mut value)?;
    Ok(value)
}

/// Finds agents, and reads the keys of those that are none; `usual` is where SSH programs look for
/// one.
pub fn agents(flags: &[SshFlag], usual: Option<PathBuf>) -> Result<Agents, String> {
    let usual = usual.filter(|path| !path.as_os_str().is_empty());
    let mut agents = Agents::new();
    for SshFlag { id, paths } in flags {
        let told = |e: String| format!("--ssh {id}: {e}");
        let paths = match (paths.as_slice(), &usual) {
            ([], Some(usual)) => vec![usual.clone()],
            ([], None) => {
                return Err(told(
                    "invalid empty ssh agent socket: make sure SSH_AUTH_SOCK is set".to_owned(),
                ));
            }
            (paths, _) => paths.to_vec(),
        };
        let mut sockets = 0;
        for path in &paths {
            let there = std::fs::metadata(path);
            let there = there.map_err(|e| told(format!("{}: {e}", path.display())))?;
            sockets += usize::from(there.file_type().is_socket());
        }
        let agent = match (sockets, paths.as_slice()) {
            (1, [socket]) => Agent::Socket(socket.clone()),
            (0, keys) => Agent::Keys(Keys::read(keys).map_err(|e| told(e.to_string()))?),
            _ => {
                return Err(told(
                    "behind a name is one agent, or keys: add keys to an agent with `ssh-add KEY`"
                        .to_owned(),
                ));
            }
        };
        agents.insert(id.clone(), agent);
    }
    Ok(agents)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The words of errors are those of buildx 0.29.
    #[test]
    fn secrets_are_files_or_variables() {
        let file = |id: &str, path: &str| (id.to_owned(), Source::File(path.into()));
        let variable = |id: &str, name: &str| (id.to_owned(), Source::Variable(name.to_owned()));
        for (text, want) in [
            ("id=a,src=/x", file("a", "/x")),
            ("ID=a,source=/x", file("a", "/x")),
            ("type=file,id=a,src=/x", file("a", "/x")),
            ("id=a,env=TOKEN", variable("a", "TOKEN")),
            ("type=env,id=a,src=TOKEN", variable("a", "TOKEN")),
            ("id=SET", variable("SET", "SET")),
            ("id=SET,type=file", file("SET", "SET")),
            ("id=a", file("a", "a")),
            ("id=a,\"src=/x,y\"", file("a", "/x,y")),
        ] {
            let found = secret(text, &|name| name == "SET").unwrap();
            assert_eq!((found.id, found.from), want, "{text}");
        }
        for (text, start) in [
            ("foo", "invalid field 'foo' must be a key=value pair"),
            ("id=x,type=bogus", "unsupported secret type \"bogus\""),
            ("type=file", "secret missing ID"),
            ("id=x,bad=1", "unexpected key 'bad' in 'bad=1'"),
            ("id=\"x", "\"id=\\\"x\" is"),
        ] {
            let refused = secret(text, &|_| false);
            match text.contains('"') {
                // A quotation mark within a field is one of its letters.
                true => assert!(refused.is_ok()),
                false => assert!(refused.unwrap_err().starts_with(start), "{text}"),
            }
        }
    }

    #[test]
    fn agents_are_sockets() {
        let dir = tempfile::tempdir().unwrap();
        let (socket, key) = (dir.path().join("s"), dir.path().join("id_rsa"));
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        std::fs::write(&key, "key").unwrap();
        let found = |text: &str, usual: Option<&PathBuf>| {
            let mut found = agents(&[ssh(text)?], usual.cloned())?;
            match found.pop_first() {
                Some((id, Agent::Socket(path))) => Ok((id, path)),
                other => Err(format!("{other:?}")),
            }
        };
        let named = format!("work={}", socket.display());
        assert_eq!(
            found(&named, None).unwrap(),
            ("work".into(), socket.clone())
        );
        let usual = found("default", Some(&socket)).unwrap();
        assert_eq!(usual, ("default".into(), socket.clone()));
        for (text, told) in [
            ("default".to_owned(), "make sure SSH_AUTH_SOCK is set"),
            (format!("default={}", key.display()), "no private key"),
            (format!("a={0},{0}", socket.display()), "one agent, or keys"),
            ("a=/nonexistent".to_owned(), "No such file"),
            ("=x".to_owned(), "write default"),
        ] {
            let error = found(&text, None).unwrap_err();
            assert!(error.contains(told), "{text}: {error}");
        }
    }

    #[test]
    fn a_secret_has_an_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("big");
        std::fs::write(&path, vec![b'x'; MAX_SECRET as usize + 1]).unwrap();
        let flag = secret(&format!("id=a,src={}", path.display()), &|_| false).unwrap();
        assert_eq!(
            read(&[flag]).unwrap_err(),
            "secret a too big. max size 500KB"
        );
    }
}
