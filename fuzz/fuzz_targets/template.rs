//! Any text as a template, on a value with one of each kind: no panic, and what is wrong is told in
//! one line, the template's, and a caret below it.
#![no_main]

use golang::template::{Template, Types};
use libfuzzer_sys::fuzz_target;
use serde_json::json;

fuzz_target!(|text: &str| {
    let value = json!({
        "Name": "a b", "Size": 4096, "On": true, "None": null,
        "List": ["x", "y"], "Map": { "k": "v" },
    });
    let types = Types { maps: &["Map"], lists: &["List"], texts: &["Text"], pointers: &["Check"] };
    let template = match Template::parse(text) {
        Ok(template) => template,
        Err(error) => {
            assert!(error.to_string().ends_with('^'), "{error}");
            return;
        }
    };
    if let Err(error) = template.render(&value, &types) {
        assert!(error.to_string().ends_with('^'), "{error}");
    }
    let _ = template.render_header(&value);
});
