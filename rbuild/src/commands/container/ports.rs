//! What `--publish` and `--expose` say. The words of what is refused are docker's.

use std::collections::BTreeMap;
use std::net::IpAddr;

use containers::record::PortBinding;
use golang::quote::go_quote;

/// Ports of the container, each with those of this machine that are to lead there.
pub type Bindings = BTreeMap<String, Vec<PortBinding>>;

/// Reads `--publish`.
///
/// # Errors
/// Says what is no port.
pub fn published(texts: &[String]) -> Result<Bindings, String> {
    let mut all = Bindings::new();
    for text in texts {
        let text = match text.contains('=') {
            true => standard(text)?,
            false => text.clone(),
        };
        for (port, binding) in one(&text)? {
            let bindings = all.entry(port).or_default();
            if !bindings.contains(&binding) {
                bindings.push(binding);
            }
        }
    }
    Ok(all)
}

/// `published=PORT,target=PORT,protocol=PROTOCOL`
fn standard(text: &str) -> Result<String, String> {
    let mut fields = BTreeMap::from([("protocol", "tcp")]);
    for field in text.split(',') {
        match field.split_once('=') {
            Some((key, value)) if !key.is_empty() => drop(fields.insert(key, value)),
            _ => {
                return Err(format!(
                    "invalid publish opts format (should be name=value but got '{field}')"
                ));
            }
        }
    }
    let of = |key| fields.get(key).copied().unwrap_or_default();
    Ok(format!(
        "{}:{}/{}",
        of("published"),
        of("target"),
        of("protocol")
    ))
}

/// `[ADDRESS:][PORT:]PORT[/PROTOCOL]`
fn one(text: &str) -> Result<Vec<(String, PortBinding)>, String> {
    let parts: Vec<&str> = text.split(':').collect();
    let (address, host, container) = match parts.as_slice() {
        [container] => (String::new(), "", *container),
        [host, container] => (String::new(), *host, *container),
        [address @ .., host, container] => (address.join(":"), *host, *container),
        [] => (String::new(), "", ""),
    };
    let (container, protocol) = match container.split_once('/') {
        Some((port, "")) => (port, "tcp"),
        Some((port, protocol)) => (port, protocol),
        None => (container, "tcp"),
    };
    let bare = match address
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
    {
        Some(bare) => bare,
        None => address.as_str(),
    };
    if !bare.is_empty() && bare.parse::<IpAddr>().is_err() {
        return Err(format!("invalid IP address: {bare}"));
    }
    if container.is_empty() {
        return Err(format!("No port specified: {text}<empty>"));
    }
    let (first, last) =
        range(container).map_err(|_| format!("invalid containerPort: {container}"))?;
    let wanted = match host {
        "" => None,
        host => Some(range(host).map_err(|_| format!("invalid hostPort: {host}"))?),
    };
    let differs = wanted.is_some_and(|(from, to)| to - from != last - first);
    if differs && first != last {
        return Err(format!(
            "invalid ranges specified for container and host Ports: {container} and {host}"
        ));
    }
    let protocol = protocol.to_lowercase();
    if !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        return Err(format!("invalid proto: {protocol}"));
    }
    let ports = (first..=last).map(|port| {
        let host_port = match wanted {
            None => String::new(),
            Some((from, to)) if differs => format!("{from}-{to}"),
            Some((from, _)) => (from + (port - first)).to_string(),
        };
        let binding = PortBinding {
            host_ip: bare.to_owned(),
            host_port,
        };
        (format!("{port}/{protocol}"), binding)
    });
    Ok(ports.collect())
}

/// `PORT[-PORT]`; the error is Go's.
fn range(text: &str) -> Result<(u16, u16), String> {
    if text.is_empty() {
        return Err("empty string specified for ports".to_owned());
    }
    let number = |text: &str| {
        let why = match text.parse::<u16>() {
            Ok(number) => return Ok(number),
            Err(_) if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) => {
                "value out of range"
            }
            Err(_) => "invalid syntax",
        };
        Err(format!(
            "strconv.ParseUint: parsing {}: {why}",
            go_quote(text)
        ))
    };
    let Some((first, last)) = text.split_once('-') else {
        return number(text).map(|number| (number, number));
    };
    match (number(first)?, number(last)?) {
        (first, last) if first <= last => Ok((first, last)),
        _ => Err(format!("invalid range specified for port: {text}")),
    }
}

/// Reads `--expose`: `PORT[-PORT][/PROTOCOL]`, each by itself.
///
/// # Errors
/// Says what is no port.
pub fn exposed(text: &str) -> Result<Vec<String>, String> {
    if text.contains(':') {
        return Err(format!("invalid port format for --expose: {text}"));
    }
    let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let (first, last) = range(ports)
        .map_err(|why| format!("invalid range format for --expose: {text}, error: {why}"))?;
    if !matches!(protocol, "tcp" | "udp" | "sctp") {
        return Err(format!(
            "invalid range format for --expose: {text}, error: invalid proto: {protocol}"
        ));
    }
    Ok((first..=last)
        .map(|port| format!("{port}/{protocol}"))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<String>, String> {
        let all = published(&[text.to_owned()])?;
        let line = |(port, bindings): (&String, &Vec<PortBinding>)| {
            let bindings = bindings
                .iter()
                .map(|b| format!(" {}|{}", b.host_ip, b.host_port));
            format!("{port}{}", bindings.collect::<String>())
        };
        Ok(all.iter().map(line).collect())
    }

    #[test]
    fn all_of_dockers_forms_are_read() {
        for (text, want) in [
            ("2222", vec!["2222/tcp |"]),
            ("2222:22", vec!["22/tcp |2222"]),
            ("127.0.0.1:81:80", vec!["80/tcp 127.0.0.1|81"]),
            ("127.0.0.1::80", vec!["80/tcp 127.0.0.1|"]),
            ("82:80/udp", vec!["80/udp |82"]),
            ("82:80/UDP", vec!["80/udp |82"]),
            ("[::1]:8085:80", vec!["80/tcp ::1|8085"]),
            ("::80", vec!["80/tcp |"]),
            (
                "7000-7001:7000-7001",
                vec!["7000/tcp |7000", "7001/tcp |7001"],
            ),
            ("8000-8010:85", vec!["85/tcp |8000-8010"]),
            ("80-81", vec!["80/tcp |", "81/tcp |"]),
            ("published=8080,target=80", vec!["80/tcp |8080"]),
        ] {
            assert_eq!(read(text).unwrap(), want, "{text}");
        }
        let twice = published(&["80:80".to_owned(), "81:80".to_owned()]).unwrap();
        assert_eq!(twice["80/tcp"].len(), 2);
    }

    /// The sentences are those of docker 28's client.
    #[test]
    fn what_is_no_port_is_refused() {
        for (text, why) in [
            ("2222:", "No port specified: 2222:<empty>"),
            ("", "No port specified: <empty>"),
            ("abc:80", "invalid hostPort: abc"),
            ("70000:80", "invalid hostPort: 70000"),
            ("80:70000", "invalid containerPort: 70000"),
            (
                "7000-7005:7000-7003",
                "invalid ranges specified for container and host Ports: 7000-7003 and 7000-7005",
            ),
            ("7005-7000:7005-7000", "invalid containerPort: 7005-7000"),
            ("1.2.3:80:80", "invalid IP address: 1.2.3"),
            ("localhost:80:80", "invalid IP address: localhost"),
            ("80:80/foo", "invalid proto: foo"),
        ] {
            assert_eq!(read(text).unwrap_err(), why);
        }
        assert_eq!(exposed("80-81/udp").unwrap(), ["80/udp", "81/udp"]);
        for (text, why) in [
            (
                "abc",
                "invalid range format for --expose: abc, error: strconv.ParseUint: parsing \"abc\": invalid syntax",
            ),
            (
                "80-70/tcp",
                "invalid range format for --expose: 80-70/tcp, error: invalid range specified for port: 80-70",
            ),
        ] {
            assert_eq!(exposed(text).unwrap_err(), why);
        }
    }
}
