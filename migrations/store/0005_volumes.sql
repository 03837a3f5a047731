-- Volumes: directories that outlive containers, volumes/<name>/_data. `created` counts nanoseconds
-- since the epoch.
CREATE TABLE volumes (
    name    TEXT    PRIMARY KEY,
    -- Labels and options: JSON that is the container library's.
    record  TEXT    NOT NULL,
    created INTEGER NOT NULL,
    -- Made for a container that is still to come. Whoever makes it holds the directory's lock: one
    -- that nobody holds was left by a crash.
    pending INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;

-- The containers that a volume belongs to, whether they run or not.
CREATE TABLE volume_users (
    volume    TEXT NOT NULL,
    container TEXT NOT NULL,
    PRIMARY KEY (volume, container)
) STRICT, WITHOUT ROWID;
CREATE INDEX volume_users_by_container ON volume_users (container);

-- Images that are mounted in containers, beside those that they were made of.
CREATE TABLE container_images (
    container TEXT NOT NULL,
    image     TEXT NOT NULL,
    chain_id  TEXT,
    PRIMARY KEY (container, image)
) STRICT, WITHOUT ROWID;
