//! Mounts as docker shows them.

use serde_json::{Value, json};

use crate::record::{MountPoint, MountSource};

use super::make::Places;

/// `inspect`'s `Mounts`.
pub(in crate::engine) fn document(points: &[MountPoint], places: &Places) -> Value {
    let told = points.iter().filter(|point| point.is_told());
    told.map(|point| one(point, places)).collect()
}

fn one(point: &MountPoint, places: &Places) -> Value {
    let (kind, source, propagation) = match &point.source {
        MountSource::Bind { path, rule, .. } => ("bind", path.clone(), rule.propagation.as_str()),
        MountSource::Volume { name, .. } => ("volume", places.data(name).display().to_string(), ""),
        MountSource::Tmpfs { .. } => ("tmpfs", String::new(), ""),
        MountSource::Image { .. } => ("image", String::new(), "rprivate"),
    };
    // Nothing can be written to an image.
    let readonly = point.readonly || kind == "image";
    let named = matches!(kind, "volume" | "image");
    let fields = [
        ("Type", Some(json!(kind))),
        ("Name", named.then(|| json!(point.name()))),
        ("Source", Some(json!(source))),
        ("Destination", Some(json!(point.target))),
        ("Driver", point.volume().map(|_| json!("local"))),
        ("Mode", Some(json!(point.mode))),
        ("RW", Some(json!(!readonly))),
        ("Propagation", Some(json!(propagation))),
    ];
    let told = fields.into_iter();
    let told = told.filter_map(|(name, value)| Some((name.to_owned(), value?)));
    Value::Object(told.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::BindRule;

    /// docker 28's.
    #[test]
    fn mounts_have_dockers_fields() {
        let places = Places {
            volumes: "/v".into(),
            ..Places::default()
        };
        let bind = MountPoint {
            target: "/c".to_owned(),
            readonly: true,
            mode: "ro".to_owned(),
            source: MountSource::Bind {
                path: "/tmp".to_owned(),
                makes: true,
                rule: BindRule {
                    propagation: "rprivate".to_owned(),
                    ..BindRule::default()
                },
            },
        };
        let volume = MountPoint {
            target: "/d".to_owned(),
            readonly: false,
            mode: "z".to_owned(),
            source: MountSource::Volume {
                name: "vm4".to_owned(),
                anonymous: false,
                copies: true,
                subpath: String::new(),
                labels: Default::default(),
                options: Default::default(),
            },
        };
        let want = json!([
            {"Type":"bind","Source":"/tmp","Destination":"/c","Mode":"ro","RW":false,
             "Propagation":"rprivate"},
            {"Type":"volume","Name":"vm4","Source":"/v/vm4/_data","Destination":"/d",
             "Driver":"local","Mode":"z","RW":true,"Propagation":""},
        ]);
        assert_eq!(document(&[bind, volume], &places), want);
    }
}
