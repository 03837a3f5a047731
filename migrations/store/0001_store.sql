-- The builder's local store. Times are seconds since the epoch; digests are `algorithm:hex`.
-- A row never refers to a blob or directory that is not there yet: content first, row last.

CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- One unpacked layer each, in snapshots/<id>/fs. IDs are random, so that none is ever used again
-- for other content: not after a rollback, a deletion or a power cut.
CREATE TABLE snapshots (
    id          INTEGER PRIMARY KEY,
    chain_id    TEXT    NOT NULL UNIQUE,
    parent_id   INTEGER REFERENCES snapshots (id) ON DELETE CASCADE,
    diff_id     TEXT    NOT NULL,
    size_tar    INTEGER NOT NULL,
    size_disk   INTEGER NOT NULL,
    clamp_mtime INTEGER,
    -- The boot in whose page cache part of the files may be; NULL once all of them are on disk.
    boot_id     TEXT,
    created_at  INTEGER NOT NULL,
    last_used   INTEGER NOT NULL
) STRICT;
CREATE INDEX snapshots_by_parent ON snapshots (parent_id);
CREATE INDEX snapshots_by_diff_id ON snapshots (diff_id);
CREATE INDEX snapshots_not_durable ON snapshots (boot_id) WHERE boot_id IS NOT NULL;

-- `digest` is the configuration's, which is the image ID.
CREATE TABLE images (
    id                  INTEGER PRIMARY KEY,
    digest              TEXT    NOT NULL UNIQUE,
    created             TEXT,
    os                  TEXT    NOT NULL,
    architecture        TEXT    NOT NULL,
    variant             TEXT,
    size                INTEGER NOT NULL,
    -- The manifest that came with a pulled or loaded image, as a blob; NULL for built ones.
    manifest_digest     TEXT,
    manifest_media_type TEXT,
    manifest_size       INTEGER,
    last_used           INTEGER NOT NULL,
    -- Removed by the user while a running process may still read its content.
    removed             INTEGER NOT NULL DEFAULT 0
) STRICT;

-- Bottom first, from position 0.
CREATE TABLE image_layers (
    image_id INTEGER NOT NULL REFERENCES images (id) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    diff_id  TEXT    NOT NULL,
    chain_id TEXT    NOT NULL,
    PRIMARY KEY (image_id, position)
) STRICT, WITHOUT ROWID;
CREATE INDEX image_layers_by_chain_id ON image_layers (chain_id);
CREATE INDEX image_layers_by_diff_id ON image_layers (diff_id);

CREATE TABLE tags (
    repository TEXT    NOT NULL,
    tag        TEXT    NOT NULL,
    image_id   INTEGER NOT NULL REFERENCES images (id) ON DELETE CASCADE,
    PRIMARY KEY (repository, tag)
) STRICT, WITHOUT ROWID;
CREATE INDEX tags_by_image ON tags (image_id);

-- Under which manifest (or index) digest an image is known to be in a repository.
CREATE TABLE repo_digests (
    repository TEXT    NOT NULL,
    digest     TEXT    NOT NULL,
    image_id   INTEGER NOT NULL REFERENCES images (id) ON DELETE CASCADE,
    PRIMARY KEY (repository, digest)
) STRICT, WITHOUT ROWID;
CREATE INDEX repo_digests_by_image ON repo_digests (image_id);
CREATE INDEX repo_digests_by_digest ON repo_digests (digest);

-- The known blobs of a layer: the same tar, plain or compressed.
CREATE TABLE layer_blobs (
    diff_id     TEXT    NOT NULL,
    digest      TEXT    NOT NULL,
    media_type  TEXT    NOT NULL,
    size        INTEGER NOT NULL,
    recorded_at INTEGER NOT NULL,
    PRIMARY KEY (diff_id, digest)
) STRICT, WITHOUT ROWID;
CREATE INDEX layer_blobs_by_digest ON layer_blobs (digest);

-- Remote repositories known to hold a blob, for mounting it across repositories.
CREATE TABLE blob_sources (
    digest     TEXT    NOT NULL,
    repository TEXT    NOT NULL,
    seen_at    INTEGER NOT NULL,
    PRIMARY KEY (digest, repository)
) STRICT, WITHOUT ROWID;

-- What a build step with this key led to.
CREATE TABLE cache_records (
    key         TEXT    PRIMARY KEY,
    chain_id    TEXT    REFERENCES snapshots (chain_id) ON DELETE CASCADE,
    diff_id     TEXT,
    created     TEXT    NOT NULL,
    description TEXT    NOT NULL,
    size        INTEGER NOT NULL,
    created_at  INTEGER NOT NULL,
    last_used   INTEGER NOT NULL,
    uses        INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX cache_records_by_chain_id ON cache_records (chain_id);
