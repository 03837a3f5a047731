-- Small content, made durable in the transaction of its row: its file has its name by then, and is
-- synced with many others later. What is here when the registry starts is compared with its file.
CREATE TABLE unsettled (
    id      INTEGER PRIMARY KEY,
    digest  TEXT NOT NULL,
    content BLOB NOT NULL
) STRICT;
