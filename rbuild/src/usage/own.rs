//! docker's own flags, which stand before its commands: `docker -D ps`.

use std::ffi::OsString;

use super::flags;
use super::hints::see;

/// What docker's own flags come to.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Own {
    /// `--config`: the folder of credentials, in place of that of `DOCKER_CONFIG`.
    pub config: Option<OsString>,
}

/// What one word is.
enum Word {
    /// A flag of rbuild's, of so many words.
    Ours(usize),
    /// A flag of docker's that changes nothing here, of so many words.
    Nothing(usize),
    /// `--config`, in so many words.
    Config(OsString, usize),
    /// A flag of docker's that asks for what is not here.
    Refused(String),
    /// Anything else.
    Other,
}

/// Takes docker's own flags off a command line whose command `known` has; of others, which may be
/// builds, nothing is taken.
///
/// # Errors
/// What is told of one that asks for what is not here.
pub fn take(raw: &mut Vec<OsString>, known: &[String]) -> Result<Own, String> {
    let mut own = Own::default();
    let mut kept: Vec<OsString> = raw.iter().take(1).cloned().collect();
    let mut refused = None;
    let mut at = 1;
    while let Some(word) = raw.get(at) {
        let length = match read(word, raw.get(at + 1)) {
            Word::Ours(length) => {
                kept.extend(raw.iter().skip(at).take(length).cloned());
                length
            }
            Word::Nothing(length) => length,
            Word::Config(dir, length) => {
                own.config = Some(dir);
                length
            }
            Word::Refused(flag) => {
                refused.get_or_insert(flag);
                // Whether a value follows matters no more than what it is.
                1
            }
            Word::Other if refused.is_some() && !is_known(word, known) => 1,
            Word::Other => break,
        };
        at += length;
    }
    if !raw.get(at).is_some_and(|word| is_known(word, known)) {
        return Ok(Own::default());
    }
    if let Some(flag) = refused {
        let instead = flags::instead_of_own(&flag).unwrap_or("there is no daemon to reach");
        return Err(format!(
            "{flag} is docker's, and is not supported here; {instead}\n\n{}",
            see(&[])
        ));
    }
    kept.extend(raw.drain(..).skip(at));
    *raw = kept;
    Ok(own)
}

fn is_known(word: &OsString, known: &[String]) -> bool {
    known.iter().any(|name| word == name.as_str())
}

fn read(word: &OsString, next: Option<&OsString>) -> Word {
    let Some(text) = word.to_str() else {
        return Word::Other;
    };
    let (flag, joined) = match text.split_once('=') {
        Some((flag, value)) => (flag, Some(value)),
        None => (text, None),
    };
    // A value is in the same word, or the next one.
    let value = || match joined {
        Some(value) => Some((OsString::from(value), 1)),
        None => next.map(|next| (next.clone(), 2)),
    };
    match flag {
        "--root" => Word::Ours(if joined.is_some() { 1 } else { 2 }),
        "--no-color" => Word::Ours(1),
        "-D" | "--debug" => Word::Nothing(1),
        "-l" | "--log-level" => value().map_or(Word::Other, |(_, length)| Word::Nothing(length)),
        "--config" => value().map_or(Word::Other, |(dir, length)| Word::Config(dir, length)),
        "-c" | "--context" => match value() {
            Some((name, length)) if name == "default" => Word::Nothing(length),
            _ => Word::Refused("--context".to_owned()),
        },
        "-H" | "--host" => Word::Refused("--host".to_owned()),
        "--tls" | "--tlsverify" if joined == Some("false") => Word::Nothing(1),
        "--tls" | "--tlsverify" | "--tlscacert" | "--tlscert" | "--tlskey" => {
            Word::Refused(flag.to_owned())
        }
        _ => Word::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(line: &str) -> Result<(String, Option<String>), String> {
        let mut raw: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        let known = ["ps", "build", "images"].map(str::to_owned);
        let own = take(&mut raw, &known)?;
        let words: Vec<String> = raw.iter().map(|w| w.to_string_lossy().into()).collect();
        let config = own.config.map(|dir| dir.to_string_lossy().into_owned());
        Ok((words.join(" "), config))
    }

    #[test]
    fn flags_before_a_command_are_dockers() {
        for (line, left) in [
            ("rbuild -D ps -q", "rbuild ps -q"),
            ("rbuild --debug --log-level debug ps -l", "rbuild ps -l"),
            ("rbuild -l warn --root /x ps", "rbuild --root /x ps"),
            (
                "rbuild --context=default --no-color ps",
                "rbuild --no-color ps",
            ),
            ("rbuild -c default build -c 512 .", "rbuild build -c 512 ."),
            ("rbuild --tlsverify=false ps", "rbuild ps"),
            // Builds, whose flags these are.
            ("rbuild -D .", "rbuild -D ."),
            ("rbuild -c 512 -t app .", "rbuild -c 512 -t app ."),
            ("rbuild -t ps .", "rbuild -t ps ."),
            ("rbuild ps -D", "rbuild ps -D"),
            ("rbuild -D", "rbuild -D"),
        ] {
            assert_eq!(taken(line), Ok((left.to_owned(), None)), "{line}");
        }
        let config = Some("/c".to_owned());
        assert_eq!(
            taken("rbuild --config /c ps"),
            Ok(("rbuild ps".to_owned(), config.clone()))
        );
        assert_eq!(
            taken("rbuild --config=/c ps"),
            Ok(("rbuild ps".to_owned(), config))
        );
    }

    #[test]
    fn daemons_elsewhere_are_refused() {
        for (line, flag) in [
            ("rbuild -H tcp://x ps", "--host"),
            ("rbuild --host=tcp://x ps", "--host"),
            ("rbuild --context other ps", "--context"),
            ("rbuild --tlsverify --tlscacert x ps", "--tlsverify"),
        ] {
            let told = taken(line).unwrap_err();
            let start =
                format!("{flag} is docker's, and is not supported here; there is no daemon");
            assert!(told.starts_with(&start), "{told}");
        }
    }
}
