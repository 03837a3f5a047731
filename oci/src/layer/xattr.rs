//! Which extended attributes belong to a layer.

/// Whether overlay marks a directory as opaque with this attribute, set to `y`.
pub(super) fn is_overlay_opaque(name: &[u8]) -> bool {
    matches!(name, b"trusted.overlay.opaque" | b"user.overlay.opaque")
}

/// Whether overlay keeps a file's content or name elsewhere when this attribute is there.
pub(super) fn is_overlay_indirection(name: &[u8]) -> bool {
    matches!(
        name,
        b"trusted.overlay.redirect"
            | b"user.overlay.redirect"
            | b"trusted.overlay.metacopy"
            | b"user.overlay.metacopy"
    )
}

/// Whether an attribute goes into a tar, and is set from one: what programs in the image can
/// see and use. Overlay's own bookkeeping, SELinux labels and whatever else belongs to the host
/// stay out.
pub fn is_portable(name: &[u8]) -> bool {
    match name {
        b"security.capability" | b"system.posix_acl_access" | b"system.posix_acl_default" => true,
        _ => {
            name.starts_with(b"user.")
                && name.len() > b"user.".len()
                && !name.starts_with(b"user.overlay.")
                && !name.contains(&b'=')
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_image_owns_is_portable() {
        for (name, portable) in [
            (&b"user.mime_type"[..], true),
            (b"security.capability", true),
            (b"system.posix_acl_access", true),
            (b"security.selinux", false),
            (b"security.ima", false),
            (b"trusted.overlay.opaque", false),
            (b"trusted.anything", false),
            (b"user.overlay.opaque", false),
            (b"user.overlay.origin", false),
            (b"user.", false),
            (b"user.a=b", false),
            (b"", false),
        ] {
            assert_eq!(is_portable(name), portable, "{}", name.escape_ascii());
        }
    }
}
