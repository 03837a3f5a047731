//! `-v` and `--mount`: from their text to what docker's API has of them. The words of what is
//! refused are docker's.

use std::path::Path;

use containers::record::{BindRule, DriverRule, MountRule, TmpfsRule, VolumeRule};
use golang::size::parse_size;

/// What `-v` comes to: binds and named volumes, and paths that get a volume without a name.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Volumes {
    /// `SOURCE:TARGET[:MODE]`
    pub binds: Vec<String>,
    /// Paths in the container.
    pub paths: Vec<String>,
}

/// Reads every `-v`; what begins with a dot is looked for in `dir`.
///
/// # Errors
/// docker's sentences.
pub fn volumes(texts: &[String], dir: &Path) -> Result<Volumes, String> {
    let mut read = Volumes::default();
    for (at, text) in texts.iter().enumerate() {
        // What is said twice in the same words is said once.
        if texts.iter().take(at).any(|earlier| earlier == text) {
            continue;
        }
        if text.is_empty() {
            return Err("invalid empty volume spec".to_owned());
        }
        let Some((source, rest)) = text.split_once(':') else {
            read.paths.push(text.clone());
            continue;
        };
        if text.split(':').any(str::is_empty) {
            return Err(format!(
                "invalid spec: {text}: empty section between colons"
            ));
        }
        if rest.matches(':').count() > 1 {
            return Err(format!("invalid spec: {text}: too many colons"));
        }
        read.binds.push(match source.starts_with('.') {
            true => format!("{}:{rest}", absolute(dir, source)),
            false => text.clone(),
        });
    }
    Ok(read)
}

fn absolute(dir: &Path, path: &str) -> String {
    golang::path::clean(&dir.join(path).display().to_string())
}

/// Reads a `--mount`; what begins with a dot is looked for in `dir`.
///
/// # Errors
/// docker's sentences.
pub fn mount(text: &str, dir: &Path) -> Result<MountRule, String> {
    read(text, dir).map_err(|why| format!("invalid argument {text:?} for \"--mount\" flag: {why}"))
}

fn read(text: &str, dir: &Path) -> Result<MountRule, String> {
    let mut rule = MountRule {
        kind: "volume".to_owned(),
        ..MountRule::default()
    };
    for field in fields(text)? {
        let (key, value) = match field.split_once('=') {
            Some((key, value)) => (key.to_lowercase(), Some(value)),
            None => (field.to_lowercase(), None),
        };
        let is_switch = matches!(
            key.as_str(),
            "readonly" | "ro" | "volume-nocopy" | "bind-nonrecursive"
        );
        match (is_switch, value) {
            (true, value) => {
                let on = match value {
                    None => true,
                    Some(value) => crate::flags::boolean(value)
                        .map_err(|_| format!("invalid value for {key}: {value}"))?,
                };
                switch(&mut rule, &key, on);
            }
            (false, None) => {
                return Err(format!("invalid field '{field}' must be a key=value pair"));
            }
            (false, Some(value)) => set(&mut rule, (&key, value), &field, dir)?,
        }
    }
    check(&rule)?;
    Ok(rule)
}

/// The fields of a line of comma-separated values (RFC 4180).
fn fields(text: &str) -> Result<Vec<String>, String> {
    if text.is_empty() {
        return Err("EOF".to_owned());
    }
    let mut fields = Vec::new();
    let mut rest = text;
    loop {
        let mut field = String::new();
        if let Some(quoted) = rest.strip_prefix('"') {
            rest = quoted;
            loop {
                let (part, after) = rest
                    .split_once('"')
                    .ok_or("parse error: extraneous or missing \" in quoted-field")?;
                field.push_str(part);
                rest = after;
                match rest.strip_prefix('"') {
                    // Two stand for one.
                    Some(after) => {
                        field.push('"');
                        rest = after;
                    }
                    None => break,
                }
            }
        } else {
            let end = rest.find(',').unwrap_or(rest.len());
            let (bare, after) = rest.split_at(end);
            field.push_str(bare);
            rest = after;
        }
        fields.push(field);
        match rest.strip_prefix(',') {
            Some(after) => rest = after,
            None if rest.is_empty() => return Ok(fields),
            None => return Err("parse error: bare \" in non-quoted-field".to_owned()),
        }
    }
}

fn switch(rule: &mut MountRule, key: &str, on: bool) {
    match key {
        "volume-nocopy" => of_volume(rule).no_copy = on,
        "bind-nonrecursive" => of_bind(rule).non_recursive = on,
        _ => rule.read_only = on,
    }
}

fn of_bind(rule: &mut MountRule) -> &mut BindRule {
    rule.bind_options.get_or_insert_default()
}

fn of_volume(rule: &mut MountRule) -> &mut VolumeRule {
    let options = rule.volume_options.get_or_insert_default();
    options.driver_config.get_or_insert_default();
    options
}

fn of_driver(rule: &mut MountRule) -> &mut DriverRule {
    of_volume(rule).driver_config.get_or_insert_default()
}

fn of_tmpfs(rule: &mut MountRule) -> &mut TmpfsRule {
    rule.tmpfs_options.get_or_insert_default()
}

fn pair(value: &str) -> (String, String) {
    let (key, value) = value.split_once('=').unwrap_or((value, ""));
    (key.to_owned(), value.to_owned())
}

fn set(
    rule: &mut MountRule,
    (key, value): (&str, &str),
    field: &str,
    dir: &Path,
) -> Result<(), String> {
    let wrong = || format!("invalid value for {key}: {value}");
    match key {
        "type" => rule.kind = value.to_lowercase(),
        "source" | "src" if value == "." || value.starts_with("./") => {
            rule.source = absolute(dir, value);
        }
        "source" | "src" => rule.source = value.to_owned(),
        "target" | "dst" | "destination" => rule.target = value.to_owned(),
        "consistency" => rule.consistency = value.to_lowercase(),
        "bind-propagation" => of_bind(rule).propagation = value.to_lowercase(),
        "bind-recursive" => match value {
            "enabled" => {
                of_bind(rule);
            }
            "disabled" => of_bind(rule).non_recursive = true,
            "writable" => of_bind(rule).read_only_non_recursive = true,
            "readonly" => of_bind(rule).read_only_force_recursive = true,
            _ => {
                return Err(format!(
                    "{} (must be \"enabled\", \"disabled\", \"writable\", or \"readonly\")",
                    wrong()
                ));
            }
        },
        "volume-subpath" => of_volume(rule).subpath = value.to_owned(),
        "volume-label" => {
            let (key, value) = pair(value);
            of_volume(rule).labels.insert(key, value);
        }
        "volume-driver" => of_driver(rule).name = value.to_owned(),
        "volume-opt" => {
            let (key, value) = pair(value);
            of_driver(rule).options.insert(key, value);
        }
        "image-subpath" => rule.image_options.get_or_insert_default().subpath = value.to_owned(),
        "tmpfs-size" => of_tmpfs(rule).size_bytes = parse_size(value).ok_or_else(wrong)?,
        "tmpfs-mode" => {
            of_tmpfs(rule).mode = u64::from_str_radix(value, 8).map_err(|_| wrong())?;
        }
        _ => return Err(format!("unexpected key '{key}' in '{field}'")),
    }
    Ok(())
}

/// What does not go together.
fn check(rule: &MountRule) -> Result<(), String> {
    let kind = rule.kind.as_str();
    if kind.is_empty() {
        return Err("type is required".to_owned());
    }
    if rule.target.is_empty() {
        return Err("target is required".to_owned());
    }
    for (own, there) in [
        ("volume", rule.volume_options.is_some()),
        ("bind", rule.bind_options.is_some()),
        ("tmpfs", rule.tmpfs_options.is_some()),
        ("image", rule.image_options.is_some()),
    ] {
        if there && own != kind {
            return Err(format!(
                "cannot mix '{own}-*' options with mount type '{kind}'"
            ));
        }
    }
    let Some(bind) = &rule.bind_options else {
        return Ok(());
    };
    let needs = |what: &str, needed: &str| {
        Err(format!(
            "option 'bind-recursive={what}' requires '{needed}' to be specified in conjunction"
        ))
    };
    match bind {
        _ if bind.read_only_non_recursive && !rule.read_only => needs("writable", "readonly"),
        _ if bind.read_only_force_recursive && !rule.read_only => needs("readonly", "readonly"),
        _ if bind.read_only_force_recursive && bind.propagation != "rprivate" => {
            needs("readonly", "bind-propagation=rprivate")
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at() -> &'static Path {
        Path::new("/home")
    }

    #[test]
    fn volumes_are_told_from_binds_as_docker_does() {
        let texts = ["/data", "vol:/x:ro", "./a/../b:/y", "/src:/z"].map(str::to_owned);
        let read = volumes(&texts, at()).unwrap();
        assert_eq!(read.paths, ["/data"]);
        let twice = ["v:/x", "v:/x"].map(str::to_owned);
        assert_eq!(volumes(&twice, at()).unwrap().binds, ["v:/x"]);
        assert_eq!(read.binds, ["vol:/x:ro", "/home/b:/y", "/src:/z"]);
        for (text, why) in [
            ("", "invalid empty volume spec"),
            (":/b", "invalid spec: :/b: empty section between colons"),
            ("/a:", "invalid spec: /a:: empty section between colons"),
            ("/a:/b:/c:ro", "invalid spec: /a:/b:/c:ro: too many colons"),
        ] {
            assert_eq!(volumes(&[text.to_owned()], at()).unwrap_err(), why);
        }
    }

    /// docker 28's sentences.
    #[test]
    fn mounts_are_refused_in_dockers_words() {
        for (text, why) in [
            ("", "EOF"),
            ("type=bind", "target is required"),
            (
                "type=bind,what",
                "invalid field 'what' must be a key=value pair",
            ),
            ("type=bind,what=x", "unexpected key 'what' in 'what=x'"),
            ("target=/x,readonly=foo", "invalid value for readonly: foo"),
            (
                "type=bind,target=/x,volume-nocopy",
                "cannot mix 'volume-*' options with mount type 'bind'",
            ),
            (
                "type=bind,target=/x,tmpfs-size=1m",
                "cannot mix 'tmpfs-*' options with mount type 'bind'",
            ),
            (
                "target=/x,bind-propagation=rslave",
                "cannot mix 'bind-*' options with mount type 'volume'",
            ),
            (
                "type=bind,target=/x,bind-recursive=foo",
                "invalid value for bind-recursive: foo (must be \"enabled\", \"disabled\", \
                 \"writable\", or \"readonly\")",
            ),
            (
                "type=bind,target=/x,bind-recursive=writable",
                "option 'bind-recursive=writable' requires 'readonly' to be specified in \
                 conjunction",
            ),
            (
                "type=bind,target=/x,readonly,bind-recursive=readonly",
                "option 'bind-recursive=readonly' requires 'bind-propagation=rprivate' to be \
                 specified in conjunction",
            ),
            (
                "type=tmpfs,target=/x,tmpfs-size=foo",
                "invalid value for tmpfs-size: foo",
            ),
            (
                "type=tmpfs,target=/x,tmpfs-mode=foo",
                "invalid value for tmpfs-mode: foo",
            ),
        ] {
            let want = format!("invalid argument {text:?} for \"--mount\" flag: {why}");
            assert_eq!(mount(text, at()).unwrap_err(), want);
        }
    }

    #[test]
    fn mounts_are_what_dockers_api_has_of_them() {
        let shown = |text: &str| serde_json::to_string(&mount(text, at()).unwrap()).unwrap();
        for (text, json) in [
            (
                "type=bind,src=./c,dst=/c,readonly,bind-propagation=rslave,bind-recursive=disabled",
                r#"{"Type":"bind","Source":"/home/c","Target":"/c","ReadOnly":true,"BindOptions":{"Propagation":"rslave","NonRecursive":true}}"#,
            ),
            (
                "source=vm6,target=/a,volume-nocopy,volume-label=a=b,readonly",
                r#"{"Type":"volume","Source":"vm6","Target":"/a","ReadOnly":true,"VolumeOptions":{"NoCopy":true,"Labels":{"a":"b"},"DriverConfig":{}}}"#,
            ),
            (
                "source=vm7,target=/g,volume-driver=local,volume-opt=type=tmpfs,\"volume-opt=o=a,b\",volume-subpath=x",
                r#"{"Type":"volume","Source":"vm7","Target":"/g","VolumeOptions":{"Subpath":"x","DriverConfig":{"Name":"local","Options":{"o":"a,b","type":"tmpfs"}}}}"#,
            ),
            (
                "type=tmpfs,target=/d,tmpfs-size=1m,tmpfs-mode=700",
                r#"{"Type":"tmpfs","Target":"/d","TmpfsOptions":{"SizeBytes":1048576,"Mode":448}}"#,
            ),
            (
                "type=image,source=busybox,target=/f,image-subpath=etc",
                r#"{"Type":"image","Source":"busybox","Target":"/f","ImageOptions":{"Subpath":"etc"}}"#,
            ),
            (
                "type=bind,src=/tmp,dst=/h,consistency=cached",
                r#"{"Type":"bind","Source":"/tmp","Target":"/h","Consistency":"cached"}"#,
            ),
        ] {
            assert_eq!(shown(text), json);
        }
    }
}
