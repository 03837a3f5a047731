//! A syntax tree as text again.

use crate::parser::Ast;

/// Writes the tree so that parsing the text gives the same tree, places apart: each instruction on
/// one line with the comments that belong to it above and its here-documents below; other comments
/// and empty lines are gone.
pub fn print(ast: &Ast) -> String {
    let mut out = String::new();
    let directives = [
        ("syntax", &ast.directives.syntax),
        ("escape", &ast.directives.escape),
        ("check", &ast.directives.check),
    ];
    for (name, value) in directives {
        if let Some(value) = value {
            out.push_str(&format!("# {name}={}\n", value.text));
        }
    }
    // Ends the directives: what follows may look like one, or begin with a byte order mark.
    out.push('\n');
    let escape = ast.directives.escape_char();
    for (index, node) in ast.nodes.iter().enumerate() {
        if index > 0 {
            out.push('\n');
        }
        for comment in &node.comments {
            out.push_str(&format!("# {}\n", comment.text));
        }
        out.push_str(&node.code);
        // Only at the end of a file can an instruction end in a dangling continuation.
        let blank = [' ', '\t'];
        let open = node.code.trim_end_matches(blank).strip_suffix(escape);
        let open = open.is_some_and(|before| !before.ends_with(escape));
        if node.code.is_empty() || node.code.ends_with('\r') || open {
            out.push(escape);
        }
        out.push('\n');
        for heredoc in &node.heredocs {
            out.push_str(&heredoc.content);
            out.push_str(&heredoc.name);
            out.push('\n');
        }
    }
    out
}
