//! Nothing asked for that is not used.

use crate::finding::Finding;
use crate::modules;
use crate::tokens::{Kind, Token, names_crate};
use crate::workspace::{DependencyKind, Package, TargetKind, Workspace};

/// A dependency that no source names, and why it is needed.
#[derive(Debug, Clone, Copy)]
pub struct Unnamed {
    /// The folder of the crate that asks for it.
    pub folder: &'static str,
    /// The dependency.
    pub name: &'static str,
    /// What it is there for.
    pub why: &'static str,
}

/// Dependencies that their crate's sources don't name, those of the workspace that no crate asks
/// for, and exceptions that are none any more.
pub fn check(workspace: &Workspace, unnamed: &[Unnamed]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut needed = vec![false; unnamed.len()];
    for package in &workspace.packages {
        let tokens = Tokens::of(workspace, package);
        for dependency in &package.dependencies {
            if tokens.name(&dependency.name, dependency.kind) {
                continue;
            }
            let exception = unnamed
                .iter()
                .position(|it| it.folder == package.folder && it.name == dependency.name);
            if let Some(exception) = exception {
                needed[exception] = true;
                continue;
            }
            let (table, place) = match dependency.kind {
                DependencyKind::Normal => ("dependencies", "what is built from src/"),
                DependencyKind::Dev => ("dev-dependencies", "tests, benches or examples"),
                DependencyKind::Build => ("build-dependencies", "the build script"),
            };
            let mut what = format!("`{}` of [{table}] is not named in {place}", dependency.name);
            if dependency.kind == DependencyKind::Normal
                && tokens.name(&dependency.name, DependencyKind::Dev)
            {
                what += ", only in tests: it belongs to [dev-dependencies]";
            }
            findings.push(Finding::new(&package.manifest(), 0, what));
        }
    }
    for name in &workspace.shared {
        let members = workspace.packages.iter().filter(|it| it.member);
        if !members
            .flat_map(|it| &it.dependencies)
            .any(|it| it.name == *name)
        {
            let what = format!("`{name}` of [workspace.dependencies] is asked for by no crate");
            findings.push(Finding::new("Cargo.toml", 0, what));
        }
    }
    for (exception, _) in unnamed.iter().zip(needed).filter(|(_, needed)| !needed) {
        let what = format!(
            "`{}` needs no exception; take it off the list",
            exception.name
        );
        findings.push(Finding::new(exception.folder, 0, what));
    }
    findings
}

/// The sources of a crate, by what they see of its dependencies.
struct Tokens<'a> {
    sources: Vec<(Role, &'a [Token])>,
}

/// What a source is to its crate.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Product,
    Script,
    Test,
}

impl<'a> Tokens<'a> {
    fn of(workspace: &'a Workspace, package: &'a Package) -> Self {
        let product = modules::product(workspace, package);
        let is_script = |path: &str| {
            package
                .targets
                .iter()
                .any(|it| it.kind == TargetKind::Build && it.root == path)
        };
        let sources = workspace.sources_of(package).map(|source| {
            let role = match source.path.as_str() {
                path if product.contains_key(path) => Role::Product,
                path if is_script(path) => Role::Script,
                _ => Role::Test,
            };
            (role, source.tokens.as_slice())
        });
        Self {
            sources: sources.collect(),
        }
    }

    /// Whether what sees a kind of dependency names this one.
    fn name(&self, name: &str, kind: DependencyKind) -> bool {
        let name = name.replace('-', "_");
        self.sources.iter().any(|(role, tokens)| {
            tokens.iter().enumerate().any(|(at, token)| {
                let seen = match (role, kind) {
                    (Role::Product, DependencyKind::Normal) => !token.test,
                    (Role::Product, DependencyKind::Dev) => token.test,
                    (Role::Test, DependencyKind::Dev) | (Role::Script, DependencyKind::Build) => {
                        true
                    }
                    _ => false,
                };
                seen && (names_crate(tokens, at, &name) || in_attribute(token, &name))
            })
        })
    }
}

/// `#[serde(with = "name::module")]`
fn in_attribute(token: &Token, name: &str) -> bool {
    token.kind == Kind::Literal
        && token
            .text
            .trim_start_matches('"')
            .strip_prefix(name)
            .is_some_and(|rest| rest.starts_with("::"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    fn workspace(dependency: &str, kind: DependencyKind) -> Workspace {
        let mut workspace = fixture::of_one(&[
            (
                "one/src/lib.rs",
                "mod a; fn f() { used_here::g() } #[cfg(test)] mod tests;",
            ),
            (
                "one/src/a.rs",
                "#[cfg(test)] mod b { use within::X; } // commented::out",
            ),
            ("one/src/tests.rs", "use tested::X;"),
            ("one/tests/it.rs", "use outside;"),
            ("one/build.rs", "use scripted::X;"),
            ("two/src/lib.rs", "use elsewhere::X;"),
        ]);
        workspace.packages.push(fixture::package("two"));
        workspace.packages[0]
            .dependencies
            .push(fixture::dependency(dependency, kind, None));
        workspace.packages[0]
            .targets
            .push(crate::workspace::Target {
                kind: TargetKind::Build,
                root: "one/build.rs".into(),
            });
        workspace
    }

    #[test]
    fn a_dependency_is_named_where_it_is_seen() {
        use DependencyKind::*;
        for (name, kind, used) in [
            ("used-here", Normal, true),
            ("commented", Normal, false),
            ("within", Normal, false),
            ("elsewhere", Normal, false),
            ("scripted", Normal, false),
            ("within", Dev, true),
            ("tested", Dev, true),
            ("outside", Dev, true),
            ("used-here", Dev, false),
            ("scripted", Dev, false),
            ("scripted", Build, true),
            ("tested", Build, false),
        ] {
            let findings = check(&workspace(name, kind), &[]);
            assert_eq!(findings.is_empty(), used, "{name} {kind:?}: {findings:?}");
        }
        let findings = check(&workspace("within", Normal), &[]);
        assert!(findings[0].what.contains("belongs to [dev-dependencies]"));
    }

    #[test]
    fn exceptions_are_for_what_needs_one() {
        let exception = |name| {
            [Unnamed {
                folder: "one",
                name,
                why: "features",
            }]
        };
        let normal = DependencyKind::Normal;
        assert_eq!(
            check(&workspace("unseen", normal), &exception("unseen")),
            []
        );
        assert_eq!(
            check(&workspace("used-here", normal), &exception("used-here")).len(),
            1
        );
    }

    #[test]
    fn what_the_workspace_offers_is_asked_for() {
        let mut workspace = workspace("used-here", DependencyKind::Normal);
        workspace.shared = ["used-here", "unwanted"].map(str::to_owned).into();
        let findings = check(&workspace, &[]);
        assert_eq!(findings.len(), 1);
        assert!(findings[0].what.contains("`unwanted`"));
    }
}
