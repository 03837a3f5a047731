-- What each commit changed of what is used, for the processes that serve together: who has limits
-- to keep reads what others wrote before it lets anything in. Whoever writes has the writers' lock,
-- so that numbers are in the order of commits. The empty name stands for everything.
CREATE TABLE usage_log (
    id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name  text COLLATE "C" NOT NULL,
    bytes bigint NOT NULL,
    at    bigint NOT NULL DEFAULT unixepoch()
);
