-- What happened lately, for people: a line of the audit log each, as JSON. The newest 20,000 are kept; looking through
-- all of them takes milliseconds, so that nothing has to be kept in order for that.
CREATE TABLE activity (
    id         INTEGER PRIMARY KEY,
    action     TEXT NOT NULL,
    actor      TEXT NOT NULL,
    repository TEXT NOT NULL,
    line       TEXT NOT NULL
) STRICT;

CREATE TRIGGER activity_kept AFTER INSERT ON activity
BEGIN
    DELETE FROM activity WHERE id <= NEW.id - 20000;
END;

-- Who pushed it; null when nobody said, or it was before that was noted.
ALTER TABLE tags ADD COLUMN actor TEXT;

-- Who had pushed it there, and who deleted it.
ALTER TABLE tag_past ADD COLUMN actor TEXT;
ALTER TABLE tag_past ADD COLUMN deleted_by TEXT;

DROP TRIGGER tag_past_moved;
CREATE TRIGGER tag_past_moved BEFORE UPDATE OF manifest_id ON tags
WHEN OLD.manifest_id <> NEW.manifest_id
BEGIN
    INSERT INTO tag_past (repository, tag, digest, media_type, since, until, actor)
    SELECT r.name, OLD.name, m.digest, m.media_type, OLD.updated_at, unixepoch(), OLD.actor
    FROM repositories r, manifests m WHERE r.id = OLD.repository_id AND m.id = OLD.manifest_id;
END;

DROP TRIGGER tag_past_gone;
CREATE TRIGGER tag_past_gone BEFORE DELETE ON tags
BEGIN
    INSERT INTO tag_past (repository, tag, digest, media_type, since, until, actor)
    SELECT r.name, OLD.name, m.digest, m.media_type, OLD.updated_at, unixepoch(), OLD.actor
    FROM repositories r, manifests m WHERE r.id = OLD.repository_id AND m.id = OLD.manifest_id;
END;

-- Who moved it says so in the same transaction, if they say it at all.
CREATE TRIGGER tag_actor_unknown AFTER UPDATE OF manifest_id, updated_at ON tags
WHEN OLD.actor IS NOT NULL
BEGIN
    UPDATE tags SET actor = NULL WHERE repository_id = NEW.repository_id AND name = NEW.name;
END;
