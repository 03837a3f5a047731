-- Where several processes share an object store: which blobs are on their way there, and which are
-- taken away. What nobody announced is not shown, and what was announced is not taken away.

-- The processes that are at work, and when each said so last.
CREATE TABLE replicas (
    id   text   COLLATE "C" PRIMARY KEY,
    seen bigint NOT NULL
);

-- A row of a process for each blob that it brings; it takes it away when it has shown the blob.
CREATE TABLE arriving (
    digest  text   COLLATE "C" NOT NULL,
    replica text   COLLATE "C" NOT NULL,
    since   bigint NOT NULL,
    PRIMARY KEY (digest, replica)
);

-- Blobs whose rows are gone and whose objects go now. Nobody may bring them meanwhile.
CREATE TABLE leaving (
    digest text   COLLATE "C" PRIMARY KEY,
    since  bigint NOT NULL
);
