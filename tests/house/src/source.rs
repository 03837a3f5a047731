//! One source file as plain data.

use crate::scope::{self, Scope};
use crate::tokens::{self, Token};
use proc_macro2::TokenStream;
use std::collections::BTreeSet;
use syn::visit::{self, Visit};

/// A `.rs` file, read once for all rules.
#[derive(Debug)]
pub struct Source {
    /// Relative to the workspace's root, with `/`.
    pub path: String,
    /// As it stands on disk.
    pub text: String,
    /// Everything but comments.
    pub tokens: Vec<Token>,
    /// The module that it is.
    pub scope: Scope,
    /// Every function with a body, tests left out.
    pub functions: Vec<Function>,
    /// What it offers as `pub`, tests left out.
    pub public: Vec<Public>,
    /// Names in what other `pub` items of the file show: signatures, fields, implementations.
    pub shown: BTreeSet<String>,
}

/// A function's size.
#[derive(Debug)]
pub struct Function {
    /// Its own name.
    pub name: String,
    /// Where `fn` stands.
    pub line: usize,
    /// From `fn` to the closing brace.
    pub lines: usize,
}

/// A `pub` item.
#[derive(Debug)]
pub struct Public {
    /// Its name.
    pub name: String,
    /// `fn`, `struct`, `method`, …
    pub kind: &'static str,
    /// Where the name stands.
    pub line: usize,
}

impl Source {
    /// Reads a file's text.
    ///
    /// # Errors
    ///
    /// When it is not Rust; the message names the line.
    pub fn read(path: &str, text: &str) -> Result<Self, String> {
        let located = |error: syn::Error| format!("{path}:{}: {error}", error.span().start().line);
        let stream: TokenStream = text
            .parse()
            .map_err(|error: proc_macro2::LexError| located(error.into()))?;
        let tokens = tokens::flatten(&stream);
        let file: syn::File = syn::parse2(stream).map_err(located)?;
        let mut reader = Reader::default();
        reader.visit_file(&file);
        Ok(Self {
            path: path.to_owned(),
            text: text.to_owned(),
            tokens,
            scope: scope::read(&file),
            functions: reader.functions,
            public: reader.public,
            shown: reader.shown.0,
        })
    }
}

#[derive(Default)]
struct Reader {
    functions: Vec<Function>,
    public: Vec<Public>,
    shown: Words,
    trait_impl: bool,
}

impl Reader {
    fn function(&mut self, signature: &syn::Signature, body: &syn::Block) {
        let line = signature.fn_token.span.start().line;
        let lines = body.brace_token.span.close().end().line - line + 1;
        self.functions.push(Function {
            name: signature.ident.to_string(),
            line,
            lines,
        });
    }

    fn offer(&mut self, visibility: &syn::Visibility, name: &syn::Ident, kind: &'static str) {
        if matches!(visibility, syn::Visibility::Public(_)) {
            let line = name.span().start().line;
            self.public.push(Public {
                name: name.to_string(),
                kind,
                line,
            });
        }
    }
}

impl<'ast> Visit<'ast> for Reader {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        if scope::is_test(scope::attributes(item)) {
            return;
        }
        match item {
            syn::Item::Fn(item) => self.offer(&item.vis, &item.sig.ident, "fn"),
            syn::Item::Struct(item) => {
                self.offer(&item.vis, &item.ident, "struct");
                self.shown.visit_fields(&item.fields);
            }
            syn::Item::Enum(item) => {
                self.offer(&item.vis, &item.ident, "enum");
                for variant in &item.variants {
                    self.shown.visit_fields(&variant.fields);
                }
            }
            syn::Item::Trait(item) => {
                self.offer(&item.vis, &item.ident, "trait");
                for item in &item.items {
                    self.shown.visit_trait_item(item);
                }
            }
            syn::Item::Const(item) => {
                self.offer(&item.vis, &item.ident, "const");
                self.shown.visit_type(&item.ty);
            }
            syn::Item::Static(item) => {
                self.offer(&item.vis, &item.ident, "static");
                self.shown.visit_type(&item.ty);
            }
            syn::Item::Type(item) => {
                self.offer(&item.vis, &item.ident, "type");
                self.shown.visit_type(&item.ty);
            }
            _ => {}
        }
        visit::visit_item(self, item);
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.function(&item.sig, &item.block);
        self.shown.visit_signature(&item.sig);
        visit::visit_item_fn(self, item);
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        // `impl Trait<Shown> for …`: the trait itself may be of this file, and used through this.
        if let Some((_, path, _)) = &item.trait_ {
            self.shown.visit_path(path);
        }
        let outer = std::mem::replace(&mut self.trait_impl, item.trait_.is_some());
        visit::visit_item_impl(self, item);
        self.trait_impl = outer;
    }

    fn visit_impl_item_type(&mut self, item: &'ast syn::ImplItemType) {
        self.shown.visit_type(&item.ty);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        if scope::is_test(&item.attrs) {
            return;
        }
        self.function(&item.sig, &item.block);
        self.shown.visit_signature(&item.sig);
        if !self.trait_impl {
            self.offer(&item.vis, &item.sig.ident, "method");
        }
        visit::visit_impl_item_fn(self, item);
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        if let Some(body) = &item.default {
            self.function(&item.sig, body);
        }
        visit::visit_trait_item_fn(self, item);
    }
}

/// The names in types.
#[derive(Default)]
struct Words(BTreeSet<String>);

impl<'ast> Visit<'ast> for Words {
    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.0
            .extend(path.segments.last().map(|last| last.ident.to_string()));
        visit::visit_path(self, path);
    }
    fn visit_block(&mut self, _: &'ast syn::Block) {}
    fn visit_attribute(&mut self, _: &'ast syn::Attribute) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_measured_and_tests_left_out() {
        let text =
            "/// Doc\n#[inline]\npub fn a(\n) {\n}\nimpl X { fn b() {} }\n#[test]\nfn c() {}";
        let source = Source::read("a.rs", text).unwrap();
        let sizes: Vec<_> = source
            .functions
            .iter()
            .map(|f| (f.name.as_str(), f.line, f.lines))
            .collect();
        assert_eq!(sizes, [("a", 3, 3), ("b", 6, 1)]);
        assert_eq!(source.public.len(), 1);
    }

    #[test]
    fn what_is_no_rust_is_told_with_its_line() {
        assert!(
            Source::read("a.rs", "\nfn f( {")
                .unwrap_err()
                .starts_with("a.rs:2: ")
        );
    }
}
