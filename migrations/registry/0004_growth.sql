-- What collections and rules ask must not grow with what other repositories hold, and rules need to
-- know in what order tags were pushed and since when a manifest has none.

-- A base layer is needed by manifests of every repository: whether one of *this* repository needs it
-- is a question to one index. The repository is the manifest's, and goes with it: no foreign key.
CREATE TABLE needed (
    manifest_id   INTEGER NOT NULL REFERENCES manifests (id) ON DELETE CASCADE,
    blob_id       INTEGER NOT NULL REFERENCES blobs (id),
    repository_id INTEGER NOT NULL,
    PRIMARY KEY (manifest_id, blob_id)
) STRICT, WITHOUT ROWID;
INSERT INTO needed (manifest_id, blob_id, repository_id)
SELECT n.manifest_id, n.blob_id, m.repository_id
FROM manifest_blobs n JOIN manifests m ON m.id = n.manifest_id;
DROP TABLE manifest_blobs;
ALTER TABLE needed RENAME TO manifest_blobs;
CREATE INDEX manifest_blobs_by_blob ON manifest_blobs (blob_id, repository_id);

CREATE TABLE listed (
    manifest_id   INTEGER NOT NULL REFERENCES manifests (id) ON DELETE CASCADE,
    child_digest  TEXT    NOT NULL,
    repository_id INTEGER NOT NULL,
    PRIMARY KEY (manifest_id, child_digest)
) STRICT, WITHOUT ROWID;
INSERT INTO listed (manifest_id, child_digest, repository_id)
SELECT c.manifest_id, c.child_digest, m.repository_id
FROM manifest_children c JOIN manifests m ON m.id = c.manifest_id;
DROP TABLE manifest_children;
ALTER TABLE listed RENAME TO manifest_children;
CREATE INDEX manifest_children_by_child ON manifest_children (repository_id, child_digest);

-- The order of pushes, which seconds do not tell.
CREATE TABLE push_order (
    id   INTEGER PRIMARY KEY CHECK (id = 1),
    last INTEGER NOT NULL
) STRICT;
ALTER TABLE tags ADD COLUMN sequence INTEGER NOT NULL DEFAULT 0;
UPDATE tags SET sequence = o.at FROM (
    SELECT repository_id, name, row_number() OVER (ORDER BY updated_at, name) AS at FROM tags) o
WHERE o.repository_id = tags.repository_id AND o.name = tags.name;
INSERT INTO push_order (id, last) SELECT 1, coalesce(max(sequence), 0) FROM tags;

-- Since when a manifest has no tag, if it has none: when it lost the last one, or was pushed.
-- Where the history does not know when a tag went, time begins now.
ALTER TABLE manifests ADD COLUMN untagged_at INTEGER NOT NULL DEFAULT 0;
UPDATE manifests SET untagged_at = max(pushed_at, coalesce((
    SELECT max(coalesce(h.until, unixepoch())) FROM tag_history h
    WHERE h.repository_id = manifests.repository_id AND h.digest = manifests.digest), 0))
WHERE id NOT IN (SELECT manifest_id FROM tags)
  AND EXISTS (SELECT 1 FROM tag_history);
UPDATE manifests SET untagged_at = pushed_at WHERE untagged_at = 0;

-- It knew nothing else that anybody asks for, and grew with every push.
DROP TABLE tag_history;

CREATE TRIGGER tag_gone AFTER DELETE ON tags
WHEN NOT EXISTS (SELECT 1 FROM tags t WHERE t.manifest_id = OLD.manifest_id)
BEGIN
    UPDATE manifests SET untagged_at = unixepoch() WHERE id = OLD.manifest_id;
END;

CREATE TRIGGER tag_moved AFTER UPDATE OF manifest_id ON tags
WHEN OLD.manifest_id <> NEW.manifest_id
 AND NOT EXISTS (SELECT 1 FROM tags t WHERE t.manifest_id = OLD.manifest_id)
BEGIN
    UPDATE manifests SET untagged_at = unixepoch() WHERE id = OLD.manifest_id;
END;

-- What an index or a subject kept is without tag since that one was. Two statements: one with OR
-- would look at the whole repository.
CREATE TRIGGER keeper_gone BEFORE DELETE ON manifests
BEGIN
    UPDATE manifests SET untagged_at = max(untagged_at, CASE
        WHEN EXISTS (SELECT 1 FROM tags t WHERE t.manifest_id = OLD.id) THEN unixepoch()
        ELSE OLD.untagged_at END)
    WHERE repository_id = OLD.repository_id AND subject = OLD.digest;
    UPDATE manifests SET untagged_at = max(untagged_at, CASE
        WHEN EXISTS (SELECT 1 FROM tags t WHERE t.manifest_id = OLD.id) THEN unixepoch()
        ELSE OLD.untagged_at END)
    WHERE repository_id = OLD.repository_id AND digest IN (
        SELECT child_digest FROM manifest_children WHERE manifest_id = OLD.id);
END;
