-- A layer that depends on none below it lies on other layers without a second copy of its files:
-- they are in the directory of the row that it refers to, which stands on nothing.
ALTER TABLE snapshots ADD COLUMN source_id INTEGER REFERENCES snapshots (id) ON DELETE CASCADE;
CREATE INDEX snapshots_by_source ON snapshots (source_id) WHERE source_id IS NOT NULL;
