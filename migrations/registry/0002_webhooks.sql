-- Events that webhooks are still to be told, written in the transaction of what they tell of.
-- Numbers are never used twice, so that "all up to this one" is safe to say after a restart.
CREATE TABLE webhook_events (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    webhook TEXT    NOT NULL,
    event   TEXT    NOT NULL
) STRICT;
CREATE INDEX webhook_events_by_webhook ON webhook_events (webhook, id);
