//! `COPY` and `ADD`.

use super::flags::Takes;
use super::{Builder, word};
use crate::diagnostic::Code;
use crate::instruction::{Add, Copy, Files, Heredoc};
use crate::parser::marker;
use crate::span::{Span, Text};

impl Builder<'_, '_> {
    pub(super) fn copy(&mut self) -> Option<Copy> {
        let flags = self.flags(&[
            ("from", Takes::Value),
            ("chown", Takes::Value),
            ("chmod", Takes::Value),
            ("link", Takes::Bool),
            ("parents", Takes::Bool),
            ("exclude", Takes::Values),
        ]);
        let from = flags.value("from").filter(|from| !from.text.is_empty());
        if let Some(from) = &from
            && from.text.contains('$')
        {
            self.error(
                Code::InvalidFlag,
                from.span,
                "variable expansion is not supported for --from, define a new stage with FROM using ARG from global scope as a workaround",
                "write `FROM $VARIABLE AS name` above and use --from=name",
            );
        }
        Some(Copy {
            files: self.files("COPY")?,
            from,
            chown: flags.word("chown"),
            chmod: flags.word("chmod"),
            link: flags.switch("link").unwrap_or(false),
            parents: flags.switch("parents").unwrap_or(false),
            exclude: flags.values("exclude").into_iter().map(word).collect(),
        })
    }

    pub(super) fn add(&mut self) -> Option<Add> {
        let flags = self.flags(&[
            ("chown", Takes::Value),
            ("chmod", Takes::Value),
            ("link", Takes::Bool),
            ("keep-git-dir", Takes::Bool),
            ("checksum", Takes::Value),
            ("unpack", Takes::Bool),
            ("exclude", Takes::Values),
        ]);
        Some(Add {
            files: self.files("ADD")?,
            chown: flags.word("chown"),
            chmod: flags.word("chmod"),
            link: flags.switch("link").unwrap_or(false),
            keep_git_dir: flags.switch("keep-git-dir"),
            checksum: flags.word("checksum"),
            unpack: flags.switch("unpack"),
            exclude: flags.values("exclude").into_iter().map(word).collect(),
        })
    }

    pub(super) fn files(&mut self, keyword: &str) -> Option<Files> {
        let words = self.words();
        let Some((dest, sources)) = words
            .split_last()
            .filter(|(_, sources)| !sources.is_empty())
        else {
            let span = words
                .first()
                .map_or(self.node.keyword.span, |word| word.span);
            self.argument_error(
                span,
                format!(
                    "{keyword} requires at least two arguments, but only one was provided. \
                     Destination could not be determined"
                ),
                format!("write `{keyword} SOURCE DESTINATION`"),
            );
            return None;
        };
        let is_marker = |word: &Text| matches!(marker(&word.text), Ok(Some(_)));
        if is_marker(dest) {
            self.error(
                Code::MisplacedHeredoc,
                dest.span,
                format!("{keyword} cannot accept a heredoc as a destination"),
                "put the destination after the here-document's marker",
            );
            return None;
        }
        let mut files = Files {
            sources: Vec::new(),
            heredocs: Vec::new(),
            dest: word(dest.clone()),
        };
        for source in sources {
            match marker(&source.text) {
                Ok(Some(marker)) => files.heredocs.push(self.heredoc(&marker.name, source.span)),
                _ => files.sources.push(word(source.clone())),
            }
        }
        Some(files)
    }

    /// The body of a here-document by its name; the last of that name, as BuildKit has it.
    pub(super) fn heredoc(&self, name: &str, word: Span) -> Heredoc {
        match self
            .node
            .heredocs
            .iter()
            .rev()
            .find(|heredoc| heredoc.name == name)
        {
            Some(heredoc) => heredoc.clone(),
            // A marker from a JSON array has no body.
            None => Heredoc {
                name: name.to_owned(),
                content: String::new(),
                expand: false,
                chomp: false,
                fd: 0,
                word,
                span: Span::at(word.end),
            },
        }
    }
}
