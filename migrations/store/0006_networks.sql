-- Networks that containers are on. How one is made is `record`, JSON that is the container library's.
-- The three that are always there are known by their names. `created` counts nanoseconds since the
-- epoch.
CREATE TABLE networks (
    -- 64 hexadecimal digits.
    id      TEXT    PRIMARY KEY,
    name    TEXT    NOT NULL UNIQUE,
    -- bridge, host or null
    driver  TEXT    NOT NULL,
    record  TEXT    NOT NULL,
    created INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO networks
SELECT lower(hex(randomblob(32))), name, driver, '{}', unixepoch() * 1000000000
FROM (SELECT 'bridge' AS name, 'bridge' AS driver
      UNION ALL SELECT 'host', 'host'
      UNION ALL SELECT 'none', 'null');
