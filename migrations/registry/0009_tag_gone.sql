-- Whether a tag went or was moved, when it left a place; null of places from before that was noted.
ALTER TABLE tag_past ADD COLUMN gone INTEGER;

DROP TRIGGER tag_past_moved;
CREATE TRIGGER tag_past_moved BEFORE UPDATE OF manifest_id ON tags
WHEN OLD.manifest_id <> NEW.manifest_id
BEGIN
    INSERT INTO tag_past (repository, tag, digest, media_type, since, until, actor, gone)
    SELECT r.name, OLD.name, m.digest, m.media_type, OLD.updated_at, unixepoch(), OLD.actor, 0
    FROM repositories r, manifests m WHERE r.id = OLD.repository_id AND m.id = OLD.manifest_id;
END;

DROP TRIGGER tag_past_gone;
CREATE TRIGGER tag_past_gone BEFORE DELETE ON tags
BEGIN
    INSERT INTO tag_past (repository, tag, digest, media_type, since, until, actor, gone)
    SELECT r.name, OLD.name, m.digest, m.media_type, OLD.updated_at, unixepoch(), OLD.actor, 1
    FROM repositories r, manifests m WHERE r.id = OLD.repository_id AND m.id = OLD.manifest_id;
END;
