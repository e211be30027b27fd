-- The schema of a store, format 1. "dcb" stands for the name of the schema. What follows the tables
-- are the functions of functions.sql. A database administrator may run both instead of the library, as
-- `dcb schema --sql` prints them.

CREATE SCHEMA IF NOT EXISTS "dcb";

-- One row. Appends lock it, one after the other; the events do not depend on it.
CREATE TABLE "dcb".meta (
    one integer PRIMARY KEY DEFAULT 1 CHECK (one = 1),
    format integer NOT NULL,
    incarnation uuid NOT NULL DEFAULT gen_random_uuid(),
    fences bigint NOT NULL DEFAULT 0
);

-- The events. Positions have no gap, and the primary key keeps them so: of two appends that take
-- the same position, one fails.
CREATE TABLE "dcb".events (
    position bigint PRIMARY KEY,
    type text COLLATE "C" NOT NULL,
    tags text[] COLLATE "C" NOT NULL,
    data text NOT NULL,
    metadata text,
    id text COLLATE "C",
    recorded_at timestamptz NOT NULL,
    append_id uuid NOT NULL
);
CREATE INDEX events_type ON "dcb".events (type, position);
CREATE UNIQUE INDEX events_id ON "dcb".events (id) WHERE id IS NOT NULL;

-- Where each tag occurs, derived from the events.
CREATE TABLE "dcb".event_tags (
    tag text COLLATE "C" NOT NULL,
    position bigint NOT NULL,
    type text COLLATE "C" NOT NULL,
    PRIMARY KEY (tag, position) INCLUDE (type)
);

-- Appends that may still arrive, although their callers have found out that they had not: a
-- connection broke. They are refused.
CREATE TABLE "dcb".fences (
    append_id uuid PRIMARY KEY,
    fenced_at timestamptz NOT NULL DEFAULT now()
);

CREATE FUNCTION "dcb".refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'events of the store in schema dcb are never changed or removed'
        USING ERRCODE = 'restrict_violation';
END
$$;
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON "dcb".events
    FOR EACH STATEMENT EXECUTE FUNCTION "dcb".refuse_change();
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON "dcb".event_tags
    FOR EACH STATEMENT EXECUTE FUNCTION "dcb".refuse_change();

INSERT INTO "dcb".meta (format) VALUES (1);
