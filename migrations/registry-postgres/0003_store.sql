-- In which object store the blobs are, and as whose: where several processes serve, each has a
-- directory of its own, which does not know.
CREATE TABLE store (
    id       bigint PRIMARY KEY CHECK (id = 1),
    registry text COLLATE "C" NOT NULL,
    root     text COLLATE "C" NOT NULL
);
