-- A registry of $N small images: ten in every repository, all on one base layer, each with a
-- configuration of its own and one tag. Every tenth has a signature that refers to it. No blob has
-- a file.
CREATE TEMP TABLE image AS
WITH RECURSIVE i (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM i WHERE i < $N)
SELECT i, 1 + i / 10 AS repository, 10 + i AS config, 10 + $N + i AS blob,
       printf('sha256:%02x%062x', i % 256, $N + i) AS digest
FROM i;

INSERT INTO repositories (id, name, created_at)
SELECT repository, printf('team/r%06d', repository), 0 FROM image GROUP BY repository;

INSERT INTO blobs (id, digest, size, created_at)
SELECT 1, printf('sha256:%064x', 0), 1000000, 0
UNION ALL SELECT config, printf('sha256:%02x%062x', i % 256, i), 1000, 0 FROM image
UNION ALL SELECT blob, digest, 500, 0 FROM image;

INSERT INTO repository_blobs (repository_id, blob_id, linked_at)
SELECT repository, 1, 0 FROM image GROUP BY repository
UNION ALL SELECT repository, config, 0 FROM image;

INSERT INTO manifests (id, repository_id, blob_id, digest, media_type, size, subject, pushed_at)
SELECT i, repository, blob, digest, 'application/vnd.oci.image.manifest.v1+json', 500,
       CASE WHEN i % 10 = 1 THEN printf('sha256:%02x%062x', (i + 1) % 256, $N + i + 1) END, 0
FROM image;

INSERT INTO manifest_blobs (manifest_id, blob_id, repository_id)
SELECT i, 1, repository FROM image UNION ALL SELECT i, config, repository FROM image;

INSERT INTO tags (repository_id, name, manifest_id, updated_at, sequence)
SELECT repository, printf('v%06d', i), i, 0, i FROM image;

UPDATE push_order SET last = $N;
DROP TABLE image;
