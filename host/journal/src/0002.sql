-- Who may use the host, what they did, and whose each program is.

ALTER TABLE programs ADD COLUMN owner TEXT NOT NULL DEFAULT 'admin';

-- The fold of a program's records up to `seq`, so that older ones may go.
CREATE TABLE snapshots (
    program  INTEGER PRIMARY KEY REFERENCES programs (row) ON DELETE CASCADE,
    seq      INTEGER NOT NULL,
    snapshot TEXT NOT NULL
) STRICT;

CREATE TABLE users (
    id            TEXT PRIMARY KEY,
    role          TEXT NOT NULL,
    quota         TEXT NOT NULL,
    created_at_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE tokens (
    id              TEXT PRIMARY KEY,
    user            TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    sha256          TEXT NOT NULL UNIQUE,
    scope           TEXT NOT NULL,
    label           TEXT NOT NULL,
    created_at_ms   INTEGER NOT NULL,
    expires_at_ms   INTEGER,
    last_used_at_ms INTEGER
) STRICT, WITHOUT ROWID;

CREATE INDEX tokens_by_user ON tokens (user);

-- Written before a change is made; `status` is 499 if the client hung up before the answer, and stays
-- empty if the host ended in the middle or the disk did not take it.
CREATE TABLE audit (
    seq    INTEGER PRIMARY KEY AUTOINCREMENT,
    at_ms  INTEGER NOT NULL,
    user   TEXT NOT NULL,
    token  TEXT NOT NULL,
    peer   TEXT NOT NULL,
    action TEXT NOT NULL,
    target TEXT NOT NULL,
    status INTEGER
) STRICT;

-- Creating calls that were answered, so that a repeated one gets the same answer.
CREATE TABLE idempotency (
    user        TEXT NOT NULL,
    key         TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    answer      TEXT NOT NULL,
    at_ms       INTEGER NOT NULL,
    PRIMARY KEY (user, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX idempotency_by_age ON idempotency (at_ms);
