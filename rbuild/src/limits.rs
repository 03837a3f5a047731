//! Limits that the environment sets.

use oci::layer::compression::Bounds;

use crate::failure::{Failure, Outcome};

/// Bytes that one archive or layer may come to when decompressed, such as 512g; 0 for any number.
const SIZE: &str = "RBUILD_MAX_UNPACKED";
/// How many bytes one compressed byte may come to; 0 for any number.
const RATIO: &str = "RBUILD_MAX_RATIO";

/// Sets how far archives, layers and contexts may grow.
///
/// # Errors
/// A variable that is no number.
pub fn set() -> Outcome {
    let mut bounds = Bounds::default();
    if let Some(text) = variable(SIZE)? {
        bounds.size = golang::size::parse_size(&text)
            .ok_or_else(|| wrong(SIZE, &text, "a size such as 512g, or 0 for no limit"))?;
    }
    if let Some(text) = variable(RATIO)? {
        let number = text.parse();
        bounds.ratio =
            number.map_err(|_| wrong(RATIO, &text, "a number such as 5000, or 0 for no limit"))?;
    }
    bounds.set();
    Ok(())
}

fn variable(name: &str) -> Result<Option<String>, Failure> {
    match std::env::var(name) {
        Ok(text) if text.is_empty() => Ok(None),
        Ok(text) => Ok(Some(text)),
        Err(std::env::VarError::NotPresent) => Ok(None),
        Err(e) => Err(Failure::with_code(format!("{name}: {e}"), 125)),
    }
}

fn wrong(name: &str, text: &str, wanted: &str) -> Failure {
    Failure::with_code(format!("invalid {name} {text:?}: write {wanted}"), 125)
}
