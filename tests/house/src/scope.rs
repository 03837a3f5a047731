//! What one module defines, imports and names, tests left out.

use proc_macro2::{TokenStream, TokenTree};
use std::collections::{BTreeMap, BTreeSet};
use syn::visit::{self, Visit};

/// A module's text: a file, or the braces of `mod name { … }`.
#[derive(Debug, Default)]
pub struct Scope {
    /// Modules declared in it.
    pub children: BTreeMap<String, Child>,
    /// Names of functions, types, traits, constants and macros defined in it.
    pub items: BTreeSet<String>,
    /// Its `use` declarations, one for each name, also those within functions.
    pub uses: Vec<Use>,
    /// Every other path in it.
    pub mentions: Vec<Mention>,
}

/// A declared module.
#[derive(Debug)]
pub struct Child {
    /// The text, for a module that is not a file of its own.
    pub inline: Option<Scope>,
    /// What a `#[path = "…"]` says.
    pub path: Option<String>,
}

/// One name brought in by `use`.
#[derive(Debug)]
pub struct Use {
    /// What is imported; without the last `*` for a glob.
    pub path: Vec<String>,
    /// The name that it gets here, none for a glob.
    pub name: Option<String>,
    /// Whether it is passed on: `pub use`, `pub(crate) use`, …
    pub public: bool,
    /// Where it stands.
    pub line: usize,
}

/// A path in an expression, a type, a pattern or the arguments of a macro.
#[derive(Debug)]
pub struct Mention {
    /// Its segments, without generics.
    pub path: Vec<String>,
    /// Where it stands.
    pub line: usize,
}

/// Reads the module that a file is.
pub fn read(file: &syn::File) -> Scope {
    let mut reader = Reader {
        scope: Scope::default(),
    };
    reader.define(&file.items);
    for item in &file.items {
        reader.visit_item(item);
    }
    reader.scope
}

/// Whether an item is there for tests only.
pub fn is_test(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let path = attribute.path();
        if path
            .segments
            .last()
            .is_some_and(|last| last.ident == "test")
        {
            return true;
        }
        path.is_ident("cfg")
            && attribute.meta.require_list().is_ok_and(|list| {
                let text: String = list.tokens.to_string().split_whitespace().collect();
                text == "test" || text.starts_with("all(test,")
            })
    })
}

/// The attributes of any item.
pub fn attributes(item: &syn::Item) -> &[syn::Attribute] {
    use syn::Item::*;
    match item {
        Const(item) => &item.attrs,
        Enum(item) => &item.attrs,
        ExternCrate(item) => &item.attrs,
        Fn(item) => &item.attrs,
        ForeignMod(item) => &item.attrs,
        Impl(item) => &item.attrs,
        Macro(item) => &item.attrs,
        Mod(item) => &item.attrs,
        Static(item) => &item.attrs,
        Struct(item) => &item.attrs,
        Trait(item) => &item.attrs,
        TraitAlias(item) => &item.attrs,
        Type(item) => &item.attrs,
        Union(item) => &item.attrs,
        Use(item) => &item.attrs,
        _ => &[],
    }
}

struct Reader {
    scope: Scope,
}

impl Reader {
    /// Notes what the items of a module define, before any of them is looked into.
    fn define(&mut self, items: &[syn::Item]) {
        use syn::Item::*;
        for item in items.iter().filter(|item| !is_test(attributes(item))) {
            let name = match item {
                Const(item) => &item.ident,
                Enum(item) => &item.ident,
                Fn(item) => &item.sig.ident,
                Static(item) => &item.ident,
                Struct(item) => &item.ident,
                Trait(item) => &item.ident,
                TraitAlias(item) => &item.ident,
                Type(item) => &item.ident,
                Union(item) => &item.ident,
                Macro(syn::ItemMacro {
                    ident: Some(name), ..
                }) => name,
                _ => continue,
            };
            self.scope.items.insert(name.to_string());
        }
    }

    fn import(&mut self, tree: &syn::UseTree, path: &mut Vec<String>, public: bool) {
        let line = match tree {
            syn::UseTree::Path(tree) => tree.ident.span(),
            syn::UseTree::Name(tree) => tree.ident.span(),
            syn::UseTree::Rename(tree) => tree.ident.span(),
            syn::UseTree::Glob(tree) => tree.star_token.span,
            syn::UseTree::Group(tree) => tree.brace_token.span.join(),
        }
        .start()
        .line;
        match tree {
            syn::UseTree::Path(head) => {
                path.push(head.ident.to_string());
                self.import(&head.tree, path, public);
                path.pop();
            }
            syn::UseTree::Group(group) => {
                for tree in &group.items {
                    self.import(tree, path, public);
                }
            }
            syn::UseTree::Glob(_) => {
                self.scope.uses.push(Use {
                    path: path.clone(),
                    name: None,
                    public,
                    line,
                });
            }
            syn::UseTree::Name(_) | syn::UseTree::Rename(_) => {
                let (ident, mut name) = match tree {
                    syn::UseTree::Name(leaf) => (leaf.ident.to_string(), leaf.ident.to_string()),
                    syn::UseTree::Rename(leaf) => (leaf.ident.to_string(), leaf.rename.to_string()),
                    _ => return,
                };
                let mut path = path.clone();
                if ident == "self" && !path.is_empty() {
                    if name == "self" {
                        name = path.last().cloned().unwrap_or_default();
                    }
                } else {
                    path.push(ident);
                }
                self.scope.uses.push(Use {
                    path,
                    name: Some(name),
                    public,
                    line,
                });
            }
        }
    }

    /// Paths in what a macro is given, which is no syntax yet.
    fn scan(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let mut line = 0;
        let mut colons = 0;
        // A name after a dot is a field or a method.
        let mut member = false;
        for tree in tokens {
            match tree {
                TokenTree::Ident(word) if colons == 2 && !path.is_empty() => {
                    path.push(word.to_string());
                    colons = 0;
                }
                TokenTree::Punct(mark) if mark.as_char() == ':' && colons < 2 => colons += 1,
                other => {
                    self.mention(&mut path, line);
                    colons = 0;
                    match other {
                        TokenTree::Ident(word) if !member => {
                            line = word.span().start().line;
                            path.push(word.to_string());
                        }
                        TokenTree::Group(group) => self.scan(group.stream()),
                        TokenTree::Punct(mark) => {
                            member = mark.as_char() == '.';
                            continue;
                        }
                        _ => {}
                    }
                    member = false;
                }
            }
        }
        self.mention(&mut path, line);
    }

    fn mention(&mut self, path: &mut Vec<String>, line: usize) {
        if !path.is_empty() {
            self.scope.mentions.push(Mention {
                path: std::mem::take(path),
                line,
            });
        }
    }
}

impl<'ast> Visit<'ast> for Reader {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        if !is_test(attributes(item)) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        let path = module
            .attrs
            .iter()
            .find_map(|attribute| match &attribute.meta {
                syn::Meta::NameValue(syn::MetaNameValue {
                    path,
                    value:
                        syn::Expr::Lit(syn::ExprLit {
                            lit: syn::Lit::Str(value),
                            ..
                        }),
                    ..
                }) if path.is_ident("path") => Some(value.value()),
                _ => None,
            });
        let inline = module.content.as_ref().map(|(_, items)| {
            let mut inner = Reader {
                scope: Scope::default(),
            };
            inner.define(items);
            for item in items {
                inner.visit_item(item);
            }
            inner.scope
        });
        self.scope
            .children
            .insert(module.ident.to_string(), Child { inline, path });
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        if item.leading_colon.is_none() {
            let public = !matches!(item.vis, syn::Visibility::Inherited);
            self.import(&item.tree, &mut Vec::new(), public);
        }
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        if !is_test(&function.attrs) {
            visit::visit_impl_item_fn(self, function);
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.leading_colon.is_none() {
            let mut segments: Vec<String> = path
                .segments
                .iter()
                .map(|segment| segment.ident.to_string())
                .collect();
            let line = path
                .segments
                .first()
                .map_or(0, |head| head.ident.span().start().line);
            self.mention(&mut segments, line);
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        visit::visit_macro(self, call);
        self.scan(call.tokens.clone());
    }

    // Neither is a use: `pub(in crate::a)`, and attributes, whose arguments are a macro's affair.
    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {}
    fn visit_attribute(&mut self, _: &'ast syn::Attribute) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(text: &str) -> Scope {
        read(&syn::parse_file(text).unwrap())
    }

    #[test]
    fn uses_are_taken_apart() {
        let scope = scope("use a::{self, b::C as D, e::*}; pub(super) use super::f;");
        let uses: Vec<_> = scope
            .uses
            .iter()
            .map(|item| (item.path.join("::"), item.name.as_deref(), item.public))
            .collect();
        assert_eq!(
            uses,
            [
                ("a".to_owned(), Some("a"), false),
                ("a::b::C".to_owned(), Some("D"), false),
                ("a::e".to_owned(), None, false),
                ("super::f".to_owned(), Some("f"), true),
            ]
        );
    }

    #[test]
    fn paths_are_seen_in_types_expressions_and_macros_but_not_in_tests() {
        let scope = scope(
            "fn f(a: crate::A) -> b::B<c::C> { println!(\"{}\", d::e(x.y::z, g.h)); super::i() }
             #[cfg(test)] mod t { use super::j; } #[cfg(test)] fn k() { l::m() }",
        );
        let paths: Vec<String> = scope
            .mentions
            .iter()
            .map(|mention| mention.path.join("::"))
            .collect();
        for path in ["crate::A", "b::B", "c::C", "d::e", "super::i"] {
            assert!(
                paths.iter().any(|found| found == path),
                "{path} in {paths:?}"
            );
        }
        for path in ["y", "h", "l::m"] {
            assert!(
                !paths.iter().any(|found| found == path),
                "{path} in {paths:?}"
            );
        }
        assert!(scope.children.is_empty());
    }
}
