-- The image that an image was committed on. It may be gone since.
CREATE TABLE parents (
    image_id INTEGER PRIMARY KEY REFERENCES images (id) ON DELETE CASCADE,
    -- sha256:…
    parent   TEXT NOT NULL
) STRICT;
