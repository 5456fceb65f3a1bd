"""The gateway's database as SQLite has it: its tables, and the way from each earlier schema to the next."""

SCHEMA_VERSION = 3
APPLICATION_ID = 0x48505347
""""HPSG" in SQLite's header: another program's database is not taken for ours."""

SCHEMA = """
CREATE TABLE sessions (
    id TEXT PRIMARY KEY NOT NULL,
    user TEXT NOT NULL,
    server TEXT NOT NULL,
    uid INTEGER NOT NULL,
    state TEXT NOT NULL,
    job_id TEXT NOT NULL,
    node TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    ends_at INTEGER NOT NULL,
    serial TEXT NOT NULL,
    reason TEXT NOT NULL,
    groups TEXT NOT NULL DEFAULT '[]',
    project TEXT NOT NULL DEFAULT '',
    home TEXT NOT NULL DEFAULT '',
    access TEXT NOT NULL DEFAULT '',
    stale_at INTEGER NOT NULL DEFAULT 0,
    subject TEXT NOT NULL DEFAULT '',
    ended_at INTEGER,
    launch TEXT,
    CHECK ((state = 'ended') = (ended_at IS NOT NULL)),
    CHECK ((launch IS NOT NULL) = (state = 'waiting'))
);
CREATE INDEX sessions_by_state ON sessions (state);
CREATE TABLE tokens (
    jti TEXT PRIMARY KEY NOT NULL,
    session TEXT NOT NULL,
    expires INTEGER NOT NULL
);
CREATE TABLE serials (
    serial TEXT PRIMARY KEY NOT NULL,
    session TEXT NOT NULL,
    expires INTEGER NOT NULL,
    revoked_at INTEGER
);
CREATE INDEX serials_by_session ON serials (session);
CREATE TABLE told (
    session TEXT PRIMARY KEY NOT NULL,
    boot INTEGER NOT NULL,
    seq INTEGER NOT NULL
);
"""

MIGRATIONS = {
    1: """
ALTER TABLE sessions ADD COLUMN groups TEXT NOT NULL DEFAULT '[]';
ALTER TABLE sessions ADD COLUMN project TEXT NOT NULL DEFAULT '';
ALTER TABLE sessions ADD COLUMN home TEXT NOT NULL DEFAULT '';
ALTER TABLE sessions ADD COLUMN access TEXT NOT NULL DEFAULT '';
ALTER TABLE sessions ADD COLUMN stale_at INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sessions ADD COLUMN subject TEXT NOT NULL DEFAULT '';
""",
    2: """
CREATE TABLE told (
    session TEXT PRIMARY KEY NOT NULL,
    boot INTEGER NOT NULL,
    seq INTEGER NOT NULL
);
""",
}
"""By the schema that it begins with, what leads to the next one."""
