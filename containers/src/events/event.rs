//! One event.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Whom an event is about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Actor {
    /// Its ID.
    #[serde(rename = "ID")]
    pub id: String,
    /// What is known of it: of a container its name, its image and its labels.
    pub attributes: BTreeMap<String, String>,
}

/// Something that has happened, as docker's API has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// The action once more, of containers.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub status: String,
    /// The actor's ID once more.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub id: String,
    /// The image once more.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub from: String,
    /// What kind the actor is.
    #[serde(rename = "Type")]
    pub kind: String,
    /// What has happened, in docker's words.
    #[serde(rename = "Action")]
    pub action: String,
    /// To whom.
    #[serde(rename = "Actor")]
    pub actor: Actor,
    /// Always `local`.
    pub scope: String,
    /// Seconds since the epoch.
    pub time: i64,
    /// Nanoseconds since the epoch.
    #[serde(rename = "timeNano")]
    pub time_nano: i64,
}

impl Actor {
    /// A network of a name and a driver; of what happens to one container on it with that one's ID.
    pub fn network((id, name, driver): (&str, &str, &str), container: Option<&str>) -> Self {
        let known = [
            ("name", Some(name)),
            ("type", Some(driver)),
            ("container", container),
        ];
        Self::known(id, known)
    }

    /// A volume.
    pub fn volume(name: &str) -> Self {
        Self::known(name, [("driver", Some("local"))])
    }

    /// An image, or an index of several, by a name.
    pub fn image(id: &str, name: &str) -> Self {
        Self::known(id, [("name", Some(name))])
    }

    /// The same with an image's labels; what was known before goes first.
    pub fn labeled(mut self, labels: BTreeMap<String, String>) -> Self {
        for (key, value) in labels {
            self.attributes.entry(key).or_insert(value);
        }
        self
    }

    /// Nobody: all of a kind that nobody used was removed, and had so many bytes.
    pub fn pruned(reclaimed: u64) -> Self {
        Self::known("", [("reclaimed", Some(reclaimed.to_string().as_str()))])
    }

    fn known<const N: usize>(id: &str, known: [(&str, Option<&str>); N]) -> Self {
        let known = known.into_iter();
        let attributes = known.filter_map(|(key, value)| Some((key.to_owned(), value?.to_owned())));
        Self {
            id: id.to_owned(),
            attributes: attributes.collect(),
        }
    }
}

impl Event {
    /// Something has happened just now to what is no container: a network, a volume, an image. Of
    /// images docker says once more which and what.
    pub fn of(kind: &str, actor: Actor, action: &str) -> Self {
        let is_image = kind == "image";
        let again = |text: &str| match is_image {
            true => text.to_owned(),
            false => String::new(),
        };
        Self {
            status: again(action),
            id: again(&actor.id),
            from: String::new(),
            kind: kind.to_owned(),
            ..Self::of_container(&actor, action, &[])
        }
    }

    /// Something has happened to a container just now. `more` are attributes of this event alone.
    pub fn of_container(actor: &Actor, action: impl Into<String>, more: &[(&str, String)]) -> Self {
        let mut actor = actor.clone();
        let own = more
            .iter()
            .map(|(key, value)| ((*key).to_owned(), value.clone()));
        actor.attributes.extend(own);
        let action = action.into();
        let now = jiff::Timestamp::now().as_nanosecond();
        let now = i64::try_from(now).unwrap_or(i64::MAX);
        Self {
            status: action.clone(),
            id: actor.id.clone(),
            from: actor.attributes.get("image").cloned().unwrap_or_default(),
            kind: "container".to_owned(),
            action,
            actor,
            scope: "local".to_owned(),
            time: now / 1_000_000_000,
            time_nano: now,
        }
    }

    /// The action without what stands behind its colon.
    pub fn short_action(&self) -> &str {
        self.action.split(": ").next().unwrap_or(&self.action)
    }

    /// What stands behind the time in docker's list: kind, action, ID and attributes.
    pub fn text(&self) -> String {
        let attributes = self.actor.attributes.iter();
        let attributes: Vec<String> = attributes
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        let told = match attributes.is_empty() {
            true => String::new(),
            false => format!(" ({})", attributes.join(", ")),
        };
        format!("{} {} {}{told}", self.kind, self.action, self.actor.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn actor() -> Actor {
        let attributes = [("image", "busybox"), ("k", "v"), ("name", "e1")];
        Actor {
            id: "40b1".to_owned(),
            attributes: attributes
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into(),
        }
    }

    /// Lines of docker 28.
    #[test]
    fn events_are_told_as_docker_tells_them() {
        let more = [
            ("exitCode", "137".to_owned()),
            ("execDuration", "3".to_owned()),
        ];
        let die = Event::of_container(&actor(), "die", &more);
        let line = "container die 40b1 (execDuration=3, exitCode=137, image=busybox, k=v, name=e1)";
        assert_eq!(die.text(), line);
        let create = Event {
            time: 1_795_797_320,
            time_nano: 1_795_797_320_406_000_486,
            ..Event::of_container(&actor(), "create", &[])
        };
        let line = concat!(
            r#"{"status":"create","id":"40b1","from":"busybox","Type":"container","#,
            r#""Action":"create","Actor":{"ID":"40b1","Attributes":{"image":"busybox","k":"v","#,
            r#""name":"e1"}},"scope":"local","time":1795797320,"timeNano":1795797320406000486}"#
        );
        assert_eq!(serde_json::to_string(&create).unwrap(), line);
        let network = Actor::network(("07f0", "evn", "bridge"), Some("ef85"));
        let connect = Event {
            time: 1_795_812_361,
            time_nano: 1_795_812_361_662_942_122,
            ..Event::of("network", network, "connect")
        };
        let line = concat!(
            r#"{"Type":"network","Action":"connect","Actor":{"ID":"07f0","Attributes":"#,
            r#"{"container":"ef85","name":"evn","type":"bridge"}},"scope":"local","#,
            r#""time":1795812361,"timeNano":1795812361662942122}"#
        );
        assert_eq!(serde_json::to_string(&connect).unwrap(), line);
        let image = Actor {
            id: "sha256:a6ee".to_owned(),
            attributes: [("name".to_owned(), "evtag:1".to_owned())].into(),
        };
        let tag = Event {
            time: 1_795_812_363,
            time_nano: 1_795_812_363_432_028_724,
            ..Event::of("image", image, "tag")
        };
        let line = concat!(
            r#"{"status":"tag","id":"sha256:a6ee","Type":"image","Action":"tag","Actor":{"ID":"#,
            r#""sha256:a6ee","Attributes":{"name":"evtag:1"}},"scope":"local","#,
            r#""time":1795812363,"timeNano":1795812363432028724}"#
        );
        assert_eq!(serde_json::to_string(&tag).unwrap(), line);
        let health = Event::of_container(&actor(), "health_status: healthy", &[]);
        assert_eq!(health.short_action(), "health_status");
    }
}
