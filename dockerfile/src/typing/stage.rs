//! `FROM`.

use super::flags::Takes;
use super::{Builder, description, header, word};
use crate::parser::comment_help;
use crate::span::Text;
use crate::stage::Stage;

impl Builder<'_, '_> {
    pub(super) fn stage(&mut self) -> Option<Stage> {
        let flags = self.flags(&[("platform", Takes::Value)]);
        let words = self.words();
        let (base, name) = match words {
            [base] => (base, None),
            [base, keyword, name] if keyword.text.eq_ignore_ascii_case("as") => {
                (base, Some((keyword, name)))
            }
            _ => {
                let span = words.get(1).map_or(self.node.keyword.span, |second| {
                    words
                        .iter()
                        .skip(1)
                        .fold(second.span, |span, word| span.join(word.span))
                });
                let help = comment_help(
                    words.iter().map(Text::as_str),
                    "write `FROM image` or `FROM image AS name`",
                );
                self.argument_error(span, "FROM requires either one or three arguments", help);
                return None;
            }
        };
        if let Some((_, name)) = name
            && !is_stage_name(&name.text)
        {
            let message = format!(
                "invalid name for build stage: {:?}, name can't start with a number or contain symbols",
                name.text
            );
            self.argument_error(
                name.span,
                message,
                "begin with a letter; then letters, digits, `-`, `_` and `.` may follow",
            );
        }
        let comment = name.and_then(|(_, name)| description(self.node, &name.text.to_lowercase()));
        Some(Stage {
            base: word(base.clone()),
            name_text: name.map(|(_, name)| name.clone()),
            as_keyword: name.map(|(keyword, _)| keyword.clone()),
            platform: flags.word("platform"),
            comment,
            instructions: Vec::new(),
            header: header(self.node),
        })
    }
}

fn is_stage_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
}
