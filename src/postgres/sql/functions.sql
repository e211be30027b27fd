-- The functions of a store. Run again, this text replaces those of an earlier version, as an upgrade does.
-- Programs of earlier versions go on calling them, so a function keeps its parameters and its result.

-- Tells which of these texts has been run. It counts up with each change to one of the functions.
CREATE OR REPLACE FUNCTION "dcb".revision() RETURNS integer LANGUAGE sql IMMUTABLE
AS 'SELECT 2';

-- Returns the lowest position from p_from on of an event with all of the tags and one of the types
-- (no types: any type); NULL if there is none. There is at least one tag.
--
-- It goes through the lists of positions together, and in each skips what the others rule out. So
-- the shortest list bounds the work.
CREATE OR REPLACE FUNCTION "dcb".first_match(p_tags text[], p_types text[], p_from bigint)
RETURNS bigint LANGUAGE plpgsql STABLE AS $$
DECLARE
    v_tags integer := cardinality(p_tags);
    v_lists integer := v_tags + CASE WHEN cardinality(p_types) > 0 THEN 1 ELSE 0 END;
    v_list integer := 0;
    v_agreed integer := 0;
    v_at bigint := p_from;
    v_found bigint;
    v_last bigint;
    v_seen bigint;
BEGIN
    IF v_tags = 1 AND v_lists = 2 THEN
        -- Mostly few events have the tag, and their types are in its index.
        SELECT min(s.position) FILTER (WHERE s.type = ANY (p_types)), max(s.position), count(*)
            INTO v_found, v_last, v_seen
            FROM (SELECT t.position, t.type FROM "dcb".event_tags t
                  WHERE t.tag = p_tags[1] AND t.position >= v_at
                  ORDER BY t.position LIMIT 64) s;
        IF v_found IS NOT NULL OR v_seen < 64 THEN
            RETURN v_found;
        END IF;
        v_at := v_last;
    END IF;
    LOOP
        IF v_list < v_tags THEN
            SELECT t.position INTO v_found FROM "dcb".event_tags t
                WHERE t.tag = p_tags[v_list + 1] AND t.position >= v_at
                ORDER BY t.position LIMIT 1;
        ELSE
            SELECT min(f.position) INTO v_found FROM unnest(p_types) y (type), LATERAL (
                SELECT e.position FROM "dcb".events e
                WHERE e.type = y.type AND e.position >= v_at
                ORDER BY e.position LIMIT 1) f;
        END IF;
        IF v_found IS NULL THEN
            RETURN NULL;
        ELSIF v_found > v_at THEN
            v_at := v_found;
            v_agreed := 1;
        ELSE
            v_agreed := v_agreed + 1;
        END IF;
        IF v_agreed >= v_lists THEN
            RETURN v_at;
        END IF;
        v_list := (v_list + 1) % v_lists;
    END LOOP;
END
$$;

-- Appends a group of requests in one transaction. Requests are numbered from 1. A list of tags or
-- types is the text of an array.
--
-- The order of the steps is what keeps the store correct, even without the lock: the head first,
-- then ids and conditions on a snapshot that is not older, then the insert. Whoever has appended in
-- between has taken the same positions, and one of the two fails.
--
--   p_append_ids    of each request
--   p_lock_ms       how long to wait for the lock; 0: without end
--   e_...           of each event, in order: its request, its place in it (from 1), its columns;
--                   e_time is empty unless events keep the times of another store
--   c_...           of each item of each condition: its request, its condition (from 0), the
--                   position above which events count, its tags and types
--   p_...           of each event of a request that an item of a later request matches: the later
--                   request, its condition and position, the earlier request and the event's place
--
-- Returns rows of four kinds: 'stored' with the last position of the request; 'failed' with the
-- lowest position that makes a condition fail and, in place, the first condition that fails;
-- 'found' for each event of the request whose id is stored, with its position, its place, and
-- whether it is the same event; and one 'head', the position of the newest event.
CREATE OR REPLACE FUNCTION "dcb".append(
    p_append_ids uuid[], p_lock_ms integer,
    e_request integer[], e_place integer[], e_type text[], e_tags text[], e_data text[],
    e_metadata text[], e_id text[], e_time timestamptz[],
    c_request integer[], c_condition integer[], c_after bigint[], c_tags text[], c_types text[],
    p_request integer[], p_condition integer[], p_after bigint[], p_earlier integer[],
    p_place integer[]
) RETURNS TABLE (o_request integer, o_kind text, o_position bigint, o_place integer, o_same boolean)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off
SET enable_mergejoin = off SET jit = off SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    v_requests integer := cardinality(p_append_ids);
    v_lock_timeout text := current_setting('lock_timeout');
    v_set text;
    v_is_fenced boolean;
    v_pairs integer := cardinality(p_request);
    v_pair integer := 1;
    v_head bigint;
    v_next bigint;
    v_position bigint;
    v_condition integer;
    v_at bigint;
    v_row record;
    -- Of each request: the number of its events; the position before its first, -1 if it is
    -- refused; whether an id is stored; the lowest position and the first condition that fail.
    v_events integer[] := array_fill(0, ARRAY[v_requests]);
    v_base bigint[] := array_fill(-1::bigint, ARRAY[v_requests]);
    v_is_found boolean[] := array_fill(false, ARRAY[v_requests]);
    v_failed bigint[] := array_fill(0::bigint, ARRAY[v_requests]);
    v_failing integer[] := array_fill(0, ARRAY[v_requests]);
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'this function needs a transaction at the isolation level READ COMMITTED'
            USING ERRCODE = 'DCB02';
    END IF;
    IF current_setting('synchronous_commit') IN ('off', 'local', 'remote_write') THEN
        PERFORM set_config('synchronous_commit', 'on', true);
    END IF;
    -- An assignment, unlike PERFORM, needs no executor.
    v_set := set_config('lock_timeout', p_lock_ms::text, true);
    PERFORM 1 FROM "dcb".meta WHERE one = 1 FOR UPDATE;
    v_set := set_config('lock_timeout', v_lock_timeout, true);

    SELECT coalesce(max(e.position), 0),
           EXISTS (SELECT FROM "dcb".fences f WHERE f.append_id = p_append_ids[1])
        INTO v_head, v_is_fenced FROM "dcb".events e;
    IF v_is_fenced THEN
        RAISE EXCEPTION 'the caller of this append has given it up' USING ERRCODE = 'DCB01';
    END IF;

    IF cardinality(e_id) > 0 THEN
        FOR v_row IN
            SELECT g.request, g.place, s.position,
                   s.type = g.type AND s.tags = g.tags::text[] AND s.data = g.data
                       AND s.metadata IS NOT DISTINCT FROM g.metadata AS same
            FROM unnest(e_request, e_place, e_type, e_tags, e_data, e_metadata, e_id)
                     g (request, place, type, tags, data, metadata, id)
                 JOIN "dcb".events s ON s.id = g.id
            WHERE g.id IS NOT NULL
        LOOP
            v_is_found[v_row.request] := true;
            o_request := v_row.request; o_kind := 'found'; o_position := v_row.position;
            o_place := v_row.place; o_same := v_row.same;
            RETURN NEXT;
        END LOOP;
    END IF;

    -- Here and below, what is single does the same as the general statements, of which the executor
    -- has much more to set up.
    IF cardinality(c_request) = 1 AND c_types[1] = '{}' AND cardinality(c_tags[1]::text[]) = 1 THEN
        IF c_after[1] < v_head THEN
            SELECT t.position INTO v_at FROM "dcb".event_tags t
                WHERE t.tag = (c_tags[1]::text[])[1] AND t.position > c_after[1]
                ORDER BY t.position LIMIT 1;
            IF FOUND THEN
                v_failed[c_request[1]] := v_at;
                v_failing[c_request[1]] := c_condition[1];
            END IF;
        END IF;
    ELSIF cardinality(c_request) > 0 THEN
        FOR v_row IN
            SELECT m.request, min(m.position) AS position, min(m.condition) AS condition
            FROM (
                SELECT c.request, c.condition, CASE
                    WHEN c.after >= v_head THEN NULL
                    WHEN c.tags <> '{}' AND (c.types <> '{}' OR cardinality(c.tags::text[]) > 1) THEN
                        "dcb".first_match(c.tags::text[], c.types::text[], c.after + 1)
                    WHEN c.tags <> '{}' THEN (
                        SELECT t.position FROM "dcb".event_tags t
                        WHERE t.tag = (c.tags::text[])[1] AND t.position > c.after
                        ORDER BY t.position LIMIT 1)
                    WHEN c.types <> '{}' THEN (
                        SELECT min(f.position) FROM unnest(c.types::text[]) y (type), LATERAL (
                            SELECT e.position FROM "dcb".events e
                            WHERE e.type = y.type AND e.position > c.after
                            ORDER BY e.position LIMIT 1) f)
                    ELSE c.after + 1
                END AS position
                FROM unnest(c_request, c_condition, c_after, c_tags, c_types)
                         c (request, condition, after, tags, types)
                OFFSET 0 -- else each position is looked up twice, for the filter as well
            ) m
            WHERE m.position IS NOT NULL
            GROUP BY m.request
        LOOP
            v_failed[v_row.request] := v_row.position;
            v_failing[v_row.request] := v_row.condition;
        END LOOP;
    END IF;

    IF v_requests = 1 THEN
        v_events[1] := cardinality(e_request);
    ELSE
        FOR v_row IN
            SELECT g.request, count(*) AS events FROM unnest(e_request) g (request) GROUP BY 1
        LOOP
            v_events[v_row.request] := v_row.events;
        END LOOP;
    END IF;

    v_next := v_head;
    FOR v_request IN 1 .. v_requests LOOP
        v_position := nullif(v_failed[v_request], 0);
        v_condition := v_failing[v_request];
        WHILE v_pair <= v_pairs AND p_request[v_pair] = v_request LOOP
            v_at := v_base[p_earlier[v_pair]];
            IF v_at >= 0 AND v_at + p_place[v_pair] > p_after[v_pair] THEN
                v_condition := least(p_condition[v_pair],
                                     CASE WHEN v_position IS NOT NULL THEN v_condition END);
                v_position := least(v_position, v_at + p_place[v_pair]);
            END IF;
            v_pair := v_pair + 1;
        END LOOP;
        CONTINUE WHEN v_is_found[v_request];
        o_request := v_request; o_same := NULL;
        IF v_position IS NOT NULL THEN
            o_kind := 'failed'; o_position := v_position; o_place := v_condition;
        ELSE
            v_base[v_request] := v_next;
            v_next := v_next + v_events[v_request];
            o_kind := 'stored'; o_position := v_next; o_place := NULL;
        END IF;
        RETURN NEXT;
    END LOOP;

    IF v_next > v_head AND cardinality(e_request) = 1 THEN
        INSERT INTO "dcb".events (position, type, tags, data, metadata, id, recorded_at, append_id)
            VALUES (v_next, e_type[1], e_tags[1]::text[], e_data[1], e_metadata[1], e_id[1],
                    coalesce(e_time[1], clock_timestamp()), p_append_ids[e_request[1]]);
        INSERT INTO "dcb".event_tags (tag, position, type)
            SELECT t.tag, v_next, e_type[1] FROM unnest(e_tags[1]::text[]) t (tag);
    ELSIF v_next > v_head THEN
        INSERT INTO "dcb".events (position, type, tags, data, metadata, id, recorded_at, append_id)
            SELECT v_base[g.request] + g.place, g.type, g.tags::text[], g.data, g.metadata, g.id,
                   coalesce(g.time, s.now), p_append_ids[g.request]
            FROM (SELECT clock_timestamp() AS now OFFSET 0) s,
                 unnest(e_request, e_place, e_type, e_tags, e_data, e_metadata, e_id, e_time)
                     g (request, place, type, tags, data, metadata, id, time)
            WHERE v_base[g.request] >= 0;
        INSERT INTO "dcb".event_tags (tag, position, type)
            SELECT t.tag, v_base[g.request] + g.place, g.type
            FROM unnest(e_request, e_place, e_type, e_tags) g (request, place, type, tags),
                 unnest(g.tags::text[]) t (tag)
            WHERE v_base[g.request] >= 0;
    END IF;
    -- The library turns this off for an append that the queue of notifications has no room for.
    IF v_next > v_head AND current_setting('dcb.notify', true) IS DISTINCT FROM 'off' THEN
        PERFORM pg_notify('dcb', v_next::text);
    END IF;
    o_request := 0; o_kind := 'head'; o_position := v_next; o_place := NULL; o_same := NULL;
    RETURN NEXT;
END
$$;

-- Appends one event as a group of its own, and does what "append" does, with less to set up: most of
-- its values are no lists, and its result is no table. It plans by the settings of the session, so
-- only a session calls it that plans each statement once, by indexes.
--
--   p_append_id, p_lock_ms, p_type, p_tags, p_data   as there, but no lists
--   p_metadata, p_id                                 empty if the event has none
--   p_after, p_item_...                              the only item of the only condition; without
--                                                    any, p_after is the highest number that there is
--
-- Returns three numbers. The first is 0 if the event is stored, 1 if the condition fails, 2 if the id
-- is that of the same event, 3 if it is that of another one. The second is the position of the event,
-- the lowest one that makes the condition fail, or that of the event with the id. The third is the
-- head.
CREATE OR REPLACE FUNCTION "dcb".append_one(
    p_append_id uuid, p_lock_ms integer,
    p_type text, p_tags text[], p_data text, p_metadata text, p_id text,
    p_after bigint, p_item_tags text[], p_item_types text[]
) RETURNS bigint[]
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_lock_timeout text := current_setting('lock_timeout');
    v_set text;
    v_is_fenced boolean;
    v_is_same boolean;
    v_found bigint;
    v_head bigint;
    v_next bigint;
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'this function needs a transaction at the isolation level READ COMMITTED'
            USING ERRCODE = 'DCB02';
    END IF;
    IF current_setting('synchronous_commit') IN ('off', 'local', 'remote_write') THEN
        v_set := set_config('synchronous_commit', 'on', true);
    END IF;
    v_set := set_config('lock_timeout', p_lock_ms::text, true);
    PERFORM 1 FROM "dcb".meta WHERE one = 1 FOR UPDATE;
    v_set := set_config('lock_timeout', v_lock_timeout, true);

    SELECT coalesce(max(e.position), 0),
           EXISTS (SELECT FROM "dcb".fences f WHERE f.append_id = p_append_id)
        INTO v_head, v_is_fenced FROM "dcb".events e;
    IF v_is_fenced THEN
        RAISE EXCEPTION 'the caller of this append has given it up' USING ERRCODE = 'DCB01';
    END IF;

    IF p_id <> '' THEN
        SELECT s.position, s.type = p_type AND s.tags = p_tags AND s.data = p_data
                   AND coalesce(s.metadata, '') = p_metadata
            INTO v_found, v_is_same FROM "dcb".events s WHERE s.id = p_id;
        IF FOUND THEN
            RETURN ARRAY[CASE WHEN v_is_same THEN 2 ELSE 3 END, v_found, v_head];
        END IF;
    END IF;

    IF p_after < v_head THEN
        IF cardinality(p_item_tags) = 1 AND cardinality(p_item_types) = 0 THEN
            SELECT t.position INTO v_found FROM "dcb".event_tags t
                WHERE t.tag = p_item_tags[1] AND t.position > p_after
                ORDER BY t.position LIMIT 1;
        ELSIF cardinality(p_item_tags) > 0 THEN
            v_found := "dcb".first_match(p_item_tags, p_item_types, p_after + 1);
        ELSIF cardinality(p_item_types) > 0 THEN
            SELECT min(f.position) INTO v_found FROM unnest(p_item_types) y (type), LATERAL (
                SELECT e.position FROM "dcb".events e
                WHERE e.type = y.type AND e.position > p_after
                ORDER BY e.position LIMIT 1) f;
        ELSE
            v_found := p_after + 1;
        END IF;
        IF v_found IS NOT NULL THEN
            RETURN ARRAY[1, v_found, v_head];
        END IF;
    END IF;

    v_next := v_head + 1;
    INSERT INTO "dcb".events (position, type, tags, data, metadata, id, recorded_at, append_id)
        VALUES (v_next, p_type, p_tags, p_data, nullif(p_metadata, ''), nullif(p_id, ''),
                clock_timestamp(), p_append_id);
    INSERT INTO "dcb".event_tags (tag, position, type)
        SELECT t.tag, v_next, p_type FROM unnest(p_tags) t (tag);
    IF current_setting('dcb.notify', true) IS DISTINCT FROM 'off' THEN
        v_set := pg_notify('dcb', v_next::text);
    END IF;
    RETURN ARRAY[0, v_next, v_next];
END
$$;

-- Finds out what has become of appends whose connection broke: returns the last position of each
-- that is stored. If none is, the group is fenced: should it still arrive, it is refused. Changing
-- the row of meta makes it fail at an isolation level at which it would not see the fence.
CREATE OR REPLACE FUNCTION "dcb".resolve(p_append_ids uuid[], p_above bigint, p_lock_ms integer)
RETURNS TABLE (o_request integer, o_position bigint)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'this function needs a transaction at the isolation level READ COMMITTED'
            USING ERRCODE = 'DCB02';
    END IF;
    IF current_setting('synchronous_commit') IN ('off', 'local', 'remote_write') THEN
        PERFORM set_config('synchronous_commit', 'on', true);
    END IF;
    PERFORM set_config('lock_timeout', p_lock_ms::text, true);
    UPDATE "dcb".meta SET fences = fences + 1 WHERE one = 1;
    RETURN QUERY
        SELECT array_position(p_append_ids, e.append_id), max(e.position)
        FROM "dcb".events e
        WHERE e.position > p_above AND e.append_id = ANY (p_append_ids)
        GROUP BY e.append_id;
    IF NOT FOUND THEN
        DELETE FROM "dcb".fences WHERE fenced_at < now() - interval '7 days';
        -- An earlier answer may have been lost.
        INSERT INTO "dcb".fences (append_id) VALUES (p_append_ids[1]) ON CONFLICT DO NOTHING;
    END IF;
END
$$;
