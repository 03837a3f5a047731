-- Indexes (manifest lists): one name, an image for each platform. `digest` is the document's, whose
-- bytes are a blob.
CREATE TABLE indexes (
    id         INTEGER PRIMARY KEY,
    digest     TEXT    NOT NULL UNIQUE,
    media_type TEXT    NOT NULL,
    size       INTEGER NOT NULL,
    last_used  INTEGER NOT NULL,
    -- Removed by the user while a running process may still read it.
    removed    INTEGER NOT NULL DEFAULT 0
) STRICT;

-- What an index lists, from position 0. An entry without image is for a platform that is not here,
-- or no image at all; `present` says that its manifest is a blob here nevertheless.
CREATE TABLE index_manifests (
    index_id     INTEGER NOT NULL REFERENCES indexes (id) ON DELETE CASCADE,
    position     INTEGER NOT NULL,
    digest       TEXT    NOT NULL,
    media_type   TEXT    NOT NULL,
    size         INTEGER NOT NULL,
    os           TEXT,
    architecture TEXT,
    variant      TEXT,
    os_version   TEXT,
    present      INTEGER NOT NULL,
    image_id     INTEGER REFERENCES images (id) ON DELETE SET NULL,
    PRIMARY KEY (index_id, position)
) STRICT, WITHOUT ROWID;
CREATE INDEX index_manifests_by_image ON index_manifests (image_id);
CREATE INDEX index_manifests_by_digest ON index_manifests (digest);

-- Blobs that an index needs beside its images: what statements about them consist of.
CREATE TABLE index_blobs (
    index_id INTEGER NOT NULL REFERENCES indexes (id) ON DELETE CASCADE,
    digest   TEXT    NOT NULL,
    PRIMARY KEY (index_id, digest)
) STRICT, WITHOUT ROWID;
CREATE INDEX index_blobs_by_digest ON index_blobs (digest);

-- A name points to an image or to an index.
CREATE TABLE new_tags (
    repository TEXT    NOT NULL,
    tag        TEXT    NOT NULL,
    image_id   INTEGER REFERENCES images (id) ON DELETE CASCADE,
    index_id   INTEGER REFERENCES indexes (id) ON DELETE CASCADE,
    PRIMARY KEY (repository, tag),
    CHECK ((image_id IS NULL) <> (index_id IS NULL))
) STRICT, WITHOUT ROWID;
INSERT INTO new_tags (repository, tag, image_id) SELECT repository, tag, image_id FROM tags;
DROP TABLE tags;
ALTER TABLE new_tags RENAME TO tags;
CREATE INDEX tags_by_image ON tags (image_id);
CREATE INDEX tags_by_index ON tags (index_id);

-- Under which digest a repository has an image or an index. An image that was pulled by way of an
-- index that is not here is known by that index's digest.
CREATE TABLE new_repo_digests (
    repository TEXT    NOT NULL,
    digest     TEXT    NOT NULL,
    image_id   INTEGER REFERENCES images (id) ON DELETE CASCADE,
    index_id   INTEGER REFERENCES indexes (id) ON DELETE CASCADE,
    PRIMARY KEY (repository, digest),
    CHECK ((image_id IS NULL) <> (index_id IS NULL))
) STRICT, WITHOUT ROWID;
INSERT INTO new_repo_digests (repository, digest, image_id)
    SELECT repository, digest, image_id FROM repo_digests;
DROP TABLE repo_digests;
ALTER TABLE new_repo_digests RENAME TO repo_digests;
CREATE INDEX repo_digests_by_image ON repo_digests (image_id);
CREATE INDEX repo_digests_by_index ON repo_digests (index_id);
CREATE INDEX repo_digests_by_digest ON repo_digests (digest);
