//! What an image's configuration says, as keys and values for people. Pure.
//!
//! Configurations are whatever somebody pushed: what is not of the right form is left out.

use serde_json::Value;

/// One setting.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Fact {
    /// 0 for how a container runs, 1 for its environment, 2 for labels.
    pub(super) group: usize,
    /// Its name.
    pub(super) key: String,
    /// Its value.
    pub(super) value: String,
}

/// All that a configuration says of how a container of it runs.
pub(super) fn facts(document: &Value) -> Vec<Fact> {
    let config = &document["config"];
    let mut facts = Vec::new();
    let mut add = |group, key: &str, value: String| {
        if !value.is_empty() {
            let key = key.to_owned();
            facts.push(Fact { group, key, value });
        }
    };
    for (key, name) in [
        ("Entrypoint", "Entrypoint"),
        ("Cmd", "Command"),
        ("Shell", "Shell"),
        ("WorkingDir", "Working directory"),
        ("User", "User"),
        ("StopSignal", "Stop signal"),
        ("ExposedPorts", "Ports"),
        ("Volumes", "Volumes"),
        ("Healthcheck", "Health check"),
        ("OnBuild", "On build"),
    ] {
        add(0, name, words(&config[key]));
    }
    for (key, name) in [
        ("os", "System"),
        ("os.version", "Version of the system"),
        ("architecture", "Architecture"),
        ("variant", "Variant"),
        ("author", "Author"),
    ] {
        add(0, name, words(&document[key]));
    }
    for pair in config["Env"].as_array().into_iter().flatten() {
        let (key, value) = pair
            .as_str()
            .and_then(|pair| pair.split_once('='))
            .unwrap_or_default();
        if !key.is_empty() {
            facts.push(Fact {
                group: 1,
                key: key.to_owned(),
                value: value.to_owned(),
            });
        }
    }
    for (key, value) in config["Labels"].as_object().into_iter().flatten() {
        facts.push(Fact {
            group: 2,
            key: key.clone(),
            value: value.as_str().unwrap_or_default().to_owned(),
        });
    }
    facts
}

/// A value as one line.
fn words(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(parts) if parts.is_empty() => String::new(),
        Value::Object(map)
            if map
                .values()
                .all(|v| v.as_object().is_some_and(|v| v.is_empty())) =>
        {
            map.keys().cloned().collect::<Vec<_>>().join(", ")
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_strange_is_left_out() {
        let document = serde_json::json!({
            "os": "linux",
            "config": {
                "Cmd": ["sh", "-c", "x"],
                "Env": ["PATH=/bin", "odd", 7, "A=b=c"],
                "ExposedPorts": {"80/tcp": {}, "443/tcp": {}},
                "Labels": {"a": "<b>", "n": 1},
                "User": null,
            },
        });
        let shown: Vec<String> = facts(&document)
            .into_iter()
            .map(|fact| format!("{} {}: {}", fact.group, fact.key, fact.value))
            .collect();
        assert_eq!(
            shown,
            [
                "0 Command: [\"sh\",\"-c\",\"x\"]",
                "0 Ports: 80/tcp, 443/tcp",
                "0 System: linux",
                "1 PATH: /bin",
                "1 A: b=c",
                "2 a: <b>",
                "2 n: ",
            ]
        );
        assert_eq!(facts(&Value::Null), []);
        assert_eq!(facts(&serde_json::json!({"config": [1], "os": {}})), []);
    }
}
