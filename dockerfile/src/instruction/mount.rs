//! `RUN --mount` and `--device` values.

use super::fields::{Field, fields};
use super::run::{Device, Mount, MountError, MountKind, RawDevice, RawMount, Sharing};
use crate::span::Span;
use crate::suggest::closest;

const KEYS: [&str; 19] = [
    "type",
    "from",
    "source",
    "src",
    "target",
    "dst",
    "destination",
    "readonly",
    "ro",
    "readwrite",
    "rw",
    "id",
    "sharing",
    "required",
    "size",
    "mode",
    "uid",
    "gid",
    "env",
];

/// Options as they are collected, before the type says which of them may be there.
#[derive(Default)]
struct Options {
    kind: Kind,
    from: Option<String>,
    source: Option<String>,
    target: Option<String>,
    id: Option<String>,
    env: Option<String>,
    readonly: Option<bool>,
    required: bool,
    sharing: Option<Sharing>,
    size: Option<u64>,
    mode: Option<u32>,
    uid: Option<u32>,
    gid: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Kind {
    #[default]
    Bind,
    Cache,
    Tmpfs,
    Secret,
    Ssh,
}

impl Kind {
    const ALL: [(&'static str, Self); 5] = [
        ("bind", Self::Bind),
        ("cache", Self::Cache),
        ("tmpfs", Self::Tmpfs),
        ("secret", Self::Secret),
        ("ssh", Self::Ssh),
    ];

    fn name(self) -> &'static str {
        Self::ALL
            .iter()
            .find(|(_, kind)| *kind == self)
            .map_or("", |(name, _)| *name)
    }
}

impl RawMount {
    /// Whether any option has a variable in it, so that only expansion tells what it is.
    pub fn has_variables(&self) -> bool {
        self.value.text.contains('$')
    }

    /// Checks what can be checked before expansion: the form, `from`, and, when there is no
    /// variable in it, everything.
    pub fn check(&self) -> Result<(), MountError> {
        for field in fields(&self.value)? {
            if let Some(("from", value)) = field.pair()
                && value
                    .char_indices()
                    .any(|(at, c)| c == '$' && at + 1 < value.len())
            {
                return Err(error(
                    &field,
                    "'from' doesn't support variable expansion, define alias stage instead",
                    "write `FROM $VARIABLE AS name` above and use from=name",
                ));
            }
        }
        if self.has_variables() {
            return Ok(());
        }
        self.resolve(|word| Ok(word.to_owned())).map(|_| ())
    }

    /// Expands each option's value with `expand` (which gives a message when it fails) and checks
    /// the whole.
    pub fn resolve<F>(&self, mut expand: F) -> Result<Mount, MountError>
    where
        F: FnMut(&str) -> Result<String, String>,
    {
        let mut options = Options::default();
        let fields = fields(&self.value)?;
        for field in &fields {
            match field.pair() {
                None => options.switch(field)?,
                Some((key, value)) => {
                    let value =
                        expand(value).map_err(|message| error(field, message, "mend the value"))?;
                    options.set(field, key, value)?;
                }
            }
        }
        options.finish(self.value.span)
    }
}

impl Options {
    /// An option without a value.
    fn switch(&mut self, field: &Field) -> Result<(), MountError> {
        match field.key.as_str() {
            "readonly" | "ro" => self.readonly = Some(true),
            "readwrite" | "rw" => self.readonly = Some(false),
            "required" => {
                self.allow_required(field)?;
                self.required = true;
            }
            key => {
                let help = match closest(key, KEYS, true) {
                    Some(known) => format!("did you mean {known}?"),
                    None => format!("write {key}=VALUE"),
                };
                let message = format!("invalid field '{}' must be a key=value pair", field.text);
                return Err(error(field, message, help));
            }
        }
        Ok(())
    }

    fn set(&mut self, field: &Field, key: &str, value: String) -> Result<(), MountError> {
        let boolean = |value: &str| {
            parse_bool(value).ok_or_else(|| {
                let message = format!("invalid value for {key}: {value}");
                error(field, message, "write true or false")
            })
        };
        let number = |value: &str, radix: u32| {
            let plain = value.bytes().all(|b| b.is_ascii_digit());
            u32::from_str_radix(value, radix)
                .ok()
                .filter(|_| plain)
                .ok_or_else(|| {
                    let help = if radix == 8 {
                        "write an octal number"
                    } else {
                        "write a number"
                    };
                    error(field, format!("invalid value {value} for {key}"), help)
                })
        };
        match key {
            "type" => {
                let lower = value.to_lowercase();
                let known = Kind::ALL.iter().find(|(name, _)| *name == lower);
                self.kind = known.map(|(_, kind)| *kind).ok_or_else(|| {
                    let names = Kind::ALL.iter().map(|(name, _)| *name);
                    let help = match closest(&value, names, true) {
                        Some(name) => format!("did you mean {name}?"),
                        None => "use bind, cache, tmpfs, secret or ssh".to_owned(),
                    };
                    error(field, format!("unsupported mount type {value:?}"), help)
                })?;
            }
            "from" => self.from = some(value),
            "source" | "src" => self.source = some(value),
            "target" | "dst" | "destination" => self.target = some(value),
            "readonly" | "ro" => self.readonly = Some(boolean(&value)?),
            "readwrite" | "rw" => self.readonly = Some(!boolean(&value)?),
            "required" => {
                self.allow_required(field)?;
                self.required = boolean(&value)?;
            }
            "size" if self.kind == Kind::Tmpfs => {
                self.size = Some(golang::size::parse_size(&value).ok_or_else(|| {
                    let message = format!("invalid value for {key}: {value}");
                    error(field, message, "write a size such as 64m or 1g")
                })?);
            }
            "size" => return Err(self.unexpected(field)),
            "id" => self.id = some(value),
            "env" => self.env = some(value),
            "sharing" => {
                self.sharing = Some(match value.to_lowercase().as_str() {
                    "shared" => Sharing::Shared,
                    "private" => Sharing::Private,
                    "locked" => Sharing::Locked,
                    _ => {
                        let message = format!("unsupported sharing value {value:?}");
                        return Err(error(field, message, "use shared, private or locked"));
                    }
                });
            }
            "mode" => self.mode = Some(number(&value, 8)?),
            "uid" => self.uid = Some(number(&value, 10)?),
            "gid" => self.gid = Some(number(&value, 10)?),
            _ => {
                let help = match closest(key, KEYS, true) {
                    Some(known) => format!("did you mean {known}?"),
                    None => format!("the options are {}", KEYS.join(", ")),
                };
                let message = format!("unexpected key '{key}' in '{}'", field.text);
                return Err(error(field, message, help));
            }
        }
        Ok(())
    }

    fn allow_required(&self, field: &Field) -> Result<(), MountError> {
        match self.kind {
            Kind::Secret | Kind::Ssh => Ok(()),
            _ => Err(self.unexpected(field)),
        }
    }

    fn unexpected(&self, field: &Field) -> MountError {
        let message = format!(
            "unexpected key '{}' for mount type '{}'",
            field.key,
            self.kind.name()
        );
        error(field, message, "put type= first, or remove the option")
    }

    fn finish(self, span: Span) -> Result<Mount, MountError> {
        let kind = self.kind;
        let wrong = |message: String, help: &str| {
            Err(MountError {
                message,
                help: Some(help.to_owned()),
                span,
            })
        };
        if matches!(kind, Kind::Bind | Kind::Tmpfs) {
            let given = [("mode", self.mode), ("uid", self.uid), ("gid", self.gid)];
            if let Some((key, _)) = given.iter().find(|(_, value)| value.is_some()) {
                let message = format!("{key} not allowed for {:?} type mounts", kind.name());
                return wrong(
                    message,
                    "only cache, secret and ssh mounts have an owner and mode",
                );
            }
        }
        if kind == Kind::Secret {
            if self.from.is_some() {
                return wrong(
                    "secret mount should not have a from".to_owned(),
                    "remove from=; secrets come from the command line",
                );
            }
            if self.source.is_none() && self.target.is_none() && self.id.is_none() {
                return wrong(
                    "invalid secret mount. one of source, target required".to_owned(),
                    "name the secret: id=NAME",
                );
            }
            if self.source.is_some() && self.id.is_some() {
                return wrong(
                    "both source and id can't be set".to_owned(),
                    "source= is another name of id=; keep one",
                );
            }
        }
        if self.sharing.is_some() && kind != Kind::Cache {
            let message = format!("invalid cache sharing set for {} mount", kind.name());
            return wrong(message, "only cache mounts are shared");
        }
        let Self {
            from,
            source,
            id,
            env,
            required,
            sharing,
            size,
            mode,
            uid,
            gid,
            ..
        } = self;
        let kind = match kind {
            Kind::Bind => MountKind::Bind {
                from,
                source,
                writable: self.readonly == Some(false),
            },
            Kind::Cache => MountKind::Cache {
                id,
                from,
                source,
                readonly: self.readonly == Some(true),
                sharing: sharing.unwrap_or_default(),
                mode,
                uid,
                gid,
            },
            Kind::Tmpfs => MountKind::Tmpfs { size },
            Kind::Secret => MountKind::Secret {
                id: source.or(id),
                env,
                required,
                mode,
                uid,
                gid,
            },
            Kind::Ssh => MountKind::Ssh {
                id: source.or(id),
                required,
                mode,
                uid,
                gid,
            },
        };
        Ok(Mount {
            target: self.target,
            kind,
        })
    }
}

impl RawDevice {
    /// Reads the device request.
    pub fn parse(&self) -> Result<Device, MountError> {
        let mut name: Option<String> = None;
        let mut required = false;
        for field in fields(&self.value)? {
            match field.pair() {
                None if field.key == "required" => required = true,
                Some(("required", value)) => {
                    required = parse_bool(value).ok_or_else(|| {
                        let message = format!("invalid value for required: {value}");
                        error(&field, message, "write true or false")
                    })?;
                }
                Some(("name", value)) if name.is_none() => name = Some(value.to_owned()),
                Some(("name", _)) => {
                    let set = name.unwrap_or_default();
                    let message = format!("device name already set to {set}");
                    return Err(error(&field, message, "keep one name"));
                }
                // `vendor/class=device` is a name, not an option.
                _ if name.is_none() => name = Some(field.text.clone()),
                Some((key, _)) => {
                    let message = format!("unexpected key '{key}' in '{}'", field.text);
                    return Err(error(&field, message, "the options are name and required"));
                }
                None => {
                    let message =
                        format!("invalid field '{}' must be a key=value pair", field.text);
                    return Err(error(&field, message, "the options are name and required"));
                }
            }
        }
        Ok(Device {
            name: name.unwrap_or_default(),
            required,
        })
    }
}

fn error(field: &Field, message: impl Into<String>, help: impl Into<String>) -> MountError {
    MountError {
        message: message.into(),
        help: Some(help.into()),
        span: field.span,
    }
}

fn some(value: String) -> Option<String> {
    Some(value).filter(|value| !value.is_empty())
}

/// The spellings of Go's `strconv.ParseBool`.
pub(crate) fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::span::Text;

    fn resolve(value: &str) -> Result<Mount, String> {
        let raw = RawMount {
            value: Text::new(value, Span::new(0, value.len())),
        };
        raw.resolve(|word| Ok(word.to_owned()))
            .map_err(|error| error.message)
    }

    #[test]
    fn reads_every_type() {
        assert_eq!(
            resolve("target=/src,rw,from=base,source=/x").unwrap(),
            Mount {
                target: Some("/src".to_owned()),
                kind: MountKind::Bind {
                    from: Some("base".to_owned()),
                    source: Some("/x".to_owned()),
                    writable: true
                }
            }
        );
        assert_eq!(
            resolve("type=cache,dst=/c,sharing=LOCKED,mode=0700,uid=1,gid=2,id=x,ro")
                .unwrap()
                .kind,
            MountKind::Cache {
                id: Some("x".to_owned()),
                from: None,
                source: None,
                readonly: true,
                sharing: Sharing::Locked,
                mode: Some(0o700),
                uid: Some(1),
                gid: Some(2)
            }
        );
        assert_eq!(
            resolve("type=tmpfs,target=/t,size=64m").unwrap().kind,
            MountKind::Tmpfs {
                size: Some(64 << 20)
            }
        );
        assert_eq!(
            resolve("type=secret,source=aws,env=AWS,required").unwrap(),
            Mount {
                target: None,
                kind: MountKind::Secret {
                    id: Some("aws".to_owned()),
                    env: Some("AWS".to_owned()),
                    required: true,
                    mode: None,
                    uid: None,
                    gid: None
                }
            }
        );
        assert!(matches!(
            resolve("type=ssh").unwrap().kind,
            MountKind::Ssh { id: None, .. }
        ));
    }

    #[test]
    fn refuses_what_does_not_fit() {
        for (value, message) in [
            ("type=bnd", "unsupported mount type \"bnd\""),
            (
                "type=bind,mode=0700",
                "mode not allowed for \"bind\" type mounts",
            ),
            (
                "type=cache,required",
                "unexpected key 'required' for mount type 'cache'",
            ),
            (
                "type=secret",
                "invalid secret mount. one of source, target required",
            ),
            (
                "type=secret,id=a,source=b",
                "both source and id can't be set",
            ),
            (
                "type=secret,id=a,from=b",
                "secret mount should not have a from",
            ),
            (
                "type=bind,sharing=shared",
                "invalid cache sharing set for bind mount",
            ),
            ("type=cache,sharing=x", "unsupported sharing value \"x\""),
            ("type=cache,mode=9", "invalid value 9 for mode"),
            ("type=cache,uid=-1", "invalid value -1 for uid"),
            ("tagret=/x", "unexpected key 'tagret' in 'tagret=/x'"),
            ("target", "invalid field 'target' must be a key=value pair"),
            ("size=1m", "unexpected key 'size' for mount type 'bind'"),
            ("ro=maybe", "invalid value for ro: maybe"),
            (
                "a\"b",
                "failed to parse csv mounts: bare \" in non-quoted field",
            ),
        ] {
            assert_eq!(resolve(value).unwrap_err(), message, "{value}");
        }
        assert!(
            resolve("\"target=/a,b\"")
                .unwrap()
                .target
                .is_some_and(|t| t == "/a,b")
        );
    }

    #[test]
    fn points_to_the_option() {
        let value = "type=cache,shring=locked";
        let raw = RawMount {
            value: Text::new(value, Span::new(10, 10 + value.len())),
        };
        let error = raw.check().unwrap_err();
        assert_eq!(error.span, Span::new(21, 34));
        assert_eq!(error.help.unwrap(), "did you mean sharing?");
        let from = RawMount {
            value: Text::new("from=$X", Span::new(0, 7)),
        };
        assert!(from.check().is_err());
        let literal = RawMount {
            value: Text::new("from=x$", Span::new(0, 7)),
        };
        assert!(literal.check().is_ok());
        let target = RawMount {
            value: Text::new("target=$X,mode=$M", Span::new(0, 17)),
        };
        assert!(target.check().is_ok());
    }

    #[test]
    fn reads_devices() {
        let device = |value: &str| {
            RawDevice {
                value: Text::new(value, Span::new(0, value.len())),
            }
            .parse()
            .map(|device| (device.name, device.required))
        };
        assert_eq!(
            device("nvidia.com/gpu=all").unwrap(),
            ("nvidia.com/gpu=all".to_owned(), false)
        );
        assert_eq!(
            device("class1,required").unwrap(),
            ("class1".to_owned(), true)
        );
        assert_eq!(
            device("name=a,required=false").unwrap(),
            ("a".to_owned(), false)
        );
        assert!(device("a,b").is_err());
        assert!(device("name=a,name=b").is_err());
    }
}
