-- +goose Up
-- What happened to a resource, apart from its row: noting an event is one insert, and no list reads any of it. n counts
-- the events of one resource in the order of their arrival, created_at is the time at their source.
CREATE TABLE events (
    resource   text COLLATE "BINARY" NOT NULL REFERENCES resources (id) ON DELETE CASCADE,
    n          bigint NOT NULL,
    id         text COLLATE "BINARY" NOT NULL,
    created_at text COLLATE "BINARY" NOT NULL,
    type       text COLLATE "BINARY" NOT NULL,
    doc        json NOT NULL,
    PRIMARY KEY (resource, n),
    UNIQUE (resource, id)
);
CREATE INDEX events_time ON events (resource, created_at, n);

-- +goose Down
DROP TABLE events;
