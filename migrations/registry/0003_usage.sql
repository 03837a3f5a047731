-- How many bytes each repository shows, and how many are stored in all. Kept by triggers, so that
-- whatever changes what is shown changes these in the same transaction.

ALTER TABLE repositories ADD COLUMN bytes INTEGER NOT NULL DEFAULT 0;

UPDATE repositories SET bytes = (
    SELECT coalesce(sum(b.size), 0) FROM blobs b WHERE b.id IN (
        SELECT rb.blob_id FROM repository_blobs rb WHERE rb.repository_id = repositories.id
        UNION
        SELECT m.blob_id FROM manifests m WHERE m.repository_id = repositories.id));

CREATE TABLE stored_bytes (
    id    INTEGER PRIMARY KEY CHECK (id = 1),
    bytes INTEGER NOT NULL
) STRICT;

INSERT INTO stored_bytes (id, bytes)
SELECT 1, coalesce(sum(size), 0) FROM blobs WHERE stored = 1;

-- A blob counts once in a repository, also when the repository shows the same bytes both as a blob
-- and as a manifest.
CREATE TRIGGER usage_blob_shown AFTER INSERT ON repository_blobs
WHEN NOT EXISTS (
    SELECT 1 FROM manifests m WHERE m.repository_id = NEW.repository_id
      AND m.digest = (SELECT digest FROM blobs WHERE id = NEW.blob_id))
BEGIN
    UPDATE repositories SET bytes = bytes + (SELECT size FROM blobs WHERE id = NEW.blob_id)
    WHERE id = NEW.repository_id;
END;

CREATE TRIGGER usage_blob_gone AFTER DELETE ON repository_blobs
WHEN NOT EXISTS (
    SELECT 1 FROM manifests m WHERE m.repository_id = OLD.repository_id
      AND m.digest = (SELECT digest FROM blobs WHERE id = OLD.blob_id))
BEGIN
    UPDATE repositories SET bytes = bytes - (SELECT size FROM blobs WHERE id = OLD.blob_id)
    WHERE id = OLD.repository_id;
END;

CREATE TRIGGER usage_manifest_shown AFTER INSERT ON manifests
WHEN NOT EXISTS (
    SELECT 1 FROM repository_blobs rb
    WHERE rb.repository_id = NEW.repository_id AND rb.blob_id = NEW.blob_id)
BEGIN
    UPDATE repositories SET bytes = bytes + (SELECT size FROM blobs WHERE id = NEW.blob_id)
    WHERE id = NEW.repository_id;
END;

CREATE TRIGGER usage_manifest_gone AFTER DELETE ON manifests
WHEN NOT EXISTS (
    SELECT 1 FROM repository_blobs rb
    WHERE rb.repository_id = OLD.repository_id AND rb.blob_id = OLD.blob_id)
BEGIN
    UPDATE repositories SET bytes = bytes - (SELECT size FROM blobs WHERE id = OLD.blob_id)
    WHERE id = OLD.repository_id;
END;

CREATE TRIGGER usage_stored AFTER INSERT ON blobs WHEN NEW.stored = 1
BEGIN
    UPDATE stored_bytes SET bytes = bytes + NEW.size;
END;

CREATE TRIGGER usage_stored_changed AFTER UPDATE OF size, stored ON blobs
WHEN OLD.size * OLD.stored <> NEW.size * NEW.stored
BEGIN
    UPDATE stored_bytes SET bytes = bytes + NEW.size * NEW.stored - OLD.size * OLD.stored;
END;

CREATE TRIGGER usage_stored_gone AFTER DELETE ON blobs WHEN OLD.stored = 1
BEGIN
    UPDATE stored_bytes SET bytes = bytes - OLD.size;
END;
