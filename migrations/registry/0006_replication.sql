-- What is to be brought to other registries, or from them: rules, what changed here, and what is
-- left to do. One process serves a registry, so that who works on a job stands in memory alone.

-- Every rule of the settings, and how it is doing. The fingerprint tells that a rule means something
-- else than before.
CREATE TABLE replication_rules (
    name         TEXT    PRIMARY KEY,
    fingerprint  TEXT    NOT NULL,
    on_event     INTEGER NOT NULL,
    compared_at  INTEGER,
    succeeded_at INTEGER,
    failed_at    INTEGER,
    error        TEXT
) STRICT, WITHOUT ROWID;

-- Tags that came, moved or went, and referrers that came, in the transaction of the change itself.
-- Numbers are never used twice, so that "all up to this one" is safe to say after a restart.
CREATE TABLE replication_changes (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    repository TEXT    NOT NULL,
    reference  TEXT    NOT NULL
) STRICT;

-- What a rule has to make the same there as here, or here as there. A change while it is worked on
-- makes it another generation, which is left when the work is done. Repositories are called as they
-- are where they come from.
CREATE TABLE replication_jobs (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    rule       TEXT    NOT NULL REFERENCES replication_rules (name) ON DELETE CASCADE,
    repository TEXT    NOT NULL,
    reference  TEXT    NOT NULL,
    generation INTEGER NOT NULL DEFAULT 1,
    attempts   INTEGER NOT NULL DEFAULT 0,
    due        INTEGER NOT NULL DEFAULT 0,
    error      TEXT,
    UNIQUE (rule, repository, reference)
) STRICT;
CREATE INDEX replication_jobs_due ON replication_jobs (rule, due, id);
CREATE INDEX replication_jobs_failing ON replication_jobs (rule, id) WHERE attempts > 0;

-- What a rule has brought, by tag: what is still so needs no work, and nothing else is deleted.
CREATE TABLE replication_done (
    rule       TEXT NOT NULL REFERENCES replication_rules (name) ON DELETE CASCADE,
    repository TEXT NOT NULL,
    tag        TEXT NOT NULL,
    digest     TEXT NOT NULL,
    PRIMARY KEY (rule, repository, tag)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER replicate_tagged AFTER INSERT ON tags
WHEN EXISTS (SELECT 1 FROM replication_rules WHERE on_event = 1)
BEGIN
    INSERT INTO replication_changes (repository, reference)
    SELECT r.name, NEW.name FROM repositories r WHERE r.id = NEW.repository_id;
END;

CREATE TRIGGER replicate_moved AFTER UPDATE OF manifest_id ON tags
WHEN OLD.manifest_id <> NEW.manifest_id
 AND EXISTS (SELECT 1 FROM replication_rules WHERE on_event = 1)
BEGIN
    INSERT INTO replication_changes (repository, reference)
    SELECT r.name, NEW.name FROM repositories r WHERE r.id = NEW.repository_id;
END;

CREATE TRIGGER replicate_untagged AFTER DELETE ON tags
WHEN EXISTS (SELECT 1 FROM replication_rules WHERE on_event = 1)
BEGIN
    INSERT INTO replication_changes (repository, reference)
    SELECT r.name, OLD.name FROM repositories r WHERE r.id = OLD.repository_id;
END;

CREATE TRIGGER replicate_referrer AFTER INSERT ON manifests
WHEN NEW.subject IS NOT NULL
 AND EXISTS (SELECT 1 FROM replication_rules WHERE on_event = 1)
BEGIN
    INSERT INTO replication_changes (repository, reference)
    SELECT r.name, NEW.digest FROM repositories r WHERE r.id = NEW.repository_id;
END;
