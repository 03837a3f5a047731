//! Which name here is which name where. Pure.

use super::settings::{Upstream, canonical, is_host};
use crate::name::RepositoryName;
use crate::pattern::matches;

/// Where Docker Hub's API is, by any of its names.
const HUB: [&str; 3] = ["docker.io", "index.docker.io", "registry-1.docker.io"];

/// What a request's name stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Meant {
    /// A repository that is mirrored.
    Mirrored(RepositoryName),
    /// The name as it is, and none of what upstreams have: another registry is meant than any that
    /// is mirrored.
    Own,
    /// A name without a host: the repository of that name if there is one, else this mirrored one.
    Hostless(RepositoryName),
}

/// Which upstreams answer for which names.
#[derive(Clone, Debug)]
pub struct Names {
    rules: Vec<Rule>,
}

#[derive(Clone, Debug)]
struct Rule {
    pattern: String,
    except: Vec<String>,
    prefix: String,
    registries: Vec<String>,
    hostless: bool,
    hub: bool,
}

impl Rule {
    /// The name there of a name here; `None` when this upstream does not answer for it.
    fn path(&self, name: &str) -> Option<String> {
        if !matches(&self.pattern, name) || self.except.iter().any(|p| matches(p, name)) {
            return None;
        }
        let path = match self.prefix.as_str() {
            "" => name,
            prefix => name.strip_prefix(prefix)?.strip_prefix('/')?,
        };
        // Docker Hub's own images have a folder that nobody writes.
        Some(match self.hub && !path.contains('/') {
            true => format!("library/{path}"),
            false => path.to_owned(),
        })
    }

    /// The name here of a name there.
    fn name(&self, path: &str) -> Option<RepositoryName> {
        let name = match self.prefix.as_str() {
            "" => path.to_owned(),
            prefix => format!("{prefix}/{path}"),
        };
        self.path(&name)?;
        name.parse().ok()
    }
}

impl Names {
    /// Those of these upstreams.
    pub fn new(upstreams: &[Upstream]) -> Self {
        let rules = upstreams.iter().map(|upstream| Rule {
            pattern: upstream.repository.clone(),
            except: upstream.except.clone(),
            prefix: upstream.prefix().to_owned(),
            registries: upstream.registries(),
            hostless: upstream.hostless,
            hub: HUB.contains(&host_of(&upstream.url)),
        });
        Self {
            rules: rules.collect(),
        }
    }

    /// The upstreams that answer for a name, by their numbers, each with the name there.
    pub fn answering(&self, name: &str) -> Vec<(usize, String)> {
        let rules = self.rules.iter().enumerate();
        rules
            .filter_map(|(at, rule)| Some((at, rule.path(name)?)))
            .collect()
    }

    /// Whether any upstream answers for a name.
    pub fn is_mirrored(&self, name: &str) -> bool {
        self.rules.iter().any(|rule| rule.path(name).is_some())
    }

    /// What is meant by a name, asked for with `?ns=` of a registry or without.
    pub fn meant(&self, name: &RepositoryName, ns: Option<&str>) -> Meant {
        if let Some(ns) = ns.filter(|ns| !ns.is_empty()) {
            return self.of_registry(name, &canonical(ns));
        }
        if self.is_mirrored(name.as_str()) {
            return Meant::Mirrored(name.clone());
        }
        match self.hostless(name.as_str()) {
            Some(mirrored) => Meant::Hostless(mirrored),
            None => Meant::Own,
        }
    }

    /// Where a name without a host is mirrored, if it is.
    pub fn hostless(&self, name: &str) -> Option<RepositoryName> {
        if is_host(name.split('/').next().unwrap_or_default()) {
            return None;
        }
        let mut hostless = self.rules.iter().filter(|rule| rule.hostless);
        hostless.find_map(|rule| rule.name(name))
    }

    fn of_registry(&self, name: &RepositoryName, registry: &str) -> Meant {
        let of = |rule: &&Rule| rule.registries.iter().any(|known| known == registry);
        let mut rules = self.rules.iter().filter(of);
        // Some clients say it twice: in the name, too.
        let twice = name
            .as_str()
            .strip_prefix(registry)
            .is_some_and(|rest| rest.starts_with('/'));
        if twice && rules.clone().any(|rule| rule.path(name.as_str()).is_some()) {
            return Meant::Mirrored(name.clone());
        }
        match rules.find_map(|rule| rule.name(name.as_str())) {
            Some(mirrored) => Meant::Mirrored(mirrored),
            None => Meant::Own,
        }
    }
}

/// The host of a URL, without its port.
fn host_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split('/').next().unwrap_or(rest);
    authority.split(':').next().unwrap_or(authority)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Names {
        #[derive(serde::Deserialize)]
        struct File {
            upstream: Vec<Upstream>,
        }
        let file: File = toml::from_str(text).unwrap();
        for upstream in &file.upstream {
            upstream.check().unwrap();
        }
        Names::new(&file.upstream)
    }

    fn all() -> Names {
        names(
            r#"
            [[upstream]]
            repository = "docker.io/**"
            url = "https://registry-1.docker.io"
            hostless = true
            [[upstream]]
            repository = "docker.io/team/*"
            url = "https://second.example.com/cache"
            [[upstream]]
            repository = "ghcr.io/**"
            except = ["ghcr.io/secret/**"]
            url = "https://ghcr.io"
            [[upstream]]
            repository = "quay/**"
            url = "https://quay.io"
            ns = ["quay.io", "q.example.com:5000"]
            "#,
        )
    }

    #[test]
    fn names_lead_to_upstreams_in_order() {
        let names = all();
        for (name, expected) in [
            ("docker.io/library/nginx", vec![(0, "library/nginx")]),
            ("docker.io/nginx", vec![(0, "library/nginx")]),
            ("docker.io/team/app", vec![(0, "team/app"), (1, "team/app")]),
            ("ghcr.io/a/b/c", vec![(2, "a/b/c")]),
            ("ghcr.io/secret/x", vec![]),
            ("quay/org/app", vec![(3, "org/app")]),
            ("docker.io", vec![]),
            ("team/app", vec![]),
            ("docker.iox/app", vec![]),
        ] {
            let found = names.answering(name);
            let found: Vec<_> = found
                .iter()
                .map(|(at, path)| (*at, path.as_str()))
                .collect();
            assert_eq!(found, expected, "{name}");
        }
    }

    #[test]
    fn everything_and_its_exceptions() {
        let names = names(
            "[[upstream]]\nrepository = \"**\"\nexcept = [\"team/**\"]\nurl = \"http://127.0.0.1:1\"",
        );
        assert_eq!(names.answering("a/b"), [(0, "a/b".to_owned())]);
        assert!(!names.is_mirrored("team/app"));
    }

    #[test]
    fn what_is_meant_by_a_name() {
        let names = all();
        let mirrored = |name: &str| Meant::Mirrored(name.parse().unwrap());
        let hostless = |name: &str| Meant::Hostless(name.parse().unwrap());
        for (name, ns, expected) in [
            (
                "docker.io/library/nginx",
                None,
                mirrored("docker.io/library/nginx"),
            ),
            ("library/nginx", None, hostless("docker.io/library/nginx")),
            (
                "library/nginx",
                Some("docker.io"),
                mirrored("docker.io/library/nginx"),
            ),
            (
                "library/nginx",
                Some("index.docker.io"),
                mirrored("docker.io/library/nginx"),
            ),
            (
                "library/nginx",
                Some(""),
                hostless("docker.io/library/nginx"),
            ),
            // Said twice, as clients with a prefix do.
            (
                "docker.io/library/nginx",
                Some("docker.io"),
                mirrored("docker.io/library/nginx"),
            ),
            ("org/app", Some("quay.io"), mirrored("quay/org/app")),
            (
                "org/app",
                Some("q.example.com:5000"),
                mirrored("quay/org/app"),
            ),
            // Never another registry's image of the same name.
            ("library/nginx", Some("evil.example.com"), Meant::Own),
            ("secret/x", Some("ghcr.io"), Meant::Own),
            ("ghcr.io/secret/x", None, Meant::Own),
            ("localhost/x", None, Meant::Own),
        ] {
            let name: RepositoryName = name.parse().unwrap();
            assert_eq!(names.meant(&name, ns), expected, "{name} {ns:?}");
        }
    }

    #[test]
    fn prefixes_follow_from_patterns() {
        for (pattern, strip, prefix) in [
            ("docker.io/**", None, "docker.io"),
            ("docker.io/library/*", None, "docker.io"),
            ("docker.io/library/**", None, "docker.io"),
            ("hub/**", None, "hub"),
            ("team/hub/**", None, "team/hub"),
            ("team/*", None, ""),
            ("**", None, ""),
            ("team/hub/**", Some("team/"), "team"),
            ("docker.io/**", Some(""), ""),
        ] {
            let strip = strip.map_or(String::new(), |strip: &str| format!("strip = \"{strip}\""));
            let text = format!("repository = \"{pattern}\"\nurl = \"https://x\"\n{strip}");
            let upstream: Upstream = toml::from_str(&text).unwrap();
            assert_eq!(upstream.prefix(), prefix, "{pattern}");
        }
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for (text, why) in [
            ("url = \"ftp://x\"", "is no http"),
            ("url = \"https://x\"\nusername = \"u\"", "go together"),
            ("url = \"https://x\"\npassword = \"p\"", "go together"),
            (
                "url = \"https://x\"\nusername = \"u\"\npassword = \"p\"\npassword_file = \"f\"",
                "too many",
            ),
            (
                "url = \"http://x.example.com\"\nusername = \"u\"\npassword = \"p\"",
                "plain http",
            ),
        ] {
            let upstream: Upstream =
                toml::from_str(&format!("repository = \"a/**\"\n{text}")).unwrap();
            let error = upstream.check().unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
        let everything = "repository = \"**\"\nurl = \"https://x\"\nhostless = true";
        let everything: Upstream = toml::from_str(everything).unwrap();
        assert!(everything.check().unwrap_err().contains("hostless"));
        let local = "repository = \"a/**\"\nurl = \"http://127.0.0.1:5000\"\nusername = \"u\"\n\
                     password = \"secret\"";
        let local: Upstream = toml::from_str(local).unwrap();
        local.check().unwrap();
        assert!(!format!("{local:?}").contains("secret"));
    }
}
