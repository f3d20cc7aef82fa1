-- One text for SQLite and PostgreSQL. "BINARY" is built into SQLite; on PostgreSQL the store creates a collation of
-- that name with the C locale, so that both engines compare text as bytes whatever the database's own collation is.

-- +goose Up
CREATE TABLE resources (
    id         text COLLATE "BINARY" PRIMARY KEY,
    kind       text COLLATE "BINARY" NOT NULL,
    project_id text COLLATE "BINARY" NOT NULL,
    shared     boolean NOT NULL,
    rev        bigint NOT NULL,
    intent     bigint NOT NULL,
    created_at text COLLATE "BINARY" NOT NULL,
    uniq       text COLLATE "BINARY",
    -- All small columns in one text: a list reads one column instead of eight, and the driver's cost is by column.
    -- Numbers, then the lengths in bytes of the texts, then the texts.
    head       text GENERATED ALWAYS AS (
        CAST(rev AS text) || ' ' || CAST(intent AS text) || ' ' || CASE WHEN shared THEN '1' ELSE '0' END
        || ' ' || CAST(octet_length(id) AS text) || ' ' || CAST(octet_length(project_id) AS text)
        || ' ' || CAST(octet_length(created_at) AS text) || ' ' || CAST(octet_length(COALESCE(uniq, '')) AS text)
        || ' ' || id || project_id || created_at || COALESCE(uniq, '')) STORED,
    doc        json NOT NULL,
    sealed     bytea,
    UNIQUE (kind, uniq)
);
CREATE INDEX resources_list ON resources (kind, project_id, created_at, id);
CREATE INDEX resources_all ON resources (kind, created_at, id);
CREATE INDEX resources_shared ON resources (kind) WHERE shared;
CREATE INDEX resources_rev ON resources (kind, rev);
CREATE INDEX resources_name ON resources (kind, (COALESCE(doc->>'name', '') COLLATE "BINARY"), project_id);

CREATE TABLE refs (
    src text COLLATE "BINARY" NOT NULL REFERENCES resources (id) ON DELETE CASCADE,
    dst text COLLATE "BINARY" NOT NULL REFERENCES resources (id) ON DELETE RESTRICT,
    PRIMARY KEY (src, dst)
);
CREATE INDEX refs_dst ON refs (dst);

CREATE TABLE revision (n bigint NOT NULL);
INSERT INTO revision (n) VALUES (0);

-- +goose Down
DROP TABLE refs;
DROP TABLE resources;
DROP TABLE revision;
