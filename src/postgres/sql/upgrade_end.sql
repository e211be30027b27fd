
-- A new function belongs to the owner of the others, and may be called by whoever may append.
DO $$
DECLARE
    v_owner regrole := (SELECT proowner FROM pg_proc WHERE oid = '"dcb".append'::regproc);
    v_function regprocedure;
    v_role text;
BEGIN
    FOR v_function IN
        SELECT oid FROM pg_proc
        WHERE pronamespace = 'dcb'::regnamespace AND proowner <> v_owner
              AND proname IN ('append_one', 'revision')
    LOOP
        EXECUTE format('ALTER FUNCTION %s OWNER TO %s', v_function, v_owner);
    END LOOP;
    REVOKE ALL ON FUNCTION "dcb".append_one FROM PUBLIC;
    FOR v_role IN
        SELECT CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END
        FROM pg_proc p, aclexplode(p.proacl) a
        WHERE p.oid = '"dcb".append'::regproc AND a.grantee <> v_owner
    LOOP
        EXECUTE format('GRANT EXECUTE ON FUNCTION "dcb".append_one TO %s', v_role);
    END LOOP;
END
$$;
