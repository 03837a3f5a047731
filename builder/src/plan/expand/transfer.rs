//! COPY and ADD.

use dockerfile::diagnostic::{Code, Diagnostic};
use dockerfile::history;
use dockerfile::instruction::{Add, Copy, Files};
use dockerfile::shell::Lexer;
use dockerfile::span::Word;
use dockerfile::value::{AddSource, Chmod, SourceError};
use oci::Digest;

use super::{Expander, Outcome, Wrong};
use crate::plan::copy::{CopyFrom, CopyOp, CopySource, GitAdd};
use crate::plan::state::destination;
use crate::plan::step::Op;

impl Expander<'_> {
    pub(super) fn copy(&mut self, copy: &Copy) -> Outcome {
        let from = match &copy.from {
            None => Ok(CopyFrom::Context),
            Some(from) => {
                let index = self.input.stage.index;
                self.input.names.copy_from(index, &from.text, from.span)
            }
        };
        let op = self.files(&copy.files, &copy.chown, &copy.chmod, &copy.exclude);
        let (from, mut op) = match (from, op) {
            (Ok(from), Ok(op)) => (from, op),
            (from, op) => return Err(Wrong(from.err().into_iter().chain(op.err()).collect())),
        };
        for (source, word) in op.sources.iter().zip(&copy.files.sources) {
            let CopySource::Path(path) = source else {
                continue;
            };
            let what = match AddSource::parse(path) {
                Ok(AddSource::Local(_)) => continue,
                Ok(AddSource::Http(_)) => "a URL",
                Ok(AddSource::Git(_)) | Err(_) => "a git ref",
            };
            let message = format!("source can't be {what} for COPY");
            let error = Diagnostic::error(Code::InvalidArgument, message, word.span);
            return Err(error.help("write ADD instead of COPY").into());
        }
        op.from = from;
        op.parents = copy.parents;
        op.link = copy.link;
        let text = transfer_history(false, &op, &self.word(&copy.files.dest)?);
        Ok((Some(Op::Copy(Box::new(op))), Some(text)))
    }

    pub(super) fn add(&mut self, add: &Add) -> Outcome {
        let mut op = self.files(&add.files, &add.chown, &add.chmod, &add.exclude)?;
        for (source, word) in op.sources.iter_mut().zip(&add.files.sources) {
            let CopySource::Path(path) = &source else {
                continue;
            };
            let wrong =
                |e: SourceError| Diagnostic::error(Code::InvalidArgument, e.to_string(), word.span);
            match AddSource::parse(path).map_err(wrong)? {
                AddSource::Local(_) => {}
                AddSource::Http(_) => *source = CopySource::Url(path.clone()),
                AddSource::Git(git) => {
                    let kept = git.keeps_git_dir(add.keep_git_dir).map_err(wrong)?;
                    *source = CopySource::Git(GitAdd {
                        text: path.clone(),
                        source: git,
                        keep_git_dir: kept,
                    });
                }
            }
        }
        if let Some(word) = &add.checksum {
            let text = self.word(word)?;
            if add.files.sources.len() + add.files.heredocs.len() > 1 {
                let message = "checksum can't be specified for multiple sources";
                return Err(Diagnostic::error(Code::InvalidFlag, message, word.span)
                    .help("give each source an ADD of its own")
                    .into());
            }
            check_source(&mut op, &text, word)?;
        }
        op.link = add.link;
        op.unpack_local = add.unpack != Some(false);
        op.unpack = add.unpack;
        let text = transfer_history(true, &op, &self.word(&add.files.dest)?);
        Ok((Some(Op::Copy(Box::new(op))), Some(text)))
    }

    /// What COPY and ADD have in common.
    fn files(
        &self,
        files: &Files,
        chown: &Option<Word>,
        chmod: &Option<Word>,
        exclude: &[Word],
    ) -> Result<CopyOp, Diagnostic> {
        let mut sources = Vec::new();
        for word in &files.sources {
            let path = self.word(word)?;
            if path.is_empty() {
                let message = "the source is empty once its variables are expanded";
                return Err(Diagnostic::error(Code::InvalidArgument, message, word.span));
            }
            sources.push(CopySource::Path(path));
        }
        for heredoc in &files.heredocs {
            let body = heredoc.body();
            let content = if heredoc.expand {
                match Lexer::heredoc().expand_placed(&body, &self.state) {
                    Ok(expanded) => expanded.text,
                    Err(e) => return Err(Diagnostic::in_word(&e, |part| heredoc.place(part))),
                }
            } else {
                body.into_owned()
            };
            sources.push(CopySource::Inline {
                name: heredoc.name.clone(),
                content,
            });
        }
        let written = self.word(&files.dest)?;
        let place = self.path(&written, files.dest.span)?;
        let dest = destination(&self.state.cwd(), &place);
        let chown = chown.as_ref().map(|word| self.word(word)).transpose()?;
        let chmod = match chmod {
            None => None,
            Some(word) => {
                let text = self.word(word)?;
                let parsed = Chmod::parse(&text).map_err(|e| {
                    Diagnostic::error(Code::InvalidFlag, format!("{e}"), word.span)
                        .help("write the mode in octal (0755) or in letters (u+x)")
                })?;
                Some((text, parsed))
            }
        };
        let exclude = exclude
            .iter()
            .map(|w| self.word(w))
            .collect::<Result<_, _>>()?;
        Ok(CopyOp {
            sources,
            dest,
            chown: chown.filter(|c| !c.is_empty()),
            chmod,
            exclude,
            ..CopyOp::default()
        })
    }
}

/// `--checksum` of the one source that there is.
fn check_source(op: &mut CopyOp, text: &str, word: &Word) -> Result<(), Diagnostic> {
    let error = |message: &str, help: &str| {
        Err(Diagnostic::error(Code::InvalidFlag, message, word.span).help(help))
    };
    match op.sources.first_mut() {
        Some(CopySource::Url(_)) => match text.parse::<Digest>() {
            Ok(digest) => op.checksum = Some(digest),
            Err(e) => {
                let help = "write it as --checksum=sha256:<64 hex digits>";
                return error(&format!("{text:?}: {e}"), help);
            }
        },
        Some(CopySource::Git(git)) => {
            let hex = text.bytes().all(|b| b.is_ascii_hexdigit());
            if !hex || !(7..=64).contains(&text.len()) {
                let help = "write it as --checksum=<the commit, or at least 7 digits of it>";
                return error(&format!("{text:?} is no commit"), help);
            }
            match &git.source.checksum {
                Some(other) if other != text => {
                    let message = format!("checksum mismatch {text:?} != {other:?}");
                    return error(&message, "say it once: by the flag or in the address");
                }
                _ => git.source.checksum = Some(text.to_owned()),
            }
        }
        _ => {
            return error(
                "checksum requires HTTP(S) or Git sources",
                "leave --checksum out: the content of the build context is known",
            );
        }
    }
    Ok(())
}

/// The history of a COPY or ADD, with the destination as it was written.
fn transfer_history(add: bool, op: &CopyOp, dest: &str) -> String {
    let (mut sources, mut heredocs) = (Vec::new(), Vec::new());
    for source in &op.sources {
        match source {
            CopySource::Path(path) | CopySource::Url(path) => sources.push(path.clone()),
            CopySource::Git(git) => sources.push(git.text.clone()),
            CopySource::Inline { name, .. } => heredocs.push(name.clone()),
        }
    }
    history::transfer(&history::Transfer {
        add,
        parents: op.parents,
        chown: op.chown.as_deref(),
        chmod: op.chmod.as_ref().map(|(text, _)| text.as_str()),
        sources: &sources,
        heredocs: &heredocs,
        dest,
    })
}
