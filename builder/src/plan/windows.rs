//! What is different where a Dockerfile is built for Windows: paths, and the shell.

use oci::Platform;

/// The words that a shell form is run by.
pub const SHELL: [&str; 3] = ["cmd", "/S", "/C"];

/// Where an image made from scratch begins.
pub const ROOT: &str = "\\";

/// Whether a platform is one of Windows.
pub fn is(platform: &Platform) -> bool {
    platform.os == "windows"
}

/// A path of the drive C as Linux would write it, as BuildKit does it.
///
/// # Errors
/// Of another drive, or of another computer: BuildKit's sentences.
pub fn slashed(path: &str) -> Result<String, String> {
    let path = path.replace('\\', "/");
    if path.starts_with("//") {
        return Err("UNC paths are not supported".to_owned());
    }
    let mut chars = path.chars();
    match (chars.next(), chars.next()) {
        (Some(_), Some(':')) if path.chars().count() == 2 => {
            Err(format!("No relative path specified in {path:?}"))
        }
        (Some('c' | 'C'), Some(':')) => Ok(chars.as_str().to_owned()),
        (Some(_), Some(':')) => {
            Err("The specified path is not on the system drive (C:)".to_owned())
        }
        _ => Ok(path),
    }
}

/// A path as Windows writes it.
pub fn written(path: &str) -> String {
    path.replace('/', ROOT)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The sentences are those of BuildKit in docker 28.
    #[test]
    fn paths_are_on_the_system_drive() {
        for (path, linux) in [
            ("C:\\app\\x", Ok("/app/x")),
            ("c:/app", Ok("/app")),
            ("\\t\\y", Ok("/t/y")),
            ("u\\v", Ok("u/v")),
            ("", Ok("")),
            (
                "D:\\x",
                Err("The specified path is not on the system drive (C:)"),
            ),
            ("C:", Err("No relative path specified in \"C:\"")),
            ("\\\\host\\x", Err("UNC paths are not supported")),
        ] {
            let found = slashed(path);
            assert_eq!(found.as_deref().map_err(String::as_str), linux, "{path}");
        }
        assert_eq!(written("/app/x"), "\\app\\x");
    }
}
