CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE programs (
    row           INTEGER PRIMARY KEY AUTOINCREMENT,
    id            TEXT NOT NULL UNIQUE,
    created_at_ms INTEGER NOT NULL,
    initial       TEXT NOT NULL
) STRICT;

CREATE TABLE records (
    program INTEGER NOT NULL REFERENCES programs (row) ON DELETE CASCADE,
    seq     INTEGER NOT NULL,
    now_ms  INTEGER NOT NULL,
    event   TEXT NOT NULL,
    effects TEXT NOT NULL,
    PRIMARY KEY (program, seq)
) STRICT, WITHOUT ROWID;
