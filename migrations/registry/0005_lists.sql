-- What lists of repositories and tags show beside names, in the orders that they are asked for, and
-- what can be searched. Triggers keep all of it, in the transaction of what it tells of. What is
-- there already is put in later, a slice at a time (list_fill): an upgrade does not wait for it.

-- Whether the last manifest was deleted and none came since: such a repository is not listed.
ALTER TABLE repositories ADD COLUMN emptied INTEGER NOT NULL DEFAULT 0;

-- Platforms separated by spaces; the bytes of the manifest and of all that it brings along, those of
-- an index with its children; when the image was made, in seconds since 1970.
ALTER TABLE manifests ADD COLUMN platforms TEXT;
ALTER TABLE manifests ADD COLUMN content_bytes INTEGER NOT NULL DEFAULT 0;
ALTER TABLE manifests ADD COLUMN created_at INTEGER;

-- Every repository that is listed. Times are 0 where nothing was pushed or pulled.
CREATE TABLE repository_list (
    repository_id INTEGER PRIMARY KEY,
    name          TEXT    NOT NULL UNIQUE,
    tags          INTEGER NOT NULL DEFAULT 0,
    bytes         INTEGER NOT NULL DEFAULT 0,
    pushed_at     INTEGER NOT NULL DEFAULT 0,
    pulled_at     INTEGER NOT NULL DEFAULT 0,
    description   TEXT    NOT NULL DEFAULT ''
) STRICT;
CREATE INDEX repository_list_by_time ON repository_list (pushed_at, name);
CREATE INDEX repository_list_by_size ON repository_list (bytes, name);

-- Every tag, by what it is sorted by.
CREATE TABLE tag_list (
    repository_id INTEGER NOT NULL,
    name          TEXT    NOT NULL,
    sequence      INTEGER NOT NULL,
    bytes         INTEGER NOT NULL,
    PRIMARY KEY (repository_id, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX tag_list_by_time ON tag_list (repository_id, sequence, name);
CREATE INDEX tag_list_by_size ON tag_list (repository_id, bytes, name);

-- A document for each listed repository: its name between slashes, and the labels and annotations of the image that
-- was pushed last. Words are found by any three letters in a row.
CREATE VIRTUAL TABLE repository_search USING fts5(name, words, tokenize = 'trigram');

-- Where tags pointed before they moved or went.
CREATE TABLE tag_past (
    id         INTEGER PRIMARY KEY,
    repository TEXT    NOT NULL,
    tag        TEXT    NOT NULL,
    digest     TEXT    NOT NULL,
    media_type TEXT    NOT NULL,
    since      INTEGER NOT NULL,
    until      INTEGER NOT NULL
) STRICT;
CREATE INDEX tag_past_by_tag ON tag_past (repository, tag, id);
CREATE INDEX tag_past_by_time ON tag_past (until);

-- How far what was there before is put into the tables above: after which row of which kind.
CREATE TABLE list_fill (
    step          INTEGER PRIMARY KEY,
    kind          TEXT    NOT NULL,
    repository_id INTEGER NOT NULL DEFAULT 0,
    name          TEXT    NOT NULL DEFAULT ''
) STRICT;
INSERT INTO list_fill (step, kind)
SELECT value ->> 0, value ->> 1
FROM json_each('[[1,"repositories"],[2,"manifests"],[3,"tags"],[4,"words"]]')
WHERE EXISTS (SELECT 1 FROM repositories);

CREATE TRIGGER list_repository AFTER INSERT ON repositories
BEGIN
    INSERT INTO repository_list (repository_id, name, bytes) VALUES (NEW.id, NEW.name, NEW.bytes);
END;

CREATE TRIGGER list_bytes AFTER UPDATE OF bytes ON repositories
BEGIN
    UPDATE repository_list SET bytes = NEW.bytes WHERE repository_id = NEW.id;
END;

CREATE TRIGGER list_gone AFTER DELETE ON repositories
BEGIN
    DELETE FROM repository_list WHERE repository_id = OLD.id;
END;

CREATE TRIGGER list_emptied AFTER DELETE ON manifests
WHEN NOT EXISTS (SELECT 1 FROM manifests m WHERE m.repository_id = OLD.repository_id)
BEGIN
    UPDATE repositories SET emptied = 1 WHERE id = OLD.repository_id;
    DELETE FROM repository_list WHERE repository_id = OLD.repository_id;
END;

CREATE TRIGGER list_pushed AFTER INSERT ON manifests
BEGIN
    UPDATE repositories SET emptied = 0 WHERE id = NEW.repository_id AND emptied = 1;
    INSERT INTO repository_list (repository_id, name, bytes, pushed_at)
    SELECT r.id, r.name, r.bytes, NEW.pushed_at FROM repositories r WHERE r.id = NEW.repository_id
    ON CONFLICT DO UPDATE SET pushed_at = max(pushed_at, excluded.pushed_at);
END;

CREATE TRIGGER list_pushed_again AFTER UPDATE OF pushed_at ON manifests
BEGIN
    UPDATE repository_list SET pushed_at = max(pushed_at, NEW.pushed_at)
    WHERE repository_id = NEW.repository_id;
END;

CREATE TRIGGER list_described AFTER UPDATE OF content_bytes ON manifests
WHEN OLD.content_bytes <> NEW.content_bytes
BEGIN
    UPDATE tag_list SET bytes = NEW.content_bytes
    WHERE repository_id = NEW.repository_id
      AND name IN (SELECT t.name FROM tags t WHERE t.manifest_id = NEW.id);
END;

CREATE TRIGGER tag_listed AFTER INSERT ON tags
BEGIN
    INSERT INTO tag_list (repository_id, name, sequence, bytes)
    SELECT NEW.repository_id, NEW.name, NEW.sequence, m.content_bytes
    FROM manifests m WHERE m.id = NEW.manifest_id
    ON CONFLICT DO UPDATE SET sequence = excluded.sequence, bytes = excluded.bytes;
END;

CREATE TRIGGER tag_listed_again AFTER UPDATE OF manifest_id, sequence ON tags
BEGIN
    INSERT INTO tag_list (repository_id, name, sequence, bytes)
    SELECT NEW.repository_id, NEW.name, NEW.sequence, m.content_bytes
    FROM manifests m WHERE m.id = NEW.manifest_id
    ON CONFLICT DO UPDATE SET sequence = excluded.sequence, bytes = excluded.bytes;
END;

CREATE TRIGGER tag_unlisted AFTER DELETE ON tags
BEGIN
    DELETE FROM tag_list WHERE repository_id = OLD.repository_id AND name = OLD.name;
END;

CREATE TRIGGER list_tag AFTER INSERT ON tag_list
BEGIN
    INSERT INTO repository_list (repository_id, name, bytes)
    SELECT r.id, r.name, r.bytes FROM repositories r WHERE r.id = NEW.repository_id
    ON CONFLICT DO NOTHING;
    UPDATE repository_list SET tags = tags + 1 WHERE repository_id = NEW.repository_id;
END;

CREATE TRIGGER list_tag_gone AFTER DELETE ON tag_list
BEGIN
    UPDATE repository_list SET tags = tags - 1 WHERE repository_id = OLD.repository_id;
END;

CREATE TRIGGER search_listed AFTER INSERT ON repository_list
BEGIN
    INSERT INTO repository_search (rowid, name, words)
    VALUES (NEW.repository_id, '/' || NEW.name || '/', '');
END;

CREATE TRIGGER search_gone AFTER DELETE ON repository_list
BEGIN
    DELETE FROM repository_search WHERE rowid = OLD.repository_id;
END;

-- A manifest that goes takes its tags along; where it is gone already nobody can go back to it.
CREATE TRIGGER tag_past_moved BEFORE UPDATE OF manifest_id ON tags
WHEN OLD.manifest_id <> NEW.manifest_id
BEGIN
    INSERT INTO tag_past (repository, tag, digest, media_type, since, until)
    SELECT r.name, OLD.name, m.digest, m.media_type, OLD.updated_at, unixepoch()
    FROM repositories r, manifests m WHERE r.id = OLD.repository_id AND m.id = OLD.manifest_id;
END;

CREATE TRIGGER tag_past_gone BEFORE DELETE ON tags
BEGIN
    INSERT INTO tag_past (repository, tag, digest, media_type, since, until)
    SELECT r.name, OLD.name, m.digest, m.media_type, OLD.updated_at, unixepoch()
    FROM repositories r, manifests m WHERE r.id = OLD.repository_id AND m.id = OLD.manifest_id;
END;

-- Ten places for each tag, and none longer than thirty days: a few go whenever one comes.
CREATE TRIGGER tag_past_kept AFTER INSERT ON tag_past
BEGIN
    DELETE FROM tag_past WHERE id = (
        SELECT p.id FROM tag_past p WHERE p.repository = NEW.repository AND p.tag = NEW.tag
        ORDER BY p.id DESC LIMIT 1 OFFSET 10);
    DELETE FROM tag_past WHERE id IN (
        SELECT p.id FROM tag_past p WHERE p.until < unixepoch() - 30 * 86400
        ORDER BY p.until LIMIT 2);
END;
