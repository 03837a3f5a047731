-- Containers. What they were made with is `record`, JSON that is the container library's; what has
-- become of them stands in their directories, which are containers/<id>. `created` counts
-- nanoseconds since the epoch.
CREATE TABLE containers (
    id       TEXT    PRIMARY KEY,
    name     TEXT    NOT NULL UNIQUE,
    -- The image that it was made of, which may have been removed since.
    image    TEXT    NOT NULL,
    -- The layers below its own, which stay as long as it does.
    chain_id TEXT,
    record   TEXT    NOT NULL,
    created  INTEGER NOT NULL,
    -- Being removed: whoever finds it goes on with that.
    removing INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
CREATE INDEX containers_by_image ON containers (image);
CREATE INDEX containers_by_chain_id ON containers (chain_id);
